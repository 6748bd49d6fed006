"""A vault in the test's own time, and servers as the vault sees them, for the tests of reclaiming."""
import json
import os
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path

import harness
import vaultlib

HOUR, DAY = 3600, 86400
GRACE, ORPHAN = 7 * DAY, 30 * DAY


class GcVault(vaultlib.Vault):
    """vaultlib's vault with programs whose clock the test moves; reclaims only when asked."""

    def __init__(self, folder, clock, compact_percent=0, **settings):
        os.environ['COFFER_VAULT'] = harness.program('coffer-vault', clock=True)
        self.clock = clock
        super().__init__(folder, **clock.env)
        # The service must not surprise the test with a pass of its own.
        self.run('settings', self.path, 'reclaim_interval_seconds=2592000',
                 f'compact_percent={compact_percent}', *(f'{k}={v}' for k, v in settings.items()))

    def kill(self):
        self.stop(signal.SIGKILL)

    def restart(self):
        self.stop()
        return self.start()

    def gc(self, **kw):
        done = self.run('--json', 'gc', self.path, check=False, **kw)
        assert done.returncode in (0, 3), done.stderr
        return json.loads(done.stdout)

    def merge(self):
        """--merge: the service is stopped meanwhile."""
        running = self.process is not None
        if running:
            self.stop()
        done = self.run('--json', 'rebuild', '--merge', self.path, check=False)
        assert done.returncode in (0, 3), done.stderr
        if running:
            self.start()
        return json.loads(done.stdout)

    def query(self, sql, *values):
        database = sqlite3.connect(f'file:{self.path}/vault.db?mode=ro', uri=True, timeout=30)
        try:
            return database.execute(sql, values).fetchall()
        finally:
            database.close()

    def execute(self, sql, *values):
        database = sqlite3.connect(self.path / 'vault.db', timeout=30)
        try:
            with database:
                return database.execute(sql, values).rowcount
        finally:
            database.close()

    def expire(self, point):
        """What retention does."""
        assert self.execute("UPDATE points SET state='expired', expired_at=? WHERE id=? AND state='current'",
                            self.clock.wall, point.id) == 1

    def unlease(self):
        """Time passes until every session and lease that nobody renews is over, and the service has noticed."""
        self.clock.advance(seconds=400)
        harness.wait_for(lambda: not self.query("SELECT 1 FROM sessions WHERE state='open'")
                         and not self.query('SELECT 1 FROM read_leases'), 30)

    def copy_database(self, name):
        """A consistent copy, as an administrator makes one."""
        source = sqlite3.connect(f'file:{self.path}/vault.db?mode=ro', uri=True, timeout=30)
        target = sqlite3.connect(self.folder / name)
        with target:
            source.backup(target)
        source.close()
        target.close()

    def restore_database(self, name):
        assert self.process is None
        for end in ('', '-wal', '-shm'):
            (self.path / f'vault.db{end}').unlink(missing_ok=True)
        shutil.copy(self.folder / name, self.path / 'vault.db')

    @property
    def frozen(self):
        return [r[0] for r in self.query('SELECT why FROM frozen')]

    def pack_files(self, server=None):
        return {int(p.name[:16], 16) for p in (self.path / 'objects' / 'servers').glob(f'{server.id.hex() if server else "*"}/packs/*')
                if p.name[0] != '.'}

    def point_files(self):
        return {p.name[17:] for p in (self.path / 'objects' / 'servers').glob('*/points/*') if p.name[0] != '.'}

    def states(self, server):
        """{pack: (segments, retired segments)} as the service lists them."""
        listed = server.call('GET', '/v1/packs').json()
        assert not listed['more']
        return {p['number']: (p['segments'], sorted(p['retired'])) for p in listed['packs']}

    def wait_for_gc(self, seconds=60):
        return self.gc(timeout=seconds)


class GcServer(vaultlib.Server):
    """A server that knows its generation as an agent does."""

    def __init__(self, vault, credentials, name='web1'):
        super().__init__(vault, credentials, name)
        self.generation, self.epoch, self.dead, self.highest = 0, None, set(), 0
        self.register()

    def open(self, base=None, status=200):
        """Opens a session, applies the whole feed in one step with the generation; returns what was told anew."""
        session, fed = os.urandom(16), set()
        while True:
            self.session = session
            self.opened = self.call('POST', '/v1/sessions', status, json={
                'session': session.hex(), 'epoch': self.epoch, 'generation': self.generation, 'instance': self.instance.hex(),
                'job': os.urandom(16).hex(), 'numbers_after': self.highest, **({'base': base.id.hex()} if base else {})}).json()
            if status != 200:
                return self.opened
            self.next = self.opened['numbers']['first']
            assert self.next > self.highest
            if self.opened['resync'] or (self.epoch and self.epoch != self.opened['epoch']):
                self.dead = set()
            for item in self.opened['feed']:
                fed |= {(item['pack'], s) for s in item['segments']}
            self.dead |= fed
            self.epoch, self.generation = self.opened['epoch'], self.opened['generation']
            if not self.opened['feed_more']:
                return fed

    def close(self):
        self.call('POST', f'/v1/sessions/{self.session.hex()}:close', json={})

    def store(self, segments=4, kind=0):
        pack = super().store(segments, kind)
        self.highest = max(self.highest, pack.number)
        return pack

    def commit_point(self, needs, packs=(), status=200, live_map=None):
        """needs: {pack number: segments, a count or a set}."""
        point = self.point(list(packs), live_map or map_of(needs))
        reply = self.put_point(point, status)
        point.needs = {n: set(range(s)) if isinstance(s, int) else set(s) for n, s in needs.items()}
        point.reply = reply
        return point

    def run(self, needs=None, packs=2, segments=4, base=None):
        """A whole backup: new packs, and what it needs of the old ones."""
        self.open(base)
        self.put_record()
        stored = [self.store(segments) for _ in range(packs)]
        point = self.commit_point({**(needs or {}), **{p.number: segments for p in stored}}, stored)
        point.stored = [p.number for p in stored]
        self.close()
        return point


def map_of(needs):
    """A whole map: masks."""
    out, last = bytes([1, 0]) + vaultlib.varint(len(needs)), 0
    for number in sorted(needs):
        segments = set(range(needs[number])) if isinstance(needs[number], int) else set(needs[number])
        mask = bytearray(max(segments) // 8 + 1)
        for s in segments:
            mask[s // 8] |= 1 << s % 8
        out += vaultlib.varint(number - last) + bytes([3]) + vaultlib.varint(len(mask)) + bytes(mask)
        last = number
    return out


def readable(vault, server, number, segments):
    """Are these segments of a pack there, byte for byte as the extent table says?"""
    answer, = server.call('POST', '/v1/packs:download', json={'packs': [number]}).json()['packs']
    assert 'error' not in answer, (number, answer)
    import base64
    import struct
    tail = base64.b64decode(answer['tail'])
    extents = {}
    for at in range(0, len(tail) - 40, 32):
        segment, _, length, offset = struct.unpack_from('<HHIQ', tail, at)
        extents[segment] = (offset, length, tail[at + 16:at + 32])
    body = vault.call('GET', answer['url'], status=200).content
    for segment in [*segments, 0xFFFF]:
        offset, length, sum_ = extents[segment]
        assert vaultlib.xxh3(body[offset:offset + length]) == sum_, (number, segment)


def verify(vault, server, point, listed=True):
    """What `coffer verify` asks of the vault."""
    if listed:
        server.call('GET', f'/v1/points/{point.id.hex()}')
    for number, segments in point.needs.items():
        readable(vault, server, number, segments)
