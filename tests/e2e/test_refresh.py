"""Refresh: when the newest point uses little of many segments, backups store those chunks again, a bounded share in each run."""
import hashlib
import os

import pytest

import harness
import reader
from harness import DONE, WARNINGS


def opened(vault, server):
    """The newest point, opened by the independent reader."""
    with open(server.passphrase_file, 'rb') as f:
        store = reader.Store(vault.objects, vault.servers()[0], f.read().rstrip(b'\n'))
    return store, store.open_point(max(store.points, key=lambda i: store.points[i][0]))


def amplification(vault, server):
    """Bytes of the data segments that the newest point refers to, for each byte of its chunks."""
    store, point = opened(vault, server)
    store.live = point['live']
    chunks, segments = {}, {}
    for _, entry in reader.walk(store, point['node']):
        for ref in store.leaves(entry.content) if entry.type == reader.FILE and entry.content else ():
            chunks[ref.id] = ref.length
            segments[ref.pack, ref.segment] = 0
    for number, segment in segments:
        segments[number, segment] = sum(length for (s, _), (_, length) in store.pack(number).directory.items() if s == segment)
    return sum(segments.values()) / sum(chunks.values()), sum(chunks.values())


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


def test_what_cannot_be_read_here_comes_from_the_vault(stage, vault, server, rng):
    """Files that are as they were and cannot be read now: their chunks are fetched, and stored again all the same, within the budget."""
    harness.need_ordinary_user()
    source = amplify(stage, server, rng)
    kept, before = harness.read_tree(source), amplification(vault, server)[0]
    live = sum(os.path.getsize(os.path.join(source, n)) for n in os.listdir(source))
    paths = [a for i in range(0, 900, 10) for a in ('-P', os.path.join(source, f'file{i:04d}'))]
    result = server.backup(source, wrapper=['strace', '-f', '--seccomp-bpf', '-qq', '-o', '/dev/null', *paths, '-e', 'trace=pread64,read', '-e',
                                            'inject=pread64,read:error=EIO'])
    assert result.status == DONE and result.summary['warnings'] == 0, result
    assert 0 < result.summary['bytes_stored'] < live * 0.02 + 200000, result.summary
    assert amplification(vault, server)[0] < before, 'it came from the vault'
    to = stage.path('restored')
    server.restore('latest', to=to).ok()
    assert harness.read_tree(harness.restored(to, source)) == kept


def test_many_nights(stage, rng, capsys):
    """A tree that churns for many runs: reading its newest point gets cheap again, and the vault as small as what it holds."""
    long = bool(os.environ.get('COFFER_LONG'))
    nights, files, share = (60, 12000, 100) if long else (6, 1200, 6)
    clock = harness.Clock(stage.folder)
    vault = harness.Vault(stage, clock=clock).init().start()
    server = harness.Agent(stage, clock=clock)
    server.register(vault.credentials()).ok()
    clock.advance(days=41)                                        # ahead of every file's ctime: unchanged files are not read
    source = stage.path('source')
    os.mkdir(source)

    def write(i):
        with open(os.path.join(source, f'file{i:05d}'), 'wb') as f:
            f.write(rng.randbytes(16384))

    def size():
        return sum(os.path.getsize(os.path.join(w, n)) for w, _, names in os.walk(vault.objects) for n in names)

    def reclaim(keep):
        ids = sorted((p['received'], p['id']) for p in server.points())
        vault.stop()
        for _, id_ in [p for n, p in enumerate(ids) if not keep(n, len(ids))]:
            vault.change("UPDATE points SET state='expired', expired_at=? WHERE hex(id)=?", clock.wall, id_.upper())
        vault.start()
        for _ in range(4):
            vault.command('gc', vault.folder).ok()
            clock.advance(days=8)
        return size()
    for i in range(files):
        write(i)
    server.backup(source).ok()
    often = [i for i in range(files) if i % 5]                    # four of five change again and again
    for _ in range(nights):
        clock.advance(hours=1)
        for i in rng.sample(often, files // share):
            write(i)
        server.backup(source).ok()
    shares = [amplification(vault, server)]
    while shares[-1][0] >= 1.5 and len(shares) < 8:
        for _ in range(3):
            clock.advance(hours=1)
            server.backup(source).ok()
        shares.append(amplification(vault, server))
    shares, live = [s for s, _ in shares], shares[-1][1]
    assert shares[-1] < 1.5 and shares == sorted(shares, reverse=True), shares
    full = size()
    half = reclaim(lambda n, count: n % 2 == 0 or n == count - 1)
    only = reclaim(lambda n, count: n == count - 1)
    with capsys.disabled():
        print(f'\n{nights} nights: read amplification {shares[0]:.2f} -> {shares[-1]:.2f} in {3 * len(shares) - 3} scans; vault/live: all points '
              f'{full / live:.2f}, half of them {half / live:.2f}, the newest alone {only / live:.2f}')
    assert only < 1.75 * live and half < full, (full, half, only, live)
    server.verify('latest').ok()
    to = stage.path('restored')
    server.restore('latest', to=to).ok()
    harness.assert_same_tree(source, harness.restored(to, source))


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
    assert summary['bytes_stored'] < 4096, summary          # folders above may have changed: other tests work beside this one


def test_large_files_take_part(stage, vault, server, rng):
    """A file of more than 1,024 chunks, of which most was written over: only the chunks that move are read, wherever they come from."""
    path = os.path.join(stage.path('source'), 'large')
    os.mkdir(os.path.dirname(path))
    server.configure({'agent': {'kdf_memory': '19MiB', 'kdf_passes': 2}})               # packs of the ordinary size
    step, keep, size = 620000, 230000, 400000000
    data = b"".join(rng.randbytes(100000000) for _ in range(4))
    with open(path, 'wb') as f:
        f.write(data)
    server.backup(path).ok()
    with open(path, 'wb') as f:                                  # what stays lies scattered over the old segments
        for at in range(0, size, step):
            f.write(data[at:at + keep])
    server.backup(path).ok()
    before, live = amplification(vault, server)
    assert before > 1.4, before
    here = server.backup(path).ok(DONE).summary
    assert live * 0.01 < here['bytes_stored'] < live * 0.02 + 300000, here
    assert here['files_changed'] == 0 and here['bytes_read'] < live * 0.025, here
    _, point = opened(vault, server)
    assert point['live_raw'][1] & 4, 'fill classes'
    # The next share comes from the vault.
    there = server.backup(path, wrapper=['strace', '-f', '--seccomp-bpf', '-qq', '-o', '/dev/null', '-P', path, '-e', 'trace=pread64', '-e',
                                         'inject=pread64:error=EIO']).ok(DONE).summary
    assert live * 0.01 < there['bytes_stored'] < live * 0.02 + 300000 and there['bytes_read'] == 0, there
    after, _ = amplification(vault, server)
    assert after < before - 0.02, (before, after)
    to = stage.path('restored')
    server.restore('latest', to=to).ok()
    with open(path, 'rb') as a, open(harness.restored(to, path), 'rb') as b:
        assert hashlib.file_digest(a, 'sha256').digest() == hashlib.file_digest(b, 'sha256').digest()
