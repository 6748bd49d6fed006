"""Restores on a bad day: destinations that do not do, damage, kills, a network that comes and goes, every conflict rule."""
import os
import re
import signal
import stat
import subprocess
import time

import pytest

import harness
from harness import DONE, FAILED, WARNINGS

KINDS = ('ext4', 'xfs', 'btrfs', 'tmpfs', 'ntfs')


@pytest.fixture
def source(stage, rng):
    top = stage.path('source')
    os.mkdir(top)
    for i in range(40):
        with open(os.path.join(top, f'file{i:02d}'), 'wb') as f:
            f.write(rng.randbytes(200000))
    return top


@pytest.fixture
def protected(server, source):
    server.backup(source).ok()
    return server


def leftovers(folder):
    return [n for _, folders, names in os.walk(folder) for n in folders + names if n.startswith('.coffer-')]


# --- before the first byte ------------------------------------------------------------------------------------

@pytest.mark.root
def test_destination_is_looked_at_first(stage, protected, source):
    small = stage.mount('tmpfs', 4)
    to = os.path.join(small, 'restored')
    result = protected.restore('latest', to=to)
    assert result.status == FAILED and result.code == 100072 and result.error['reason'] == 'bytes', result
    assert not os.listdir(small), 'something was written before'
    one = os.path.join(source, 'file07')                                                     # a part of it fits
    protected.restore('latest', one, to=to).ok()
    dry = protected.restore('latest', to=to, more=['--dry-run'])
    assert dry.status == WARNINGS and b'100072' in dry.err + dry.out, dry
    tried = protected.restore('latest', to=to, more=['--ignore-space'])                      # what fits is there, whole
    assert tried.status in (FAILED, WARNINGS), tried
    for name, content in harness.read_tree(harness.restored(to, source)).items():
        with open(os.path.join(source, os.fsdecode(name)), 'rb') as f:
            assert f.read() == content, name
    assert not leftovers(small)


@pytest.mark.root
def test_too_few_inodes(stage, protected):
    few = stage.path('few')
    os.mkdir(few)
    stage.tool('mount', '-t', 'tmpfs', '-o', 'size=64m,nr_inodes=20', 'tmpfs', few)
    stage.exits.callback(stage.unmount, few)
    result = protected.restore('latest', to=os.path.join(few, 'restored'))
    assert result.status == FAILED and result.code == 100072 and result.error['reason'] == 'files', result
    assert not os.listdir(few)


@pytest.mark.root
def test_read_only_and_wrong_destinations(stage, protected):
    where = stage.mount('ext4', 64)
    stage.tool('mount', '-o', 'remount,ro', where)
    result = protected.restore('latest', to=os.path.join(where, 'restored'))
    assert result.status == FAILED and result.code == 100121, result
    path = stage.path('a-file')
    open(path, 'w').close()
    for to in (path, os.path.join(path, 'below')):
        result = protected.restore('latest', to=to)
        assert result.status == FAILED and result.code in (100069, 100121), result


@pytest.mark.root
def test_what_the_destination_does_not_keep_is_said(stage, protected):
    where = stage.mount('ntfs', 64)
    result = protected.restore('latest', to=os.path.join(where, 'restored'), json=False)
    assert result.status in (DONE, WARNINGS), result
    assert b'does not keep owners' in result.err, result
    quiet = protected.restore('latest', to=os.path.join(where, 'again'), more=['--no-acl'], json=False)
    assert b'does not keep' not in quiet.err, quiet


# --- damage ---------------------------------------------------------------------------------------------------

def test_readable_parts_of_a_damaged_file(stage, vault, server, rng):
    top = stage.path('source')
    os.mkdir(top)
    content = {f'big{i}': rng.randbytes(3 << 20) for i in range(3)}
    for name, data in content.items():
        with open(os.path.join(top, name), 'wb') as f:
            f.write(data)
    server.backup(top).ok()
    pack = vault.packs(kind=0)[0]
    with open(pack, 'r+b') as f:
        f.seek(os.path.getsize(pack) // 2)
        f.write(b'\0' * 16)
    to = stage.path('restored')
    for _ in range(2):                                                       # the second run replaces what the first made
        result = server.restore('latest', to=to, more=['--best-effort-damaged'])
        assert result.status == WARNINGS and result.summary['partial'] == len(result.summary['damaged']) > 0, result
        there = harness.restored(to, top)
        damaged = {os.path.basename(p) for p in result.summary['damaged']}
        assert sorted(os.listdir(there)) == sorted(n + '.damaged' if n in damaged else n for n in content)
        for name, data in content.items():
            with open(os.path.join(there, name + '.damaged' * (name in damaged)), 'rb') as f:
                got = f.read()
            assert len(got) == len(data)
            if name in damaged:
                wrong = [i for i in range(0, len(data), 4096) if got[i:i + 4096] != data[i:i + 4096]]
                assert wrong and len(wrong) * 4096 < len(data) // 2, 'most of it could be read'
                assert all(set(got[i:i + 4096]) <= {0} or got[i:i + 4096] != data[i:i + 4096] for i in wrong)
            else:
                assert got == data


# --- interrupted ----------------------------------------------------------------------------------------------

def size_below(folder):
    return sum(os.lstat(os.path.join(d, n)).st_size for d, _, names in os.walk(folder) for n in names)


def test_restore_is_resumed_by_running_it_again(stage, server, rng):
    """Killed at random points, the last time near the end: no half-written file under a name, and what stands there is not
    fetched again: after 90 % a second run fetches at most 15 %."""
    source, count = stage.path('source'), 150
    os.mkdir(source)
    for i in range(count):
        with open(os.path.join(source, f'file{i:03d}'), 'wb') as f:
            f.write(rng.randbytes(300000))
    server.backup(source).ok()
    whole = server.restore('latest', to=stage.path('whole')).ok().summary['bytes_fetched']
    shares = [rng.uniform(0.1, 0.8) for _ in range(2)] + [0.93]
    for number, share in enumerate(shares):
        to = stage.path(f'restored{number}')
        process = server.spawn('restore', 'latest', '--to', to)
        there = harness.restored(to, source)

        def reached():
            """that share of the files stands there"""
            names = os.listdir(there) if os.path.isdir(there) else []
            return process.poll() is not None or sum(not n.startswith('.coffer-') for n in names) >= share * count
        harness.wait_for(reached, 60, 0.0005)
        stage.end(process, signal.SIGKILL)
        done = {n: c for n, c in harness.read_tree(there).items() if not n.startswith(b'.coffer-')}
        for name, content in done.items():
            with open(os.path.join(source, os.fsdecode(name)), 'rb') as f:
                assert f.read() == content, f'{name} is half written'
        again = server.restore('latest', to=to).ok()
        harness.assert_same_tree(source, there)
        assert not leftovers(to), 'the killed run left temporary files behind'
        missing = 1 - len(done) / count
        # What was fetched but not finished comes again: the files at work, and what was planned together.
        assert again.summary['bytes_fetched'] <= (missing + 0.15) * whole, (missing, again.summary, whole)
        if missing < 0.07:
            assert again.summary['bytes_fetched'] <= 0.15 * whole, (missing, again.summary, whole)


def test_cancelled_restore_says_what_is_missing(stage, server, rng):
    source = stage.path('source')
    os.mkdir(source)
    for i in range(150):
        with open(os.path.join(source, f'file{i:03d}'), 'wb') as f:
            f.write(rng.randbytes(300000))
    server.backup(source).ok()
    to = stage.path('restored')
    there = harness.restored(to, source)
    process = server.spawn('restore', 'latest', '--to', to)
    harness.wait_for(lambda: process.poll() is not None or os.path.isdir(there) and len(os.listdir(there)) > 10, 30, 0.0005)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130, (process.returncode, out)
    job = server.run('jobs').ok().document[0]
    assert job['type'] == 'restore' and job['status'] == 'cancelled', job
    said = re.search(r'(\d+) of 150 files .* are whole, (\d+) are missing', job['error']['message'])
    assert said and int(said[1]) + int(said[2]) == 150 and int(said[2]) > 0, job
    whole = [n for n in os.listdir(there) if not n.startswith('.coffer-')]
    assert len(whole) == int(said[1]), (len(whole), job)
    assert not leftovers(to)


@pytest.mark.root
def test_network_is_cut_and_comes_back(stage, rng):
    """The agent in a network namespace of its own whose cable is pulled in mid-restore."""
    tag = f'{os.getpid() % 10000}'
    inside, outside = f'cfi{tag}', f'cfo{tag}'
    holder = stage.spawn(['unshare', '--net', 'sleep', '600'])      # the namespace lives as long as this process
    here = os.readlink('/proc/self/ns/net')
    harness.wait_for(lambda: os.readlink(f'/proc/{holder.pid}/ns/net') != here)
    stage.tool('ip', 'link', 'add', outside, 'type', 'veth', 'peer', 'name', inside, 'netns', str(holder.pid))
    stage.exits.callback(subprocess.run, ['ip', 'link', 'del', outside], check=False, stderr=subprocess.DEVNULL)
    enter = ('nsenter', f'--net=/proc/{holder.pid}/ns/net')
    stage.tool('ip', 'addr', 'add', '10.213.7.1/30', 'dev', outside)
    stage.tool('ip', 'link', 'set', outside, 'up')
    stage.tool(*enter, 'ip', 'addr', 'add', '10.213.7.2/30', 'dev', inside)
    stage.tool(*enter, 'ip', 'link', 'set', inside, 'up')
    vault = harness.Vault(stage)
    vault.url = f'https://10.213.7.1:{vault.port}'
    vault.init()
    vault.listen = f'10.213.7.1:{vault.port}'
    vault.start()
    agent = harness.Agent(stage)
    agent.run('register', vault.credentials(), '--passphrase-file', agent.passphrase_file, wrapper=enter).ok()
    source = stage.path('source')
    os.mkdir(source)
    for i in range(60):
        with open(os.path.join(source, f'file{i:02d}'), 'wb') as f:
            f.write(rng.randbytes(1 << 20))
    agent.backup(source, wrapper=enter).ok()
    to = stage.path('restored')
    process = agent.spawn('restore', 'latest', '--to', to, wrapper=enter)
    harness.wait_for(lambda: os.path.isdir(to) and size_below(to) > 5 << 20, 30, 0.001)
    assert process.poll() is None, 'the restore was over too soon'
    stage.tool('ip', 'link', 'set', outside, 'down')
    time.sleep(1.5)
    assert process.poll() is None, 'a restore outlives a pulled cable'
    stage.tool('ip', 'link', 'set', outside, 'up')
    out, err = process.communicate(timeout=90)
    assert process.returncode == DONE, (out[-2000:], err[-2000:])
    harness.assert_same_tree(source, harness.restored(to, source))


# --- proof before the bad day ---------------------------------------------------------------------------------

def test_drill(stage, vault, protected, source):
    result = protected.run('drill', '--files', '10', '--bytes', '1500000').ok().summary
    assert 1 <= result['files'] <= 7 and result['bytes'] <= 1500000 and result['files_total'] == 40, result
    everything = protected.run('drill').ok().summary
    assert everything['files'] == 40 and everything['failed'] == 0, everything
    assert not [n for n in os.listdir(os.path.join(protected.home, 'scratch')) if n.startswith('drill-')]
    jobs = protected.run('jobs').ok().document
    assert jobs[0]['type'] == 'drill' and jobs[0]['status'] == 'completed', jobs[0]
    status = protected.run('status').ok(DONE, WARNINGS).document
    assert status['last_drill']['files'] == 40 and status['last_drill']['failed'] == 0, status
    for pack in vault.packs(kind=0):
        with open(pack, 'r+b') as f:
            f.seek(os.path.getsize(pack) // 2)
            f.write(b'\0' * 16)
    broken = protected.run('drill')
    assert broken.status == WARNINGS and broken.summary['failed'] > 0, broken
    assert protected.run('status').ok(DONE, WARNINGS).document['last_drill']['failed'] == broken.summary['failed']


def test_drill_that_was_killed_leaves_nothing(stage, protected):
    process = protected.spawn('drill')
    scratch = os.path.join(protected.home, 'scratch')
    harness.wait_for(lambda: process.poll() is not None or [n for n in os.listdir(scratch) if n.startswith('drill-')], 30, 0.001)
    protected.stage.end(process, signal.SIGKILL)
    protected.run('drill').ok()
    assert not [n for n in os.listdir(scratch) if n.startswith('drill-')]


# --- every rule, every type, every file system ----------------------------------------------------------------

def make_object(path, kind, text):
    if kind == 'file':
        with open(path, 'w') as f:
            f.write(text)
    elif kind == 'folder':
        os.mkdir(path)
        with open(os.path.join(path, 'inside'), 'w') as f:
            f.write(text)
    elif kind == 'link':
        os.symlink(text, path)
    elif kind == 'fifo':
        os.mkfifo(path)
    elif kind == 'empty':
        open(path, 'w').close()


def describe(path):
    """Type and content, as far as this test made them differ."""
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        return 'link', os.readlink(path)
    if stat.S_ISREG(mode):
        with open(path) as f:
            return 'file', f.read()
    if stat.S_ISDIR(mode):
        return 'folder', tuple(sorted(os.listdir(path)))
    return 'fifo' if stat.S_ISFIFO(mode) else 'other', None


TYPES = ('file', 'folder', 'link', 'fifo', 'empty')


@pytest.mark.root
@pytest.mark.parametrize('where', KINDS)
def test_conflict_matrix(stage, vault, server, where):
    """Each type meets each other type at the destination, under each rule: what stands there stays, gives way, or is said to
    be in the way; nothing is half and half."""
    source = stage.path('source')
    os.mkdir(source)
    for kind in TYPES:
        for other in TYPES:
            make_object(os.path.join(source, f'{kind}-{other}'), kind, 'as backed up')
    server.backup(source).ok()
    mounted = stage.mount(where, {'btrfs': 128, 'xfs': 320}.get(where, 64))
    for rule in ('copy', 'overwrite', 'skip'):
        to = os.path.join(mounted, rule)
        there = harness.restored(to, source)
        os.makedirs(there)
        for kind in TYPES:
            for other in TYPES:
                make_object(os.path.join(there, f'{kind}-{other}'), other, 'something else')
        before = {name: describe(os.path.join(there, name)) for name in os.listdir(there)}
        result = server.restore('latest', to=to, more=['--on-conflict', rule])
        assert result.status in (DONE, WARNINGS), result
        after = {name: describe(os.path.join(there, name)) for name in os.listdir(there)}
        for kind in TYPES:
            for other in TYPES:
                name = f'{kind}-{other}'
                wanted, had, got = describe(os.path.join(source, name)), before[name], after[name]
                copies = [n for n in after if re.fullmatch(r'\d{4}-\d\d-\d\d \d\d-\d\d Copy of ' + name, n)]
                if kind == other == 'folder':                                                # folders are merged
                    assert got[0] == 'folder', (rule, name, got)
                elif rule == 'skip':
                    assert got == had and not copies, (rule, name, got)
                elif rule == 'overwrite':
                    assert got == wanted or got == had and result.summary['warnings'], (rule, name, got)
                    assert not copies, (rule, name)
                    if 'folder' not in (kind, other):
                        assert got == wanted, (rule, name, got)
                elif had == wanted:
                    assert got == had, (rule, name, got)
                else:
                    assert got == had, (rule, name, got)
                    assert len(copies) == 1 and after[copies[0]] == wanted or result.summary['warnings'], (rule, name, copies)
        assert not leftovers(to)


@pytest.mark.root
def test_names_that_differ_only_in_case(stage, vault, server):
    """lowntfs-3g with ignore_case: the second of two names is a conflict, not an overwrite."""
    source = stage.path('source')
    os.mkdir(source)
    for name, text in (('Readme', 'one'), ('README', 'other')):
        with open(os.path.join(source, name), 'w') as f:
            f.write(text)
    server.backup(source).ok()
    image, where = stage.path('image'), stage.path('mounted')
    os.mkdir(where)
    with open(image, 'wb') as f:
        f.truncate(64 << 20)
    stage.tool('mkfs.ntfs', '-q', '-Q', '-F', image)
    stage.tool('lowntfs-3g', image, where, '-o', 'ignore_case')
    stage.exits.callback(stage.unmount, where)
    to = os.path.join(where, 'restored')
    result = server.restore('latest', to=to)
    assert result.status in (DONE, WARNINGS), result
    there = harness.restored(to, source)
    texts = set()
    for name in os.listdir(there):
        with open(os.path.join(there, name)) as f:
            texts.add(f.read())
    assert texts == {'one', 'other'} or result.status == WARNINGS, (result, os.listdir(there))
    assert texts, 'one of them at least stands there'


def test_parts_of_hard_link_groups(stage, vault, server, rng):
    """A selection that splits a group: what was selected is linked, the content is there, nothing else is."""
    source = stage.path('source')
    os.makedirs(os.path.join(source, 'a'))
    os.makedirs(os.path.join(source, 'b'))
    data = rng.randbytes(300000)
    with open(os.path.join(source, 'a', 'one'), 'wb') as f:
        f.write(data)
    os.link(os.path.join(source, 'a', 'one'), os.path.join(source, 'a', 'two'))
    os.link(os.path.join(source, 'a', 'one'), os.path.join(source, 'b', 'three'))
    server.backup(source).ok()
    to = stage.path('part')
    server.restore('latest', os.path.join(source, 'a'), to=to).ok()
    there = harness.restored(to, source)
    assert os.listdir(there) == ['a']
    one, two = (os.stat(os.path.join(there, 'a', n)) for n in ('one', 'two'))
    assert one.st_ino == two.st_ino and one.st_nlink == 2
    server.restore('latest', os.path.join(source, 'b'), to=to).ok()
    with open(os.path.join(there, 'b', 'three'), 'rb') as f:
        assert f.read() == data
    last = stage.path('last')
    server.restore('latest', os.path.join(source, 'b', 'three'), to=last).ok()
    with open(os.path.join(harness.restored(last, source), 'b', 'three'), 'rb') as f:
        assert f.read() == data
