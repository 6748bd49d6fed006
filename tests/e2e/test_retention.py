"""Retention as people see it: weeks of points with tags and dates, a server that is away, a clock that jumps, a rebuild.

What is to be kept says the reference model (tests/retention/model.py), from the points as the vault lists them."""
import datetime
import os
import sys

import harness
from harness import DONE, FAILED, USAGE, wait_for

sys.path.insert(0, os.path.join(harness.TOP, 'tests', 'retention'))
import model  # noqa: E402

DAY = 86400
FLOOR = (7, 4, 3, 1, 30)
POLICY = {'schedule': {'kind': 'daily', 'times': ['09:00']}, 'time_zone': 'Europe/Berlin', 'protection': 'on',
          'retention': {'days': 8, 'weeks': 5, 'weekly_on': 'sat', 'months': 4, 'monthly_on': '1', 'years': 2, 'yearly_on': 'jan 1'}}


def seconds(text):
    return int(datetime.datetime.fromisoformat(text.replace('Z', '+00:00')).timestamp())


def rfc3339(when):
    return datetime.datetime.fromtimestamp(when, datetime.timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ')


def midnight(clock, days):
    return (clock.wall // DAY + days) * DAY


class Story:
    """A server with a policy, and what the rules say about the points that it made."""

    def __init__(self, stage, clock, vault, server):
        self.clock, self.vault, self.server, self.history = clock, vault, server, []
        self.seen = set()
        self.data = stage.path('data')
        os.mkdir(self.data)
        with open(os.path.join(self.data, 'file'), 'w') as f:
            f.write('contents')
        keep = POLICY['retention']
        server.run('policy', 'set', '--source', self.data, '--schedule', 'daily 09:00', '--time-zone', 'Europe/Berlin',
                   '--keep-daily', str(keep['days']), '--keep-weekly', str(keep['weeks']), '--weekly-on', keep['weekly_on'],
                   '--keep-monthly', str(keep['months']), '--monthly-on', keep['monthly_on'],
                   '--keep-yearly', str(keep['years']), '--yearly-on', keep['yearly_on']).ok()

    def point(self, scheduled=False, until=None, manual=False):
        args = [self.data] if manual else []
        if scheduled:
            args += ['--scheduled', rfc3339(self.clock.wall)]
        if until:
            args += ['--retain-until', rfc3339(until)[:10]]  # midnight, UTC
        summary = self.server.run('backup', *args).ok(DONE).summary
        self.history.append({'id': summary['point_id'], 'counter': len(self.history) + 1, 'received': self.clock.wall,
                             'scheduled': scheduled, 'full': not manual, 'flagged': False, 'until': until, 'gone_at': None,
                             'pinned': False})
        return summary['point_id']

    def day(self, *kinds, at='09:10'):
        """The next day at that time; a point of each kind."""
        shown = model.local('Europe/Berlin', self.clock.wall) + datetime.timedelta(days=1)
        hour, minute = map(int, at.split(':'))
        self.clock.until(model.instant('Europe/Berlin', shown.replace(hour=hour, minute=minute, second=0)))
        for kind in kinds:
            self.point(**kind)

    def expected(self):
        """What is there once the vault has let go what is due (few at a time: the share of a day does not matter here)."""
        model.evaluate(POLICY, FLOOR, self.clock.wall, self.history)
        for point in self.history:
            if point['verdict'] == 'd':
                point['gone_at'] = self.clock.wall
        return {p['id']: p for p in self.history if p['gone_at'] is None}

    def check(self):
        wanted = self.expected()
        self.clock.advance(seconds=11)  # the vault looks every ten seconds
        wait_for(lambda: {p['id'] for p in self.vault_points()} == set(wanted))
        for listed in (self.server.points(), self.vault_points()):
            assert [p['id'] for p in listed] == list(wanted), self.clock.text
            for point in listed:
                self.seen |= set(point['tags'])
                assert set(point['tags']) == wanted[point['id']]['tags'], point
                assert seconds(point['expires']) == wanted[point['id']]['expires'], point

    def vault_points(self):
        return self.vault.command('points', self.vault.folder, '--json').ok().document


def test_weeks(stage, clock, clocked_vault, clocked_server):
    """Scheduled, missed, on demand, by hand; each with the tags and the date that the rules give it."""
    story = Story(stage, clock, clocked_vault, clocked_server)
    clock.until(model.instant('Europe/Berlin', model.local('Europe/Berlin', clock.wall).replace(hour=3)) + DAY)
    scheduled = {'scheduled': True}
    for number in range(int(os.environ.get('COFFER_LONG', 0)) * 40 + 24):
        if number % 7 == 5:
            story.day()  # off
        elif number == 8:
            story.day(scheduled, {'until': midnight(clock, 5)})
        elif number == 12:
            story.day({}, {'manual': True, 'until': midnight(clock, 4)})
        else:
            story.day(scheduled)
        if number > 8:
            story.check()
    assert story.seen == set(model.TAGS)
    # What expired is history: not listed, not to be read, and the row says when.
    gone = next(p for p in story.history if p['gone_at'])
    assert clocked_server.run('ls', gone['id']).status == FAILED
    rows = clocked_vault.query("SELECT expired_at FROM points WHERE state='expired'")
    assert len(rows) == sum(p['gone_at'] is not None for p in story.history) and all(r[0] > 0 for r in rows)


def test_away_and_back(stage, clock, clocked_vault, clocked_server):
    """Nobody backs up any more: the last good point stays, also when the server wakes up; then it goes by the rules."""
    story = Story(stage, clock, clocked_vault, clocked_server)
    scheduled = {'scheduled': True}
    for _ in range(4):
        story.day(scheduled)
    last = story.history[-1]['id']
    clock.advance(days=60)
    clocked_vault.command('confirm', clocked_vault.folder).ok()
    assert last in {p['id'] for p in story.vault_points()}
    for _ in range(3):
        story.day(scheduled)
    wait_for(lambda: len(story.vault_points()) >= 4)
    clock.advance(days=5)
    story.check()
    assert last in {p['id'] for p in story.vault_points()}


def confirm(vault, *more):
    return vault.command('confirm', vault.folder, '--json', *more)


def test_clock_settings_rebuild(stage, clock, clocked_vault, clocked_server):
    vault, story = clocked_vault, Story(stage, clock, clocked_vault, clocked_server)
    scheduled = {'scheduled': True}
    # Settings.
    assert vault.command('settings', vault.folder, 'minimum_days=12', 'scrub_days=20').status == DONE
    assert vault.command('settings', vault.folder, 'minimum_days=0').status == USAGE
    assert vault.command('settings', vault.folder, 'minimum_day=9').status == USAGE
    values = {s['name']: s['value'] for s in vault.command('settings', vault.folder, '--json').ok().document}
    assert values['minimum_days'] == 12 and values['minimum_weeks'] == 4 and values['scrub_days'] == 20
    story.day(scheduled)
    point, = clocked_server.points()
    assert seconds(point['expires']) >= clock.wall + 12 * DAY
    # A clock that is set by hand while the service runs.
    clock.jump(40 * DAY)
    clock.advance(seconds=11)
    wait_for(lambda: confirm(vault, '--show').ok().document['stopped'] == 'clock')
    clock.jump(-40 * DAY)
    assert confirm(vault).ok().document == {'was_stopped': 'clock', 'expired': 0}
    clock.advance(seconds=11)
    assert confirm(vault, '--show').ok().document['stopped'] is None
    # Across a restart: thirty days, not more; not backwards.
    for days, stopped in ((29, None), (31, 'clock'), (-1, 'clock')):
        vault.stop()
        clock.jump(days * DAY)
        vault.start()
        assert confirm(vault, '--show').ok().document['stopped'] == stopped, days
        if stopped:
            confirm(vault).ok()
    # A rebuild brings settings, origin and dates back, what expired stays expired, and nothing goes until somebody says so.
    for _ in range(3):
        story.day(scheduled)
    story.point(until=midnight(clock, 90))
    clock.advance(days=13)
    confirm(vault).ok()
    before = clocked_server.points()
    gone = vault.query("SELECT id FROM points WHERE state='expired' ORDER BY id")
    assert gone
    vault.stop()
    vault.command('rebuild', vault.folder).ok()
    vault.start()
    after = clocked_server.points()
    assert [p['id'] for p in after] == [p['id'] for p in before]
    assert 'daily' in after[0]['tags'] and 'on-demand' in after[-1]['tags'] and 'daily' not in after[-1]['tags']
    assert after[-1]['expires'] == before[-1]['expires']
    assert vault.query("SELECT id FROM points WHERE state='expired' ORDER BY id") == gone
    values = {s['name']: s['value'] for s in vault.command('settings', vault.folder, '--json').ok().document}
    assert values['minimum_days'] == 12
    assert confirm(vault, '--show').ok().document['stopped'] == 'rebuild'
