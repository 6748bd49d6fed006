"""Installing: what `meson install` puts where, the units that systemd gets, and a newer version over an older one."""
import contextlib
import glob
import hashlib
import os
import re
import shutil
import sqlite3
import subprocess

import pytest

import harness
from harness import wait_for

# The state folder's database as the first version made it.
FIRST_SCHEMA = """
CREATE TABLE jobs(number INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, type TEXT NOT NULL, status TEXT NOT NULL,
 started INTEGER NOT NULL, finished INTEGER, pid INTEGER NOT NULL, pid_started INTEGER NOT NULL, boot TEXT NOT NULL, point_id BLOB,
 bytes INTEGER NOT NULL DEFAULT 0, bytes_sent INTEGER NOT NULL DEFAULT 0, warnings INTEGER NOT NULL DEFAULT 0,
 error TEXT, reported INTEGER NOT NULL DEFAULT 0);
CREATE TABLE job_warnings(job BLOB NOT NULL REFERENCES jobs(id) ON DELETE CASCADE, number INTEGER NOT NULL,
 path BLOB NOT NULL, code INTEGER NOT NULL, err_no INTEGER NOT NULL, message TEXT NOT NULL,
 PRIMARY KEY(job, number)) WITHOUT ROWID;
CREATE TABLE head(one INTEGER PRIMARY KEY CHECK(one = 1), id BLOB NOT NULL, counter INTEGER NOT NULL, time INTEGER NOT NULL);
CREATE TABLE settings(name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 1;
"""


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """A root folder that was installed into, as a package is made; gives (root, prefix, install again)."""
    if not os.path.exists(os.path.join(harness.BUILD, 'build.ninja')):
        pytest.skip('needs the build folder itself, not a copy of its programs')
    root = str(tmp_path_factory.mktemp('root'))

    def install():
        subprocess.run(['meson', 'install', '-C', harness.BUILD, '--no-rebuild', '--quiet', '--destdir', root], check=True,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    install()
    found = glob.glob(root + '/**/bin/coffer', recursive=True)
    assert len(found) == 1, found
    yield root, os.path.dirname(os.path.dirname(found[0])), install
    shutil.rmtree(root)


def test_everything_is_in_its_place(installed):
    root, prefix, _ = installed
    files = {os.path.relpath(os.path.join(where, name), prefix) for where, _, names in os.walk(prefix) for name in names}
    wanted = {'bin/coffer', 'bin/cofferd', 'sbin/coffer-vault', 'share/man/man1/coffer.1', 'share/man/man8/cofferd.8',
              'share/man/man8/coffer-vault.8', 'share/man/man5/coffer.conf.5', 'share/man/man7/coffer-errors.7',
              'share/bash-completion/completions/coffer', 'share/bash-completion/completions/cofferd',
              'share/bash-completion/completions/coffer-vault', 'lib/systemd/system/cofferd.service',
              'lib/systemd/system/coffer-vault@.service', 'share/coffer/hooks/sqlite-dump', 'share/coffer/hooks/postgresql-dump'}
    assert wanted <= files, wanted - files
    assert not [f for f in files if 'test' in f], files            # nothing of the tests is installed
    for name in 'bin/coffer', 'bin/cofferd', 'sbin/coffer-vault':
        path = os.path.join(prefix, name)
        done = subprocess.run([path, '--version'], stdout=subprocess.PIPE, check=True)
        assert re.fullmatch(rb'coffer\S* \d+\.\d+\.\d+\n', done.stdout)
        with open(path, 'rb') as f:
            assert b'COFFER_TEST_CLOCK' not in f.read()
    assert os.access(os.path.join(prefix, 'share/coffer/hooks/sqlite-dump'), os.X_OK)


UNITS = [('cofferd.service', 'cofferd.service', 40), ('coffer-vault@.service', 'coffer-vault@srv-coffer.service', 25)]


@pytest.mark.parametrize('file, name, exposure', UNITS)
def test_units(installed, stage, file, name, exposure):
    """exposure: tenths of systemd's scale, of which 0 is nothing to gain for an attacker and 100 everything."""
    root, prefix, _ = installed
    with open(os.path.join(prefix, 'lib/systemd/system', file)) as f:
        text = f.read()
    assert '@' not in re.sub(r'#.*|@(system-service|clock|module|mount|obsolete|raw-io|reboot|swap|privileged|resources)\b', '', text)
    program = re.search(r'^ExecStart=(\S+)', text, re.M).group(1)
    assert os.access(root + program, os.X_OK), f'{program} is not what was installed'
    unit = stage.path(name)                                        # verify wants the program where the unit says it is
    with open(unit, 'w') as f:
        f.write(text.replace(program, root + program))
    done = subprocess.run(['systemd-analyze', 'verify', '--man=no', unit], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0 and not [line for line in done.stdout.decode().splitlines() if os.path.basename(file)[:8] in line], \
        done.stdout.decode()
    done = subprocess.run(['systemd-analyze', 'security', '--offline=true', f'--threshold={exposure}', unit],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout.decode()[-3000:]
    print(done.stdout.decode().splitlines()[-1])


def test_the_services_capabilities_are_enough(stage, vault, server):
    """What cofferd.service leaves of root's rights: every file is read, whoever owns it, and it cannot write them."""
    if os.geteuid() != 0:
        pytest.skip('needs root to give rights up')
    with open(os.path.join(harness.TOP, 'share/systemd/cofferd.service.in')) as f:
        kept = re.search(r'^CapabilityBoundingSet=(.*)', f.read(), re.M).group(1).lower().split()
    source = stage.path('source')
    os.mkdir(source)
    for number, (owner, mode) in enumerate([(0, 0o600), (1000, 0o600), (65534, 0), (1000, 0o200)]):
        path = os.path.join(source, f'file{number}')
        with open(path, 'w') as f:
            f.write('contents')
        os.chown(path, owner, owner)
        os.chmod(path, mode)
    os.mkdir(os.path.join(source, 'closed'), 0)
    os.chown(os.path.join(source, 'closed'), 1000, 1000)
    words = ['setpriv', '--bounding-set=-all,' + ','.join('+' + c.replace('cap_', '') for c in kept), '--no-new-privs']
    summary = server.backup(source, wrapper=words).ok().summary    # exit status 0: not one warning
    assert summary['files'] == 4
    probe = stage.run([*words, '/bin/sh', '-c', f'echo x >{source}/file2'])
    assert probe.status != 0, 'these are all of the rights of root'


def digest(*folders):
    out = {}
    for folder in folders:
        for where, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(where, name)
                with open(path, 'rb') as f:
                    out[path] = hashlib.sha256(f.read()).hexdigest()
    return out


def make_first(path):
    """Turns the state folder's database into one of the first version, with what that one had."""
    old = path + '.old'
    with contextlib.closing(sqlite3.connect(old)) as db, db:
        db.executescript(FIRST_SCHEMA)
        db.execute('ATTACH ? AS new', (path,))
        for table in 'jobs', 'job_warnings', 'head', 'settings':
            names = ', '.join(r[1] for r in db.execute(f'PRAGMA main.table_info({table})'))
            db.execute(f'INSERT INTO main.{table}({names}) SELECT {names} FROM new.{table}')
        db.commit()
    for end in '', '-wal', '-shm':
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path + end)
    os.rename(old, path)


def test_a_newer_version_over_an_older_one(installed, stage, rng):
    root, prefix, install = installed
    vault, agent = harness.Vault(stage), harness.Agent(stage)
    vault.program, agent.program = os.path.join(prefix, 'sbin/coffer-vault'), os.path.join(prefix, 'bin/coffer')
    daemon = harness.Daemon(agent)
    daemon.program = os.path.join(prefix, 'bin/cofferd')
    vault.init().start()
    agent.register(vault.credentials()).ok()
    source = harness.make_tree(stage.path('source'), rng)
    first = agent.backup(source).ok().summary
    agent.configure({'agent': {'kdf_memory': '19MiB', 'kdf_passes': 2, 'pack_size': '2MiB'}})
    vault.stop()
    make_first(os.path.join(agent.home, 'state', 'coffer.db'))
    before = digest(agent.home, vault.folder)
    for unit in 'cofferd.service', 'coffer-vault@.service':        # an old one is replaced
        with open(os.path.join(prefix, 'lib/systemd/system', unit), 'a') as f:
            f.write('# old\n')
    install()
    assert digest(agent.home, vault.folder) == before              # nothing of what is kept was touched
    with open(os.path.join(prefix, 'lib/systemd/system/cofferd.service')) as f:
        assert '# old' not in f.read()
    vault.start()
    daemon.start()
    job, = agent.run('jobs').ok().document
    assert job['id'] == first['job_id'] and job['status'] == 'completed' and job['scheduled'] is None
    assert [p['id'] for p in agent.points()] == [first['point_id']]
    second = agent.backup(source).ok().summary
    assert second['base_point'] == first['point_id'] and second['files_unchanged'] == first['files'] and second['bytes_read'] == 0
    agent.verify(second['point_id']).ok()
    agent.run('policy', 'set', '--source', source, '--schedule', 'daily 09:00', '--time-zone', 'UTC').ok()
    wait_for(lambda: 'daily 09:00' in daemon.log_text())           # the daemon that was installed looks at it
    daemon.stop()
