"""Scrubbing finds every kind of damage; the next backup heals what its server still has, for older points too."""
import os
import subprocess

import pytest

import harness
from harness import DONE, WARNINGS
from test_damage import flip


def scrub(vault, *more):
    return vault.command('--json', 'scrub', vault.folder, *more).ok(DONE, WARNINGS)


def marks(vault):
    return {(os.path.basename(d['object']), d['segment']): d['state'] for d in scrub(vault, '--list').document}


def write(folder, name, data):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), 'wb') as f:
        f.write(data)


def read_all(vault, server):
    """The independent reader goes through every point."""
    for point in server.points():
        done = subprocess.run(['/usr/bin/python3', harness.READER, vault.objects, vault.servers()[0], '--passphrase-file',
                               server.passphrase_file, '--point', point['id'], '--check'], capture_output=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr.decode()


@pytest.fixture
def source(stage, rng):
    """Files of one chunk each, and one of several."""
    top = stage.path('source')
    for i in range(20):
        write(os.path.join(top, f'folder{i % 3}'), f'file{i:02d}', rng.randbytes(30000))
    write(top, 'large', rng.randbytes(1500000))
    return top


def test_scrub_marks_each_damage_once(stage, vault, server, source):
    server.backup(source).ok()
    clean = scrub(vault)
    assert clean.status == DONE and clean.document['found'] == 0 and clean.document['damage'] == [], clean
    sizes = sum(os.path.getsize(os.path.join(w, n)) for w, _, names in os.walk(vault.objects) for n in names)
    assert clean.document['bytes'] >= 0.95 * sizes, 'every stored byte is read'
    pack, where = vault.packs(kind=0)[0], 5000
    flip(pack, where)
    found = scrub(vault)
    assert found.status == WARNINGS and found.document['found'] == 1, found
    mark, = found.document['damage']
    assert mark['object'].endswith(os.path.basename(pack)) and mark['reason'] == 'sum' and mark['state'] == 'open', mark
    again = scrub(vault)
    assert again.status == WARNINGS and (again.document['found'], again.document['known']) == (0, 1), again
    shown, = vault.command('--json', 'servers', vault.folder).ok().document
    assert shown['damaged'] == 1, shown
    flip(pack, where)
    right = scrub(vault)
    assert right.status == DONE and right.document['mended'] == 1, right
    assert not marks(vault)


def test_scrub_finds_every_kind(stage, vault, server, source):
    server.backup(source).ok()
    top = os.path.join(vault.objects, 'servers', vault.servers()[0])
    packs, expected = vault.packs(kind=0) + vault.packs(kind=1), {}
    assert len(packs) >= 3, packs

    def first(*names):
        place = os.path.join(top, *names)
        return os.path.join(place, sorted(os.listdir(place))[0])
    for kind, victim in (('missing', packs[0]), ('short', packs[1]), ('table', packs[2]), ('id', first('points')), ('differs', first('records')),
                         ('differs', first('slots')), ('format', first('..', '..', 'journal'))):
        if kind == 'missing':
            os.unlink(victim)
        elif kind == 'short':
            os.truncate(victim, os.path.getsize(victim) // 2)
        else:
            flip(victim, os.path.getsize(victim) - 60)
        expected[os.path.basename(victim)] = kind
    result = scrub(vault)
    assert result.status == WARNINGS, result
    found = {}
    for d in result.document['damage']:
        found.setdefault(os.path.basename(d['object']), set()).add(d['reason'])
    assert set(found) == set(expected) and all(expected[n] in found[n] for n in expected), found


def test_service_scrubs_by_itself(stage, clock, clocked_vault, clocked_server, source):
    vault, server = clocked_vault, clocked_server
    server.backup(source).ok()

    def finished():
        """a cycle is over"""
        return vault.query('SELECT finished FROM scrub')[0][0]
    clock.advance(minutes=5)
    first = harness.wait_for(finished)
    flip(vault.packs(kind=0)[0], 5000)
    clock.advance(days=29)
    assert vault.query("SELECT count(*) FROM damage WHERE state='open'")[0][0] == 0, 'not before its time'
    clock.advance(days=2)

    def found():
        """the damage is marked"""
        return vault.query("SELECT count(*) FROM damage WHERE state='open'")[0][0] == 1
    harness.wait_for(lambda: clock.advance(seconds=20) and found(), every=0.2)
    harness.wait_for(lambda: clock.advance(seconds=20) and finished() > first, every=0.2)
    assert 'damage: segment' in vault.log_text()


def test_a_restart_goes_on_where_the_cycle_stood(stage, clock, clocked_vault, clocked_server, source):
    """The clock stands, so the cycle waits behind its first megabyte; the service dies there."""
    vault, server = clocked_vault, clocked_server
    server.backup(source).ok()

    def place():
        return vault.query('SELECT started > finished, after, objects, finished FROM scrub')[0]
    harness.wait_for(lambda: clock.advance(seconds=20) and not place()[0], every=0.2)
    before = place()[3]
    clock.advance(days=31)

    def in_the_middle():
        """it is at the packs"""
        return place()[0] and ' 2 ' in place()[1] and place()[2] > 0
    harness.wait_for(in_the_middle)
    objects = place()[2]
    vault.kill()
    vault.start()
    assert place()[2] >= objects and place()[0]
    harness.wait_for(lambda: clock.advance(seconds=20) and place()[3] > before, every=0.2)
    total = scrub(vault).document['objects']
    assert total - 3 <= place()[2] <= total + 3, (place(), total)


def test_heal_from_local_files(stage, vault, server, source, rng):
    """Data that both points share is damaged: the next backup stores it again, and both are whole."""
    server.backup(source).ok()
    first = stage.path('first')
    subprocess.run(['cp', '-a', source, first], check=True)
    for i in range(0, 20, 5):
        write(os.path.join(source, f'folder{i % 3}'), f'file{i:02d}', rng.randbytes(30000))
    server.backup(source).ok()
    for pack in vault.packs(kind=0)[:2]:
        flip(pack, os.path.getsize(pack) // 2)
    assert scrub(vault).document['found'] == 2
    result = server.backup(source)
    assert result.status in (DONE, WARNINGS), result
    healed = [s for s in marks(vault).values() if s == 'healed']
    lost = [s for s in marks(vault).values() if s == 'open']
    assert healed, marks(vault)
    points = server.points()
    assert len(points) == 3
    for point in sorted(points, key=lambda p: p['number'] if 'number' in p else p['received'])[-1:]:
        server.verify(point['id']).ok()
    if not lost:                                                  # a changed file of the first point may be in one of them
        for point in points:
            server.verify(point['id']).ok()
        read_all(vault, server)
        to = stage.path('restored')
        oldest = min(points, key=lambda p: p['received'])
        server.restore(oldest['id'], to=to).ok()
        harness.assert_same_tree(first, harness.restored(to, source))
        assert scrub(vault).status == DONE
    second = server.backup(source).ok(DONE, WARNINGS).summary
    assert second['bytes_stored'] < 100000, 'healed once'


@pytest.mark.parametrize('kind', ['tree', 'missing', 'directory'])
def test_heal(stage, vault, server, source, kind):
    """Nothing has changed since: everything that any point refers to can be healed."""
    server.backup(source).ok()
    if kind != 'tree':                                            # older trees that are no longer the newest cannot be made again
        write(source, 'another', b'another file')
        server.backup(source).ok()
    if kind == 'tree':
        for pack in vault.packs(kind=1):
            flip(pack, 200)
    elif kind == 'missing':
        os.unlink(vault.packs(kind=0)[0])
    else:                                                         # its directory too: only the trees know what was in it
        pack = vault.packs(kind=0)[0]
        flip(pack, 5000)
        flip(pack, os.path.getsize(pack) - 60 - 32 * 8)
    found = scrub(vault)
    assert found.status == WARNINGS and found.document['found'] >= 1, found
    server.backup(source).ok(DONE, WARNINGS)
    left = {k: s for k, s in marks(vault).items() if s == 'open' and k[1] not in (None, 65535)}
    assert not left, left
    assert 'healed' in marks(vault).values()
    for point in server.points():
        result = server.verify(point['id'])
        assert result.status in (DONE, WARNINGS) and not result.summary.get('damaged'), result
        to = stage.path('to-' + point['id'][:8])
        server.restore(point['id'], to=to).ok(DONE, WARNINGS)
        assert len(harness.read_tree(to)) in (21, 22)
    if kind != 'directory':                                       # which the reader wants to see
        read_all(vault, server) if kind != 'missing' else None
    # The database is made again: relocations are known from their objects.
    vault.stop()
    vault.command('rebuild', vault.folder).ok(DONE, WARNINGS)
    vault.start()
    for point in server.points():
        result = server.verify(point['id'])
        assert not result.summary.get('damaged'), result


def test_what_is_gone_is_named(stage, vault, server, rng):
    """The file is no longer there: its points and its name are told, everything else is healed."""
    source = stage.path('source')
    for i in range(6):
        write(source, f'file{i}', rng.randbytes(40000))           # one segment
    server.backup(source).ok()
    with open(os.path.join(source, 'file3'), 'rb') as f:
        gone = f.read()
    os.unlink(os.path.join(source, 'file3'))
    flip(vault.packs(kind=0)[0], 5000)
    assert scrub(vault).document['found'] == 1
    result = server.backup(source)
    assert result.status == WARNINGS, result
    told = [w for w in server.run('jobs', result.summary['job_id']).ok(DONE, WARNINGS).document['warnings'] if w.get('path')]
    assert [os.path.basename(w['path']) for w in told] == ['file3'] and 'recovery point 1' in str(told), told
    oldest = min(server.points(), key=lambda p: p['received'])
    to = stage.path('restored')
    restored = server.restore(oldest['id'], to=to)
    assert restored.status == WARNINGS and [os.path.basename(p) for p in restored.summary['damaged']] == ['file3'], restored
    assert set(harness.read_tree(to)) == {os.fsencode(os.path.relpath(os.path.join(source, f'file{i}'), '/')) for i in (0, 1, 2, 4, 5)}
    assert 'open' in marks(vault).values(), marks(vault)
    again = server.backup(source)
    assert again.status == WARNINGS and again.summary['warnings'] == 1, 'files are named once'
    # The file comes back: its chunks have another home again, and the first point is whole.
    with open(os.path.join(source, 'file3'), 'wb') as f:
        f.write(gone)
    server.backup(source).ok(DONE)
    server.verify(oldest['id']).ok()
    assert set(marks(vault).values()) == {'healed'}
    read_all(vault, server)
