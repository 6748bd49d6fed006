"""The frame that every command stands in: help, wrong words, JSON errors, exit statuses, the error catalogue."""
import contextlib
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import time

import pytest

import harness

PROGRAMS = ('coffer', 'coffer-vault')


def run(name, *args, **kw):
    kw = {'stdin': subprocess.DEVNULL, 'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'timeout': 60, 'text': True, **kw}
    return subprocess.run([harness.program(name), *args], **kw)


def commands_of(name):
    listed = run(name, '--help').stdout.split('\nCommands:\n')[1].split('\n\n')[0]
    return [line.split()[0] for line in listed.splitlines()]


@pytest.mark.parametrize('name', PROGRAMS)
def test_help_and_version_of_every_command(name):
    for words in ([], *([command] for command in commands_of(name))):
        shown = run(name, *words, '--help')
        assert shown.returncode == 0 and 'Usage: ' + name in shown.stdout and shown.stderr == ''
        if words:
            assert 'Examples:' in shown.stdout, f'{name} {words[0]} --help has no examples'
            assert len(shown.stdout.splitlines()) <= 60, f'{name} {words[0]} --help is long'
        assert run(name, *words, '--version').stdout.startswith(name + ' ')


@pytest.mark.parametrize('name', PROGRAMS)
def test_wrong_words_exit_2_and_name_the_nearest(name):
    for words, hint in ((['explian'], 'explain'), (['explain', '--alll'], '--all'), (['--jsno', 'explain'], '--json'),
                        (['explain', '--al'], '--all'), ([], 'needs a command'), (['explain', 'InvalidVaultCredential'], 'InvalidVaultCredentials'),
                        (['explain', '34512'], '34511')):
        wrong = run(name, *words)
        assert wrong.returncode == 2 and hint in wrong.stderr and wrong.stdout == '', (words, wrong)
        assert wrong.stderr.count('error 900003 BadUsage') == 1


def test_with_json_an_error_is_an_object_on_stdout():
    for words in (['--json', 'bogus'], ['bogus', '--json'], ['explain', '--json', '--bogus'], ['explain', '1', '2', '--json']):
        wrong = run('coffer', *words)
        error = json.loads(wrong.stdout)['error']
        assert wrong.returncode == 2 and error['code'] == 900003 and error['name'] == 'BadUsage'
        assert {'reason', 'message', 'causes', 'actions'} <= set(error) and error['actions']


def test_explain_finds_by_number_hexadecimal_form_and_name():
    for word, code in (('34513', 34513), ('0x1FC07', 130055), ('0x1fbd3', 130003), ('SalLowDiskSpace', 900391), ('salbitmaperror', 100226),
                       ('0x80070005', 900792), ('0x8007018b', 900793), ('407', 100050)):
        row = json.loads(run('coffer', 'explain', word, '--json').stdout)
        assert row['code'] == code and set(row) == {'code', 'name', 'meaning', 'causes', 'actions'}
        assert run('coffer', 'explain', word).stdout.startswith(f'{code} {row["name"]}\n')
    rows = json.loads(run('coffer', 'explain', '--all', '--json').stdout)
    assert [row['code'] for row in rows] == sorted({row['code'] for row in rows}) and all(row['actions'] for row in rows)


def test_output_that_does_not_get_out_is_an_error():
    with open('/dev/full', 'w') as full:
        lost = run('coffer', 'explain', '--all', stdout=full)
    assert lost.returncode == 1 and 'standard output' in lost.stderr
    read, write = os.pipe()
    os.close(read)
    broken = run('coffer', 'explain', '--all', '--json', stdout=write)
    os.close(write)
    assert broken.returncode == 1 and 'Broken pipe' in broken.stderr


def test_closed_standard_streams_do_no_harm():
    lost = subprocess.run(['sh', '-c', 'exec "$0" explain 34513 >&- 2>&- <&-', harness.program('coffer')], timeout=60)
    assert lost.returncode == 0


@pytest.mark.root
def test_an_ordinary_user_without_home_hears_both_ways_out(stage):
    if not os.stat('/').st_mode & 0o001:
        pytest.skip('an ordinary user cannot pass / on this machine')
    binary = shutil.copy(harness.program('coffer'), stage.path('coffer'))
    environment = {key: value for key, value in os.environ.items() if key != 'COFFER_HOME'}
    result = subprocess.run([binary, 'status', '--json'], user=65534, group=65534, extra_groups=[], cwd='/', env=environment,
                            capture_output=True, text=True, timeout=60)
    error = json.loads(result.stdout)['error']
    assert result.returncode == 2 and error['code'] == 100011
    assert '--home' in error['message'] and 'root' in error['message']


def ask_at_a_terminal(args, answers, seconds=60):
    """Runs args on a pseudo-terminal, answers each prompt, returns (status, everything that was shown)."""
    answers = list(answers)
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(args[0], args)
    shown, end = b'', time.monotonic() + seconds
    with contextlib.suppress(OSError): # the terminal is gone: the program ended
        while select.select([terminal], [], [], max(0, end - time.monotonic()))[0]:
            got = os.read(terminal, 4096)
            if not got:
                break
            shown += got
            if answers and shown.endswith(b': '):
                os.write(terminal, answers.pop(0).encode() + b'\n')
        else:
            os.kill(pid, signal.SIGKILL)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode(errors='replace')


def test_a_passphrase_is_asked_twice_and_not_shown(vault, stage):
    secret = 'a passphrase of many words'
    args = [harness.program('coffer'), '--home', stage.path('asked'), 'register', str(vault.credentials()), '--name', 'asked']
    status, shown = ask_at_a_terminal(args, [secret, secret + 'x'])
    assert status == 2 and '100044' in shown and secret not in shown
    status, shown = ask_at_a_terminal(args, ['short'])
    assert status == 2 and '100042' in shown and 'fewer than 16' in shown
    status, shown = ask_at_a_terminal(args, [secret, secret])
    assert status == 0 and secret not in shown


def catches(pid, number):
    with open(f'/proc/{pid}/status') as f:
        caught = next(line for line in f if line.startswith('SigCgt')).split()[1]
    return int(caught, 16) >> (number - 1) & 1


@pytest.mark.parametrize('number, status', ((signal.SIGINT, 130), (signal.SIGTERM, 143)))
def test_a_cancelled_job_ends_soon_and_by_its_signal(server, vault, stage, number, status):
    os.mkdir(stage.path('tree'))
    with open(stage.path('tree', 'file'), 'w') as f:
        f.write('x')
    os.kill(vault.process.pid, signal.SIGSTOP) # the vault is there and does not answer
    try:
        job = server.spawn('backup', stage.path('tree'))
        harness.wait_for(lambda: catches(job.pid, number))
        job.send_signal(number)
        out, _ = job.communicate(timeout=30)
    finally:
        os.kill(vault.process.pid, signal.SIGCONT)
    assert job.returncode == status
    assert json.loads(out.splitlines()[-1])['error']['code'] == 900004
    server.backup(stage.path('tree')).ok() # nothing is left locked


def test_progress_is_drawn_on_a_terminal_only_and_can_be_silenced(server, stage):
    os.mkdir(stage.path('tree'))
    with open(stage.path('tree', 'file'), 'w') as f:
        f.write('x' * 100000)
    args = server.argv('backup', stage.path('tree'), json=False)
    clear = '\r\x1b[K'
    status, shown = ask_at_a_terminal(['/usr/bin/env', 'TERM=xterm', *args], [])
    assert status == 0 and clear in shown
    status, shown = ask_at_a_terminal(['/usr/bin/env', 'TERM=xterm', 'NO_COLOR=1', *args], [])
    assert status == 0 and clear in shown and '\x1b[1m' not in shown
    for quiet in (['--no-progress'], ['-q'], ['--json']):
        status, shown = ask_at_a_terminal(['/usr/bin/env', 'TERM=xterm', *args, *quiet], [])
        assert status == 0 and '\x1b' not in shown
    assert ask_at_a_terminal(['/usr/bin/env', 'TERM=xterm', *args, '-q'], [])[1] == ''
    assert b'\x1b' not in server.run('backup', stage.path('tree'), json=False).ok().err
