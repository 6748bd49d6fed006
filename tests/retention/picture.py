#!/usr/bin/env python3
"""Draws docs/plots/retention.svg: what a policy keeps, by the reference model.   picture.py > docs/plots/retention.svg"""

import math
from datetime import datetime, timedelta

import model

POLICY = {"schedule": {"kind": "daily", "times": ["21:00"]}, "time_zone": "UTC", "protection": "on",
          "retention": {"days": 14, "weeks": 8, "weekly_on": "sat", "months": 12, "monthly_on": "last sat", "years": 5,
                        "yearly_on": "jan last sun"}}
ROWS = [("daily", "14 days", "#2f6f9f"), ("weekly", "8 weeks, on Saturday", "#3d8b5f"),
        ("monthly", "12 months, last Saturday", "#b07d2b"), ("yearly", "5 years, last Sunday of January", "#a3474a")]
LEFT, RIGHT, TOP, STEP = 190, 870, 40, 42
TICKS = [(1, "1 day"), (7, "1 week"), (30, "1 month"), (91, "3 months"), (365, "1 year"), (1826, "5 years")]


def kept():
    now = model.instant("UTC", datetime(2033, 6, 15, 21, 30))
    points = []
    for number in range(3000):
        shown = datetime(2033, 6, 15, 21, 5) - timedelta(days=2999 - number)
        points.append({"counter": number + 1, "received": model.instant("UTC", shown), "scheduled": True, "full": True,
                       "flagged": False, "until": None, "gone_at": None, "pinned": False})
    model.evaluate(POLICY, (7, 4, 3, 1, 30), now, points)
    return [((now - p["received"]) / model.DAY, p["tags"]) for p in points if p["verdict"] != "d"]


def x_of(age):
    return RIGHT - (RIGHT - LEFT) * math.log10(1 + age) / math.log10(1 + 2000)


def main():
    points = kept()
    bottom = TOP + STEP * len(ROWS)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 {bottom + 50}" font-family="sans-serif" font-size="12">',
           f'<rect width="900" height="{bottom + 50}" fill="#fff"/>',
           f'<text x="10" y="20" fill="#333">A backup each day at 21:00: the {len(points)} recovery points that are there, by age and by the '
           'rule that keeps them</text>']
    for age, text in TICKS:
        out.append(f'<line x1="{x_of(age):.1f}" y1="{TOP - 8}" x2="{x_of(age):.1f}" y2="{bottom - 8}" stroke="#ddd"/>'
                   f'<text x="{x_of(age):.1f}" y="{bottom + 12}" text-anchor="middle" fill="#555">{text}</text>')
    for row, (tag, text, colour) in enumerate(ROWS):
        y = TOP + STEP * row + 14
        out.append(f'<text x="10" y="{y - 2}" fill="{colour}">{tag}</text><text x="10" y="{y + 12}" fill="#555" font-size="10">{text}</text>'
                   f'<line x1="{LEFT}" y1="{y}" x2="{RIGHT}" y2="{y}" stroke="#eee"/>')
        out += [f'<circle cx="{x_of(age):.1f}" cy="{y}" r="4" fill="{colour}" fill-opacity="0.75"/>'
                for age, tags in points if tag in tags]
    out.append(f'<text x="{RIGHT}" y="{bottom + 32}" text-anchor="end" fill="#555">now</text>'
               f'<text x="{LEFT}" y="{bottom + 32}" fill="#555">older</text></svg>')
    print("\n".join(out))


if __name__ == "__main__":
    main()
