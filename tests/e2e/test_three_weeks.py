"""Three weeks of a server in minutes: the schedule, days without power, a lost lease, what is kept and what is let go, and the
bytes that come free. The daemon, the jobs and the vault are the real ones; only time is the test's."""
import contextlib
import datetime
import json
import os
import signal
import time

import harness
from harness import wait_for
from test_daemon import Story

LONG = bool(os.environ.get('COFFER_LONG'))
DAY = 86400
TIMES = ['09:00', '21:00'] if LONG else ['09:00']
DAYS = 22
SIZE = (2 << 20) if LONG else 300000


def at(clock, text):
    """The next moment at which the clock shows that, UTC."""
    hour, minute = map(int, text.split(':'))
    when = clock.wall // DAY * DAY + hour * 3600 + minute * 60
    return when if when > clock.wall else when + DAY


def seconds(text):
    return int(datetime.datetime.fromisoformat(text.replace('Z', '+00:00')).timestamp())


def stored_bytes(vault):
    """All objects of servers: packs, those that were merged, points."""
    total = 0
    for where, _, names in os.walk(os.path.join(vault.objects, 'servers')):
        for name in names:
            with contextlib.suppress(FileNotFoundError):            # a pass of the vault removes it just now
                total += os.path.getsize(os.path.join(where, name))
    return total


class Weeks(Story):
    def __init__(self, stage, clock, vault, server, rng):
        super().__init__(stage, clock, vault, server)
        self.rng, self.runs, self.sent = rng, [], 0
        self.vault.command('settings', self.vault.folder, 'reclaim_grace_seconds=86400').ok()
        self.write('x' * 100000, 'never-changes')
        self.policy('--source', self.source, '--schedule', 'daily ' + ','.join(TIMES), '--time-zone', 'UTC', '--keep-daily', '7',
                    '--keep-weekly', '4', '--weekly-on', 'sat', '--catch-up', '20h')

    def change(self):
        with open(os.path.join(self.source, 'log'), 'wb') as f:     # dead weight as soon as its points are gone
            f.write(self.rng.randbytes(SIZE))

    def run(self, time_of_day):
        """The run of that time comes, by itself."""
        self.change()
        self.clock.until(at(self.clock, time_of_day))
        self.wait_point()

    def wait_point(self):
        known = {r['id'] for r in self.runs}

        def ended():
            new = [j for j in self.jobs() if j['id'] not in known and j['status'] != 'running']
            return new[0] if new else None
        try:
            job = wait_for(ended, every=0.05)
        except TimeoutError:
            raise AssertionError(self.daemon.log_text() + json.dumps(self.jobs()[:5], indent=1)) from None
        assert job['status'] == 'completed', job
        self.runs.append(job)
        self.sent += job['bytes_sent']
        return job

    def settle(self):
        """The vault looks after its things every ten seconds; reclaiming every hour, twice until something is gone."""
        for _ in range(4):
            self.clock.advance(hours=1)
            time.sleep(0.25)


def test_three_weeks(stage, clock, clocked_vault, clocked_server, rng):
    story = Weeks(stage, clock, clocked_vault, clocked_server, rng)
    begin, most, freed_from = clock.wall, 0, None
    story.daemon.start()
    while clock.wall < begin + DAYS * DAY:
        day = (clock.wall - begin) // DAY
        for time_of_day in TIMES:
            if day == 4 and time_of_day == TIMES[0]:                # the power is gone for two days and a half
                story.daemon.kill()
                clock.advance(days=2, hours=14)                     # ... and back at 14:00
                story.change()
                story.daemon.start()
                job = story.wait_point()
                assert job['scheduled'].endswith('09:00:00Z') and job['started'] == clock.text  # one run makes up for all
            elif day == 10 and time_of_day == TIMES[0]:
                lose_the_lease(story, time_of_day)
            else:
                story.run(time_of_day)
        most = max(most, stored_bytes(story.vault))
        if freed_from is None and stored_bytes(story.vault) < story.sent - SIZE:
            freed_from = (clock.wall - begin) // DAY
        clock.until((clock.wall // DAY + 1) * DAY)
    story.settle()
    check_points(story)
    check_space(story, most, freed_from)
    story.daemon.stop()
    for point in story.server.points()[::1 if LONG else 4]:
        story.server.verify(point['id']).ok()


def lose_the_lease(story, time_of_day):
    """In the middle of a job the machine sleeps: the vault closes its session, and the job goes on with another one."""
    for i in range(12):
        with open(os.path.join(story.source, f'large{i}'), 'wb') as f:
            f.write(story.rng.randbytes(1 << 20))
    story.server.run('throttle', 'set', '--other', '40Mbit').ok()
    before = story.vault.committed_bytes()
    sessions = story.vault.query('SELECT count(*) FROM sessions')[0][0]
    story.clock.until(at(story.clock, time_of_day))
    wait_for(lambda: story.vault.committed_bytes() > before + (2 << 20))
    job, = story.jobs('running')
    process = story.process_of(job)
    os.kill(process, signal.SIGSTOP)
    story.clock.advance(minutes=5)                                  # longer than a session lives without a heartbeat
    wait_for(lambda: story.vault.query("SELECT count(*) FROM sessions WHERE state = 'open'")[0][0] == 0)
    story.server.run('throttle', 'off').ok()
    os.kill(process, signal.SIGCONT)
    ended = story.wait_point()
    assert ended['id'] == job['id'] and ended['status'] == 'completed'
    assert story.vault.query('SELECT count(*) FROM sessions')[0][0] == sessions + 2
    for i in range(12):
        os.unlink(os.path.join(story.source, f'large{i}'))


def check_points(story):
    now, points = story.clock.wall, story.server.points()
    runs = {j['point_id']: j for j in story.runs}
    listed = {p['id']: p for p in points}
    assert set(listed) <= set(runs)
    for identity, run in runs.items():
        age = now - seconds(run['started'])
        point = listed.get(identity)
        weekly = bool(point) and 'weekly' in point['tags']
        if age < 7 * DAY:
            assert point and 'daily' in point['tags'], run
        elif age > 8 * DAY:
            assert not point or weekly, (run, point)                # only Saturday's are left
    weekly = [p for p in points if 'weekly' in p['tags']]
    saturdays = {p['time'][:10] for p in weekly if datetime.date.fromisoformat(p['time'][:10]).weekday() == 5}
    first = datetime.date.fromisoformat(story.runs[0]['started'][:10])
    passed = sum((first + datetime.timedelta(n)).weekday() == 5 for n in range(DAYS))
    # Each Saturday has one, or, when it was missed, the next run carries it; and the first point of a server carries all.
    assert len(weekly) == passed + (first.weekday() != 5) and len(saturdays) >= passed - 1, (weekly, saturdays)
    for point in weekly:
        assert 3.9 * 7 * DAY < seconds(point['expires']) - seconds(point['received']) < 4.3 * 7 * DAY, point


def check_space(story, most, freed_from):
    """What only expired points needed is gone a grace after them; what one of the others needs is there."""
    points, held = story.server.points(), stored_bytes(story.vault)
    print(f'{len(story.runs)} runs, {len(points)} points, {story.sent} bytes sent, at most {most} stored, {held} at the end, '
          f'freed from day {freed_from}')
    assert freed_from is not None and freed_from >= 7               # nothing before the first expiry and its grace
    # One log for each point that is there, a day of grace, and what a day's pass has not come to yet.
    assert held < (len(points) + 3 * len(TIMES)) * SIZE + (4 << 20)
    assert held < story.sent * 0.7
