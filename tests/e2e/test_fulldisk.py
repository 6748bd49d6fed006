"""A full disk, blocks and inodes, on the vault's and on the scratch side: a named error, nothing lost, and after freeing
space the next run completes."""
import os

import pytest

import harness
from harness import DONE, FAILED, WARNINGS

pytestmark = pytest.mark.root
DISK_FULL = 900102


def fill_blocks(where, leave=0):
    path = os.path.join(where, 'ballast')
    with open(path, 'wb', buffering=0) as f:
        left = os.statvfs(where).f_bavail * os.statvfs(where).f_frsize - leave
        piece = bytes(1 << 20)
        try:
            while left > 0:
                left -= f.write(piece[:min(left, len(piece))])
        except OSError:
            pass
    return [path]


def fill_inodes(where, leave=0):
    folder = os.path.join(where, 'ballast')
    os.mkdir(folder)
    made = []
    try:
        while os.statvfs(where).f_favail > leave:
            path = os.path.join(folder, str(len(made)))
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            made.append(path)
    except OSError:
        pass
    return made + [folder]


def free(paths):
    for path in paths:
        os.rmdir(path) if os.path.isdir(path) else os.unlink(path)


def codes(error):
    """Every code in an error and its chain."""
    found = [error['code']]
    for cause in error.get('chain', []) + [c for c in error.get('causes', []) if isinstance(c, dict)]:
        found.append(cause.get('code'))
    return found


def assert_disk_full(result):
    text = result.out.decode() + result.err.decode()
    assert str(DISK_FULL) in text or 'No space left' in text or 'disk is full' in text.lower(), result
    assert DISK_FULL in codes(result.error) or str(DISK_FULL) in text, result


@pytest.mark.parametrize('fill', [fill_blocks, fill_inodes])
def test_vault_side(stage, agent, rng, fill):
    disk = stage.mount('ext4', 300, mkfs=('-N', '600'))
    vault = harness.Vault(stage, folder=os.path.join(disk, 'vault')).init().start()
    server = agent()
    server.register(vault.credentials()).ok()
    source = harness.make_tree(stage.path('source'), rng)
    server.backup(source).ok()
    before = [p['id'] for p in server.points()]

    for i in range(6):
        with open(os.path.join(source, f'more{i}'), 'wb') as f:
            f.write(rng.randbytes(8 << 20))
    ballast = fill(disk, leave=(4 << 20) if fill is fill_blocks else 0)
    result = server.backup(source)
    assert result.status == FAILED, result
    assert_disk_full(result)
    assert [p['id'] for p in server.points()] == before
    server.verify(before[0]).ok()
    free(ballast)

    server.backup(source).ok(DONE, WARNINGS)
    to = stage.path('restored')
    server.restore('latest', to=to).ok()
    harness.assert_same_tree(source, harness.restored(to, source))
    vault.restart()
    for point in server.points():
        server.verify(point['id']).ok()


@pytest.mark.parametrize('fill', [fill_blocks, fill_inodes])
def test_scratch_side(stage, vault, agent, rng, fill):
    disk = stage.mount('ext4', 64, mkfs=('-N', '400'))
    server = agent()
    scratch = os.path.join(disk, 'scratch')
    server.register(vault.credentials(), '--scratch', scratch).ok()
    source = harness.make_tree(stage.path('source'), rng)
    server.backup(source).ok()
    before = [p['id'] for p in server.points()]
    ballast = fill(disk)
    harness.change_tree(source, rng)
    many = os.path.join(source, 'many')
    os.mkdir(many)
    for i in range(20000):
        with open(os.path.join(many, f'{i:06d} with a name that takes room in the cache of the tree'), 'w') as f:
            f.write(str(i))
    result = server.backup(source)
    # Scratch is a cache: to go on without it is as good as to stop with the name of the error.
    if result.status == FAILED:
        assert_disk_full(result)
        assert [p['id'] for p in server.points()] == before
    else:
        result.ok(DONE, WARNINGS)
    free(ballast)
    server.backup(source).ok(DONE, WARNINGS)
    to = stage.path('restored')
    server.restore('latest', to=to).ok()
    harness.assert_same_tree(source, harness.restored(to, source))
    for point in server.points():
        server.verify(point['id']).ok()
