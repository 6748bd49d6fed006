"""Refresh: when the newest point uses little of many segments, backups store those chunks again, a bounded share in each run."""
import os

import pytest

import harness
from harness import DONE, WARNINGS


def amplify(stage, server, rng):
    """Files of 8 KiB, of which only every tenth stays: fill of about a tenth."""
    source = stage.path('source')
    os.mkdir(source)
    for i in range(900):
        with open(os.path.join(source, f'file{i:04d}'), 'wb') as f:
            f.write(rng.randbytes(8192))
    server.backup(source).ok()
    for i in range(900):
        if i % 10:
            os.unlink(os.path.join(source, f'file{i:04d}'))
    # Something large and dense beside them: what is stored again is bounded by the whole.
    with open(os.path.join(source, 'dense'), 'wb') as f:
        f.write(rng.randbytes(4 << 20))
    server.backup(source).ok()
    return source


def test_sparse_segments_are_stored_again(stage, vault, server, rng):
    source = amplify(stage, server, rng)
    live = sum(os.path.getsize(os.path.join(source, n)) for n in os.listdir(source))
    stored = []
    for _ in range(3):
        summary = server.backup(source).ok(DONE).summary
        assert summary['files_changed'] == 0, summary
        stored.append(summary['bytes_stored'])
    # Each run at most 2 % of the live bytes, and a little for nodes and directories.
    assert stored[0] > 0 and max(stored) < live * 0.02 + 200000, (stored, live)
    for point in server.points():
        server.verify(point['id']).ok()
    to = stage.path('restored')
    server.restore('latest', to=to).ok()
    harness.assert_same_tree(source, harness.restored(to, source))


def test_unreadable_files_keep_what_the_vault_has(stage, vault, server, rng):
    """A file that should be stored again and cannot be read stays where it stands: no warning, nothing lost."""
    harness.need_ordinary_user()
    source = amplify(stage, server, rng)
    kept = harness.read_tree(source)
    # Reading fails for everything below: strace makes each read of the source fail with EIO.
    result = server.backup(source, wrapper=['strace', '-f', '-qq', '-o', '/dev/null', '-P', os.path.join(source, 'file0000'), '-e',
                                            'trace=openat,openat2,pread64,read', '-e', 'inject=pread64,read,openat,openat2:error=EIO'])
    assert result.status in (DONE, WARNINGS), result
    to = stage.path('restored')
    server.restore('latest', to=to).ok()
    assert harness.read_tree(harness.restored(to, source)) == kept


def test_dense_servers_are_left_alone(stage, vault, server, rng):
    source = stage.path('source')
    os.mkdir(source)
    for i in range(60):
        with open(os.path.join(source, f'file{i}'), 'wb') as f:
            f.write(rng.randbytes(100000))
    server.backup(source).ok()
    with open(os.path.join(source, 'another'), 'wb') as f:
        f.write(rng.randbytes(1000))
    server.backup(source).ok()
    summary = server.backup(source).ok().summary
    assert summary['bytes_stored'] == 0, summary
