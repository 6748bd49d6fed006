"""A tree goes to the vault and comes back the same: hostile trees on five file systems, changes, boundaries, users."""
import os
import re
import shutil
import stat

import pytest

import harness
import hostile
from harness import DONE, WARNINGS

NOBODY = 65534


def test_back_and_again(stage, vault, server, rng):
    """Backup, restore, changes, backup, restore; older points stay what they were."""
    source = harness.make_tree(stage.path('source'), rng)
    kept = []
    for i in range(3):
        summary = server.backup(source).ok().summary
        copy = stage.path(f'copy{i}')
        harness.copy_folder(source, copy)
        kept.append((summary['point_id'], copy))
        harness.change_tree(source, rng)
    assert [p['id'] for p in server.points()] == [point for point, _ in kept]
    for point, copy in kept:
        to = copy + '-restored'
        result = server.restore(point, to=to).ok()
        harness.assert_same_tree(copy, harness.restored(to, source))
        assert result.summary['files'] == sum(len(f) for _, _, f in os.walk(copy)), result
        server.verify(point).ok()


def test_counts(stage, vault, server, rng):
    """The summary counts what happened."""
    source = harness.make_tree(stage.path('source'), rng, files=30)
    first = server.backup(source).ok().summary
    files = len(harness.read_tree(source))
    size = sum(map(len, harness.read_tree(source).values()))
    assert (first['files'], first['bytes'], first['bytes_read']) == (files, size, size), first
    assert first['scan'] == 'full' and first['files_new'] == files and not first['warnings']
    with open(os.path.join(source, 'new'), 'wb') as f:
        f.write(rng.randbytes(100000))
    second = server.backup(source).ok().summary
    assert (second['files_new'], second['files_changed'], second['files_unchanged']) == (1, 0, files), second
    assert second['bytes_read'] == 100000 and 100000 <= second['bytes_stored'] < 150000, second
    assert second['base_point'] == first['point_id'], second
    harness.copy_folder(os.path.join(source, 'new'), os.path.join(source, 'the same again'))
    third = server.backup(source).ok().summary
    assert third['bytes_stored'] < 20000, f'a copy is stored again: {third}'


@pytest.mark.skipif(shutil.which('strace') is None, reason='needs strace')
def test_unchanged_tree_opens_no_file(stage, vault, server, rng):
    source = harness.make_tree(stage.path('source'), rng)
    os.mkfifo(os.path.join(source, 'fifo'))
    server.backup(source).ok()
    log = stage.path('strace.log')
    result = server.backup(source, wrapper=['strace', '-f', '-qq', '-y', '-e', 'signal=none', '-e', 'trace=open,openat,openat2', '-o', log])
    result.ok()
    assert result.summary['bytes_read'] == 0 and result.summary['files_changed'] == 0, result
    opened, folders = [], 0
    with open(log, errors='surrogateescape') as f:
        for line in f:
            found = re.search(r'= \d+<(.*)>$', line.rstrip('\n'))
            if found and (found[1] + '/').startswith(source + '/'):
                if os.path.isdir(found[1]):
                    folders += 1
                else:
                    opened.append(line.strip())
    assert folders, 'strace saw nothing'
    assert not opened, f'{len(opened)} files were opened, such as {opened[:3]}'


def test_files_and_links_as_sources(stage, vault, server, rng):
    """A source may be a single file; a link given as a source means what it leads to; several sources make one point."""
    top = harness.make_tree(stage.path('top'), rng, files=10)
    single = stage.path('single file')
    with open(single, 'wb') as f:
        f.write(rng.randbytes(50000))
    os.utime(single, ns=(1, 1))
    link = stage.path('link')
    linked = harness.make_tree(stage.path('linked'), rng, files=5)
    os.symlink('linked', link)
    result = server.backup(top, single, link)
    result.ok()
    to = stage.path('restored')
    server.restore('latest', to=to).ok()
    harness.assert_same_tree(top, harness.restored(to, top))
    with open(harness.restored(to, single), 'rb') as a, open(single, 'rb') as b:
        assert a.read() == b.read()
    assert os.stat(harness.restored(to, single)).st_mtime_ns == 1
    harness.assert_same_tree(linked, harness.restored(to, linked))
    assert sorted(server.points()[-1]['source']) == sorted([top, single, linked])


def test_restore_again_writes_nothing(stage, vault, server, rng):
    """Restoring over an identical copy is a resumption: nothing is fetched again."""
    source = harness.make_tree(stage.path('source'), rng)
    server.backup(source).ok()
    to = stage.path('restored')
    server.restore('latest', to=to).ok()
    before = {p: os.stat(os.path.join(to, os.fsdecode(p))).st_ino for p in harness.read_tree(to)}
    result = server.restore('latest', to=to).ok()
    assert before == {p: os.stat(os.path.join(to, os.fsdecode(p))).st_ino for p in harness.read_tree(to)}
    assert not [n for _, _, names in os.walk(to) for n in names if 'Copy of' in n]
    harness.assert_same_tree(source, harness.restored(to, source))
    assert result.summary['bytes_fetched'] < 1 << 20, result


def test_restore_keeps_what_is_there(stage, vault, server, rng):
    """On conflict the default keeps both: the file that stands there is not touched."""
    source = harness.make_tree(stage.path('source'), rng, files=5)
    path = os.path.join(source, 'note')
    with open(path, 'w') as f:
        f.write('as backed up')
    server.backup(source).ok()
    to = stage.path('restored')
    there = harness.restored(to, path)
    os.makedirs(os.path.dirname(there))
    with open(there, 'w') as f:
        f.write('something else')
    server.restore('latest', path, to=to).ok(DONE, WARNINGS)
    with open(there) as f:
        assert f.read() == 'something else'
    names = [n for n in os.listdir(os.path.dirname(there)) if n.endswith('Copy of note')]
    assert len(names) == 1 and re.fullmatch(r'\d{4}-\d\d-\d\d \d\d-\d\d Copy of note', names[0]), names
    with open(os.path.join(os.path.dirname(there), names[0])) as f:
        assert f.read() == 'as backed up'
    server.restore('latest', path, to=to, more=['--on-conflict', 'skip']).ok(DONE, WARNINGS)
    with open(there) as f:
        assert f.read() == 'something else'
    server.restore('latest', path, to=to, more=['--on-conflict', 'overwrite']).ok()
    with open(there) as f:
        assert f.read() == 'as backed up'


def test_restore_stays_inside_its_destination(stage, vault, server, rng):
    """A symbolic link that waits in the destination leads nowhere."""
    source = harness.make_tree(stage.path('source'), rng, files=10)
    server.backup(source).ok()
    to, outside = stage.path('restored'), stage.path('outside')
    os.makedirs(os.path.dirname(harness.restored(to, source)))
    os.mkdir(outside)
    os.symlink(outside, harness.restored(to, source))
    server.restore('latest', to=to)
    assert not os.listdir(outside), 'restore followed a link out of its destination'


def test_ls_and_cat(stage, vault, server, rng):
    source = harness.make_tree(stage.path('source'), rng, files=20)
    server.backup(source).ok()
    name, content = max(harness.read_tree(source).items(), key=lambda item: len(item[1]))
    path = os.path.join(source, os.fsdecode(name))
    result = server.run('cat', 'latest', path, json=False)
    assert result.status == DONE and result.out == content
    listed = {os.path.basename(e['path']): e for e in server.run('ls', 'latest', os.path.dirname(path)).ok().document}
    entry, info = listed[os.path.basename(path)], os.stat(path)
    assert (entry['size'], entry['uid'], entry['gid']) == (info.st_size, info.st_uid, info.st_gid), entry
    assert entry['type'] in ('file', 'regular')


def test_another_machine(stage, vault, server, agent, rng):
    """The bad day: a machine that was never registered restores with credentials file and passphrase."""
    source = harness.make_tree(stage.path('source'), rng)
    server.backup(source).ok()
    other = agent('fresh')
    access = ['--server', 'server', '--credentials', vault.credentials(purpose='restore'), '--passphrase-file', server.passphrase_file]
    to = stage.path('restored')
    other.restore('latest', to=to, more=access).ok()
    harness.assert_same_tree(source, harness.restored(to, source))
    assert other.run('points', *access).ok().document[-1]['id'] == server.points()[-1]['id']


@pytest.mark.root
@pytest.mark.parametrize('fs', hostile.KINDS)
def test_hostile_tree(stage, vault, server, fs):
    """Everything that file systems allow, on each of them; the copies are compared with independent tools."""
    if hostile.available(fs):
        pytest.skip(hostile.available(fs))
    with hostile.loop_mount(fs, '700M') as mount:
        mount = os.fsdecode(mount)
        source = os.path.join(mount, 'source')
        hostile.make_tree(source, fs, big=fs == 'ext4')

        def there_and_back(name):
            # A socket is recorded, which the restore tells; ntfs-3g refuses some attributes. Nothing else may be told.
            server.backup(source).ok(DONE, WARNINGS)
            target = os.path.join(mount, name)
            os.mkdir(target)
            result = server.restore('latest', to=target).ok(DONE, WARNINGS)
            assert not result.summary['damaged'], result
            return hostile.compare(source, harness.restored(target, source), fs)
        differences = there_and_back('one')
        assert not differences, f'{len(differences)} differences, such as {differences[:8]}'
        hostile.remove_tree(os.path.join(mount, 'one'))

        # And again after changes, from the cached tree and the base point.
        os.unlink(os.path.join(source, 'contents', 'random-4096'))
        os.rename(os.path.join(source, 'contents', 'random-5M'), os.path.join(source, 'contents', 'moved'))
        os.chmod(os.path.join(source, 'modes', 'f00640'), 0o600)
        with open(os.path.join(source, 'hard', '1', 'file'), 'ab') as f:
            f.write(b'more')
        differences = there_and_back('two')
        assert not differences, f'after changes: {len(differences)} differences, such as {differences[:8]}'
        server.verify('latest').ok()


@pytest.mark.root
def test_other_file_systems(stage, vault, server, rng):
    """Below a source other file systems are not entered; a named one is; pseudo file systems never are."""
    source = harness.make_tree(stage.path('source'), rng, files=10)
    inner, pseudo = os.path.join(source, 'inner'), os.path.join(source, 'proc')
    for where, kind in ((inner, 'tmpfs'), (pseudo, 'proc')):
        os.mkdir(where)
        stage.tool('mount', '-t', kind, kind, where)
        stage.exits.callback(stage.unmount, where)
    with open(os.path.join(inner, 'inside'), 'w') as f:
        f.write('on another file system')

    def restored_files(name, *sources, more=()):
        point = server.backup(*sources, *more).ok(DONE, WARNINGS).summary['point_id']
        to = stage.path(name)
        server.restore(point, to=to).ok(DONE, WARNINGS)
        return {os.fsdecode(p) for p in harness.read_tree(to)}, to
    files, to = restored_files('one', source)
    assert not [p for p in files if '/inner/' in p or '/proc/' in p], 'another file system was entered'
    assert os.path.isdir(harness.restored(to, inner)) and not os.listdir(harness.restored(to, inner))
    files, to = restored_files('two', source, inner)
    assert [p for p in files if p.endswith('inner/inside')] and not [p for p in files if '/proc/' in p]
    files, to = restored_files('three', source, more=['--cross-file-systems'])
    assert [p for p in files if p.endswith('inner/inside')] and not [p for p in files if '/proc/' in p]


@pytest.mark.root
def test_ordinary_user_restores(stage, vault, server, agent, rng):
    """Without root, owners, devices and capabilities cannot be restored: a warning once per kind, contents are there."""
    harness.need_ordinary_user()
    source = harness.make_tree(stage.path('source'), rng, files=50)
    for where, _, names in os.walk(source):
        for i, name in enumerate(names):
            os.chown(os.path.join(where, name), 1000 + i, 1000 + i)
            os.chmod(os.path.join(where, name), 0o644)
    for i in range(20):
        os.mknod(os.path.join(source, f'device{i}'), stat.S_IFCHR | 0o600, os.makedev(1, 3))
    server.backup(source).ok()
    user = agent('user')
    user.program = shutil.copy(user.program, stage.path('coffer'))            # the build folder may be closed to others
    os.chmod(user.program, 0o755)
    credentials = vault.credentials(purpose='restore')
    for path in (user.home, user.passphrase_file, server.passphrase_file, credentials, os.path.join(user.home, 'etc')):
        os.chown(path, NOBODY, NOBODY)
    os.chmod(os.path.join(user.home, 'etc', 'agent.conf'), 0o644)
    to = stage.path('restored')
    os.mkdir(to)
    os.chown(to, NOBODY, NOBODY)
    result = user.restore('latest', to=to, more=['--server', 'server', '--credentials', credentials, '--passphrase-file',
                                                 server.passphrase_file], user=NOBODY, group=NOBODY, extra_groups=[])
    assert result.status == WARNINGS, result
    assert 1 <= result.summary['warnings'] <= 6, f'a warning once per kind: {result}'
    assert harness.read_tree(source) == harness.read_tree(harness.restored(to, source))


@pytest.mark.root
def test_ordinary_user_backs_up(stage, vault, agent, rng):
    """An ordinary user protects a home folder; a file that may not be read is a warning and named in the job."""
    harness.need_ordinary_user()
    source = harness.make_tree(stage.path('source'), rng, files=20)
    closed = os.path.join(source, 'closed')
    with open(closed, 'w') as f:
        f.write('secret')
    os.chmod(closed, 0o600)
    user = agent('user')
    user.program = shutil.copy(user.program, stage.path('coffer'))            # the build folder may be closed to others
    os.chmod(user.program, 0o755)
    credentials = vault.credentials()
    for path in (user.home, user.passphrase_file, credentials, os.path.join(user.home, 'etc')):
        os.chown(path, NOBODY, NOBODY)
    os.chmod(os.path.join(user.home, 'etc', 'agent.conf'), 0o644)
    as_user = {'user': NOBODY, 'group': NOBODY, 'extra_groups': []}
    user.run('register', credentials, '--passphrase-file', user.passphrase_file, '--name', 'user', **as_user).ok()
    result = user.backup(source, **as_user)
    assert result.status == WARNINGS and result.summary['warnings'] == 1, result
    assert result.summary['status'] == 'completed_with_warnings'
    job = user.run('jobs', result.summary['job_id'], **as_user).ok().document
    job = job[0] if isinstance(job, list) else job
    assert [w['path'] for w in job['warnings']] == [closed], job
    to = stage.path('restored')
    os.mkdir(to)
    os.chown(to, NOBODY, NOBODY)
    user.restore('latest', to=to, **as_user).ok(DONE, WARNINGS)
    original = harness.read_tree(source)
    del original[b'closed']
    assert original == harness.read_tree(harness.restored(to, source))


def test_file_that_vanishes_and_odd_types(stage, vault, server, rng):
    """A socket is recorded, an empty folder comes back, and no special file makes the backup wait."""
    import socket
    source = harness.make_tree(stage.path('source'), rng, files=5)
    os.mkdir(os.path.join(source, 'empty'))
    os.mkfifo(os.path.join(source, 'fifo'))
    here = os.getcwd()
    os.chdir(source)                                                        # names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.bind('socket')
    finally:
        os.chdir(here)
    server.backup(source, timeout=60).ok()
    types = {os.path.basename(e['path']): e['type'] for e in server.run('ls', 'latest', source).ok().document}
    assert types['socket'] == 'socket' and types['fifo'] == 'fifo', types
    to = stage.path('restored')
    server.restore('latest', to=to).ok(DONE, WARNINGS)
    assert os.path.isdir(harness.restored(to, os.path.join(source, 'empty')))
    assert stat.S_ISFIFO(os.lstat(harness.restored(to, os.path.join(source, 'fifo'))).st_mode)
