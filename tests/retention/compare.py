#!/usr/bin/env python3
"""Holds the C rules against the reference model (model.py): random policies and histories, and twelve simulated years.

  compare.py EVALUATE [--cases N] [--seed N] [--years N] [--every DAYS] [--step DAYS]"""

import argparse
import json
import random
import subprocess
import sys
import time
from datetime import datetime, timedelta

import model

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "America/Sao_Paulo",
         "Africa/Casablanca", "Asia/Tehran", "Pacific/Chatham", "America/St_Johns", "Antarctica/Troll"]
LETTERS = {"g": "gone", "k": "kept", "h": "held", "p": "pinned", "d": "due"}


class Rules:
    """The C program at the other end of a pipe."""

    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, policy, floor, now, points, thorough=True):
        lines = ["policy " + (json.dumps(policy) if policy else "-"), "floor " + " ".join(map(str, floor)), f"now {now}",
                 f"points {len(points)}"]
        dash = lambda value: "-" if value is None else value
        for p in points:
            if p.get("told_at", "") != p["gone_at"]:
                p["line"] = (f"{p['counter']} {p['received']} {int(p['scheduled'])} {int(p['full'])} {int(p['flagged'])} "
                             f"{dash(p['until'])} {dash(p['gone_at'])} {int(p['pinned'])}")
                p["told_at"] = p["gone_at"]
            lines.append(p["line"])
        self.process.stdin.write("\n".join(lines) + "\n")
        self.process.stdin.flush()
        head = self.process.stdout.readline().split()
        if not head or head[0] != "case":
            raise SystemExit(f"the rules failed: {head}")
        number = lambda text: None if text == "-" else int(text)
        results = []
        for _ in points:
            line = self.process.stdout.readline()
            if line[-2] == "g" and not thorough:
                results.append((None, None, "g"))
                continue
            tags, expires, verdict = line.split()
            results.append((int(tags), number(expires), verdict))
        return (number(head[1]), *map(int, head[2:])), results

    def close(self):
        self.process.stdin.close()
        return self.process.wait()


def modelled(policy, floor, now, points):
    head = model.evaluate(policy, floor, now, points)
    return head, [(sum(model.TAGS[t] for t in p["tags"]), p["expires"], p["verdict"]) for p in points]


def compare(rules, policy, floor, now, points, what):
    got, wanted = rules.ask(policy, floor, now, points), modelled(policy, floor, now, points)
    if got == wanted:
        return wanted
    print(f"{what}: differs\npolicy {json.dumps(policy)}\nfloor {floor} now {now} {model.local('UTC', now)}")
    if got[0] != wanted[0]:
        print(f"  (next, allowance, count, admit, admit on demand): C {got[0]}, model {wanted[0]}")
    for point, a, b in zip(points, got[1], wanted[1]):
        if a != b:
            shown = {k: point[k] for k in ("counter", "received", "scheduled", "full", "flagged", "until", "gone_at", "pinned")}
            print(f"  {shown} received {model.local(policy['time_zone'] if policy else 'UTC', point['received'])}"
                  f"\n    C {a}, model {b}")
    raise SystemExit(1)


# ---- Random policies and histories ----

def some(rng, items, most=None):
    return sorted(rng.sample(items, rng.randint(1, min(most or len(items), len(items)))), key=items.index)


def time_text(minute):
    return f"{minute // 60:02}:{minute % 60:02}"


def random_policy(rng):
    kind = rng.choice(["daily", "daily", "weekly"])
    minutes = sorted(rng.sample(range(1440), rng.choice([1, 1, 2, 3]))) if rng.random() < 0.7 else sorted(
        rng.sample([0, 30, 90, 120, 135, 150, 180], rng.choice([1, 2])))
    times = [time_text(m) for m in minutes]
    schedule = {"kind": kind, "times": times}
    weekdays = model.DAYS
    if kind == "weekly":
        schedule["days"] = weekdays = some(rng, model.DAYS)
        schedule["every_weeks"] = rng.choice([1, 1, 1, 2, 4])
    at = lambda: " " + rng.choice(times) if rng.random() < 0.4 else ""

    def monthly():
        if rng.random() < 0.5:
            return ",".join(some(rng, model.ORDINALS, 2)) + " " + ",".join(some(rng, weekdays, 2)) + at()
        days = some(rng, [str(d) for d in range(1, 32)] + ["last"], 3)
        return ",".join(days) + at()

    long = rng.random() < 0.2
    retention = {}
    if kind == "daily" and rng.random() < 0.8:
        retention["days"] = rng.randint(1, 9999) if long else rng.randint(1, 60)
    if rng.random() < 0.6:
        retention["weeks"] = rng.randint(1, 5163) if long else rng.randint(1, 60)
        retention["weekly_on"] = ",".join(some(rng, weekdays, 3)) + at()
    if rng.random() < 0.6:
        retention["months"] = rng.randint(1, 1188) if long else rng.randint(1, 40)
        retention["monthly_on"] = monthly()
    if rng.random() < 0.5:
        retention["years"] = rng.randint(1, 99) if long else rng.randint(1, 10)
        retention["yearly_on"] = ",".join(some(rng, model.MONTHS, 3)) + " " + monthly()
    return {"sources": [{"path": "/data"}], "schedule": schedule, "time_zone": rng.choice(ZONES), "retention": retention,
            "protection": rng.choice(["on"] * 9 + ["paused", "stopped-until-expiry", "stopped-for-ever"])}


def random_history(rng, policy, start, span):
    zone = policy["time_zone"] if policy else "UTC"
    begin = model.local(zone, start).replace(hour=0, minute=0, second=0)
    points, times = [], []
    number = rng.choice([0, 1, 2, 5, 10, 20, 30, 45, 60])
    for _ in range(number):
        day = begin + timedelta(days=rng.uniform(0, span) // 1)
        clock = rng.choice(policy["schedule"]["times"]) if policy else "12:00"
        hour, minute = map(int, clock.split(":"))
        shown = day.replace(hour=hour, minute=minute)
        times.append(model.instant(zone, shown) + rng.choice([0, 0, -1, 1, rng.randint(0, 7200), rng.randint(0, 86400)]))
    if rng.random() < 0.5 and times:  # a run of days without a gap, so that the daily rule has something to do
        times += [times[0] + model.DAY * i + rng.randint(0, 3600) for i in range(rng.randint(1, 15))]
    if rng.random() < 0.2 and times:  # one that comes at the very moment of another's date
        keep = policy["retention"].get("days", 7) if policy else 7
        times.append(model.plus_days(zone, rng.choice(times), rng.choice([7, 28, 30, max(7, keep)])))
    times.sort()
    for counter, received in enumerate(times, 1):
        scheduled = rng.random() < 0.75
        full = scheduled or rng.random() < 0.5
        point = {"counter": counter, "received": received, "scheduled": scheduled, "full": full,
                 "flagged": rng.random() < 0.15, "until": None, "gone_at": None, "pinned": rng.random() < 0.05}
        if rng.random() < (0.05 if scheduled else 0.6):
            point["until"] = received + rng.randint(-86400, 400 * model.DAY)
        points.append(point)
    return points


def random_case(rng):
    policy = random_policy(rng) if rng.random() < 0.97 else None
    floor = (7, 4, 3, 1, 30) if rng.random() < 0.6 else (rng.randint(1, 40), rng.randint(1, 20), rng.randint(1, 15),
                                                         rng.randint(1, 4), rng.randint(1, 60))
    span = rng.choice([10, 30, 60, 120, 400] * 4 + [1500, 4400])
    start = rng.randint(700000000, 2200000000)
    points = random_history(rng, policy, start, span)
    ending = max(start, points[-1]["received"]) if points else start
    now = rng.choice([ending, ending + rng.randint(0, 20 * model.DAY), rng.randint(start, ending + 1),
                      ending + rng.randint(0, 2000 * model.DAY)])
    for point in points[:-1]:
        if point["received"] < now and rng.random() < 0.25:
            point["gone_at"] = rng.randint(point["received"], now)
    if rng.random() < 0.15:  # the very moment at which something changes
        following = model.evaluate(policy, floor, now, points)[0]
        now = now if following is None else following - rng.randint(0, 1)
    return policy, floor, now, points


def run_cases(rules, cases, seed):
    started, points, verdicts = time.monotonic(), 0, {}
    for number in range(cases):
        rng = random.Random(f"{seed}/{number}")
        policy, floor, now, history = random_case(rng)
        _, results = compare(rules, policy, floor, now, history, f"case {number} of seed {seed}")
        points += len(history)
        for _, _, letter in results:
            verdicts[letter] = verdicts.get(letter, 0) + 1
    told = ", ".join(f"{verdicts.get(k, 0)} {word}" for k, word in LETTERS.items())
    print(f"{cases} cases of seed {seed}: {points} points ({told}) in {time.monotonic() - started:.1f} s")
    # The cases must be ones in which something happens.
    if cases >= 1000 and min(verdicts.get(k, 0) for k in LETTERS) < cases // 200:
        raise SystemExit("the cases do not cover every verdict")


# ---- Twelve years ----

def run_years(rules, years, seed, every, step):
    """A server with failures, gaps and changes of policy, and a run of retention every `step` days."""
    rng = random.Random(f"years/{seed}")
    policy = {"sources": [{"path": "/data"}], "schedule": {"kind": "daily", "times": ["21:00"]}, "time_zone": "Europe/Berlin",
              "protection": "on",
              "retention": {"days": 14, "weeks": 8, "weekly_on": "sat", "months": 12, "monthly_on": "last sat", "years": 10,
                            "yearly_on": "jan last sun"}}
    floor = (7, 4, 3, 1, 30)
    day, started = datetime(2027, 1, 1), time.monotonic()
    points, compared, went, gap = [], 0, 0, 0
    promised = {}  # counter: the date that each point had when it was last looked at
    for number in range(years * 365 + years // 4):
        if gap == 0 and rng.random() < 0.004:
            gap = rng.choice([2, 5, 10, 30, 90])
        due = model.instant(policy["time_zone"], day.replace(hour=21))
        if gap:
            gap -= 1
        elif rng.random() > 0.05:  # one run in twenty fails
            points.append(new_point(points, due + rng.randint(60, 5400), True, True, rng.random() < 0.03))
        if rng.random() < 0.02:
            until = due + rng.randint(1, 60) * model.DAY if rng.random() < 0.7 else None
            points.append(new_point(points, due + rng.randint(5500, 9000), False, rng.random() < 0.7, False, until))
        if rng.random() < 0.002:
            policy["retention"]["days"] = rng.choice([7, 10, 14, 30])
            policy["retention"]["months"] = rng.choice([6, 12, 24])
            promised.clear()
        now = due + 9500
        day += timedelta(days=1)
        if not points or number % step:
            continue
        if number % every == 0 or gap == 1:
            head, results = compare(rules, policy, floor, now, points, f"day {number} of seed {seed}")
            compared += 1
        else:
            head, results = rules.ask(policy, floor, now, points, thorough=False)
        allowed = head[1]
        due_points = sorted((r[1], p["counter"]) for p, r in zip(points, results) if r[2] == "d")
        for expires, counter in due_points[:allowed]:
            point = points[counter - 1]
            assert expires <= now and point["gone_at"] is None
            # Nothing goes before the date that it was shown with, unless a rule was changed since.
            assert promised.get(counter, now) <= now, (counter, promised[counter], now)
            point["gone_at"] = now
            went += 1
        for point, (_, expires, letter) in zip(points, results):
            if letter != "g":
                promised[point["counter"]] = expires
        here = [p for p in points if p["gone_at"] is None]
        assert points[-1] in here, "the newest point is gone"
        by_rule = sum(1 for p, r in zip(points, results) if p["gone_at"] is None and p["scheduled"] and r[1] > now)
        assert by_rule <= head[2], f"day {number}: {by_rule} points, the policy holds at most {head[2]}"
    check_rules(policy, floor, points)
    here = [p for p in points if p["gone_at"] is None]
    print(f"{years} years of seed {seed}: {len(points)} points came, {went} went, {len(here)} are there; compared {compared} times "
          f"in {time.monotonic() - started:.1f} s")


def new_point(points, received, scheduled, full, flagged, until=None):
    return {"counter": len(points) + 1, "received": received, "scheduled": scheduled, "full": full, "flagged": flagged,
            "until": until, "gone_at": None, "pinned": False}


def check_rules(policy, floor, points):
    """At the end: each of the last ten years' slots has its point, if there was one that could carry it."""
    rule = model.Rule("yearly", policy["retention"]["yearly_on"], policy["schedule"]["times"])
    full = [p for p in points if p["full"]]
    slots = rule.slots(policy["time_zone"], full[0]["received"], full[-1]["received"])
    for slot, following in zip(slots, slots[1:] + [1 << 60]):
        between = [p for p in full if slot <= p["received"] < following]
        if not between or between[0]["received"] < full[-1]["received"] - 9 * 365 * model.DAY:
            continue
        assert between[0]["gone_at"] is None and "yearly" in between[0]["tags"], between[0]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("evaluate")
    parser.add_argument("--cases", type=int, default=10000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--years", type=int, default=12)
    parser.add_argument("--every", type=int, default=30, help="compare every so many days of the years")
    parser.add_argument("--step", type=int, default=1, help="a run of retention every so many days of the years")
    given = parser.parse_args()
    rules = Rules(given.evaluate)
    run_cases(rules, given.cases, given.seed)
    if given.years:
        run_years(rules, given.years, given.seed, given.every, given.step)
    sys.exit(rules.close())


if __name__ == "__main__":
    main()
