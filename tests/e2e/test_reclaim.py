"""Reclaiming: every row of the table of races and crashes, one test each (docs/gc.md has the table)."""
import copy
import json
import os
import signal
import shutil
import sqlite3
import subprocess
import threading
import time

import pytest
import requests

import gclib
import harness
import vaultlib
from gclib import DAY, GRACE


@pytest.fixture
def vault(stage, clock):
    one = gclib.GcVault(stage.folder, clock).start()
    yield one
    one.stop(signal.SIGKILL)


@pytest.fixture
def server(vault):
    return gclib.GcServer(vault, vault.credentials())


def two_points(vault, server):
    """An old point with packs of its own, and one that shares one of them. The old one expires."""
    old = server.run(packs=2)
    new = server.run(needs={old.stored[0]: 4}, packs=1)
    vault.expire(old)
    return old, new


def test_dead_packs_go_after_the_grace(vault, server):
    old, new = two_points(vault, server)
    report = vault.gc()
    assert report['retired_segments'] == 4 and report['deleted_packs'] == 0
    assert vault.states(server)[old.stored[1]] == (4, [0, 1, 2, 3])
    vault.clock.advance(seconds=GRACE - 1)
    assert vault.gc()['deleted_packs'] == 0
    vault.clock.advance(seconds=1)
    report = vault.gc()
    assert report['deleted_packs'] == 1 and report['deleted_points'] == 1 and report['deleted_bytes'] > 4000
    assert vault.pack_files() == {old.stored[0], new.stored[0]}
    assert vault.point_files() == {new.id.hex()}
    gclib.verify(vault, server, new)
    assert vault.gc() == {**report, 'retired_segments': 0, 'deleted_packs': 0, 'deleted_bytes': 0, 'deleted_points': 0}


def test_segments_of_a_shared_pack_are_retired_alone(vault, server):
    old = server.run(packs=1, segments=8)
    new = server.run(needs={old.stored[0]: {2, 5}}, packs=1)
    vault.expire(old)
    assert vault.gc()['retired_segments'] == 6
    vault.clock.advance(days=30)
    vault.gc()
    assert vault.states(server)[old.stored[0]] == (8, [0, 1, 3, 4, 6, 7])
    gclib.verify(vault, server, new)


def test_a_backup_relies_on_what_is_being_retired(vault, server):
    """Commit brings back what is retired, and answers with the list of what is past the point of no return."""
    old, new = two_points(vault, server)
    server.open()
    server.put_record()
    vault.gc()  # retired behind the session's back
    assert vault.states(server)[old.stored[1]][1] == [0, 1, 2, 3]
    third = server.commit_point({old.stored[1]: {0, 2}})
    assert vault.states(server)[old.stored[1]] == (4, [1, 3]), 'what it needs came back, nothing else'
    server.close()
    vault.clock.advance(days=30)
    vault.gc()
    gclib.verify(vault, server, third)
    # Another server pack goes for good; a point that needs it is told so, and everything else of it is kept.
    vault.expire(new)
    vault.gc()
    vault.clock.advance(days=8)
    server.open()
    server.put_record()
    assert vault.gc()['deleted_packs'] >= 1
    gone = new.stored[0]
    assert gone not in vault.pack_files()
    error = server.point([], gclib.map_of({gone: 4, old.stored[1]: {0, 2}}))
    missing = server.put_point(error, 409).json()['error']
    assert missing['code'] == 900503
    assert missing['details']['missing'] == [{'pack': gone, 'segments': 'all'}]
    again = server.store(4)  # in the same job
    server.commit_point({again.number: 4, old.stored[1]: {0, 2}}, [again])
    server.close()


def test_a_point_commits_between_mark_and_retire(vault, server, stage):
    """Passes and commits at the same time, many times over: no commit is ever robbed of what it was granted."""
    base = server.run(packs=6)
    stop, problems = threading.Event(), []
    other = gclib.GcServer(vault, vault.credentials(), 'web2')
    other.vault = server.vault

    def pass_after_pass():
        while not stop.is_set():
            try:
                vault.gc()
            except Exception as e:  # noqa: BLE001
                problems.append(e)
                return

    worker = threading.Thread(target=pass_after_pass)
    worker.start()
    points = [base]
    try:
        for i in range(15):
            # Each point needs packs that only the point before last holds, which expires just before.
            needs = {n: 4 for n in points[-1].stored}
            server.open()
            server.put_record()
            if len(points) > 1:
                vault.expire(points.pop(0))
            pack = server.store(4)
            point = server.commit_point({**needs, pack.number: 4}, [pack])
            point.stored = [pack.number]
            server.close()
            points.append(point)
            gclib.verify(vault, server, point)
    finally:
        stop.set()
        worker.join(60)
    assert not problems
    for point in points:
        gclib.verify(vault, server, point)


def test_two_passes_overlap(vault, server):
    """`gc` asks the one holder: several at once are one after the other, and nothing is done twice."""
    old, new = two_points(vault, server)
    vault.gc()
    vault.clock.advance(days=8)
    asked = [subprocess.Popen([harness.program('coffer-vault', clock=True), '--json', 'gc', str(vault.path)],
                              stdout=subprocess.PIPE, env={**os.environ, **vault.env}) for _ in range(4)]
    reports = [json.loads(p.communicate(timeout=60)[0]) for p in asked]
    assert all(p.returncode == 0 for p in asked)
    assert all(r['by_service'] for r in reports)
    assert vault.pack_files() == {old.stored[0], new.stored[0]}
    gclib.verify(vault, server, new)
    vault.stop()
    assert not vault.gc()['by_service'], 'without a service it does the pass itself'


def test_a_session_opens_after_retiring(vault, server):
    old, new = two_points(vault, server)
    assert server.open() == set()
    server.close()
    vault.gc()
    dead = {(old.stored[1], s) for s in range(4)}
    before = server.generation
    assert server.open() == dead, 'retired counts as dead for it'
    assert server.generation > before
    server.close()
    assert server.open() == set(), 'told once'
    server.close()
    vault.clock.advance(days=8)
    vault.gc()
    server.generation = before  # an agent that comes late
    assert server.open() == dead, 'also when the pack is gone'
    server.close()
    fresh = gclib.GcServer.__new__(gclib.GcServer)
    fresh.__dict__.update(server.__dict__, epoch=None, generation=0, dead=set())
    assert fresh.open() == set(), 'an index that knows nothing is told nothing'
    assert fresh.generation == server.generation


def test_an_old_generation_is_told_to_begin_anew(vault, server):
    old, _ = two_points(vault, server)
    server.open()
    server.close()
    before = server.generation
    vault.gc()
    vault.clock.advance(days=8)
    vault.gc()
    vault.clock.advance(days=91)
    vault.gc()
    server.generation = before
    server.open()
    assert server.opened['resync'] and server.opened['feed'] == []
    assert not vault.frozen
    server.close()
    server.open()
    assert not server.opened['resync']


def test_an_agent_dies_in_mid_upload(vault, server):
    """What was committed stays until 30 days after the next completed point; so do uploads that were not."""
    first = server.run(packs=1)
    server.open()
    server.put_record()
    orphans = [server.store(4).number for _ in range(3)]
    stray = server.make_pack(4)
    server.upload(stray)
    server.highest = stray.number
    vault.unlease()
    vault.clock.advance(days=100)
    assert vault.gc()['retired_segments'] == 0
    assert set(orphans) | {stray.number} <= vault.pack_files(), 'however long it takes'
    server.open()
    server.put_record()
    second = server.commit_point({first.stored[0]: 4, orphans[0]: {1}})  # the next run uses them
    server.close()
    vault.clock.advance(days=29)
    vault.gc()
    assert vault.states(server)[orphans[1]] == (4, [])
    vault.clock.advance(days=2)
    assert vault.gc()['deleted_strays'] == 1
    assert stray.number not in vault.pack_files()
    assert vault.states(server)[orphans[1]] == (4, [0, 1, 2, 3])
    vault.clock.advance(days=8)
    assert vault.gc()['deleted_packs'] == 2
    assert vault.states(server)[orphans[0]] == (4, [0, 2, 3])
    gclib.verify(vault, server, second)
    assert vault.pack_files() == {first.stored[0], orphans[0]}


def test_an_agent_sleeps_three_weeks_inside_a_session(vault, server):
    old, new = two_points(vault, server)
    server.open()
    server.put_record()
    mine = server.store(4)
    late = gclib.GcServer.__new__(gclib.GcServer)
    late.__dict__.update(server.__dict__)
    vault.unlease()
    vault.clock.advance(days=21)
    vault.gc()
    vault.clock.advance(days=8)
    vault.gc()
    assert old.stored[1] not in vault.pack_files()
    pack = late.make_pack(4)
    error = late.refused('POST', f'/v1/packs/{pack.number}:upload', 410, 900501, 'expired', json=pack.announce())
    assert error
    late.highest = pack.number
    point = late.point([mine], gclib.map_of({mine.number: 4, old.stored[1]: 4}))
    assert late.put_point(point, 410).json()['error']['code'] == 900501
    fed = late.open()  # the late agent opens anew, reads the feed, compares
    assert fed == {(old.stored[1], s) for s in range(4)}
    late.put_record()
    assert late.call('GET', '/v1/packs').json()['packs'][-1]['number'] == mine.number, 'nothing is uploaded twice'
    again = late.store(4)
    point = late.commit_point({mine.number: 4, again.number: 4}, [again])
    late.close()
    vault.clock.advance(days=60)
    vault.gc()
    gclib.verify(vault, late, point)


def test_the_vault_dies_between_store_and_row(vault, server):
    """State `deleting`, with the object there or not: the next pass ends it; a commit is told that it is missing."""
    old, new = two_points(vault, server)
    vault.gc()
    vault.clock.advance(days=8)
    vault.stop()
    for with_object in (True, False):
        number = old.stored[1] if with_object else None
        if number is None:
            break
        assert vault.execute("UPDATE packs SET state='deleting' WHERE number=?", number) == 1
    vault.start()
    server.open()
    server.put_record()
    point = server.point([], gclib.map_of({old.stored[1]: 4}))
    assert server.put_point(point, 409).json()['error']['code'] == 900503
    assert old.stored[1] not in {p['number'] for p in server.call('GET', '/v1/packs').json()['packs']}
    server.close()
    vault.gc()
    assert not vault.query("SELECT * FROM packs WHERE state='deleting'")
    assert old.stored[1] not in vault.pack_files()
    vault.stop()
    # The object is gone, the row is not.
    vault.execute("UPDATE points SET state='expired', expired_at=1 WHERE id=?", new.id)
    vault.execute("UPDATE packs SET state='deleting' WHERE number=?", new.stored[0])
    for path in (vault.path / 'objects' / 'servers').glob(f'*/packs/{new.stored[0]:016x}-*'):
        path.unlink()
    vault.start()
    vault.gc()
    assert not vault.query("SELECT * FROM packs WHERE state='deleting'")


@pytest.mark.parametrize('kind', ['restore', 'mount', 'verify'])
def test_a_reader_holds_a_point(vault, server, kind):
    old, new = two_points(vault, server)
    vault.execute("UPDATE points SET state='current', expired_at=0 WHERE id=?", old.id)
    lease = os.urandom(16).hex()
    server.call('POST', '/v1/leases', json={'lease': lease, 'kind': kind, 'points': [old.id.hex()]})
    vault.expire(old)  # retention would not; reclaiming does not rely on that
    for _ in range(3):
        vault.gc()
        vault.execute('UPDATE read_leases SET expires=?', vault.clock.wall + 9 * DAY)
        vault.clock.advance(days=8)
    vault.gc()
    gclib.verify(vault, server, old, listed=False)
    assert old.id.hex() in vault.point_files()
    server.call('DELETE', f'/v1/leases/{lease}')
    vault.gc()
    vault.clock.advance(days=8)
    assert vault.gc()['deleted_packs'] == 1
    assert server.refused('POST', '/v1/leases', 404, json={'lease': lease, 'kind': kind, 'points': [old.id.hex()]})


def test_leases_are_capped_and_visible(vault, server):
    point = server.run(packs=1)
    for i in range(64):
        server.call('POST', '/v1/leases', json={'lease': f'{i:032x}', 'kind': 'mount', 'points': [point.id.hex()]})
    server.refused('POST', '/v1/leases', 429, 900513, json={'lease': 'f' * 32, 'kind': 'mount', 'points': [point.id.hex()]})
    shown = json.loads(vault.run('--json', 'gc', vault.path).stdout)
    assert shown['leases'] == {'restore': 0, 'verify': 0, 'mount': 64}


def test_an_open_session_holds_its_base(vault, server):
    old, new = two_points(vault, server)
    vault.execute("UPDATE points SET state='current', expired_at=0 WHERE id=?", old.id)
    server.open(base=old)
    server.put_record()
    vault.expire(old)
    for _ in range(3):
        vault.gc()
        vault.execute("UPDATE sessions SET lease_until=? WHERE state='open'", vault.clock.wall + 9 * DAY)
        vault.clock.advance(days=8)
    vault.gc()
    point = server.commit_point({n: 4 for n in old.stored})
    server.close()
    vault.clock.advance(days=40)
    vault.gc()
    gclib.verify(vault, server, point)


def test_a_map_hangs_on_an_expired_point(vault, server):
    """The object of an expired point stays as long as a retained point's map goes through it."""
    first = server.run(packs=2)
    server.open()
    server.put_record()
    pack = server.store(4)
    second = server.commit_point({first.stored[0]: 4, pack.number: 4}, [pack],
                                 live_map=vaultlib.delta_map(first.id, 1, {first.stored[1]: None, pack.number: 4}))
    server.close()
    vault.expire(first)
    vault.gc()
    vault.clock.advance(days=8)
    report = vault.gc()
    assert report['deleted_packs'] == 1 and report['deleted_points'] == 0
    assert first.id.hex() in vault.point_files()
    gclib.verify(vault, server, second)
    server.open()
    server.put_record()
    third = server.point([], vaultlib.delta_map(first.id, 1, {first.stored[1]: None}))
    error = server.put_point(third, 400).json()['error']
    assert error['reason'] == 'base', 'nothing new hangs on an expired point'
    third = server.commit_point({pack.number: 4})
    server.close()
    vault.expire(second)
    vault.gc()
    vault.clock.advance(days=8)
    vault.gc()
    assert vault.point_files() == {third.id.hex()}
    gclib.verify(vault, server, third)


def test_a_wrong_clock(vault, server):
    """A jump stops deletion until it is confirmed; the clock going back deletes nothing."""
    old, new = two_points(vault, server)
    vault.gc()
    vault.clock.jump(40 * DAY)
    vault.clock.advance(seconds=11)  # the service looks every ten seconds
    harness.wait_for(lambda: vault.query("SELECT 1 FROM settings WHERE value LIKE 'clock%'"), 30)
    report = vault.gc()
    assert report['deleted_packs'] == 0 and report['stopped'], report
    assert set(old.stored) <= vault.pack_files()
    vault.clock.jump(-40 * DAY)
    vault.run('confirm', vault.path)
    assert vault.gc()['deleted_packs'] == 0, 'the grace is not over'
    vault.clock.jump(-20)
    assert vault.gc()['deleted_packs'] == 0
    gclib.verify(vault, server, new)


def test_an_older_database(vault, server):
    """Anything ahead freezes; numbers go on above everything seen; --merge adopts what is ahead."""
    first = server.run(packs=1)
    vault.stop()
    vault.copy_database('older.db')
    vault.start()
    second = server.run(needs={first.stored[0]: 4}, packs=2)
    vault.stop()
    vault.restore_database('older.db')
    vault.start()
    vault.execute("UPDATE points SET state='expired', expired_at=1 WHERE id=?", first.id)
    report = vault.gc()
    assert report['stopped'] and report['retired_segments'] == 0
    assert 'recovery point' in vault.frozen[0]
    vault.clock.advance(days=100)
    assert vault.gc()['deleted_packs'] == 0
    assert vault.pack_files() == {*first.stored, *second.stored}
    vault.merge()
    assert not vault.frozen
    gclib.verify(vault, server, second)
    assert vault.query("SELECT count(*) FROM points WHERE state='current'") == [(1,)]
    fed = server.open()
    assert server.opened['epoch'] and server.dead == fed == set()
    assert server.next > max(second.stored)
    server.put_record()
    third = server.commit_point({n: 4 for n in second.stored})
    server.close()
    vault.gc()
    vault.clock.advance(days=40)
    vault.gc()
    vault.clock.advance(days=40)
    vault.gc()
    gclib.verify(vault, server, second)
    gclib.verify(vault, server, third)


def test_a_server_is_ahead(vault, server):
    """The store shows nothing, but an agent has seen a newer generation."""
    old, new = two_points(vault, server)
    server.open()
    server.close()
    vault.stop()
    vault.copy_database('older.db')
    vault.start()
    vault.gc()
    vault.expire(new)
    vault.gc()
    server.open()
    server.close()
    assert server.generation == 2 and server.dead
    vault.stop()
    vault.restore_database('older.db')
    vault.start()
    assert vault.gc()['stopped'] is None and not vault.frozen
    server.open()
    assert server.opened['resync'] and 'more reclaiming' in vault.frozen[0]
    server.close()
    vault.clock.advance(days=40)
    assert vault.gc()['stopped']
    vault.merge()
    server.open()
    assert not vault.frozen
    server.close()


def test_deletions_that_an_older_database_does_not_know(vault, server):
    old, new = two_points(vault, server)
    vault.gc()
    vault.stop()
    vault.copy_database('older.db')
    vault.start()
    vault.clock.advance(days=8)
    vault.gc()
    assert old.stored[1] not in vault.pack_files()
    vault.stop()
    vault.restore_database('older.db')
    vault.start()
    assert vault.gc()['stopped']
    assert 'removed' in vault.frozen[0]
    report = vault.merge()
    assert report['lost'] == 1
    server.open()
    server.put_record()
    point = server.point([], gclib.map_of({old.stored[1]: 4}))
    assert server.put_point(point, 409).json()['error']['code'] == 900503, 'what is gone is not said to be there'
    server.close()
    gclib.verify(vault, server, new)


def test_a_commit_that_a_crash_cuts_off_is_no_point_from_the_future(vault, server, stage):
    """The object is stored, the row is not: completed later, and nothing freezes."""
    first = server.run(packs=1)
    server.open()
    server.put_record()
    pack = server.store(4)
    point = server.point([pack], gclib.map_of({pack.number: 4}))
    point.needs = {pack.number: set(range(4))}
    vault.stop()
    folder = vault.path / 'objects' / 'servers' / server.id.hex() / 'points'
    (folder / f'{point.counter:016x}-{point.id.hex()}').write_bytes(point.bytes)
    vault.execute('INSERT INTO intents(server,point,counter,session,received) VALUES(?,?,?,?,?)', server.id, point.id,
                  point.counter, server.session, vault.clock.wall)
    vault.start()
    vault.gc()
    assert not vault.frozen
    assert vault.query('SELECT count(*) FROM points') == [(1,)], 'its agent may still ask again'
    vault.unlease()
    vault.gc()
    assert vault.query('SELECT count(*) FROM points') == [(2,)]
    assert not vault.query('SELECT * FROM intents')
    gclib.verify(vault, server, point)
    assert server.put_point(point).json()['counter'] == 2, 'and the agent that asks again is told so'


def test_a_map_that_omits_segments(vault, server):
    """Only that server's own points can suffer, and not before the grace is over."""
    other = gclib.GcServer(vault, vault.credentials(), 'web2')
    theirs = other.run(packs=2)
    mine = server.run(packs=2)
    server.open()
    server.put_record()
    liar = server.commit_point({mine.stored[0]: {0}})
    server.close()
    vault.expire(mine)
    vault.gc()
    assert vault.pack_files(server) == set(mine.stored), 'physically there during the grace'
    vault.clock.advance(days=8)
    vault.gc()
    gclib.verify(vault, other, theirs)
    assert vault.pack_files(other) == set(theirs.stored)
    gclib.verify(vault, server, liar)


def test_a_map_names_another_servers_packs(vault, server):
    other = gclib.GcServer(vault, vault.credentials(), 'web2')
    for _ in range(3):
        theirs = other.run(packs=3)
    server.open()
    server.put_record()
    number = max(theirs.stored)
    assert number not in vault.pack_files(server)
    point = server.point([], gclib.map_of({number: 4}))
    assert server.put_point(point, 409).json()['error']['code'] == 900503


def test_a_damaged_point_stops_its_server_only(vault, server):
    """What a point needs that cannot be read is not known: nothing of its server is touched."""
    other = gclib.GcServer(vault, vault.credentials(), 'web2')
    dead, _ = two_points(vault, other)
    old, new = two_points(vault, server)
    for path in (vault.path / 'objects' / 'servers' / server.id.hex() / 'points').glob(f'*{new.id.hex()}'):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    report = vault.gc()
    assert report['failed'] == 1 and report['retired_segments'] == 4
    vault.clock.advance(days=40)
    assert vault.gc()['failed'] == 1
    assert set(old.stored) <= vault.pack_files(server)
    assert dead.stored[1] not in vault.pack_files(other)


def test_the_service_reclaims_by_itself(stage, clock):
    vault = gclib.GcVault(stage.folder, clock)
    vault.run('settings', vault.path, 'reclaim_interval_seconds=60', 'reclaim_grace_seconds=100')
    vault.start()
    try:
        server = gclib.GcServer(vault, vault.credentials())
        old, new = two_points(vault, server)
        clock.advance(seconds=61)
        harness.wait_for(lambda: vault.states(server)[old.stored[1]][1], 20)
        clock.advance(seconds=161)
        harness.wait_for(lambda: vault.pack_files() == {old.stored[0], new.stored[0]}, 20)
        gclib.verify(vault, server, new)
    finally:
        vault.stop(signal.SIGKILL)


def clone(vault):
    """The same vault for another thread."""
    other = copy.copy(vault)
    other.http = requests.Session()
    other.http.verify, other.http.trust_env = vault.ca, False
    return other


def test_twenty_agents_back_up_while_reclaiming(vault):
    """Each expires what it has and builds on what was retired; passes run all the time."""
    credentials = vault.credentials()
    servers = [gclib.GcServer(clone(vault), credentials, f'web{i}') for i in range(20)]
    problems, kept, longest, stop = [], {}, [0.0], threading.Event()

    def back_up(server):
        try:
            points = []
            for _ in range(3):
                needs = {n: 4 for n in points[-1].stored} if points else {}
                began = time.monotonic()
                points.append(server.run(needs=needs, packs=1))
                longest[0] = max(longest[0], time.monotonic() - began)
                if len(points) > 1:
                    server.vault.expire(points[-2])
            kept[server] = points[-1]
        except Exception as e:  # noqa: BLE001
            problems.append(e)

    def reclaim():
        while not stop.is_set():
            vault.gc()

    workers = [threading.Thread(target=back_up, args=(s,)) for s in servers]
    reclaiming = threading.Thread(target=reclaim)
    reclaiming.start()
    for w in workers:
        w.start()
    for w in workers:
        w.join(120)
    stop.set()
    reclaiming.join(60)
    assert not problems, problems[0]
    print(f'the longest backup took {longest[0]:.2f} s')
    vault.clock.advance(days=8)
    vault.gc()
    vault.clock.advance(days=8)
    vault.gc()
    for server, point in kept.items():
        gclib.verify(vault, server, point)
        assert vault.pack_files(server) == set(point.needs)


def test_an_index_made_again_knows_what_is_dead(stage, clocked_vault, clocked_server, clock):
    """The real agent: directories list dead chunks, and the index that is made from them must not use these."""
    vault, server = clocked_vault, clocked_server
    source = stage.path('source')
    os.mkdir(source)
    content = {name: os.urandom(3000000) for name in 'abc'}

    def put(*names):
        for name in 'abc':
            path = os.path.join(source, name)
            if name in names:
                with open(path, 'wb') as f:
                    f.write(content[name])
            elif os.path.exists(path):
                os.unlink(path)

    def gc():
        return vault.command('--json', 'gc', vault.folder).ok(harness.DONE).document

    def expire_all_but_newest():
        with sqlite3.connect(vault.database, timeout=30) as database:
            database.execute("UPDATE points SET state='expired', expired_at=? WHERE counter<(SELECT max(counter) FROM points)",
                             (clock.wall,))
        database.close()

    vault.command('settings', vault.folder, 'reclaim_interval_seconds=2592000').ok()
    put('a', 'b')
    server.backup(source).ok()
    put('b', 'c')
    server.backup(source).ok()
    expire_all_but_newest()
    assert gc()['retired_segments'] > 0
    # 1: told by the feed.
    put('a', 'b', 'c')
    assert server.backup(source).ok().summary['bytes_stored'] > 2000000, 'what is retired is stored again'
    put('c')
    server.backup(source).ok()
    expire_all_but_newest()
    gc()
    # 2: the index is made again, from directories that still list it all.
    shutil.rmtree(os.path.join(server.home, 'scratch', 'index'))
    put('a', 'c')
    assert server.backup(source).ok().summary['bytes_stored'] > 2000000
    # 3: the same when the packs are gone.
    put('c')
    server.backup(source).ok()
    expire_all_but_newest()
    gc()
    clock.advance(days=8)
    assert gc()['deleted_packs'] > 0
    put('a', 'b', 'c')
    assert server.backup(source).ok().summary['bytes_stored'] > 4000000
    server.verify('latest').ok()
    to = stage.path('restored')
    server.restore('latest', to=to).ok()
    assert sorted(harness.read_tree(to).values()) == sorted(content.values())
