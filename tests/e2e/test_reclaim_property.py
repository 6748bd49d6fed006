"""Random backups, expiries, leases, clocks, kills and database rollbacks against reclaiming: after each step everything that
a retained point needs is there, byte for byte; at the end nothing dead is left.

COFFER_GC_STEPS says how many steps (COFFER_LONG=1: 3,000); COFFER_SEED repeats a run. What happened last stands in the
assertion's text.
"""
import base64
import json
import os
import random
import signal
import struct
import subprocess
import threading
import time

import pytest
import requests

import gclib
import harness
import vaultlib
from conftest import seed
from gclib import DAY, HOUR, ORPHAN

STEPS = int(os.environ.get('COFFER_GC_STEPS', 3000 if os.environ.get('COFFER_LONG') else 60))
LOST = (requests.exceptions.RequestException, AssertionError)


class Model(gclib.GcServer):
    """An agent: an index of what it may use, and what it knows of its points."""

    def __init__(self, world, name):
        self.world, self.index, self.points, self.acked = world, {}, {}, set()
        self.sums = {}                       # (pack, segment) -> XXH3 of what was stored, for ever
        self.lease, self.busy = None, False
        super().__init__(world.vault, world.vault.credentials(), name)

    def open(self, base=None, status=200):
        before = self.epoch
        fed = super().open(base, status)
        if self.opened['resync'] or (before and before != self.opened['epoch']):
            self.relist()
        for pack, segment in fed:
            self.index.get(pack, set()).discard(segment)
        self.put_record()
        self.busy = True
        return fed

    def relist(self):
        self.index, after, more = {}, 0, True
        while more:
            listed = self.call('GET', f'/v1/packs?after={after}').json()
            more = listed['more']
            for p in listed['packs']:
                after = p['number']
                self.index[after] = {s for (n, s) in self.sums if n == after and s != 0xFFFF} - set(p['retired'])

    def store(self, segments=4, kind=0):
        pack = self.make_pack(segments, kind)
        self.highest = max(self.highest, pack.number)
        for at in range(0, len(pack.tail) - 40, 32):
            self.sums[pack.number, struct.unpack_from('<H', pack.tail, at)[0]] = pack.tail[at + 16:at + 32]
        self.upload(pack)
        self.commit(pack)
        self.index[pack.number] = set(range(segments))
        self.session_packs.append(pack)
        return pack

    def begin(self, rng):
        self.session_packs = []
        base = None
        current = self.world.current(self)
        if current and rng.random() < 0.5:
            base = rng.choice(current)
        self.open(base)

    def fill(self, rng):
        for _ in range(rng.randint(0, 3)):
            self.store(rng.choice([1, 3, 4, 9]))

    def choose(self, rng):
        """Deduplication: whatever the index holds is as good as any other."""
        needs = {}
        for pack in rng.sample(sorted(self.index), min(len(self.index), rng.randint(0, 8))):
            segments = self.index[pack]
            if segments:
                few = rng.random() < 0.4
                needs[pack] = set(rng.sample(sorted(segments), rng.randint(1, len(segments)))) if few else set(segments)
        for pack in self.session_packs:
            needs[pack.number] = set(self.index[pack.number])
        return {n: s for n, s in needs.items() if s}

    def finish(self, rng):
        """Commits; what is missing is stored again in the same job."""
        for _ in range(6):
            needs = self.choose(rng)
            if not needs:
                needs = {self.store(2).number: {0, 1}}
            base, live_map = None, None
            newest = self.newest()
            known = self.points.get(newest['id']) if newest else None
            if known and known.chain < 7 and rng.random() < 0.6:
                base = known
                live_map = delta(known, needs)
            point = self.point(self.session_packs, live_map or gclib.map_of(needs))
            point.needs, point.chain = needs, base.chain + 1 if base else 0
            self.points[point.id.hex()] = point          # it may become one, whatever the answer
            until = time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(self.world.clock.wall + rng.randint(1, 40) * DAY))
            reply = self.put_point(point, None, query=f'?retain_until={until}')
            if reply.status_code == 200:
                self.acked.add(point.id.hex())
                return point
            error = reply.json()['error']
            if error['code'] == 900503:
                for item in error['details']['missing']:
                    gone = set(self.index.get(item['pack'], ())) if item['segments'] == 'all' else set(item['segments'])
                    self.index.get(item['pack'], set()).difference_update(gone)
                self.store(rng.choice([1, 4]))
            elif error.get('reason') == 'base':
                known.chain = 9                          # a whole map next time
            else:
                raise AssertionError(f'commit: {error}')
        raise AssertionError('the vault keeps losing segments')

    def end(self):
        self.close()
        self.busy = False


def delta(base, needs):
    """A map against base's."""
    changed = {n: s for n, s in needs.items() if base.needs.get(n) != s}
    changed.update({n: None for n in base.needs if n not in needs})
    out = bytes([1, 1]) + base.id + bytes([base.chain + 1]) + vaultlib.varint(len(changed))
    last = 0
    for number in sorted(changed):
        out += vaultlib.varint(number - last)
        last = number
        if changed[number] is None:
            out += b'\0'
            continue
        mask = bytearray(max(changed[number]) // 8 + 1)
        for s in changed[number]:
            mask[s // 8] |= 1 << s % 8
        out += bytes([3]) + vaultlib.varint(len(mask)) + bytes(mask)
    return out


class World:
    def __init__(self, stage, clock, rng):
        self.clock, self.rng, self.steps, self.checked, self.copies = clock, rng, [], set(), 0
        self.vault = gclib.GcVault(stage.folder, clock, compact_percent=60).start()
        self.vault.http.verify = False  # it renews its certificate in its own time, which is ahead of ours
        self.servers = [Model(self, f's{i}') for i in range(3)]
        self.copied = False
        self.merges = 0

    # ---- What must hold ----

    def current(self, server):
        return [server.points[r[0]] for r in self.vault.query(
            "SELECT lower(hex(id)) FROM points WHERE server=? AND state='current' ORDER BY counter", server.id)]

    def objects(self, server):
        found = {}
        for kind in ('packs', 'merged', 'points'):
            folder = self.vault.path / 'objects' / 'servers' / server.id.hex() / kind
            if folder.is_dir():
                found.update({f'{kind}/{n}': e for n in os.listdir(folder) if n[0] != '.' for e in [folder / n]})
        return found

    def check(self):
        for server in self.servers:
            self.check_server(server)

    def check_server(self, server):
        q = self.vault.query
        known = {r[0] for r in q('SELECT lower(hex(id)) FROM points WHERE server=?', server.id)}
        assert server.acked <= known, f'{server.name}: points that were acknowledged are not known'
        assert known <= set(server.points), f'{server.name}: a point from nowhere'
        packs = {r[0]: r[1:] for r in q("SELECT number, lower(hex(session)), generation, lower(hex(merged)), base, size, tail FROM packs"
                                        " JOIN pack_tails USING(server, number) WHERE server=? AND state='present'", server.id)}
        retired = {}
        for number, blob in q('SELECT number, segments FROM retired WHERE server=?', server.id):
            retired.setdefault(number, set()).update(ranges(blob))
        objects = self.objects(server)
        for point in self.current(server):
            what = f'{server.name}: point {point.counter}'
            assert f'points/{point.counter:016x}-{point.id.hex()}' in objects, f'{what} is gone'
            for number, segments in point.needs.items():
                assert number in packs, f'{what}: pack {number} is gone'
                assert not segments & retired.get(number, set()), f'{what}: pack {number}: retired although needed'
                self.check_pack(server, number, packs[number], objects, segments, what)

    def check_pack(self, server, number, row, objects, segments, what):
        session, generation, merged, base, size, tail = row
        name = f'merged/{merged}' if merged else f'packs/{number:016x}-{session}' + (f'.{generation:08x}' if generation else '')
        if name not in objects:
            told = [self.vault.query(f'SELECT * FROM {t} WHERE server=?', server.id) for t in ('old_objects', 'compacting')]
            with open(self.vault.folder / 'serve.log', errors='replace') as f:
                log = f.read()[-1500:]
            raise AssertionError(f'{what}: pack {number}: {name} is gone: {told} {sorted(objects)}\n{log}')
        extents = {struct.unpack_from('<H', tail, at)[0]: at for at in range(0, len(tail) - 40, 32)}
        assert segments | {0xFFFF} <= set(extents), f'{what}: pack {number}: segments {segments - set(extents)} are gone'
        if (server.id, number, name) in self.checked:
            return
        with open(objects[name], 'rb') as f:
            f.seek(base)
            data = f.read(size)
        for segment, at in extents.items():
            _, _, length, offset = struct.unpack_from('<HHIQ', tail, at)
            got = vaultlib.xxh3(data[offset:offset + length])
            if segment != 0xFFFF:
                assert got == server.sums[number, segment], f'{what}: pack {number}: segment {segment} is another'
            assert got == tail[at + 16:at + 32]
        self.checked.add((server.id, number, name))

    # ---- What happens ----

    def backup(self):
        server = self.rng.choice(self.servers)
        server.begin(self.rng)
        server.fill(self.rng)
        if self.rng.random() < 0.15:
            return 'interrupted'
        server.finish(self.rng)
        server.end()
        return server.name

    def begin(self):
        server = self.rng.choice(self.servers)
        server.begin(self.rng)
        server.fill(self.rng)
        return server.name

    def go_on(self):
        """A session that was left open, however long ago."""
        server = self.rng.choice(self.servers)
        if not server.busy:
            return 'none'
        try:
            server.fill(self.rng)
            server.finish(self.rng)
            server.end()
        except AssertionError as e:
            if '410' not in str(e) and 'SessionLost' not in str(e) and '900501' not in str(e):
                raise
            server.busy = False
            server.relist()
            return f'{server.name}: lost'
        return server.name

    def gc(self):
        report = self.vault.gc()
        assert not report['failed'], report
        assert not report['stopped'], report
        return {k: v for k, v in report.items() if v and k not in ('servers', 'by_service', 'leases')}

    def advance(self):
        seconds = self.rng.choice([20, HOUR, 7 * HOUR, DAY, DAY, 3 * DAY, 8 * DAY, 31 * DAY])
        self.clock.advance(seconds=seconds)
        time.sleep(0.25)   # the service looks at its clock five times a second
        return seconds

    def lease(self):
        server = self.rng.choice(self.servers)
        if server.lease:
            server.call('DELETE', f'/v1/leases/{server.lease}')
            server.lease = None
            return 'ended'
        current = self.current(server)
        if current:
            lease = os.urandom(16).hex()
            reply = server.call('POST', '/v1/leases', None, json={
                'lease': lease, 'kind': self.rng.choice(['restore', 'verify', 'mount']),
                'points': [self.rng.choice(current).id.hex()]})
            assert reply.status_code in (200, 404), reply.text  # it may have expired in between
            if reply.status_code == 200:
                server.lease = lease
        return 'taken'

    def settings(self):
        """Retention and reclaiming change while everything runs."""
        self.vault.run('settings', self.vault.path, f'reclaim_grace_seconds={self.rng.choice([0, HOUR, 2 * DAY, 7 * DAY])}',
                       f'on_demand_days={self.rng.choice([7, 30])}', f'compact_percent={self.rng.choice([0, 30, 60, 90])}')
        return ''

    def killed(self):
        """The vault dies in the middle of whatever it does: a backup, a pass, both."""
        process = self.vault.process
        timer = threading.Timer(self.rng.random() * 0.08, lambda: process.send_signal(signal.SIGKILL))
        asked = None
        if self.rng.random() < 0.7:
            asked = subprocess.Popen([harness.program('coffer-vault', clock=True), 'gc', str(self.vault.path)],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **self.vault.env})
        timer.start()
        what = 'during gc'
        server = self.rng.choice(self.servers)
        try:
            if self.rng.random() < 0.6:
                what = f'during a backup of {server.name}'
                server.begin(self.rng)
                server.fill(self.rng)
                server.finish(self.rng)
                server.end()
        except LOST:
            server.busy = False
        timer.join()
        process.wait(30)
        if asked:
            asked.kill()
            asked.wait(30)
        self.vault.kill()
        if self.rng.random() < 0.3:
            self.check()
        self.vault.start()
        server.relist()
        return what

    def copy(self):
        self.vault.copy_database('older.db')
        self.copied = True
        return ''

    def roll_back(self):
        """The database is put back; what is ahead freezes everything until it is merged."""
        if not self.copied:
            return 'none'
        self.vault.stop()
        self.vault.restore_database('older.db')
        self.vault.start()
        frozen = False
        for _ in range(self.rng.randint(0, 2)):
            report = self.vault.gc()
            frozen = bool(report['stopped'])
            self.clock.advance(seconds=self.rng.choice([HOUR, 8 * DAY]))
        report = self.vault.merge()
        self.vault.run('confirm', self.vault.path)  # an older database also makes the clock look as if it had jumped
        self.merges += 1
        for problem in report['problems']:  # of commits that a kill cut off, and another point has their place
            assert problem['error']['code'] == 900502, report
            assert not any(problem['object'][-64:] in s.acked for s in self.servers), report
        for server in self.servers:
            server.busy = False
        self.copied = False
        return f'frozen: {frozen}, {report["points"]} points, {report["packs"]} packs, {report["lost"]} lost'

    def step(self):
        what = self.rng.choices(['backup', 'begin', 'go_on', 'gc', 'advance', 'lease', 'settings', 'killed', 'copy', 'roll_back'],
                                [30, 6, 8, 18, 16, 6, 2, 5, 4, 3])[0]
        self.steps.append(f'{len(self.steps)} {what}')
        try:
            self.steps[-1] += f' {getattr(self, what)()}'
            self.check()
        except Exception as e:
            raise AssertionError('\n'.join(self.steps[-25:]) + f'\n{e}') from e

    # ---- The end ----

    def settle(self):
        """Everything that holds something ends; then two cycles."""
        for server in self.servers:
            if server.lease:
                server.call('DELETE', f'/v1/leases/{server.lease}', None)
            server.begin(random.Random(1))
            server.finish(random.Random(1))
            server.end()
        self.vault.run('settings', self.vault.path, 'reclaim_grace_seconds=604800', 'compact_percent=60')
        count, same = None, 0
        while same < 3:  # every date passes; not more than a fifth of the points goes in a day
            self.clock.advance(seconds=15 * DAY)
            time.sleep(0.3)
            now = self.vault.query("SELECT count(*) FROM points WHERE state='current'")
            same = same + 1 if now == count else 0
            count = now
        self.gc()
        for seconds in (8 * DAY, 3 * HOUR, 8 * DAY, 3 * HOUR):
            self.clock.advance(seconds=seconds)
            time.sleep(0.3)
            self.gc()
            self.check()
        assert self.vault.query("SELECT count(*) FROM points WHERE state='current'") == count

    def nothing_dead(self):
        for server in self.servers:
            needed = {}
            current = self.current(server)
            for point in current:
                for number, segments in point.needs.items():
                    needed.setdefault(number, set()).update(segments)
            rows = self.vault.query('SELECT number, lower(hex(session)), generation, lower(hex(merged)), segments, state FROM packs'
                                    ' WHERE server=?', server.id)
            over = {r[0] for r in rows} ^ set(needed)
            assert not over, (server.name, self.clock.wall, [self.vault.query(
                f"SELECT {columns} FROM {table} WHERE server=? AND number=?", server.id, n) for n in over for table, columns in (
                    ('packs', 'number, segments, state, generation, merged, referenced, after_point'), ('retired', '*'))],
                self.vault.query('SELECT counter, received, state, expired_at FROM points WHERE server=?', server.id))
            names = {f'merged/{m}' if m else f'packs/{n:016x}-{s}' + (f'.{g:08x}' if g else '') for n, s, g, m, _, _ in rows}
            files = set(self.objects(server))
            assert {f for f in files if not f.startswith('points/')} == names
            for number, _, _, _, segments, _ in rows:
                assert len(needed[number]) >= 0.6 * segments, f'{server.name}: pack {number}: {needed[number]} of {segments}'
            chain = set()
            for point in current:
                while point and point.id.hex() not in chain:
                    chain.add(point.id.hex())
                    row = self.vault.query('SELECT lower(hex(base)) FROM points WHERE id=?', point.id)
                    point = server.points.get(row[0][0]) if row[0][0] else None
            # A commit that a kill cut off, when another point took its place: known as that, and never removed.
            refused = {r[0] for r in self.vault.query('SELECT lower(hex(point)) FROM intents WHERE server=?', server.id)}
            assert not refused & server.acked
            assert {f[-64:] for f in files if f.startswith('points/')} - refused == chain, server.name


def ranges(blob):
    out, at, values = set(), 0, []
    while at < len(blob):
        value = shift = 0
        while True:
            value |= (blob[at] & 0x7F) << shift
            shift += 7
            at += 1
            if not blob[at - 1] & 0x80:
                break
        values.append(value)
    end = 0
    for gap, length in zip(values[1::2], values[2::2]):
        out |= set(range(end + gap, end + gap + length))
        end += gap + length
    return out


@pytest.mark.filterwarnings('ignore:Unverified HTTPS request')
def test_nothing_live_is_lost_and_nothing_dead_stays(stage, clock, rng):
    world = World(stage, clock, rng)
    try:
        for _ in range(STEPS):
            world.step()
        world.settle()
        world.nothing_dead()
    finally:
        if world.vault.process:
            world.vault.kill()
    print(f'{STEPS} steps, {sum(len(s.acked) for s in world.servers)} points, {world.merges} merges')
