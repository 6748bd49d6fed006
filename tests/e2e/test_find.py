"""Looking for things: find, diff, and the cache of trees that makes the second look cost nothing."""
import os
import shutil

import pytest

import harness
from harness import DONE, WARNINGS
from relay import Relay


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as f:
        f.write(data)


def short(found, source):
    return sorted((os.path.relpath(f['path'], source), f['change']) for f in found)


def make_points(server, source, other):
    """Three points of one selection, and one of another between them; their IDs."""
    for i in range(300):
        write(f'{source}/many/f{i:03}.log', b'%d' % i)
    write(f'{source}/a.txt', b'one')
    write(f'{source}/big/large.bin', os.urandom(300000))
    write(f'{other}/a.txt', b'elsewhere')
    ids = [server.backup(source).ok().summary['point_id']]
    ids.append(server.backup(other).ok().summary['point_id'])
    write(f'{source}/a.txt', b'one and a half')
    os.unlink(f'{source}/many/f007.log')
    write(f'{source}/many/f300.log', b'x')
    write(f'{source}/new/b.txt', b'b')
    ids.append(server.backup(source).ok().summary['point_id'])
    shutil.rmtree(f'{source}/new')
    os.chmod(f'{source}/big', 0o700)
    ids.append(server.backup(source).ok().summary['point_id'])
    return ids


def test_find_and_diff(vault, server, stage):
    source, other = stage.path('source'), stage.path('other')
    first, _, second, third = make_points(server, source, other)
    # Through all points: another selection's point between them does not make anything go.
    found = [f for f in server.run('find', 'a.txt').ok().document if f['path'].startswith(source)]
    assert [(f['point_id'], f['change'], f['size']) for f in found] == [(first, 'appeared', 3), (second, 'changed', 14)]
    assert found[0]['mtime'].startswith('20') and found[0]['type'] == 'file'
    assert [(f['point_id'], f['change']) for f in server.run('find', 'b.txt').ok().document] == [(second, 'appeared'), (third, 'gone')]
    logs = server.run('find', 'f*.log').ok().document
    assert len(logs) == 302 and [f['change'] for f in logs].count('gone') == 1
    # A path, and its end.
    assert short(server.run('find', f'{source}/new/*').ok().document, source) == [('new/b.txt', 'appeared'), ('new/b.txt', 'gone')]
    assert short(server.run('find', 'new/b.*').ok().document, source) == [('new/b.txt', 'appeared'), ('new/b.txt', 'gone')]
    # Size, time, one point.
    assert [os.path.basename(f['path']) for f in server.run('find', '*', '--larger', '200K').ok().document] == ['large.bin']
    inside = server.run('find', '*.log', '--point', first[:12], '--smaller', '3').ok().document
    assert len(inside) == 100 and {f['change'] for f in inside} == {None} and {f['point_id'] for f in inside} == {first}
    assert server.run('find', '*', '--newer', '2099-01-01').ok().document == []
    assert server.run('find', '*', '--older', '2001-01-01T10:00').ok().document == []
    assert server.run('find', '*', '--newer', 'yesterday-ish').status == 2
    # Two points.
    def differences(a, b):
        return {os.path.relpath(d['path'], source): (d['change'], d['size_before'], d['size_after']) for d in server.run('diff', a, b).ok().document}
    assert differences(first, second) == {
        'a.txt': ('changed', 3, 14), 'many/f007.log': ('removed', 1, None), 'many/f300.log': ('added', None, 1),
        'new': ('added', None, None), 'new/b.txt': ('added', None, 1)}
    assert differences(second, third) == {'new': ('removed', None, None), 'new/b.txt': ('removed', 1, None), 'big': ('changed', None, None)}
    assert differences(third, third) == {}
    text = server.run('diff', first, second, json=False).ok()
    assert b'M' in text.out and b'2 added' not in text.err and b'3 added, 1 removed, 1 changed' in text.err
    assert b'appeared' in server.run('find', 'b.txt', json=False).ok().out


def test_second_look_needs_no_tree(vault, stage, rng):
    """What was fetched once is in scratch; spoilt entries are fetched again; verify never believes it."""
    passed = Relay(stage, vault)
    server = harness.Agent(stage)
    server.register(passed.credentials(vault.credentials(), stage.path('through.credentials'))).ok()
    source = harness.make_tree(stage.path('source'), rng, files=150)
    for _ in range(3):
        server.backup(source).ok()
        harness.change_tree(source, rng)

    def requests(*args, status=DONE):
        before = len(passed.requests)
        out = server.run(*args).ok(status)
        return out.document, [p for m, p in passed.requests[before:] if 'objects' in p or 'packs' in p or '/records/' in p or 'blob' in p]

    trees = os.path.join(server.home, 'scratch', 'trees', server.server_id)
    shutil.rmtree(trees, ignore_errors=True)
    first, cold = requests('ls', 'latest', '/', '-R')
    second, warm = requests('ls', 'latest', '/', '-R')
    assert first == second and cold and not warm, (cold, warm)
    for how in range(3):
        for name in os.listdir(trees):
            path = os.path.join(trees, name)
            size = os.path.getsize(path)
            with open(path, 'r+b') as f:
                if how == 0:
                    f.truncate(size // 2)
                elif how == 1:
                    f.seek(size // 2)
                    byte = f.read(1)
                    f.seek(size // 2)
                    f.write(bytes([byte[0] ^ 1]))
                else:
                    f.truncate(0)
        again, fetched = requests('ls', 'latest', '/', '-R')
        assert again == first and fetched
    # Points are remembered too; a folder that cannot be used is no cache, and nothing worse.
    assert [p['source'] for p in server.run('points').ok().document] == [[source]] * 3
    shutil.rmtree(os.path.dirname(trees))
    with open(os.path.dirname(trees), 'w') as f:
        f.write('not a folder')
    assert requests('ls', 'latest', '/', '-R')[0] == first
    os.unlink(os.path.dirname(trees))
    # Another server's data leaves nothing behind.
    guest = harness.Agent(stage, 'guest')
    out = guest.run('find', '*', '--server', 'server', '--credentials', vault.credentials(purpose='restore'),
                    '--passphrase-file', server.passphrase_file)
    assert out.status == DONE and out.document and not os.path.exists(os.path.join(guest.home, 'scratch', 'trees')), out


def test_points_shows_damage_of_what_it_has_seen(vault, server, stage, rng):
    source = harness.make_tree(stage.path('source'), rng, files=50)
    for _ in range(3):
        server.backup(source).ok()
        harness.change_tree(source, rng)
    assert [p['status'] for p in server.points()] == ['completed'] * 3
    server.run('ls', 'latest').ok()
    folder = os.path.join(vault.objects, 'servers', vault.servers()[0], 'points')
    path = os.path.join(folder, sorted(os.listdir(folder))[-1])
    with open(path, 'r+b') as f:
        f.seek(os.path.getsize(path) // 2)
        byte = f.read(1)
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte[0] ^ 1]))
    assert [p['status'] for p in server.run('points').ok(WARNINGS).document] == ['completed', 'completed', 'damaged']


@pytest.mark.root
def test_cache_gives_way_before_the_disk_is_full(vault, agent, stage, rng):
    agent, scratch = agent(), stage.mount('tmpfs', 64)
    agent.register(vault.credentials(), '--scratch', os.path.join(scratch, 'here')).ok()
    source = harness.make_tree(stage.path('source'), rng, files=150)
    point = agent.backup(source).ok().summary['point_id']
    first = agent.run('ls', point, '/', '-R').ok().document
    trees = os.path.join(scratch, 'here', 'trees', agent.server_id)
    assert os.listdir(trees)
    free = os.statvfs(scratch)
    with open(os.path.join(scratch, 'others'), 'wb') as f:      # leaves 1 MiB: less than the share of others
        f.write(bytes(free.f_bavail * free.f_frsize - (1 << 20)))
    assert agent.backup(source).ok().summary['status'] == 'completed'
    assert not os.listdir(trees)
    assert agent.run('ls', point, '/', '-R').ok().document == first and not os.listdir(trees)
    os.unlink(os.path.join(scratch, 'others'))
    agent.run('ls', point, '/', '-R').ok()
    assert os.listdir(trees)
