"""What a backup says and does besides storing: dry runs, fields for scripts, files that cannot be read, other mounts."""
import calendar
import json
import os
import subprocess

import harness
from harness import DONE, FAILED, USAGE, WARNINGS

FIELDS = {'job_id', 'point_id', 'base_point', 'scan', 'scan_reason', 'status', 'files', 'directories', 'bytes', 'files_new',
          'files_changed', 'files_unchanged', 'bytes_read', 'bytes_stored', 'warnings', 'seconds'}


def test_summary_has_the_fields_that_scripts_rely_on(vault, server, stage, rng):
    source = harness.make_tree(stage.path('source'), rng)
    first = server.backup(source).ok().summary
    assert FIELDS <= set(first), FIELDS - set(first)
    assert first['base_point'] is None and first['scan'] == 'full' and first['status'] == 'completed'
    assert first['files'] == first['files_new'] == sum(len(f) for _, _, f in os.walk(source))
    second = server.backup(source).ok().summary
    assert second['base_point'] == first['point_id']
    assert second['files_unchanged'] == first['files'] and second['bytes_read'] == 0
    assert second['bytes_stored'] < 4096  # folders above the source may have changed by other hands


def test_dry_run_sends_and_records_nothing(vault, server, stage, rng):
    source = harness.make_tree(stage.path('source'), rng)
    said = server.backup(source, '--dry-run').ok().summary
    assert said['status'] == 'dry_run' and said['point_id'] is None
    assert said['files_new'] == said['files'] > 0 and said['bytes_stored'] > 0
    assert server.points() == [] and vault.packs() == []
    real = server.backup(source).ok().summary
    assert real['files_new'] == said['files_new']
    again = server.backup(source, '--dry-run').ok().summary
    assert again['bytes_read'] == 0 and again['files_unchanged'] == real['files']
    assert len(server.points()) == 1
    # Whatever a dry run left behind, the next backup is whole.
    harness.change_tree(source, rng)
    server.backup(source, '--dry-run').ok()
    server.backup(source).ok()
    server.restore('latest', to=stage.path('back')).ok()
    harness.assert_same_tree(source, harness.restored(stage.path('back'), source))


def test_no_path_and_bad_dates_are_refused(server, stage):
    assert server.backup().status == USAGE
    assert server.backup('/etc/hostname', '--retain-until', 'tomorrow').status == USAGE
    assert server.backup('/etc/hostname', '--retain-until', '2020-01-01').status == USAGE
    missing = server.backup(stage.path('no', 'such'))
    assert missing.status == FAILED and missing.code == 900702 and 'no/such' in missing.error['message']


def test_retain_until_is_kept_by_the_vault(vault, server, stage, rng):
    source = harness.make_tree(stage.path('source'), rng, files=3)
    server.backup(source, '--retain-until', '2031-05-06').ok()
    assert vault.query('SELECT retain_until FROM points')[0][0] == calendar.timegm((2031, 5, 6, 0, 0, 0))


def test_unreadable_files_are_warnings_with_their_familiar_code(vault, stage, rng):
    """An ordinary user's backup: what may not be read is named, the rest is stored, and it is tried again."""
    harness.need_ordinary_user()
    source = harness.make_tree(stage.path('source'), rng, files=5)
    secret = os.path.join(source, 'secret')
    with open(secret, 'w') as f:
        f.write('x' * 1000)
    os.chmod(secret, 0)
    subprocess.run(['chown', '-R', '65534:65534', stage.folder], check=True)
    os.chown(secret, 0, 0)
    for folder in (stage.folder, os.path.dirname(stage.folder)):
        os.chmod(folder, 0o755)
    agent = harness.Agent(stage, 'plain')
    agent.register(vault.credentials()).ok()
    subprocess.run(['chown', '-R', '65534:65534', stage.folder], check=True)
    os.chown(secret, 0, 0)
    as_nobody = ('setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups')
    result = agent.backup(source, wrapper=as_nobody).ok(WARNINGS)
    assert result.summary['warnings'] == 1 and result.summary['status'] == 'completed_with_warnings'
    job = agent.run('jobs', result.summary['job_id']).ok().document
    job = job[0] if isinstance(job, list) else job
    warning = job['warnings'][0] if isinstance(job['warnings'], list) else None
    assert warning and warning['code'] == 900792 and warning['path'].endswith('/secret'), json.dumps(job)
    # Readable now: the next run stores it although it looks unchanged.
    os.chown(secret, 65534, 65534)
    os.chmod(secret, 0o600)
    agent.backup(source, wrapper=as_nobody).ok(DONE)
    agent.restore('latest', to=stage.path('back')).ok(DONE, WARNINGS)
    with open(os.path.join(harness.restored(stage.path('back'), source), 'secret')) as f:
        assert f.read() == 'x' * 1000


def test_damaged_base_point_in_the_vault_makes_the_map_go_whole(vault, server, stage, rng):
    """A delta map whose base cannot be read there is sent whole: the backup does not fail for it."""
    source = harness.make_tree(stage.path('source'), rng, files=400)
    for _ in range(2):
        server.backup(source).ok()
        harness.change_tree(source, rng)
    folder = os.path.join(vault.objects, 'servers', vault.servers()[0], 'points')
    newest = os.path.join(folder, sorted(os.listdir(folder))[-1])
    size = os.path.getsize(newest)
    with open(newest, 'r+b') as f:
        f.seek(size // 2)
        byte = f.read(1)
        f.seek(size // 2)
        f.write(bytes([byte[0] ^ 1]))
    server.backup(source).ok(DONE, WARNINGS)
    listed = server.run('points').ok(WARNINGS).document  # the damaged one is listed, and said to be
    assert [p['status'] for p in listed] == ['completed', 'damaged', 'completed']
    server.restore('latest', to=stage.path('back')).ok()
    harness.assert_same_tree(source, harness.restored(stage.path('back'), source))


def test_cancelled_backup_keeps_what_was_sent(vault, server, stage, rng):
    source = stage.path('source')
    os.mkdir(source)
    with open(os.path.join(source, 'large'), 'wb') as f:
        f.write(os.urandom(96 << 20))
    process = server.spawn('backup', source)
    harness.wait_for(lambda: len(vault.packs()) >= 3 or process.poll() is not None)
    cancelled = process.poll() is None
    if cancelled:
        process.send_signal(2)
    status = process.wait(60)
    assert status == (130 if cancelled else 0)
    sent = vault.committed_bytes()
    again = server.backup(source).ok().summary
    if cancelled:
        assert again['bytes_stored'] < (97 << 20) - sent + (4 << 20), (sent, again)
