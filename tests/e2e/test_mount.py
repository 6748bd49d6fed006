"""Recovery points as folders: what is seen, what tools make of it, and how a mount ends."""
import contextlib
import ctypes
import errno
import json
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import tempfile
import time

import pytest

import harness
from harness import DONE, FAILED, USAGE, WARNINGS, BUSY, wait_for

pytestmark = pytest.mark.skipif(not os.path.exists('/dev/fuse'), reason='no /dev/fuse here')


def mounted(folder):
    with open('/proc/self/mountinfo') as f:
        return any(line.split()[4] == folder for line in f)


class Mount:
    """A mount that is gone, with its process, when the test ends."""

    def __init__(self, stage, agent, *args, folder=None, as_user=None, **kw):
        self.stage, self.agent = stage, agent
        self.folder = folder or stage.path(f'mnt{len(os.listdir(stage.folder))}')
        os.makedirs(self.folder, exist_ok=True)
        stage.exits.callback(self.clean)
        self.pid = None
        result = agent.run('mount', *args, self.folder, **kw).ok()
        self.document = result.documents[0]
        self.pid = self.document['pid']

    def clean(self):
        if mounted(self.folder):
            subprocess.run(['umount', '-l', self.folder], check=False)
        if self.pid:
            with contextlib.suppress(ProcessLookupError, TimeoutError):
                wait_for(lambda: not self.alive(), 10)
            if self.alive():
                os.kill(self.pid, signal.SIGKILL)

    def alive(self):
        try:
            with open(f'/proc/{self.pid}/stat') as f:
                return f.read().rsplit(')', 1)[1].split()[0] != 'Z'
        except OSError:
            return False

    def path(self, *names):
        return os.path.join(self.folder, *[n.lstrip('/') for n in names])

    def end(self):
        self.agent.run('unmount', self.folder).ok()
        self.wait_end()

    def wait_end(self, seconds=15):
        wait_for(lambda: not self.alive(), seconds)
        assert not mounted(self.folder)

    def job(self):
        rows = [j for j in self.agent.run('jobs').ok().document if j['type'] == 'mount']
        return next(j for j in rows if j['id'] == self.document['job_id'])


def rich_tree(folder):
    """Every kind of object, with all metadata that root can give."""
    os.makedirs(folder + '/deep/er/still', exist_ok=True)
    rng = random.Random(11)
    with open(folder + '/text', 'w') as f:
        f.write('needle in a text\n' * 5000)
    with open(folder + '/random', 'wb') as f:
        f.write(rng.randbytes(3 << 20))
    with open(folder + '/large', 'wb') as f:
        f.write(rng.randbytes(12 << 20))
    open(folder + '/empty', 'w').close()
    os.symlink('text', folder + '/link')
    os.symlink('/nowhere/at/all', folder + '/dangling')
    os.link(folder + '/random', folder + '/deep/hard')
    os.link(folder + '/random', folder + '/deep/er/harder')
    os.mkfifo(folder + '/fifo')
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(folder + '/socket')
    with open(folder + '/sparse', 'wb') as f:
        f.seek(1 << 20)
        f.write(b'island one' * 1000)
        f.seek(9 << 20)
        f.write(rng.randbytes(100000))
        f.truncate(20 << 20)
    if os.geteuid() == 0:
        os.mknod(folder + '/char', 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(folder + '/block', 0o600 | stat.S_IFBLK, os.makedev(7, 200))
        os.chown(folder + '/text', 1234, 4321)
        subprocess.run(['setfacl', '-m', 'u:1234:rw,g:4321:r', folder + '/text'], check=True)
        subprocess.run(['setfacl', '-d', '-m', 'u:1234:rwx', folder + '/deep'], check=True)
        os.setxattr(folder + '/text', 'trusted.coffer', b'\x00secret\xff')
    os.setxattr(folder + '/text', 'user.note', b'a note')
    os.setxattr(folder + '/deep', 'user.big', bytes(range(256)) * 12)
    os.chmod(folder + '/deep/er', 0o2751)
    for i in range(700):
        with open(folder + f'/deep/er/still/entry-{i:05d}', 'w') as f:
            f.write(f'{i}\n' * (i % 7))
    for i, (where, names, files) in enumerate(os.walk(folder, topdown=False)):
        for name in [*names, *files]:
            os.utime(os.path.join(where, name), ns=(10**18 + 1, 10**18 + 123456789 + i), follow_symlinks=False)


@pytest.fixture(scope='module')
def common():
    """The stage of the vault that the tests below share."""
    folder = tempfile.mkdtemp(prefix='coffer-e2e-', dir=os.environ.get('COFFER_E2E_DIR', '/var/tmp'))
    os.chmod(folder, 0o755)
    stage = harness.Stage(folder)
    try:
        yield stage
    finally:
        stage.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope='module')
def keeper(common):
    return harness.Vault(common).init().start()


@pytest.fixture(scope='module')
def backed(common, keeper):
    """One point with every kind of object."""
    agent = harness.Agent(common, 'rich')
    agent.register(keeper.credentials()).ok()
    source = common.path('rich')
    rich_tree(source)
    agent.backup(source).ok(DONE, WARNINGS)
    return keeper, agent, source


@pytest.fixture(scope='module')
def small(common, keeper):
    """Two points; whoever changes something puts it back, and newer points may be there."""
    vault, agent = keeper, harness.Agent(common)
    agent.register(vault.credentials()).ok()
    source = common.path('source')
    harness.make_tree(source, random.Random(3), files=12)
    with open(source + '/data', 'wb') as f:
        f.write(random.Random(4).randbytes(8 << 20))
    agent.backup(source).ok()
    with open(source + '/second', 'w') as f:
        f.write('of the second point\n')
    agent.backup(source).ok()
    return vault, agent, source


def walk_set(folder):
    folder = os.fsencode(folder)
    return {os.path.relpath(os.path.join(w, n), folder) for w, d, f in os.walk(folder) for n in d + f}


def test_everything_is_there(stage, backed):
    vault, agent, source = backed
    mount = Mount(stage, agent, 'latest')
    shown = mount.path(source)
    assert walk_set(shown) == walk_set(source)
    for path in walk_set(source):
        a, b = os.lstat(os.path.join(os.fsencode(source), path)), os.lstat(os.path.join(os.fsencode(shown), path))
        assert (a.st_mode, a.st_uid, a.st_gid, a.st_mtime_ns) == (b.st_mode, b.st_uid, b.st_gid, b.st_mtime_ns), path
        if not stat.S_ISDIR(a.st_mode):
            assert (a.st_size, a.st_nlink, a.st_rdev) == (b.st_size, b.st_nlink, b.st_rdev), path
    inodes = {os.stat(mount.path(source, n)).st_ino for n in ('random', 'deep/hard', 'deep/er/harder')}
    assert len(inodes) == 1 and inodes != {os.stat(mount.path(source, 'large')).st_ino}
    # Attributes, ACLs among them, byte for byte.
    for name in ('text', 'deep', 'empty'):
        of = {n: os.getxattr(os.path.join(source, name), n) for n in os.listxattr(os.path.join(source, name))}
        assert of == {n: os.getxattr(mount.path(source, name), n) for n in os.listxattr(mount.path(source, name))}
    with pytest.raises(OSError) as missing:
        os.getxattr(mount.path(source, 'text'), 'user.none')
    assert missing.value.errno == errno.ENODATA
    assert os.readlink(mount.path(source, 'link')) == 'text'
    # Holes.
    fd = os.open(mount.path(source, 'sparse'), os.O_RDONLY)
    at = os.lseek(fd, 0, os.SEEK_DATA)
    assert 0 < at <= 1 << 20 and os.lseek(fd, at, os.SEEK_HOLE) < 9 << 20
    assert os.lseek(fd, 10 << 20, os.SEEK_HOLE) == 10 << 20
    with pytest.raises(OSError) as none:
        os.lseek(fd, 15 << 20, os.SEEK_DATA)
    assert none.value.errno == errno.ENXIO
    os.close(fd)
    assert os.stat(mount.path(source, 'sparse')).st_blocks * 512 < 2 << 20
    # Nothing can be written.
    for attempt in (lambda: open(mount.path('new'), 'w'), lambda: os.unlink(mount.path(source, 'text')),
                    lambda: os.chmod(mount.path(source, 'text'), 0)):
        with pytest.raises(OSError) as refused:
            attempt()
        assert refused.value.errno == errno.EROFS
    # Any place of a large file, and past its end.
    rng = random.Random(5)
    with open(os.path.join(source, 'large'), 'rb') as a, open(mount.path(source, 'large'), 'rb') as b:
        size = os.fstat(a.fileno()).st_size
        for _ in range(60):
            at, length = rng.randrange(size + 100000), rng.randrange(1, 300000)
            assert os.pread(a.fileno(), length, at) == os.pread(b.fileno(), length, at)
    vfs = os.statvfs(mount.folder)
    assert vfs.f_files >= 700 and vfs.f_bavail == 0
    mount.end()
    assert mount.job()['status'] == 'completed'


def test_tools_work_on_it(stage, backed):
    vault, agent, source = backed
    with contextlib.closing(sqlite3.connect(source + '/db.sqlite')) as db, db:
        db.execute('CREATE TABLE t(x)')
        db.executemany('INSERT INTO t VALUES(?)', [(i,) for i in range(20000)])
    agent.backup(source).ok(DONE, WARNINGS)
    mount = Mount(stage, agent, 'latest')
    shown = mount.path(source)
    harness.assert_same_tree(source, shown)
    flags = '-aHAX' if os.geteuid() == 0 else '-aH'
    stage.tool('rsync', flags, '--sparse', '--no-specials', '--exclude', 'large', shown + '/', stage.path('rsync') + '/')
    stage.tool('cp', '-a', shown, stage.path('cp'))
    harness.assert_same_tree(source, stage.path('cp'))
    assert os.stat(stage.path('cp') + '/deep/hard').st_nlink == 3
    assert os.stat(stage.path('cp') + '/sparse').st_blocks * 512 < 4 << 20
    packed = stage.tool('tar', '-C', shown, '-cf', '-', '--exclude', 'large', '--exclude', 'socket', '.')
    os.mkdir(stage.path('tar'))
    stage.tool('tar', '-C', stage.path('tar'), '-xf', '-', input=packed)
    assert os.stat(stage.path('tar') + '/random').st_nlink == 3
    found = stage.tool('grep', '-rl', '--exclude=large', '-D', 'skip', 'needle in', shown)
    assert found.decode().split() == [shown + '/text']
    with contextlib.closing(sqlite3.connect(f'file:{shown}/db.sqlite?immutable=1', uri=True)) as db:
        assert db.execute('SELECT count(*), sum(x) FROM t').fetchone() == (20000, 199990000)
    # A backup goes on meanwhile.
    with open(source + '/later', 'w') as f:
        f.write('later\n')
    agent.backup(source).ok(DONE, WARNINGS)
    assert not os.path.exists(mount.path(source, 'later'))
    mount.end()


def ways(mount, agent):
    yield 'unmount', lambda: agent.run('unmount', mount.folder).ok()
    yield 'fusermount', lambda: subprocess.run(['fusermount3', '-u', mount.folder], check=True)
    yield 'sigterm', lambda: os.kill(mount.pid, signal.SIGTERM)
    yield 'cancel', lambda: agent.run('cancel', mount.document['job_id']).ok()


def test_every_way_to_end(stage, small):
    vault, agent, source = small
    folder = stage.path('ways')
    for how in ('unmount', 'fusermount', 'sigterm', 'cancel'):
        end_it(stage, vault, agent, source, folder, how)


def end_it(stage, vault, agent, source, folder, how):
    mount = Mount(stage, agent, 'latest', folder=folder)
    assert mount.job()['status'] == 'running'
    lease = vault.query('SELECT kind FROM read_leases')
    assert lease == [('mount',)]
    assert agent.run('mount', 'latest', mount.folder).code == 900820
    with open(mount.path(source, 'second')) as f:
        assert agent.run('unmount', mount.folder).status == BUSY
        assert f.read() == 'of the second point\n'
    dict(ways(mount, agent))[how]()
    mount.wait_end()
    assert mount.job()['status'] == 'completed' and not os.listdir(mount.folder)
    assert vault.query('SELECT count(*) FROM read_leases') == [(0,)]
    assert agent.run('unmount', mount.folder).code == 900819


def test_sigkill_leaves_a_stale_mount_that_is_cleaned(stage, small):
    vault, agent, source = small
    mount = Mount(stage, agent, 'latest')
    os.kill(mount.pid, signal.SIGKILL)
    wait_for(lambda: not mount.alive(), 10)
    with pytest.raises(OSError) as gone:
        os.statvfs(mount.folder)
    assert gone.value.errno == errno.ENOTCONN
    refused = agent.run('mount', 'latest', mount.folder)
    assert refused.code == 900820 and refused.error['reason'] == 'stale' and 'coffer unmount' in refused.error['message']
    assert agent.run('unmount', mount.folder).ok().document['stale']
    mount.wait_end()
    assert mount.job()['status'] == 'interrupted'
    again = Mount(stage, agent, 'latest', folder=mount.folder)
    assert os.path.exists(again.path(source, 'second'))
    again.end()


def test_unmounts_itself_when_idle(stage, small):
    vault, agent, source = small
    mount = Mount(stage, agent, 'latest', '--idle', '1s')
    started = time.monotonic()
    with open(mount.path(source, 'second')):                # open, and nothing asked of it: it stays
        time.sleep(2)
        assert mounted(mount.folder) and mount.alive()
    mount.wait_end(20)
    assert time.monotonic() - started > 2
    assert mount.job()['status'] == 'completed'


def test_all_points(stage, small):
    vault, agent, source = small
    mount = Mount(stage, agent, '--all')
    points = agent.points()
    names = sorted(os.listdir(mount.folder))
    count = len(points)
    assert len(names) == count + 1 and names[-1] == 'latest' and names[0][:4] == points[-1]['time'][:4]
    assert os.readlink(mount.path('latest')) == names[-2]
    assert not os.path.exists(mount.path(names[0], source, 'second'))
    with open(mount.path('latest', source, 'second')) as f:
        assert f.read() == 'of the second point\n'
    harness.assert_same_tree(source, mount.path('latest', source))
    a, b = (os.stat(mount.path(n, source, 'data')).st_ino for n in names[:2])
    assert a != b, 'two points, two files'
    time.sleep(1)                                           # the third has a second, so a name, of its own
    agent.backup(source).ok()

    def shown():
        """the third point"""
        return len(os.listdir(mount.folder)) == count + 2
    wait_for(shown, 20, 0.2)
    held = [len(points) for (points,) in vault.query('SELECT points FROM read_leases')]
    assert max(held) == (count + 1) * 32        # a killed mount's lease may still be there
    mount.end()


def test_the_vault_may_go_and_come_back(stage, small):
    vault, agent, source = small
    mount = Mount(stage, agent, 'latest')
    assert os.path.exists(mount.path(source, 'data'))
    vault.kill()
    reader = stage.spawn(['sha256sum', mount.path(source, 'data')], stdout=subprocess.PIPE)
    time.sleep(1)
    vault.start()
    out, _ = reader.communicate(timeout=60)
    assert reader.returncode == 0
    assert out.split()[0] == stage.tool('sha256sum', source + '/data').split()[0]
    mount.end()


def test_patience_ends_with_an_error_and_it_works_again(stage, small):
    vault, agent, source = small
    mount = Mount(stage, agent, 'latest', '--patience', '1s')
    assert os.path.exists(mount.path(source, 'data'))
    vault.kill()
    try:
        with pytest.raises(OSError) as away:
            with open(mount.path(source, 'data'), 'rb') as f:
                f.read()
        assert away.value.errno == errno.EIO
    finally:
        vault.start()
    with open(mount.path(source, 'data'), 'rb') as a, open(source + '/data', 'rb') as b:
        assert a.read() == b.read()
    mount.end()
    assert mount.job()['warnings'] > 0
    with open(os.path.join(agent.home, 'state/logs', f'mount-{mount.document["job_id"]}.log')) as log:
        assert re.search(r'\b[0-9]{5,6}\b', log.read())


def test_damage_is_an_error_with_a_code(stage, small):
    vault, agent, source = small
    victim = max(vault.packs(agent.server_id, kind=0), key=os.path.getsize)
    with open(victim, 'r+b') as f:
        f.seek(os.path.getsize(victim) // 2)
        old = f.read(1)
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([old[0] ^ 1]))
    mount = Mount(stage, agent, 'latest')
    failed = []
    for path in walk_set(source):
        full = os.path.join(os.fsencode(mount.path(source)), path)
        if os.path.isdir(full):
            continue
        try:
            with open(full, 'rb') as a, open(os.path.join(os.fsencode(source), path), 'rb') as b:
                assert a.read() == b.read()
        except OSError as e:
            assert e.errno == errno.EIO
            failed.append(os.fsdecode(path))
    assert len(failed) == 1
    mount.end()
    with open(victim, 'r+b') as f:
        f.seek(os.path.getsize(victim) // 2)
        f.write(old)
    shown = agent.run('jobs', mount.document['job_id']).ok().document
    assert shown['status'] == 'completed_with_warnings'
    with open(os.path.join(agent.home, 'state/logs', f'mount-{mount.document["job_id"]}.log')) as log:
        text = log.read()
    assert '900807' in text and failed[0] in text
    assert '900807' in json.dumps(shown)


def test_what_cannot_be_mounted(stage, small):
    vault, agent, source = small
    folder = stage.path('there')
    os.mkdir(folder)
    # Only /dev is made private first: / need not be a mount point (a chroot).
    hidden = ('unshare', '--mount', '--propagation', 'unchanged', 'sh', '-c',
              'mount --make-rprivate /dev && mount --bind /dev/null /dev/fuse && exec "$@"', 'sh')
    took = []
    for _ in range(3):                                                 # the machine may be busy with other things
        started = time.monotonic()
        refused = agent.run('mount', '3f2a', folder, wrapper=hidden)
        took.append(time.monotonic() - started)
        assert refused.status == FAILED and refused.code == 900817
        if took[-1] < 2:
            break
    assert min(took) < 2, took
    assert 'coffer ls 3f2a' in refused.error['message'] and 'coffer restore 3f2a' in refused.error['message']
    assert agent.run('mount', 'nothing-like-it', folder).code == 180001
    assert agent.run('mount', 'latest', source).code == 480001, 'a folder with something in it'
    assert agent.run('mount', 'latest', stage.path('nowhere')).status == FAILED
    assert agent.run('mount', 'latest').status == USAGE
    assert agent.run('mount', 'latest', folder, '--idle', 'soon').status == USAGE
    assert agent.run('unmount', folder).code == 900819
    assert not mounted(folder)


def key_pair(stage):
    private, public = stage.path('recovery.key'), stage.path('recovery.pub')
    stage.tool('openssl', 'genpkey', '-algorithm', 'X25519', '-out', private)
    stage.tool('openssl', 'pkey', '-in', private, '-pubout', '-out', public)
    return private, public


def test_another_machine_with_a_kit_or_a_recovery_key(stage, small):
    vault, agent, source = small
    private, public = key_pair(stage)
    agent.run('passphrase', 'add-recovery-key', public).ok()
    kit = stage.path('kit')
    agent.run('recovery-kit', kit).ok()
    reading = vault.credentials(purpose='restore')
    for number, how in enumerate((('--kit', kit, '--passphrase-file', agent.passphrase_file),
                                  ('--kit', kit, '--recovery-key-file', private),
                                  ('--server', 'server', '--credentials', reading, '--recovery-key-file', private))):
        mount = Mount(stage, harness.Agent(stage, f'other{number}'), 'latest', *how)
        harness.assert_same_tree(source, mount.path(source))
        mount.end()


def test_small_files_given_ahead_are_the_right_ones(stage, small):
    """Read in order, at the edges of what is given, and out of order."""
    vault, _, _ = small
    agent = harness.Agent(stage, 'many')
    agent.register(vault.credentials()).ok()
    source, rng = stage.path('source'), random.Random(8)
    sizes = [0, 1, 4095, 4096, 4097, 70000, (128 << 10) - 1, 128 << 10, (128 << 10) + 1, 300000]
    for folder in ('a', 'a/b', 'c'):
        os.makedirs(os.path.join(source, folder))
        for i in range(120):
            with open(os.path.join(source, folder, f'{i:03d}'), 'wb') as f:
                f.write(rng.randbytes(sizes[i % len(sizes)] if i % 3 == 0 else i))
        os.link(os.path.join(source, folder, '003'), os.path.join(source, folder, '003-link'))
    agent.backup(source).ok()
    for order in (sorted, lambda files: sorted(files, reverse=True), lambda files: rng.sample(sorted(files), len(files))):
        mount = Mount(stage, agent, 'latest')
        files = [os.path.join(w, n) for w, _, names in os.walk(mount.path(source)) for n in names]
        assert len(files) == 363
        for path in order(files):
            with open(path, 'rb') as a, open(path[len(mount.folder):], 'rb') as b:
                assert a.read() == b.read(), path
        mount.end()
        assert mount.job()['status'] == 'completed'


@pytest.mark.root
def test_what_was_not_backed_up_does_not_look_empty(stage, small):
    """Its name is listed; asking for it is EIO, and the code stands in the job."""
    harness.need_ordinary_user()
    vault, _, _ = small
    user = harness.Agent(stage, 'plain')
    user.program = shutil.copy(user.program, stage.path('coffer'))
    os.chmod(user.program, 0o755)
    user.register(vault.credentials()).ok()
    source = harness.make_tree(stage.path('source'), random.Random(6), files=3)
    with open(source + '/secret', 'w') as f:
        f.write('x' * 1000)
    subprocess.run(['chown', '-R', '65534:65534', stage.folder], check=True)
    os.chown(source + '/secret', 0, 0)
    os.chmod(source + '/secret', 0)
    user.backup(source, wrapper=('setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups')).ok(WARNINGS)
    mount = Mount(stage, user, 'latest')
    assert 'secret' in os.listdir(mount.path(source))
    with pytest.raises(OSError) as unread:
        os.stat(mount.path(source, 'secret'))
    assert unread.value.errno == errno.EIO
    mount.end()
    assert '900815' in json.dumps(user.run('jobs', mount.document['job_id']).ok().document)


@pytest.mark.root
def test_an_ordinary_user_on_another_machine(stage, small):
    """With a /dev/fuse that everybody may open, in a mount namespace of its own."""
    harness.need_ordinary_user()
    vault, agent, source = small
    user = harness.Agent(stage, 'user')
    user.program = shutil.copy(user.program, stage.path('coffer'))   # the build folder may be closed to others
    os.chmod(user.program, 0o755)
    credentials = vault.credentials(path=stage.path('reading'), purpose='restore')
    passphrase = shutil.copy(agent.passphrase_file, stage.path('passphrase'))
    folder, device = stage.path('of-user'), stage.path('fuse')
    os.mkdir(folder)
    os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(10, 229))
    os.chmod(device, 0o666)
    for path in (user.home, user.home + '/etc', user.home + '/etc/agent.conf', passphrase, credentials, folder):
        os.chown(path, 1000, 1000)
    as_user = ('setpriv', '--reuid=1000', '--regid=1000', '--clear-groups')
    apart = ('unshare', '--mount', 'sh', '-c', f'mount --bind {device} /dev/fuse && exec "$@"', 'sh', *as_user)
    document = user.run('mount', 'latest', folder, '--server', 'server', '--credentials', credentials, '--passphrase-file',
                        passphrase, wrapper=apart).ok().documents[0]
    pid = document['pid']
    there = ('nsenter', '--mount', '--target', str(pid), *as_user)
    try:
        assert stage.tool(*there, 'cat', folder + source + '/second') == b'of the second point\n'
        user.run('unmount', folder, wrapper=there).ok()
        wait_for(lambda: not os.path.exists(f'/proc/{pid}'), 15)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
