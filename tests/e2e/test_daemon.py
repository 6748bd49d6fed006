"""cofferd: scheduled runs, what was missed, what comes together, and jobs that die, each with real programs.

Time is the test's (harness.Clock): a day passes at once. A job is held at work by a hook that waits for a file.
"""
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time

import pytest

import harness
from harness import wait_for

TWICE = ('--schedule', 'daily 09:00,21:00', '--time-zone', 'UTC', '--keep-daily', '30')


class Story:
    def __init__(self, stage, clock, vault, server):
        self.stage, self.clock, self.vault, self.server = stage, clock, vault, server
        self.daemon = harness.Daemon(server)
        self.gate = stage.path('gate')
        self.source = stage.path('source')
        os.mkdir(self.source)
        self.write('first')

    def write(self, text, name='file'):
        with open(os.path.join(self.source, name), 'w') as f:
            f.write(text)

    def policy(self, *words):
        return self.server.run('policy', 'set', *words).ok()

    def gated(self):
        """From now on a backup of the policy waits, at its beginning, until the gate opens."""
        script = self.stage.path('wait')
        with open(script, 'w') as f:
            f.write(f'#!/bin/sh\nwhile [ ! -e {self.gate} ] && [ -e {script} ]; do sleep 0.05; done\n')
        os.chmod(script, 0o700)
        self.server.configure({'agent': {'kdf_memory': '19MiB', 'kdf_passes': 2, 'pack_size': '1MiB'},
                               'hooks': {'wait.pre': script, 'wait.timeout': '10min'}})
        self.policy('--hook', 'wait')

    def open_gate(self):
        open(self.gate, 'w').close()

    def close_gate(self):
        os.unlink(self.gate)

    def jobs(self, *statuses):
        found = self.server.run('jobs').ok().document
        return [j for j in found if not statuses or j['status'] in statuses]

    def wait_jobs(self, count, *statuses, seconds=30):
        """So many jobs have such a status; newest first."""
        with contextlib.suppress(TimeoutError):
            return wait_for(lambda: (lambda j: j if len(j) == count else None)(self.jobs(*statuses)), seconds, 0.05)
        raise AssertionError(f'not {count} jobs {statuses}: {json.dumps(self.jobs(), indent=1)}\n{self.daemon.log_text()}')

    def ended(self, count):
        return self.wait_jobs(count, 'completed', 'completed_with_warnings')

    def quiet(self):
        """Several looks of the daemon pass (it looks every 50 ms) and nothing starts."""
        before = self.jobs()
        time.sleep(0.25)
        assert [j['id'] for j in self.jobs()] == [j['id'] for j in before]

    def process_of(self, job):
        import sqlite3
        with contextlib.closing(sqlite3.connect(f'file:{self.server.home}/state/coffer.db?mode=ro', uri=True)) as db:
            return db.execute('SELECT pid FROM jobs WHERE id = ?', (bytes.fromhex(job['id']),)).fetchone()[0]

    def vault_jobs(self):
        done = self.vault.command('--json', 'jobs', self.vault.folder).ok()
        return {j['id']: j for j in done.document}


@pytest.fixture
def story(stage, clock, clocked_vault, clocked_server):
    one = Story(stage, clock, clocked_vault, clocked_server)
    one.policy('--source', one.source, *TWICE)
    return one


def day(clock):
    return clock.text[:10]


def test_runs_come_when_they_are_due(story):
    clock = story.clock
    story.daemon.start()
    story.quiet()
    assert story.jobs() == []
    clock.advance(hours=9)
    job, = story.ended(1)
    assert job['scheduled'] == job['started'] == f'{day(clock)}T09:00:00Z' and job['type'] == 'backup'
    clock.advance(hours=1)
    story.quiet()
    clock.advance(hours=11, minutes=7)
    jobs = story.ended(2)
    assert jobs[0]['scheduled'] == f'{day(clock)}T21:00:00Z' and jobs[0]['started'] == f'{day(clock)}T21:07:00Z'
    assert [p['selection'] for p in story.server.points()] == ['policy', 'policy']
    known = wait_for(lambda: (lambda v: v if len(v) == 2 else None)(story.vault_jobs()))
    assert {known[j['id']]['status'] for j in jobs} == {'completed'}
    story.daemon.stop()


def test_what_was_missed_is_made_up_for_once(story):
    clock = story.clock
    story.daemon.start().stop()                                    # it has seen the schedule
    assert story.server.run('status').document['problems'] == []
    clock.advance(days=3, hours=12)
    assert 900933 in story.server.run('status').document['problems']  # a schedule that silently does not run
    story.daemon.start()
    job, = story.ended(1)
    assert 900933 not in story.server.run('status').document['problems']
    assert job['scheduled'] == f'{day(clock)}T09:00:00Z' and job['started'] == clock.text
    story.quiet()
    story.daemon.stop()
    story.daemon.start()
    story.quiet()
    story.daemon.stop()
    story.policy('--catch-up', '1h')
    clock.advance(days=2)                                          # three hours after the last run
    story.daemon.start()
    story.quiet()
    assert len(story.jobs()) == 1 and 'was missed, and is older than' in story.daemon.log_text()
    clock.advance(hours=9)
    story.ended(2)
    story.daemon.stop()


def test_a_run_that_is_due_while_another_runs_is_merged(story):
    clock = story.clock
    story.gated()
    story.daemon.start()
    clock.advance(hours=9)
    running, = story.wait_jobs(1, 'running')
    clock.advance(hours=12)
    merged = wait_for(lambda: story.jobs('running')[0]['merged_run'])
    assert merged == f'{day(clock)}T21:00:00Z'
    # Another daemon, while the job runs on: it knows of it and starts none.
    story.daemon.kill()
    story.daemon.start()
    clock.advance(minutes=1)
    story.quiet()
    story.open_gate()
    job, = story.ended(1)
    assert job['id'] == running['id'] and job['scheduled'] == f'{day(clock)}T09:00:00Z'
    clock.advance(minutes=1)
    story.quiet()
    clock.until(f'{day(clock)}T23:00:00Z')
    story.quiet()
    clock.advance(hours=10)
    story.ended(2)
    story.daemon.stop()


def test_a_backup_by_hand_of_other_files_is_waited_for(story):
    clock = story.clock
    other = story.stage.path('other')
    with open(other, 'wb') as f:
        f.write(os.urandom(20 << 20))                              # enough work to be held in
    story.daemon.start()
    by_hand = story.server.spawn('backup', other)
    wait_for(lambda: story.jobs('running'), every=0.001)
    os.kill(by_hand.pid, signal.SIGSTOP)
    assert story.jobs('running')
    clock.advance(hours=9)
    story.quiet()
    clock.advance(minutes=5)
    story.quiet()
    os.kill(by_hand.pid, signal.SIGCONT)
    by_hand.wait(60)
    clock.advance(minutes=1)
    jobs = story.ended(2)
    assert jobs[0]['scheduled'] == f'{day(clock)}T09:00:00Z' and jobs[1]['scheduled'] is None
    assert jobs[0]['started'] >= f'{day(clock)}T09:05:00Z'
    story.daemon.stop()


def test_an_edit_during_a_job_takes_effect_after_it(story):
    clock = story.clock
    more = story.stage.path('more')
    os.mkdir(more)
    story.gated()
    story.daemon.start()
    clock.advance(hours=9)
    story.wait_jobs(1, 'running')
    story.policy('--add-source', more, '--schedule', 'daily 12:00')
    story.open_gate()
    story.ended(1)
    assert story.server.points()[-1]['source'] == [story.source]
    clock.advance(hours=2)                                         # 11:00: not a time of the new schedule
    story.quiet()
    clock.advance(hours=1)
    jobs = story.ended(2)
    assert jobs[0]['scheduled'] == f'{day(clock)}T12:00:00Z'
    assert story.server.points()[-1]['source'] == sorted([story.source, more])
    story.policy('--schedule', 'daily 08:00')                      # its time today is past: it owes nothing
    story.quiet()
    story.server.run('policy', 'pause').ok()
    clock.advance(days=2)
    story.quiet()
    story.server.run('policy', 'resume').ok()
    story.quiet()
    clock.advance(days=1)
    story.ended(3)
    story.daemon.stop()


def test_a_killed_job_is_interrupted_on_both_sides(story):
    story.gated()
    story.daemon.start()
    story.clock.advance(hours=9)
    running, = story.wait_jobs(1, 'running')
    wait_for(lambda: story.vault_jobs().get(running['id'], {}).get('status') == 'running')
    begun = time.monotonic()
    os.kill(story.process_of(running), signal.SIGKILL)
    job, = story.wait_jobs(1, 'interrupted')
    wait_for(lambda: story.vault_jobs()[running['id']]['status'] == 'interrupted')
    assert time.monotonic() - begun < 20                           # no time of the clock passes: the daemon told at once
    assert job['finished'] == story.clock.text
    story.open_gate()
    story.quiet()                                                  # the next run is the schedule's
    story.clock.advance(hours=12)
    story.ended(1)
    story.daemon.stop()


def test_everything_killed_is_interrupted_within_two_minutes(story):
    clock = story.clock
    story.gated()
    story.daemon.start()
    clock.advance(hours=9)
    running, = story.wait_jobs(1, 'running')
    wait_for(lambda: story.vault_jobs().get(running['id'], {}).get('status') == 'running')
    begun = clock.wall
    process = story.process_of(running)
    story.daemon.kill()
    os.kill(process, signal.SIGKILL)
    assert story.wait_jobs(1, 'interrupted')
    while story.vault_jobs()[running['id']]['status'] == 'running':
        assert clock.wall - begun < 120
        clock.advance(10)
        time.sleep(0.22)                                           # a tick of the service
    # The machine comes back: the run is made up for.
    clock.advance(hours=1)
    story.open_gate()
    story.daemon.start()
    job, = story.ended(1)
    assert job['scheduled'] == f'{day(clock)}T09:00:00Z' and job['started'] == clock.text
    story.daemon.stop()


def test_the_vault_learns_later_with_the_true_times(story):
    clock = story.clock
    story.gated()
    story.daemon.start()
    clock.advance(hours=9)
    running, = story.wait_jobs(1, 'running')
    wait_for(lambda: running['id'] in story.vault_jobs())
    story.vault.stop()
    clock.advance(minutes=20)
    os.kill(story.process_of(running), signal.SIGKILL)
    job, = story.wait_jobs(1, 'interrupted')
    clock.advance(hours=2)
    story.vault.start()
    clock.advance(minutes=15)                                      # the longest that it waits before it asks again

    def known():
        clock.advance(20)
        told = story.vault_jobs()[job['id']]
        return told if told['status'] == 'interrupted' and told['finished'] == job['finished'] else None
    told = wait_for(known, every=0.3)
    assert told['started'] == running['started'] == f'{day(clock)}T09:00:00Z'
    story.daemon.stop()


def test_cancel_and_stop(story):
    clock = story.clock
    story.gated()
    story.daemon.start()
    clock.advance(hours=9)
    running, = story.wait_jobs(1, 'running')
    story.server.run('cancel', running['id'][:8]).ok()
    story.wait_jobs(1, 'cancelled')
    clock.advance(minutes=1)
    story.quiet()                                                  # somebody did not want it
    clock.advance(hours=12)
    story.wait_jobs(1, 'running')
    story.daemon.stop()                                            # the service is stopped: the job, too
    story.wait_jobs(2, 'cancelled')
    story.open_gate()
    clock.advance(minutes=30)
    story.daemon.start()                                           # and its run is made up for
    job, = story.ended(1)
    assert job['scheduled'] == f'{day(clock)}T21:00:00Z'
    story.daemon.stop()


def test_cancel_keeps_what_was_sent(story, rng):
    for i in range(24):
        with open(os.path.join(story.source, f'large{i}'), 'wb') as f:
            f.write(rng.randbytes(2 << 20))
    story.server.run('throttle', 'set', '--other', '80Mbit').ok()  # slow enough to be cancelled half way
    story.daemon.start()
    story.clock.advance(hours=9)
    running, = story.wait_jobs(1, 'running')
    wait_for(lambda: story.vault.committed_bytes() > 6 << 20)
    progress = wait_for(lambda: (lambda p: p if p['bytes_sent'] > 0 else None)(story.jobs()[0]['progress']))
    assert progress['phase'] and progress['item'].startswith(story.source)
    story.server.run('cancel', running['id']).ok()
    story.wait_jobs(1, 'cancelled')
    kept = story.vault.committed_bytes()
    assert kept >= 6 << 20
    story.server.run('throttle', 'off').ok()
    summary = story.server.backup().ok().summary
    assert summary['bytes_stored'] < (48 << 20) - kept + (4 << 20)
    story.daemon.stop()


def test_watching(story):
    story.gated()
    story.daemon.start()
    story.clock.advance(hours=9)
    running, = story.wait_jobs(1, 'running')
    watch = story.server.spawn('jobs', '--watch')
    line = watch.stdout.readline()
    assert json.loads(line)[0]['status'] == 'running'
    text = story.stage.spawn(story.server.argv('jobs', '--watch', json=False), stdout=subprocess.PIPE,
                             env={**os.environ, **story.server.env()})
    assert running['id'][:12].encode() in text.stdout.readline()
    story.open_gate()
    out, _ = watch.communicate(timeout=30)
    assert json.loads(out.splitlines()[-1])[0]['status'] == 'completed'
    assert b'completed' in text.communicate(timeout=30)[0]
    story.daemon.stop()


def test_a_run_that_cannot_begin_is_recorded(story):
    story.daemon.start()
    with open(os.path.join(story.server.home, 'etc', 'agent.conf'), 'a') as f:
        f.write('nonsense = 1\n')
    story.clock.advance(hours=9)
    wait_for(lambda: re.search('backup due at .*: exit status 2', story.daemon.log_text()))
    story.server.configure({'agent': {'kdf_memory': '19MiB'}})
    job, = story.wait_jobs(1, 'failed')
    assert job['error']['code'] == 900929 and job['scheduled'] == story.clock.text
    story.clock.advance(hours=12)
    story.ended(1)
    story.daemon.stop()


def test_one_daemon_for_each_state_folder(story):
    story.daemon.start()
    second = story.stage.run([story.daemon.program, '--json', '--home', story.server.home], env=story.server.env())
    assert second.status == 1 and second.code == 900928
    story.daemon.stop()


class Listener:
    """The service manager's end of sd_notify."""

    def __init__(self, stage):
        self.path = stage.path('notify')
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.setblocking(False)
        stage.exits.callback(self.socket.close)
        self.lines = []

    def heard(self, word):
        with contextlib.suppress(BlockingIOError):
            while True:
                self.lines += self.socket.recv(65536).decode().split('\n')
        return sum(line.startswith(word) for line in self.lines)


def test_the_service_manager_is_told(stage, vault, server):
    """With the real clock: how long the watchdog is waited for is not the test's."""
    listener = Listener(stage)
    daemon = harness.Daemon(server)
    daemon.start(env={'NOTIFY_SOCKET': listener.path, 'WATCHDOG_USEC': '300000'})
    wait_for(lambda: listener.heard('READY=1'))
    assert not listener.heard('STOPPING=1')
    wait_for(lambda: listener.heard('WATCHDOG=1') >= 4, 5)
    assert listener.heard('STATUS=')
    daemon.stop()
    assert listener.heard('STOPPING=1') == 1 and listener.heard('READY=1') == 1
    order = [line for line in listener.lines if line in ('READY=1', 'STOPPING=1')]
    assert order == ['READY=1', 'STOPPING=1']


def test_at_rest_it_is_small_and_sleeps(stage, vault, server):
    server.run('policy', 'set', '--source', stage.path(), '--schedule', 'daily 09:00', '--time-zone', 'UTC').ok()
    daemon = harness.Daemon(server).start()

    def status(name):
        with open(f'/proc/{daemon.process.pid}/status') as f:
            return next(int(line.split()[1]) for line in f if line.startswith(name + ':'))
    # The first talk with the vault comes at once; then it sleeps.
    wait_for(lambda: not os.path.exists(f'/proc/{daemon.process.pid}/task/{daemon.process.pid}/children') or
             not open(f'/proc/{daemon.process.pid}/task/{daemon.process.pid}/children').read())
    time.sleep(0.3)
    switches = status('voluntary_ctxt_switches')
    time.sleep(2)
    assert status('voluntary_ctxt_switches') - switches <= 2
    print(f'cofferd at rest: {status("VmRSS")} kB resident, peak {status("VmHWM")} kB')
    assert status('VmRSS') <= 20 * 1024
    daemon.stop()


def test_proof_comes_by_itself(story):
    """A drill and a share of everything read back, as often as the policy says, and not before there is a point."""
    clock = story.clock
    story.policy('--drill', 'weekly')
    story.daemon.start()
    story.quiet()
    assert story.jobs() == []
    clock.advance(hours=9)

    def types(*wanted):
        """these jobs have ended well"""
        jobs = story.jobs('completed')
        return jobs if sorted(j['type'] for j in jobs) == sorted(wanted) else None
    wait_for(lambda: types('backup', 'drill', 'verify'), 30, 0.05)
    proved = story.server.run('status').document['last_drill']
    assert proved['files'] == 1 and proved['failed'] == 0 and proved['time'] == clock.text, proved
    clock.advance(days=6)
    wait_for(lambda: [j['type'] for j in story.jobs('completed')].count('backup') == 2, 30, 0.05)
    assert [j['type'] for j in story.jobs()].count('drill') == 1
    clock.advance(days=1, minutes=1)
    wait_for(lambda: [j['type'] for j in story.jobs('completed')].count('drill') == 2, 30, 0.05)
    assert story.server.run('status').document['last_drill']['time'][:10] == day(clock)
    story.daemon.stop()
