"""The workloads. Each is a function of a Bench: it makes its data, runs every tool in alternation for every round and
records samples; TARGETS says what must come of it."""
import os
import statistics

from lib import data
from lib.measure import Failed, run

GIB = 1 << 30
COFFER = 'coffer'


class Bench:
    def __init__(self, work, tools, rounds, smoke, memory, nights, log, save):
        self.work, self.tools, self.rounds, self.smoke = work, tools, rounds, smoke
        self.memory, self.nights, self.log, self.save, self.rows = memory, nights, log, save, []
        self.linux = data.Linux(work, smoke)

    def path(self, *names):
        return os.path.join(self.work, *names)

    def columns(self, *names):
        """The tools of a workload: those named and all that joined from outside; all of them without a name."""
        known = ('coffer', 'restic', 'restic-rclone', 'borg', 'borg-zstd3')
        return [t for t in self.tools if not names or t.name in names or t.name not in known]

    def each(self, tools):
        """(round, tool): every tool once a round, each round begins with another."""
        for number in range(self.rounds):
            for place in range(len(tools)):
                yield number, tools[(place + number) % len(tools)]

    def settle(self, path):
        """What the last run left for the disk is not the next one's to wait for; and what the next one reads is in the
        page cache, whatever else happened on this machine."""
        if not self.smoke:
            os.sync()
            data.warm(path)

    def record(self, workload, step, tool, number, sample):
        self.rows.append({'workload': workload, 'step': step, 'tool': tool if isinstance(tool, str) else tool.name, 'round': number,
                          'wall': sample.wall, 'user': sample.user, 'system': sample.system, 'service_cpu': sample.service_cpu,
                          'cpu': sample.cpu, 'rss': sample.rss, 'service_rss': sample.service_rss,
                          'stored': sample.stored, 'sent': sample.sent})
        self.save(self.rows)  # what was measured stays when a later run fails
        sent = '' if sample.sent is None else f', {sample.sent / 1e6:.1f} MB sent'
        self.log(f'  {workload} {step} round {number + 1} {self.rows[-1]["tool"]}: {sample.wall:.2f} s, {sample.cpu:.2f} s CPU, '
                 f'{sample.rss / 1e6:.0f} MB{sent}')

    def first(self, workload, tools, path, files):
        """First backups that are not what the workload measures; recorded as the step `first`."""
        for tool in tools:
            tool.fresh()
            self.settle(path)
            self.record(workload, 'first', tool, 0, tool.backup(path, files=files))

    def done(self, tools):
        for tool in tools:
            tool.clean()


def w1(bench):
    path, tools = bench.linux.make(), bench.columns()
    files = data.warm(path)
    for number, tool in bench.each(tools):
        tool.fresh()
        bench.settle(path)
        bench.record('W1', 'backup', tool, number, tool.backup(path, files=files))
    bench.done(tools)


def w2(bench):
    path, tools = bench.linux.make(), bench.columns('coffer', 'restic', 'restic-rclone', 'borg')
    files = data.warm(path)
    bench.first('W2', tools, path, files)
    for number, tool in bench.each(tools):
        bench.settle(path)
        bench.record('W2', 'backup', tool, number, tool.backup(path, files=files, unchanged=files))
    bench.done(tools)


def w3(bench):
    path, tools = bench.linux.copy(bench.path('data', 'changing')), bench.columns('coffer', 'restic', 'restic-rclone', 'borg')
    bench.first('W3', tools, path, data.warm(path))
    files = 0
    for number, tool in bench.each(tools):
        if tool is tools[number % len(tools)]:
            data.churn(path, 0.01, f'W3/{number}')
            files = data.warm(path)
        bench.settle(path)
        bench.record('W3', 'backup', tool, number, tool.backup(path, files=files))
    bench.done(tools)
    data.remove(path)


def w4(bench):
    size = 16 << 20 if bench.smoke else 4 * GIB
    folder = bench.path('data', 'image')
    image = os.path.join(folder, 'disk.img')
    os.makedirs(folder, exist_ok=True)
    data.disk_image(image, size, bench.linux.make(), bench.work)
    tools = bench.columns()
    data.warm(image)
    bench.first('W4', tools, folder, 1)
    for number, tool in bench.each(tools):
        if tool is tools[number % len(tools)]:
            data.overwrite(image, 20 if bench.smoke else 1000, f'W4/{number}')
            data.warm(image)
        bench.settle(image)
        bench.record('W4', 'backup', tool, number, tool.backup(folder, files=1))
    bench.done(tools)
    data.remove(folder)


def w5(bench):
    folders, per = (20, 50) if bench.smoke else (10000, 100)
    path = bench.path('data', 'million')
    if not os.path.exists(path + '.complete'):  # --keep: making them takes a while
        data.remove(path)
        os.makedirs(path)
        data.small_files(path, folders, per)
        open(path + '.complete', 'w').close()
    tools = bench.columns('coffer', 'restic', 'borg')
    files = data.warm(path)
    if files != folders * per:
        raise Failed(f'W5: {files} files')
    bench.first('W5', tools, path, files)
    for number, tool in bench.each(tools):
        os.sync()
        data.warm_names(path)
        bench.record('W5', 'backup', tool, number, tool.backup(path, files=files, unchanged=files))
    bench.done(tools)


def w6(bench):
    path, tools = bench.linux.make(), bench.columns('coffer', 'restic', 'borg')
    bench.first('W6', tools, path, data.warm(path))
    for step, base in (('tmpfs', os.path.join(bench.memory, f'coffer-bench-{os.getpid()}')), ('disk', bench.path('restored'))):
        for number in range(bench.rounds):
            order = [None, *tools]
            order = order[number % len(order):] + order[:number % len(order)]
            for tool in order:
                name = tool.name if tool else 'cp -a'
                # Restored trees stay until the end: ext4 does not give out inodes that were just deleted, and searching
                # past 80,000 of them would cost the next tool ten times what it does itself.
                where = os.path.join(base, f'{number}-{name}')
                os.makedirs(where)
                bench.settle(path)
                if tool is None:
                    sample, tree = run(['cp', '-a', path + '/.', where]), where
                    # coffer says "restored" when it is on the disk; cp and the others leave that to the kernel.
                    synced = run(['sync', '-f', where])
                    synced.wall, synced.user, synced.system = (getattr(synced, f) + getattr(sample, f) for f in ('wall', 'user', 'system'))
                    synced.rss = sample.rss
                    bench.record('W6', step, 'cp -a, sync', number, synced)
                else:
                    sample, tree = tool.restore(where), tool.tree(where, path)
                data.same(path, tree, checksum=number == 0)
                bench.record('W6', step, name, number, sample)
                if step == 'tmpfs':
                    data.remove(where)
        data.remove(base)
    bench.done(tools)


def w7(bench):
    path, count = bench.path('data', 'noise'), 16
    size = (16 << 20 if bench.smoke else 4 * GIB) // count
    data.remove(path)
    os.makedirs(path)
    for number in range(count):
        data.noise(os.path.join(path, f'noise{number}'), size, f'W7/{number}')
    tools = bench.columns('coffer', 'restic', 'restic-rclone', 'borg')
    data.warm(path)
    for number, tool in bench.each(tools):
        tool.fresh()
        bench.settle(path)
        bench.record('W7', 'backup', tool, number, tool.backup(path, files=count))
        tool.clean()
    data.remove(path)


def w8(bench):
    path, tools = bench.linux.make(), [t for t in bench.columns('coffer', 'restic', 'borg') if t.name != 'kopia']
    bench.first('W8', tools, path, data.warm(path))
    wanted = min((os.path.join(w, n) for w, _, names in os.walk(path) for n in names if not os.path.islink(os.path.join(w, n))),
                 key=lambda name: (abs(os.path.getsize(name) - 10240), name))
    out = bench.path('one-file')
    for number, tool in bench.each(tools):
        tool.forget_caches()
        bench.settle(wanted)
        bench.record('W8', 'one file', tool, number, tool.dump(wanted, out))
        with open(wanted, 'rb') as a, open(out, 'rb') as b:
            if a.read() != b.read():
                raise Failed(f'W8: {tool.name} gave something else than {wanted}')
    os.unlink(out)
    bench.done(tools)


def w9(bench):
    bench.log('  W9: not yet: coffer has no reclaiming to measure')


def w10(bench):
    parts = None if bench.smoke else ['kernel', 'mm', 'fs', 'net', 'drivers/net']
    path, tools = bench.linux.copy(bench.path('data', 'nights'), parts), bench.columns('coffer', 'restic')
    nights = 3 if bench.smoke else bench.nights
    for tool in tools:
        tool.fresh()
        tool.backup(path)
    for night in range(nights):
        data.churn(path, 0.01, f'W10/{night}')
        for tool in tools:
            tool.backup(path)
        if night % 20 == 19:
            bench.log(f'  W10: {night + 1} nights of {nights}')
    where = os.path.join(bench.memory, f'coffer-bench-{os.getpid()}')
    for number, tool in bench.each(tools):
        data.remove(where)
        os.makedirs(where)
        bench.settle(path)
        sample = tool.restore(where)
        data.same(path, tool.tree(where, path), checksum=number == 0)
        sample.stored = tool.stored_bytes()
        bench.record('W10', 'restore', tool, number, sample)
    data.remove(where)
    bench.done(tools)
    data.remove(path)


# name: (function, what it is, GB of disk that it needs in --work, GB in memory)
WORKLOADS = {
    'W1': (w1, 'first backup of the Linux 6.1 source', 4, 0),
    'W2': (w2, 'the same, nothing changed, full scan', 4, 0),
    'W3': (w3, '1 % of the files changed, added, removed, renamed', 6, 0),
    'W4': (w4, 'a 4 GiB disk image, 1,000 random 4 KiB overwrites', 24, 0),
    'W5': (w5, '1,000,000 small files in 10,000 folders, nothing changed', 14, 0),
    'W6': (w6, 'restore of W1 to an empty folder', 40, 2),
    'W7': (w7, '4 GiB of incompressible data', 11, 0),
    'W8': (w8, 'one 10 KiB file out of W1, without a cache', 4, 0),
    'W9': (w9, '60 nights, half deleted and reclaimed', 0, 0),
    'W10': (w10, 'restore of the newest point after 180 churned nights', 5, 1),
}

# (workload, step, field, what it is compared with, how the others become one number, at most)
# tools: 'restic' is restic in all its columns, '*' every other tool; None: an absolute limit.
TARGETS = [
    ('W1', 'backup', 'wall', 'restic', min, 0.45),
    ('W1', 'backup', 'wall', 'borg', min, 0.25),
    ('W1', 'backup', 'wall', 'borg-zstd3', min, 0.25),  # at our compression level
    ('W1', 'backup', 'stored', '*', min, 0.88),
    ('W2', 'backup', 'wall', '*', min, 0.15),
    ('W3', 'backup', 'wall', '*', min, 0.25),
    ('W4', 'backup', 'sent', '*', min, 0.35),
    ('W4', 'backup', 'wall', '*', min, 0.6),
    ('W5', 'backup', 'wall', '*', min, 0.15),
    ('W6', 'tmpfs', 'wall', 'cp -a', min, 1.3),
    ('W6', 'disk', 'wall', 'cp -a', min, 1.3),
    ('W6', 'tmpfs', 'wall', '*', min, 1.0),
    ('W6', 'disk', 'wall', '*', min, 1.0),
    ('W7', 'backup', 'wall', '*', min, 0.7),
    ('W8', 'one file', 'wall', None, None, 0.2),
    ('W10', 'restore', 'wall', 'restic', min, 1.0),
]
RSS_MAX = 150e6


def belongs(tool, group):
    if group == '*':
        return tool != COFFER and not tool.startswith('cp -a')
    return tool == group or (group in ('restic', 'borg') and tool.startswith(group))


def values(rows, workload, step, field, tool):
    return {r['round']: r[field] for r in rows
            if (r['workload'], r['step'], r['tool']) == (workload, step, tool) and r[field] is not None}


def ratios(rows, workload, step, field, group, how):
    """Ours against theirs, one ratio for each round."""
    ours = values(rows, workload, step, field, COFFER)
    if group is None:
        return list(ours.values())
    tools = sorted({r['tool'] for r in rows if r['workload'] == workload and r['step'] == step and belongs(r['tool'], group)})
    theirs = [values(rows, workload, step, field, tool) for tool in tools]
    return [ours[n] / how(t[n] for t in theirs) for n in sorted(ours) if theirs and all(t.get(n) for t in theirs)]


def judge(rows):
    """[(workload, text, ratios, limit, reached)] for every target that there are rows for."""
    out = []
    words = {'wall': 'time', 'stored': 'bytes stored', 'sent': 'bytes sent'}
    for workload, step, field, group, how, limit in TARGETS:
        got = ratios(rows, workload, step, field, group, how)
        if not got:
            continue
        if group is None:
            text = f'{step}: seconds'
        else:
            text = f'{step}: {words[field]} / {"the best of theirs" if group == "*" else group + (" (its best)" if group in ("restic", "borg") else "")}'
        out.append((workload, text, got, limit, statistics.median(got) <= limit))
    for workload in sorted({r['workload'] for r in rows}, key=lambda w: int(w[1:])):
        peak = [r['rss'] / 1e6 for r in rows if r['workload'] == workload and r['tool'] == COFFER]
        if peak:
            out.append((workload, 'peak memory of the agent, MB', [max(peak)], RSS_MAX / 1e6, max(peak) * 1e6 <= RSS_MAX))
    return out
