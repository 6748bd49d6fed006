"""SIGKILL of agent and vault, again and again, at random moments and at named places.

After each kill: restart, back up again, and the point commits and verifies; what the vault had committed before the kill
is not sent again. The named places are hit with strace, which kills a process on its way into the n-th system call on a
given folder: uploads (the vault's packs folder, the agent's sends), commits (points folder, database), the agent's index.
COFFER_KILLS says how many (default 50), COFFER_SEED repeats a run.
"""
import collections
import os
import re
import signal
import time

import pytest

import harness
from harness import DONE, WARNINGS

KILLS = int(os.environ.get('COFFER_KILLS', '2000' if os.environ.get('COFFER_LONG') else '50'))
AT_LEAST = 5 if KILLS >= 50 else 1
CALLS = 'pwrite64,pwritev,write,writev,fsync,fdatasync,rename,renameat,renameat2,link,linkat,ftruncate,unlink,unlinkat,msync'
SENDS = 'sendto,sendmsg,write,writev'
PLACES = ['agent at a random moment', 'vault at a random moment', 'upload (vault)', 'upload (agent)', 'commit', 'database write',
          'index write']

pytestmark = pytest.mark.skipif(os.system('command -v strace >/dev/null') != 0, reason='needs strace')


def killer(log, calls, n, paths=()):
    """The words before a command that make strace kill it at the n-th of these calls (on one of these paths)."""
    words = ['strace', '-f', '-qq', '-y', '-o', log]
    for path in paths:
        words += ['-P', path]
    return words + ['-e', f'trace={calls}', '-e', f'inject={calls}:signal=KILL:when={n}']


def killed_in(log):
    """The system call in which strace killed the process, or None."""
    with open(log, errors='replace') as f:
        text = f.read()
    if 'killed by SIGKILL' not in text:
        return None
    open_calls = [line for line in text.splitlines() if line.endswith('= ?') or '<unfinished' in line]
    return open_calls[0] if open_calls else 'somewhere'


def folders_and_files(top):
    for where, _, names in os.walk(top):
        yield where
        yield from (os.path.join(where, n) for n in names)


class Story:
    def __init__(self, stage, vault, server, rng):
        self.stage, self.vault, self.server, self.rng = stage, vault, server, rng
        self.source = harness.make_tree(stage.path('source'), rng, files=120, most=1500000, folders=8)
        self.hits, self.log, self.last_seconds = collections.Counter(), stage.path('strace.log'), 1.0
        self.where = collections.Counter()

    def back_up(self, **kw):
        start = time.monotonic()
        result = self.server.backup(self.source, **kw)
        self.last_seconds = time.monotonic() - start
        return result

    def server_folder(self, *names):
        return os.path.join(self.vault.objects, 'servers', self.vault.servers()[0], *names)

    def hit(self, place):
        """One kill there; counts it when it really happened in that place."""
        if os.path.exists(self.log):
            os.unlink(self.log)
        random_moment = self.rng.random() * self.last_seconds
        if place == PLACES[0]:
            process = self.server.spawn('backup', self.source)
            time.sleep(random_moment)                                                  # the moment is what is tested
            alive = process.poll() is None
            self.stage.end(process)
            self.hits[place] += alive
        elif place == PLACES[1]:
            process = self.server.spawn('backup', self.source)
            time.sleep(random_moment)
            self.hits[place] += process.poll() is None
            self.vault.kill()
            self.stage.end(process, signal.SIGTERM)
        elif place in ('upload (agent)', 'index write'):
            if place == 'index write':
                paths = [p for p in folders_and_files(os.path.join(self.server.home, 'scratch')) if 'index' in p]
                words = killer(self.log, CALLS, self.rng.randrange(1, 9), paths)
            else:
                words = killer(self.log, SENDS, self.rng.randrange(4, 60))
            self.back_up(wrapper=words)
            call = killed_in(self.log)
            if call and (place == 'index write' or 'socket:' in call or 'TCP' in call):
                self.hits[place] += 1
                self.where[place, re.sub(r'^\d+ +(\w+)\(.*', r'\1', call)] += 1
        else:
            if place == 'commit':
                paths, last = [self.server_folder('points')], 3            # rename and fsync of the point
            elif place == 'database write':
                paths, last = [self.vault.database, self.vault.database + '-wal'], 12
            else:
                paths, last = [self.server_folder('packs')], 4             # rename and fsync of each pack
            self.vault.stop()
            try:
                self.vault.start(wrapper=killer(self.log, CALLS, self.rng.randrange(1, last), paths))
            except harness.EndedEarly:                        # killed while it opened its database: survived too, not counted
                self.where['vault starting'] += 1
                self.vault.kill()
                return
            process = self.server.spawn('backup', self.source)
            end = time.monotonic() + 60
            while process.poll() is None and self.vault.process.poll() is None and time.monotonic() < end:
                time.sleep(0.02)
            call = killed_in(self.log)
            if call:
                self.hits[place] += 1
                self.where[place, re.sub(r'^\d+ +(\w+)\(.*', r'\1', call)] += 1
            self.stage.end(process, signal.SIGTERM)
            self.vault.kill()

    def recover(self):
        if self.vault.process is None or self.vault.process.poll() is not None:
            self.vault.process = None
            self.vault.start()
        before = self.vault.committed_bytes()
        summary = self.back_up().ok(DONE, WARNINGS).summary
        after = self.vault.committed_bytes()
        # Sent again is only what was in flight: what the summary counts is what the vault has more now.
        assert summary['bytes_stored'] <= (after - before) * 1.02 + 65536, (summary, before, after)
        return summary


def test_kills(stage, vault, server, rng):
    story = Story(stage, vault, server, rng)
    story.back_up().ok()
    committed = [p['id'] for p in server.points()]
    done = 0
    while done < KILLS or min(story.hits[p] for p in PLACES) < AT_LEAST:
        assert done < 3 * KILLS, f'the named places are not hit: {dict(story.hits)}'
        missing = [p for p in PLACES if story.hits[p] < AT_LEAST]
        place = story.rng.choice(missing if done >= KILLS // 2 and missing else PLACES)
        harness.change_tree(story.source, story.rng, share=0.1)
        story.hit(place)
        done += 1
        summary = story.recover()
        found = [p['id'] for p in server.points()]
        assert found[:len(committed)] == committed and found[-1] == summary['point_id'], f'kill {done} ({place}): points changed'
        committed = found
        server.verify('latest').ok()
    print(f'{done} kills: {dict(story.hits)}; in {dict(story.where)}')
    for point in committed:
        result = server.verify(point).ok()
        assert not result.summary['damaged']
    to = stage.path('restored')
    server.restore('latest', to=to).ok()
    harness.assert_same_tree(story.source, harness.restored(to, story.source))


@pytest.mark.parametrize('who', ['agent', 'vault'])
def test_first_backup_continues(stage, vault, server, rng, who):
    """A first backup killed in the middle: what the vault has committed of it is not sent again."""
    source = stage.path('large')
    os.mkdir(source)
    size = 10 << 20
    for i in range(6):
        with open(os.path.join(source, f'file{i}'), 'wb') as f:
            f.write(rng.randbytes(size))
    process = server.spawn('backup', source)

    def enough():
        """two packs are committed"""
        assert process.poll() is None, harness.Result(process.args, process.returncode, *process.communicate())
        return vault.query('SELECT count(*) FROM packs')[0][0] >= 2 and vault.committed_bytes() >= 3 << 20
    harness.wait_for(enough, 60, every=0.005)
    if who == 'agent':
        stage.end(process)
    else:
        vault.kill()
        stage.end(process)
        vault.start()
    had = vault.committed_bytes()
    total = 6 * size
    assert 0 < had < total, had
    summary = server.backup(source).ok().summary
    assert summary['bytes_stored'] <= (total - had) * 1.02 + (1 << 20), (had, summary)
    server.verify('latest').ok()


def test_vault_restart_is_survived(stage, vault, server, rng):
    """The vault goes away and comes back while a backup runs: the same job completes."""
    source = stage.path('large')
    os.mkdir(source)
    for i in range(6):
        with open(os.path.join(source, f'file{i}'), 'wb') as f:
            f.write(rng.randbytes(15 << 20))
    process = server.spawn('backup', source)
    harness.wait_for(lambda: vault.query('SELECT count(*) FROM packs')[0][0] >= 1 or process.poll() is not None, 60, every=0.005)
    vault.kill()
    vault.start()
    out, err = process.communicate(timeout=180)
    result = harness.Result(process.args, process.returncode, out, err).ok(DONE, WARNINGS)
    server.verify(result.summary['point_id']).ok()
