"""restore --delete-extra: a folder is what it was, exactly; nothing outside it and nothing unasked is removed."""
import os
import pty
import subprocess

import pytest

import harness
from harness import DONE, USAGE, WARNINGS

EXACT = ('--on-conflict', 'overwrite', '--delete-extra')


def put(*names, text='extra'):
    path = os.path.join(*names)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w') as f:
        f.write(text)
    return path


@pytest.fixture
def source(stage, server, rng):
    """A folder that was backed up, and then changed in every way."""
    top = harness.make_tree(stage.path('source'), rng)
    put(top, 'sub', 'deep', 'kept', text='kept')
    server.backup(top).ok()
    harness.copy_folder(top, stage.path('before'))
    return top


def spoil(stage, top):
    """Returns what is extra then, as --delete-extra names it."""
    put(top, 'sub', 'deep', 'kept', text='changed')
    put(stage.path('outside', 'victim'), text='mine')
    os.symlink(stage.path('outside'), os.path.join(top, 'sub', 'link'))
    put(top, 'new', 'a', 'b', 'c')
    os.symlink(stage.path('outside'), os.path.join(top, 'new', 'a', 'link'))
    put(top, 'sub', 'deep', 'extra')
    os.makedirs(os.path.join(top, 'empty'))
    return {os.path.join(top, n) for n in ('sub/link', 'new', 'sub/deep/extra', 'empty')}


def named(result, kind, action=None):
    return {d['path'] for d in result.documents if d.get('type') == kind and d.get('action') == action}


def intact(stage):
    assert harness.read_tree(stage.path('outside')) == {b'victim': b'mine'}


def test_in_place(stage, server, source):
    extra = spoil(stage, source)
    beside = put(stage.path('beside'))                            # stands above the source: not ours
    dry = server.run('restore', 'latest', '--in-place', *EXACT, '--dry-run').ok()
    assert named(dry, 'planned', 'delete') == extra and dry.summary['deleted'] == len(extra), dry
    assert all(os.path.lexists(p) for p in extra)
    result = server.run('restore', 'latest', '--in-place', *EXACT, '--yes').ok()
    assert result.summary['deleted'] == len(extra), result
    assert named(result, 'deleted') == extra and named(result, 'planned', 'delete') == extra, result
    harness.assert_same_tree(stage.path('before'), source)
    intact(stage)
    assert os.path.exists(beside)
    again = server.run('restore', 'latest', '--in-place', *EXACT, '--yes').ok()
    assert again.summary['deleted'] == 0 and again.summary['warnings'] == 0, again


def test_to(stage, server, source):
    to = stage.path('to')
    server.restore('latest', to=to).ok()
    copy = harness.restored(to, source)
    extra = spoil(stage, copy)
    beside = put(to, 'beside')
    result = server.restore('latest', to=to, more=(*EXACT, '--yes')).ok()
    assert named(result, 'deleted') == extra, result
    harness.assert_same_tree(stage.path('before'), copy)
    intact(stage)
    assert os.path.exists(beside)
    put(copy, 'extra')
    result = server.restore('latest', to=copy, more=(*EXACT, '--yes', '--strip')).ok()
    assert named(result, 'deleted') == {os.path.join(copy, 'extra')}, result
    assert harness.read_tree(stage.path('before')) == harness.read_tree(copy)


def test_only_whole_folders(stage, server, source):
    """A pattern that selects files removes nothing beside them; one that selects a folder cleans that folder only."""
    extra = spoil(stage, source)
    file = os.path.join(source, 'sub', 'deep', 'kept')
    result = server.run('restore', 'latest', file, '--in-place', *EXACT, '--yes').ok()
    assert result.summary['deleted'] == 0 and all(os.path.lexists(p) for p in extra), result
    deep = os.path.join(source, 'sub', 'deep')
    result = server.run('restore', 'latest', deep, '--in-place', *EXACT, '--yes').ok()
    assert named(result, 'deleted') == {os.path.join(deep, 'extra')}, result
    assert os.path.lexists(os.path.join(source, 'sub', 'link')) and os.path.exists(os.path.join(source, 'new'))


def test_usage(stage, server, source):
    extra = spoil(stage, source)
    for more in ((), ('--on-conflict', 'copy'), ('--on-conflict', 'skip')):
        for place in (('--in-place',), ('--to', stage.path('to'))):
            result = server.run('restore', 'latest', *place, '--delete-extra', '--yes', *more)
            assert result.status == USAGE and 'overwrite' in result.error['message'], result
    result = server.run('restore', 'latest', '--in-place', *EXACT)                       # nobody to ask
    assert result.status == USAGE and '--yes' in result.error['message'], result
    assert server.run('restore', 'latest', '--in-place', '--yes').status == USAGE
    assert all(os.path.lexists(p) for p in extra)


@pytest.mark.parametrize('answer', ['y', 'n'])
def test_asks_at_a_terminal(stage, server, source, answer):
    extra = spoil(stage, source)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(server.argv('restore', 'latest', '--in-place', *EXACT, json=False), stdin=theirs,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    stage.processes.append(process)
    os.close(theirs)
    os.write(ours, answer.encode() + b'\n')
    out, err = process.communicate(timeout=60)
    os.close(ours)
    assert all(os.fsencode(p) in out for p in extra), out         # the list comes first
    assert b'Continue?' in err, err
    if answer == 'y':
        assert process.returncode == DONE, err
        harness.assert_same_tree(stage.path('before'), source)
    else:
        assert process.returncode != DONE
        assert all(os.path.lexists(p) for p in extra)
        with open(os.path.join(source, 'sub', 'deep', 'kept')) as f:
            assert f.read() == 'changed'                          # nothing was restored either
    intact(stage)


@pytest.mark.root
def test_mounts_stay(stage, server, source):
    """Other file systems are neither entered nor removed; what holds one stays."""
    for where in ('new/mounted', 'sub/mounted'):
        folder = os.path.join(source, where)
        os.makedirs(folder)
        stage.tool('mount', '-t', 'tmpfs', 'tmpfs', folder)
        stage.exits.callback(stage.unmount, folder)
        put(folder, 'inside')
    server.backup(source).ok(DONE, WARNINGS)                      # this point has sub/mounted and new/mounted as empty folders
    put(source, 'other', 'x')
    for point, deleted in (('latest', {'other'}), (server.points()[0]['id'], set())):
        result = server.run('restore', point, '--in-place', *EXACT, '--yes').ok(DONE, WARNINGS)
        assert named(result, 'deleted') == {os.path.join(source, n) for n in deleted}, result
        for where in ('new/mounted', 'sub/mounted'):
            assert os.path.exists(os.path.join(source, where, 'inside')), where
    assert result.status == WARNINGS and result.summary['warnings'] >= 2, result


@pytest.mark.root
def test_names_that_differ_in_case(stage, server):
    """Where the file system takes Name and NAME for one, a restored file is not extra because it is spelt otherwise."""
    source = stage.path('names')
    put(source, 'Name', text='new')
    put(source, 'Same', text='same')
    server.backup(source).ok()
    to, image = stage.path('to'), stage.path('to.img')
    os.mkdir(to)
    with open(image, 'wb') as f:
        f.truncate(16 << 20)
    stage.tool('mkfs.ntfs', '-q', '-Q', '-F', image)
    stage.tool('lowntfs-3g', image, to, '-o', 'ignore_case')
    stage.exits.callback(stage.unmount, to)
    copy = harness.restored(to, source)
    os.makedirs(copy)
    put(copy, 'NAME', text='old')
    put(copy, 'SAME', text='same')
    put(copy, 'extra')
    result = server.restore('latest', to=to, more=(*EXACT, '--yes')).ok(DONE, WARNINGS)
    assert named(result, 'deleted') == {os.path.join(copy, 'extra')}, result
    assert sorted(harness.read_tree(copy).values()) == [b'new', b'same']


@pytest.mark.root
def test_immutable(stage, server, source):
    path = put(source, 'new', 'fixed')
    if subprocess.run(['chattr', '+i', path, os.path.join(source, 'new')], check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip('no immutable files here')
    result = server.run('restore', 'latest', '--in-place', *EXACT, '--yes').ok()
    assert result.summary['deleted'] == 1, result
    harness.assert_same_tree(stage.path('before'), source)


def test_own_folders_stay(stage, server, source):
    """The program's own folders, also below a source."""
    inside = stage.path('home-server', 'note')
    server.backup(stage.folder).ok(DONE, WARNINGS)
    put(inside)
    put(stage.path('home-server', 'state', 'note'))
    extra = put(stage.path('source', 'extra'))
    # The vault stands in there too: it must not be rolled back while it serves.
    result = server.run('restore', 'latest', stage.path('home-server'), source, '--in-place', *EXACT, '--dry-run').ok(DONE, WARNINGS)
    assert named(result, 'planned', 'delete') == {inside, extra}, result


def test_damage(stage, vault, server, source):
    """A folder whose record cannot be read keeps what it has; the others are cleaned."""
    old = vault.packs(kind=1)
    put(source, 'sub', 'second', text='a new record of sub and what is above it')
    server.backup(source).ok()
    extra = [put(source, 'folder0', 'extra'), put(source, 'sub', 'deep', 'extra')]
    cleaned = [put(source, 'extra'), put(source, 'sub', 'extra')]
    for path in old:
        os.unlink(path)
    result = server.run('restore', 'latest', '--in-place', *EXACT, '--yes').ok(WARNINGS)
    assert named(result, 'deleted') == set(cleaned), result
    assert all(os.path.exists(p) for p in extra)
    assert not any(os.path.exists(p) for p in cleaned)


@pytest.mark.root
def test_ordinary_user(stage, vault, agent, rng):
    """In place, as whoever owns most of it: what is right already is no reason for warnings."""
    harness.need_ordinary_user()
    home = agent('user')
    source = harness.make_tree(stage.path('mine'), rng)
    subprocess.run(['chown', '-R', '1000:1000', source, home.home, home.passphrase_file], check=True)
    foreign = put(source, 'folder0', 'of-root', text='readable')
    os.chmod(foreign, 0o644)
    credentials = vault.credentials()
    os.chmod(credentials, 0o644)
    user = ('setpriv', '--reuid=1000', '--regid=1000', '--clear-groups')
    home.run('register', credentials, '--passphrase-file', home.passphrase_file, '--name', 'user', wrapper=user).ok()
    home.run('backup', source, wrapper=user).ok()
    extra = put(source, 'folder0', 'extra')
    result = home.run('restore', 'latest', '--in-place', *EXACT, '--yes', wrapper=user).ok()
    assert result.summary['warnings'] == 0 and named(result, 'deleted') == {extra}, result
