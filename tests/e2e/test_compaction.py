"""Compaction and merging: addresses stay, bytes are the same, space comes back; a death in the middle leaves only an orphan."""
import base64
import os
import signal
import struct
import subprocess

import pytest

import gclib
import harness
import vaultlib
from gclib import DAY, GRACE, HOUR
from harness import DONE, WARNINGS


@pytest.fixture
def vault(stage, clock):
    one = gclib.GcVault(stage.folder, clock, compact_percent=60).start()
    yield one
    one.stop(signal.SIGKILL)


@pytest.fixture
def server(vault):
    return gclib.GcServer(vault, vault.credentials())


def objects(vault):
    """Names of pack objects and of merged ones, with their sizes."""
    top = vault.path / 'objects' / 'servers'
    return {p.parent.name + '/' + p.name: p.stat().st_size for kind in ('packs', 'merged') for p in top.glob(f'*/{kind}/*') if p.name[0] != '.'}


def extents(vault, server, number):
    """{segment: bytes} of a pack as a reader gets them, each sum checked; and the answer."""
    answer, = server.call('POST', '/v1/packs:download', json={'packs': [number]}).json()['packs']
    tail = base64.b64decode(answer['tail'])
    body = vault.call('GET', answer['url'], status=200).content
    assert len(body) == answer['size'] and body.endswith(tail) and body.startswith(base64.b64decode(answer['header']))
    out = {}
    for at in range(0, len(tail) - 40, 32):
        segment, _, length, offset = struct.unpack_from('<HHIQ', tail, at)
        out[segment] = body[offset:offset + length]
        assert vaultlib.xxh3(out[segment]) == tail[at + 16:at + 32]
    return out, answer


def make_sparse(vault, server, segments=20, live=(2, 5), packs=1):
    """Packs of which a point needs only some segments, and the others are ripe."""
    old = server.run(packs=packs, segments=segments)
    new = server.run(needs={n: set(live) for n in old.stored}, packs=1)
    vault.expire(old)
    before = {n: extents(vault, server, n)[0] for n in old.stored}
    vault.gc()
    vault.clock.advance(seconds=GRACE)
    return old.stored, new, before


def test_sparse_pack_is_written_anew(vault, server):
    (number, ), new, before = make_sparse(vault, server)
    old_url = extents(vault, server, number)[1]['url']
    vault.gc()
    after, answer = extents(vault, server, number)
    assert set(after) == {2, 5, 0xFFFF} and all(after[s] == before[number][s] for s in after), 'same addresses, same bytes'
    assert vault.states(server)[number][0] == 2
    gclib.verify(vault, server, new)
    names = [n for n in objects(vault) if f'{number:016x}-' in n]
    assert len(names) == 2 and any(n.endswith('.00000001') for n in names), 'the old object stays while its address is good'
    assert len(vault.call('GET', old_url, status=200).content) > answer['size']
    vault.clock.advance(seconds=HOUR + 601)
    vault.gc()
    names = [n for n in objects(vault) if f'{number:016x}-' in n]
    assert len(names) == 1 and names[0].endswith('.00000001')
    vault.call('GET', answer['url'], status=403)                  # that one has expired as well
    # What was left out is missing for a commit, and the rest is there.
    server.open()
    server.put_record()
    reply = server.commit_point({number: {2, 3}}, status=409)
    assert reply.reply.json()['error']['details']['missing'] == [{'pack': number, 'segments': [3]}], reply.reply.text
    server.close()
    vault.restart()
    gclib.verify(vault, server, new)


def test_dense_packs_stay(vault, server):
    (number, ), new, before = make_sparse(vault, server, live=range(14))
    vault.gc()
    assert set(extents(vault, server, number)[0]) == set(before[number]), '70 % of it is needed'
    gclib.verify(vault, server, new)


def test_small_packs_are_merged(vault, server):
    points = [server.run(packs=2, segments=3) for _ in range(5)]
    before = {n: extents(vault, server, n)[0] for p in points for n in p.stored}
    many = objects(vault)
    vault.gc()
    merged = [n for n in objects(vault) if n.startswith('merged/')]
    assert len(merged) == 1
    for number, segments in before.items():
        assert extents(vault, server, number)[0] == segments
    url = extents(vault, server, points[0].stored[0])[1]['url']
    part = vault.http.get(url, headers={'Range': 'bytes=4-9'}, verify=vault.ca)
    assert part.status_code == 206 and len(part.content) == 6
    vault.clock.advance(seconds=HOUR + 601)
    vault.gc()
    left = objects(vault)
    assert list(left) == merged and sum(left.values()) < 1.1 * sum(many.values()), left
    for point in points:
        gclib.verify(vault, server, point)
    # Some of them die: the merged object is written anew without them, and goes.
    for point in points[:4]:
        vault.expire(point)
    for _ in range(3):
        vault.gc()
        vault.clock.advance(seconds=GRACE)
    vault.gc()
    left = objects(vault)
    assert merged[0] not in left and len(left) <= 2, left
    gclib.verify(vault, server, points[4])


def test_rebuild_copes(vault, server):
    """Merged and compacted packs, and old objects beside them: the database made again knows where everything stands."""
    (number, ), new, _ = make_sparse(vault, server)
    points = [server.run(packs=2, segments=3) for _ in range(5)]
    vault.gc()
    assert len([n for n in objects(vault) if n.startswith('merged/')]) == 1
    columns = 'number, session, kind, size, hex(xxh3), segments, gaps, generation, hex(merged), base'
    rows = vault.query(f'SELECT {columns} FROM packs ORDER BY number')
    tails = vault.query('SELECT number, hex(header), hex(tail) FROM pack_tails ORDER BY number')
    vault.stop()
    for end in ('', '-wal', '-shm'):
        (vault.path / f'vault.db{end}').unlink(missing_ok=True)
    vault.run('rebuild', vault.path)
    assert vault.query(f'SELECT {columns} FROM packs ORDER BY number') == rows
    assert vault.query('SELECT number, hex(header), hex(tail) FROM pack_tails ORDER BY number') == tails
    vault.start()
    for point in [new, *points]:
        gclib.verify(vault, server, point)
    scrubbed = vault.run('--json', 'scrub', vault.path)
    assert '"found": 0' in scrubbed.stdout or '"found":0' in scrubbed.stdout, scrubbed.stdout


@pytest.mark.parametrize('step', ['put', 'row'])
def test_death_in_the_middle_leaves_an_orphan(vault, server, step, stage):
    """Killed before the new object is stored, or before the rows say so: nothing is lost, the next pass ends the work."""
    numbers, new, before = make_sparse(vault, server, packs=2)
    vault.stop()
    calls = 'rename,renameat,renameat2,linkat' if step == 'put' else 'unlinkat'
    # Each new object is one rename (or link) of a temporary file: the process dies at some of them, one after the other.
    for n in range(1, 40, 1 if os.environ.get('COFFER_LONG') else 3):
        done = subprocess.run(['strace', '-f', '-qq', '-o', '/dev/null', '-e', f'trace={calls}', '-e', f'inject={calls}:signal=KILL:when={n}',
                               vaultlib.vault_binary(), 'gc', str(vault.path)], env={**os.environ, **vault.env}, capture_output=True, check=False)
        if done.returncode in (0, 3):
            break
        vault.start()
        for number in numbers:
            there = extents(vault, server, number)[0]
            assert all(there[s] == before[number][s] for s in (2, 5, 0xFFFF))
        gclib.verify(vault, server, new)
        vault.stop()
    vault.start()
    vault.gc()
    for _ in range(2):
        vault.clock.advance(days=2)
        vault.gc()
    for number in numbers:
        assert set(extents(vault, server, number)[0]) == {2, 5, 0xFFFF}
    assert len([n for n in objects(vault) if any(f'{number:016x}-' in n for number in numbers)]) <= len(numbers)
    assert not vault.query('SELECT * FROM compacting')
    gclib.verify(vault, server, new)


def test_real_backups_survive_it(stage, clock, clocked_vault, clocked_server, rng):
    """An agent's own packs: compacted and merged, every point still verifies; the independent reader reads them."""
    vault, server = clocked_vault, clocked_server
    vault.command('settings', vault.folder, 'compact_percent=60').ok()
    source = stage.path('source')
    os.mkdir(source)
    for i in range(60):
        with open(os.path.join(source, f'file{i:02d}'), 'wb') as f:
            f.write(rng.randbytes(90000))
    server.backup(source).ok()
    first = server.points()[0]['id']
    for i in range(60):
        if i % 4:
            os.unlink(os.path.join(source, f'file{i:02d}'))
    for i in range(9):
        clock.advance(minutes=1)
        with open(os.path.join(source, f'new{i}'), 'wb') as f:
            f.write(rng.randbytes(5000))
        server.backup(source).ok(DONE, WARNINGS)
    vault.stop()
    vault.change("UPDATE points SET state='expired', expired_at=? WHERE hex(id)=?", clock.wall, first.upper())
    vault.start()
    for _ in range(3):
        vault.command('gc', vault.folder).ok()
        clock.advance(days=8)
    generations = dict(vault.query('SELECT generation, count(*) FROM packs GROUP BY generation'))
    assert sum(n for g, n in generations.items() if g) > 0, generations
    for point in server.points():
        server.verify(point['id']).ok()
        done = subprocess.run(['/usr/bin/python3', harness.READER, vault.objects, vault.servers()[0], '--passphrase-file',
                               server.passphrase_file, '--point', point['id'], '--check'], capture_output=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr.decode()
    server.backup(source).ok(DONE, WARNINGS)
    assert vault.command('--json', 'scrub', vault.folder).ok().document['damage'] == []
