"""The vault's database is lost: made again from objects and journal, and life goes on."""
import os

import harness
from harness import DONE, WARNINGS


# What objects and journal tell; open sessions, jobs and read leases cannot be known again.
TABLES = {'servers': 'id, name, auth_key, newest, newest_counter', 'packs': 'server, number, session, kind, size, xxh3, segments, gaps, state',
          'pack_tails': 'server, number, header, tail', 'points': 'id, server, counter, previous, session, size, base, chain, summary',
          'slots': 'server, number, slot', 'records': 'server, session, record', 'credentials': 'secret_sha256, purpose, expires'}


def tables(vault):
    return {t: sorted(vault.query(f'SELECT {columns} FROM {t}'), key=repr) for t, columns in TABLES.items()}


def lose_database(vault):
    database = vault.database
    folder = os.path.dirname(database)
    for name in os.listdir(folder):
        if name.startswith(os.path.basename(database)):
            os.unlink(os.path.join(folder, name))


def test_rebuild(stage, vault, agent, rng):
    credentials = vault.credentials()
    servers, sources = [], []
    for name in ('one', 'two'):
        server = agent(name)
        server.register(credentials).ok()
        source = harness.make_tree(stage.path(f'source-{name}'), rng)
        for _ in range(3):
            server.backup(source).ok()
            harness.change_tree(source, rng)
        servers.append(server)
        sources.append(source)
    known = [[{k: p[k] for k in ('id', 'files', 'bytes')} for p in s.points()] for s in servers]
    vault.stop()
    before = tables(vault)
    lose_database(vault)
    vault.command('rebuild', vault.folder).ok(DONE, WARNINGS)
    after = tables(vault)
    for table, rows in before.items():
        assert after[table] == rows, table
    vault.start()
    for server, source, points in zip(servers, sources, known):
        assert [{k: p[k] for k in ('id', 'files', 'bytes')} for p in server.points()] == points
        server.verify('latest').ok()
        summary = server.backup(source).ok(DONE, WARNINGS).summary
        assert summary['files_unchanged'] > 0 and summary['bytes_stored'] < summary['bytes'], summary
        to = stage.path(f'restored-{server.name}')
        server.restore('latest', to=to).ok()
        harness.assert_same_tree(source, harness.restored(to, source))
        for point in server.points():
            server.verify(point['id']).ok()


def test_rebuild_of_a_healthy_vault_changes_nothing(stage, vault, server, rng):
    source = harness.make_tree(stage.path('source'), rng)
    server.backup(source).ok()
    points = server.points()
    vault.stop()
    before = vault.query('SELECT count(*), sum(size) FROM packs')
    vault.command('rebuild', vault.folder).ok(DONE, WARNINGS)
    assert vault.query('SELECT count(*), sum(size) FROM packs') == before
    vault.start()
    assert [p['id'] for p in server.points()] == [p['id'] for p in points]
    server.backup(source).ok(DONE, WARNINGS)


def test_pack_numbers_are_not_used_again(stage, vault, server, rng):
    """After a rebuild numbers start above everything that stands in the store."""
    source = harness.make_tree(stage.path('source'), rng)
    server.backup(source).ok()
    vault.stop()
    lose_database(vault)
    vault.command('rebuild', vault.folder).ok(DONE, WARNINGS)
    vault.start()
    had = {os.path.basename(p) for p in vault.packs()}
    harness.change_tree(source, rng)
    server.backup(source).ok(DONE, WARNINGS)
    new = {os.path.basename(p) for p in vault.packs()} - had
    assert new
    assert min(int(n.split('-')[0], 16) for n in new) > max(int(n.split('-')[0], 16) for n in had)
