"""The retention rules once more, in Python, written from docs/retention.md: the reference that the C code is held against.

It shares no code and no method with src/policy/retention*.c: the calendar is Python's, the zones are zoneinfo's, slots are
listed month by month, and what is held is found by counting at each moment."""

import bisect
import calendar
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo

DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
ORDINALS = ["first", "second", "third", "fourth", "last"]
TAGS = {"daily": 1, "weekly": 2, "monthly": 4, "yearly": 8, "on-demand": 16}
LIMIT, RESERVE, FRESH = 9999, 100, 3
DAY = 86400
EPOCH = datetime(1970, 1, 1)


@lru_cache(maxsize=64)
def zone_of(name):
    return timezone.utc if name == "UTC" else ZoneInfo(name)


def utc_seconds(aware):
    moment = aware.astimezone(timezone.utc).replace(tzinfo=None) - EPOCH
    return moment.days * DAY + moment.seconds


@lru_cache(maxsize=1 << 18)
def instant(zone_name, naive):
    """When the clocks of the zone show this. Shown twice: the first. Never shown: when they skip it."""
    zone = zone_of(zone_name)
    early = naive.replace(tzinfo=zone, fold=0)
    found = utc_seconds(early)
    if local(zone_name, found) == naive:
        return found
    # The clocks jump over it: fold 1 reads it with the offset behind the jump, a moment before it.
    low, high = utc_seconds(naive.replace(tzinfo=zone, fold=1)), found
    low, high = min(low, high), max(low, high)
    behind = offset(zone, high)
    while high - low > 1:
        middle = (low + high) // 2
        if offset(zone, middle) == behind:
            high = middle
        else:
            low = middle
    return high


def offset(zone, seconds):
    return datetime.fromtimestamp(seconds, timezone.utc).astimezone(zone).utcoffset()


def local(zone_name, seconds):
    aware = datetime.fromtimestamp(seconds, timezone.utc).astimezone(zone_of(zone_name))
    return aware.replace(tzinfo=None, fold=0)


def plus_days(zone_name, seconds, days):
    return instant(zone_name, local(zone_name, seconds) + timedelta(days=days))


def plus_months(zone_name, seconds, months):
    shown = local(zone_name, seconds)
    index = shown.year * 12 + shown.month - 1 + months
    year, month = index // 12, index % 12 + 1
    day = min(shown.day, calendar.monthrange(year, month)[1])
    return instant(zone_name, shown.replace(year=year, month=month, day=day))


class Rule:
    """The days of a rule: words such as 'sat', 'last sat', '1,15', 'jan last sun', and maybe a time at the end."""

    def __init__(self, kind, words, schedule_times):
        parts = words.split()
        self.minute = min(schedule_times)
        if ":" in parts[-1]:
            self.minute = parts.pop()
        self.kind = kind
        self.months = [MONTHS.index(m) + 1 for m in parts.pop(0).split(",")] if kind == "yearly" else range(1, 13)
        self.weekdays = self.ordinals = self.monthdays = None
        if kind == "weekly":
            self.weekdays = [DAYS.index(d) for d in parts[0].split(",")]
        elif len(parts) == 2:
            self.ordinals = parts[0].split(",")
            self.weekdays = [DAYS.index(d) for d in parts[1].split(",")]
        else:
            self.monthdays = parts[0].split(",")

    def dates_of_month(self, year, month):
        length = calendar.monthrange(year, month)[1]
        if self.kind == "weekly":
            return [d for d in range(1, length + 1) if date(year, month, d).weekday() in self.weekdays]
        if month not in self.months:
            return []
        if self.monthdays is not None:
            named = {length if word == "last" else int(word) for word in self.monthdays}
            return sorted(d for d in named if d <= length)
        chosen = set()
        for weekday in self.weekdays:
            days = [week[weekday] for week in calendar.monthcalendar(year, month) if week[weekday]]
            for word in self.ordinals:
                at = ORDINALS.index(word)
                if word == "last":
                    chosen.add(days[-1])
                elif at < len(days):
                    chosen.add(days[at])
        return sorted(chosen)

    def slots(self, zone_name, first, last):
        """All slots that matter for times from first to last: from the newest at or before first on."""
        hour, minute = map(int, self.minute.split(":"))
        begin, end = local(zone_name, first), local(zone_name, last) + timedelta(days=3)
        year, month = begin.year, begin.month
        back = []
        # Backwards until one is found that lies at or before first.
        for index in range(year * 12 + month, year * 12 + month - 12 * 9, -1):
            y, m = index // 12, index % 12 + 1
            here = [instant(zone_name, datetime(y, m, d, hour, minute)) for d in self.dates_of_month(y, m)]
            back = here + back
            if any(slot <= first for slot in here):
                break
        found = back
        index = year * 12 + month + 1
        while (index // 12, index % 12 + 1) <= (end.year, end.month):
            y, m = index // 12, index % 12 + 1
            found += [instant(zone_name, datetime(y, m, d, hour, minute)) for d in self.dates_of_month(y, m)]
            index += 1
        return sorted(set(found))


def tag_points(policy, points):
    """points: dicts; gives each a set of words in ['tags']."""
    for point in points:
        point["tags"] = set() if point["scheduled"] else {"on-demand"}
    if policy is None:
        return
    retention, zone = policy["retention"], policy["time_zone"]
    full = sorted((p for p in points if p["full"]), key=lambda p: (p["received"], p["counter"]))
    if retention.get("days"):
        for point in full:
            if point["scheduled"]:
                point["tags"].add("daily")
    if not full:
        return
    for word, unit in (("weekly", "weeks"), ("monthly", "months"), ("yearly", "years")):
        if not retention.get(unit):
            continue
        rule = Rule(word, retention[word + "_on"], policy["schedule"]["times"])
        slots = rule.slots(zone, full[0]["received"], full[-1]["received"])
        times = [p["received"] for p in full]
        for slot, following in zip(slots, slots[1:] + [None]):
            at = bisect.bisect_left(times, slot)
            if at < len(full) and (following is None or times[at] < following):
                full[at]["tags"].add(word)


def date_points(policy, floor, points):
    zone = policy["time_zone"] if policy else "UTC"
    retention = policy["retention"] if policy else {}
    least = dict(zip(("days", "weeks", "months", "years", "on_demand"), floor))
    for point in points:
        got, ends = point["received"], []
        keep = {unit: max(retention.get(unit, 0), least[unit]) for unit in ("days", "weeks", "months", "years")}
        if point["until"] is not None:
            ends.append(point["until"])
        elif not point["scheduled"]:
            ends.append(plus_days(zone, got, least["on_demand"]))
        if point["scheduled"]:
            ends.append(plus_days(zone, got, least["days"]))
        if "daily" in point["tags"]:
            ends.append(plus_days(zone, got, keep["days"]))
        if "weekly" in point["tags"]:
            ends.append(plus_days(zone, got, 7 * keep["weeks"]))
        if "monthly" in point["tags"]:
            ends.append(plus_months(zone, got, keep["months"]))
        if "yearly" in point["tags"]:
            ends.append(plus_months(zone, got, 12 * keep["years"]))
        point["expires"] = max(ends)


def held_points(floor, points, now):
    """Those that are kept past their dates because no new ones came; and when the first of them stops being so."""
    full = [p for p in points if p["full"]]
    family = full if any(p["gone_at"] is None for p in full) else points
    family = sorted(family, key=lambda p: (p["received"], p["counter"]))
    good = [p["received"] for p in family if not p["flagged"] and p["received"] <= now]
    every = [p["received"] for p in family if p["received"] <= now]
    goods_before = everies_before = 0
    held, ends, still_silent, resumed = set(), [], False, []
    for point in family:
        arrived = point["received"] <= now
        everies_before += arrived
        goods_before += arrived and not point["flagged"]
        after = every[everies_before:] if point["flagged"] else good[goods_before:]
        date = point["expires"]
        if point["gone_at"] is not None or date > now:
            continue
        by_then = [t for t in after[:FRESH] if t <= date]
        if not by_then:
            silent = True
        elif not point["scheduled"] and point["tags"] == {"on-demand"}:
            silent = False
        else:
            silent = len(by_then) < FRESH and 2 * (by_then[0] - point["received"]) > date - point["received"]
        if not silent:
            continue
        if len(after) < FRESH:
            still_silent = True
        elif now < after[FRESH - 1] + floor[0] * DAY:
            ends.append(after[FRESH - 1] + floor[0] * DAY)
            resumed.append(after[FRESH - 1])
        else:
            continue
        held.add(id(point))
    if held:
        when = now if still_silent else max(resumed)
        past = [p for p in family if p["gone_at"] is None and p["expires"] <= when]
        past = [p for p in past if not p["flagged"]] or past
        if past:
            held.add(id(max(past, key=lambda p: (p["expires"], p["received"], p["counter"]))))
    if points:
        held.add(id(max(points, key=lambda p: p["counter"])))
    return held, ends


def evaluate(policy, floor, now, points):
    """Fills in tags, expires (None: for ever) and verdict; returns (next, allowance, count, admit scheduled, on demand)."""
    tag_points(policy, points)
    date_points(policy, floor, points)
    for_ever = bool(policy) and policy["protection"] in ("paused", "stopped-for-ever")
    if for_ever:
        for point in points:
            point["real"], point["expires"] = point["expires"], float("inf")
    held, moments = held_points(floor, points, now)
    for point in points:
        past = point["expires"] <= now
        if point["gone_at"] is not None:
            point["verdict"] = "g"
        elif not past:
            point["verdict"] = "k"
            moments.append(point["expires"])
        elif id(point) in held:
            point["verdict"] = "h"
        else:
            point["verdict"] = "p" if point["pinned"] else "d"
    moments = [m for m in moments if m != float("inf")]
    for point in points:
        if point["expires"] == float("inf"):
            point["expires"] = None
    return (min(moments) if moments else None, allowance(points, now), count(policy, floor) if policy else 0,
            *admit(policy, floor, points))


def allowance(points, now):
    recent = lambda t: t is not None and now - DAY < t <= now
    went = sum(recent(p["gone_at"]) for p in points)
    came = sum(recent(p["received"]) for p in points)
    current = sum(p["gone_at"] is None for p in points)
    return max(0, max((current + went) // 5, came) - went)


def count(policy, floor):
    schedule, retention = policy["schedule"], policy["retention"]
    runs = len(schedule["times"])
    if schedule["kind"] == "none":
        return 0
    total = 0
    if schedule["kind"] == "daily" and retention.get("days"):
        total += max(retention["days"], floor[0]) * runs
    else:
        weekly = len(Rule("weekly", retention["weekly_on"], ["00:00"]).weekdays) if retention.get("weeks") else 0
        week = runs * (7 if schedule["kind"] == "daily" else len(schedule["days"]))
        total += max(0, week - weekly) * -(-floor[0] // 7)
    def days(rule):
        return len(rule.monthdays) if rule.monthdays is not None else len(rule.ordinals) * len(rule.weekdays)
    if retention.get("weeks"):
        total += max(retention["weeks"], floor[1]) * len(Rule("weekly", retention["weekly_on"], ["00:00"]).weekdays)
    if retention.get("months"):
        total += max(retention["months"], floor[2]) * days(Rule("monthly", retention["monthly_on"], ["00:00"]))
    if retention.get("years"):
        rule = Rule("yearly", retention["yearly_on"], ["00:00"])
        total += max(retention["years"], floor[3]) * days(rule) * len(rule.months)
    return total


def admit(policy, floor, points):
    here = [p for p in points if p["gone_at"] is None]
    if len(here) >= LIMIT:
        return 0, 0
    ruled = sum(p["scheduled"] or bool(p["tags"] - {"on-demand"}) for p in here)
    most = count(policy, floor) if policy else 0
    reserve = max(RESERVE, most - ruled)
    return 1, int(len(here) + 1 + reserve <= LIMIT)
