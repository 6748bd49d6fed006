#!/usr/bin/python3
"""schedule_zones.py SCHEDULE-TOOL: next and last slot at every quarter hour of two years, in zones that differ in
what they do to their clocks, against a computation with Python's zoneinfo that shares nothing with the C code."""
import bisect
import datetime
import subprocess
import sys
import zoneinfo

TOOL = sys.argv[1]
UTC = datetime.timezone.utc
ZONES = ['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kathmandu', 'UTC']
# Times in the skipped and in the doubled hour (at 02:00, of 30 minutes on Lord Howe), and around midnight.
SCHEDULES = ['daily 02:15,02:45,09:00,21:00', 'weekly sun,wed 01:30,02:30', 'weekly/3 mon,sun 00:00,02:10,23:59']
# Clocks that skip midnight or jump back over it, a skipped day, and years that only a zone's rule describes.
ODD = [('America/Sao_Paulo', 'daily 00:00,00:30,23:30', 2017, 1), ('Atlantic/Azores', 'daily 00:00,00:30,23:30', 2024, 1),
       ('Pacific/Apia', 'daily 00:00,12:00', 2011, 2), ('Africa/Casablanca', 'daily 02:00,02:30,03:00', 2025, 1),
       ('Europe/Berlin', 'weekly/2 sun 02:30', 2044, 1), ('America/New_York', 'daily 01:30,02:30', 2099, 1)]
DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']


def instant(zone, wanted):
    """The first moment at which the clock of the zone shows this or more."""
    at = wanted.replace(tzinfo=zone, fold=0)
    utc = at.astimezone(UTC)
    if utc.astimezone(zone).replace(tzinfo=None) == wanted:
        return int(utc.timestamp())
    low = utc - datetime.timedelta(hours=27)                                   # a skipped time: the end of the gap
    stamp = int(low.timestamp()) // 60 * 60
    while datetime.datetime.fromtimestamp(stamp, UTC).astimezone(zone).replace(tzinfo=None) < wanted:
        stamp += 60
    return stamp


def slots(zone_name, schedule, first, last):
    """All slots of the local dates first .. last."""
    zone, words = zoneinfo.ZoneInfo(zone_name), schedule.split()
    every = int(words[0].split('/')[1]) if '/' in words[0] else 1
    days = [DAYS.index(d) for d in words[1].split(',')] if words[0] != 'daily' else range(7)
    monday = datetime.date(1970, 1, 5)
    start = None
    out, day = set(), first
    begin = first + datetime.timedelta(days=10 + every * 7)
    for ahead in range(7):                                                     # the tool's FROM is on `begin`
        if (begin + datetime.timedelta(days=ahead)).weekday() in days:
            start = (begin + datetime.timedelta(days=ahead) - monday).days // 7
            break
    while day <= last:
        if day.weekday() in days and ((day - monday).days // 7 - start) % every == 0:
            for time in words[-1].split(','):
                hour, minute = map(int, time.split(':'))
                out.add(instant(zone, datetime.datetime.combine(day, datetime.time(hour, minute))))
        day += datetime.timedelta(days=1)
    return sorted(out), begin


def check(zone_name, schedule, year, years):
    first = datetime.date(year, 1, 1)
    last = datetime.date(year + years, 3, 31)
    expected, begin = slots(zone_name, schedule, first, last)
    zone = zoneinfo.ZoneInfo(zone_name)
    start = int(datetime.datetime.combine(begin, datetime.time(12), zone).timestamp()) // 900 * 900
    end = start + years * 365 * 86400
    got = subprocess.run([TOOL, zone_name, schedule, str(start), str(end), '900'], check=True, capture_output=True).stdout
    lines = got.splitlines()
    assert len(lines) == (end - start) // 900
    for i, line in enumerate(lines):
        at = start + i * 900
        after = bisect.bisect_right(expected, at)
        want = b'%d %d' % (expected[after], expected[after - 1])
        if line != want:
            sys.exit(f'{zone_name}, {schedule}, {datetime.datetime.fromtimestamp(at, UTC)}: {line.decode()}, '
                     f'expected {want.decode()}')
    return len(lines)


count = sum(check(zone, schedule, 2025, 2) for zone in ZONES for schedule in SCHEDULES)
count += sum(check(*case) for case in ODD)
print(f'{count} moments, next and last slot each: as zoneinfo says')
