"""A restore, a verification and a mount at work while the point that they read expires, and what it shares with nobody
is reclaimed, and its packs are written anew: nothing is pulled away under them, and after them it goes."""
import contextlib
import glob
import os
import signal
import sqlite3
import time

import harness
from harness import DONE, WARNINGS, wait_for
from test_mount import Mount

HOUR, DAY = 3600, 86400
GONE, HELD, LATER = range(24), range(8), range(2)        # which files are in which point


def write(vault, sql, *values):
    """Beside the running service."""
    with contextlib.closing(sqlite3.connect(vault.database, timeout=30)) as db, db:
        return db.execute(sql, values).rowcount


class Story:
    """Three points of one folder: of each pack of the first the second needs a third, and the third less."""

    def __init__(self, stage, clock, vault, server, rng):
        self.stage, self.clock, self.vault, self.server = stage, clock, vault, server
        vault.command('settings', vault.folder, 'reclaim_interval_seconds=2592000', 'compact_percent=60').ok()
        server.configure({'agent': {'kdf_memory': '19MiB', 'kdf_passes': 2, 'pack_size': '1MiB'}})
        self.source = stage.path('source')
        os.mkdir(self.source)
        # Names in an order of their own, so that each pack has some of each point.
        self.names = {i: f'{i * 7 % 24:02d}-{i}' for i in GONE}
        self.content = {i: rng.randbytes(300000) for i in GONE}
        self.points = [self.back_up(which) for which in (GONE, HELD, LATER)]
        self.expire(self.points[0])

    def back_up(self, which):
        for i, name in self.names.items():
            path = os.path.join(self.source, name)
            if i in which and not os.path.exists(path):
                with open(path, 'wb') as f:
                    f.write(self.content[i])
            elif i not in which and os.path.exists(path):
                os.unlink(path)
        self.clock.advance(minutes=1)
        self.server.backup(self.source).ok(DONE, WARNINGS)
        return self.vault.query('SELECT lower(hex(id)) FROM points ORDER BY counter DESC')[0][0]

    def expire(self, point):
        """What retention does, without its care for leases."""
        assert write(self.vault, "UPDATE points SET state='expired', expired_at=? WHERE lower(hex(id))=? AND state='current'",
                     self.clock.wall, point) == 1

    def gc(self):
        report = self.vault.command('--json', 'gc', self.vault.folder).ok().document
        assert not report['failed'] and not report['stopped'], report
        return report

    def pass_time(self, seconds):
        """Readers that stand still cannot renew their leases: the test does it for them."""
        write(self.vault, 'UPDATE read_leases SET expires=?', self.clock.wall + seconds + HOUR)
        self.clock.advance(seconds=seconds)

    def leases(self):
        return sorted(r[0] for r in self.vault.query('SELECT kind FROM read_leases'))

    def generations(self):
        return dict(self.vault.query("SELECT number, generation FROM packs WHERE state='present'"))

    def stored(self, which):
        """Bytes of the packs' objects, and of the points' IDs that are there."""
        return {os.path.basename(p): os.path.getsize(p) for p in glob.glob(f'{self.vault.objects}/servers/*/{which}/*')}

    def shown(self, folder):
        return {int(os.fsdecode(n).rsplit('-', 1)[1]): data for n, data in harness.read_tree(folder).items()}


def begin(story, *args):
    """A reader that stands still as soon as it has read something: less than the whole, the throttle sees to that."""
    process = story.server.spawn(*args)
    kind = args[0]
    to = args[args.index('--to') + 1] if '--to' in args else None

    def reads():
        """the reader is at work"""
        assert process.poll() is None, process.communicate()
        return kind in story.leases() and (not to or any(os.path.isfile(p) for p in glob.glob(f'{to}/**', recursive=True)))

    wait_for(reads, 30, 0.01)
    time.sleep(0 if to else 1)                           # a verification shows nothing before its end
    assert process.poll() is None
    os.kill(process.pid, signal.SIGSTOP)
    return process


def go_on(process):
    os.kill(process.pid, signal.SIGCONT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, (out, err)


def test_readers_keep_what_they_read(stage, clock, clocked_vault, clocked_server, rng):
    story = Story(stage, clock, clocked_vault, clocked_server, rng)
    held, to = story.points[1], stage.path('to')
    clocked_server.run('throttle', 'set', '--other', '4Mbit').ok()
    restore = begin(story, 'restore', held, '--to', to)
    verify = begin(story, 'verify', held)
    mount = Mount(stage, clocked_server, held)
    mounted = mount.path(story.source)
    used = open(os.path.join(mounted, story.names[0]), 'rb')  # noqa: SIM115 (it is in use: it does not unmount itself)
    stage.exits.callback(used.close)
    assert used.read(1000) == story.content[0][:1000]
    assert story.leases() == ['mount', 'restore', 'verify']
    story.expire(held)
    before = story.generations()
    story.gc()                                             # retires what only the first point needs
    for _ in range(3):
        story.pass_time(8 * DAY)
        story.gc()                                         # removes it, compacts; then the old objects go
    after = story.generations()
    moved = [n for n in after if after[n] > before[n]]
    assert moved, 'packs that the readers read stand elsewhere now'
    assert not [n for n in story.stored('packs') if any(n.startswith(f'{m:016x}-') and '.' not in n for m in moved)]
    assert any(held in name for name in story.stored('points'))
    clocked_server.run('throttle', 'off').ok()
    # All addresses that the readers had are of no use any more: too old, and of other objects.
    go_on(restore)
    go_on(verify)
    want = {i: story.content[i] for i in HELD}
    assert story.shown(to) == want
    assert used.read() == story.content[0][1000:]
    assert story.shown(mounted) == want
    used.close()
    mount.end()
    # Nobody reads it any more.
    assert story.leases() == []
    packs = sum(story.stored('packs').values())
    for _ in range(3):
        story.gc()
        clock.advance(days=8)
    story.gc()
    assert not any(held in name for name in story.stored('points'))
    assert sum(story.stored('packs').values()) < packs - 4 * 300000
    clocked_server.verify(story.points[2]).ok()
    last = stage.path('last')
    clocked_server.restore(story.points[2], to=last).ok()
    assert story.shown(last) == {i: story.content[i] for i in LATER}
