"""Tables (Markdown), CSV, and plots (SVG by hand; PNG with python3-matplotlib)."""
import csv
import html
import os
import re
import shutil
import statistics

from lib.workloads import COFFER, WORKLOADS, judge, ratios

FIELDS = ['workload', 'step', 'tool', 'round', 'wall', 'user', 'system', 'service_cpu', 'cpu', 'rss', 'service_rss', 'stored', 'sent']
TEXTS = ('workload', 'step', 'tool')
COLOURS = {'coffer': '#0b6e4f', 'restic': '#c8553d', 'restic-rclone': '#e0957f', 'restic-new': '#8f2d18', 'borg': '#3d5a98',
           'borg-zstd3': '#8ea3d2', 'borg2': '#1f2f57', 'kopia': '#8a6d3b', 'cp -a': '#888888', 'cp -a, sync': '#aaaaaa'}


def write_csv(path, rows):
    with open(path, 'w', newline='') as f:
        writer = csv.DictWriter(f, FIELDS)
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f'{v:.4f}' if isinstance(v, float) else v for k, v in row.items()})


def read_csv(path):
    with open(path, newline='') as f:
        return [{k: v if k in TEXTS else int(v) if k == 'round' else float(v) if v else None for k, v in row.items()}
                for row in csv.DictReader(f)]


def measured_on(path):
    """When and where a CSV file was made: the first line of the report beside it."""
    try:
        with open(os.path.join(os.path.dirname(path), 'report.md')) as f:
            return f.readline().strip()
    except FileNotFoundError:
        return 'not known when and where'


def groups(rows):
    """{(workload, step): {tool: [row]}} in the order of the rows."""
    out = {}
    for row in rows:
        out.setdefault((row['workload'], row['step']), {}).setdefault(row['tool'], []).append(row)
    for tools in out.values():
        first = [COFFER] if COFFER in tools else []
        for tool in first + sorted(t for t in tools if t != COFFER):
            tools[tool] = tools.pop(tool)
    return out


def median(rows, field):
    got = [r[field] for r in rows if r[field] is not None]
    return statistics.median(got) if got else None


def spread(numbers, digits=2):
    text = f'{statistics.median(numbers):.{digits}f}'
    return text + (f' ({min(numbers):.{digits}f}..{max(numbers):.{digits}f})' if len(numbers) > 1 else '')


def megabytes(value):
    return '' if not value else f'{value / 1e6:.1f}'


def tables(rows):
    """One Markdown table for each workload."""
    out = []
    by_workload = {}
    for (workload, step), tools in groups(rows).items():
        by_workload.setdefault(workload, []).append((step, tools))
    for workload in sorted(by_workload, key=lambda w: int(w[1:])):
        out += [f'### {workload}: {WORKLOADS[workload][1]}', '',
                '| step | tool | seconds, median (min..max) | coffer / it, paired | CPU s | of it the service | peak MB | service MB | sent MB | stored MB |',
                '|---|---|---:|---:|---:|---:|---:|---:|---:|---:|']
        for step, tools in by_workload[workload]:
            for tool, some in tools.items():
                ratio = '' if tool == COFFER else spread(ratios([r for r in rows if r['tool'] in (COFFER, tool)], workload, step, 'wall',
                                                                 tool, min) or [0.0])
                out.append(f'| {step} | {tool} | {spread([r["wall"] for r in some])} | {ratio} | {median(some, "cpu"):.2f} | '
                           f'{median(some, "service_cpu") or 0:.2f} | {max(r["rss"] for r in some) / 1e6:.0f} | '
                           f'{max(r["service_rss"] or 0 for r in some) / 1e6:.0f} | {megabytes(median(some, "sent"))} | '
                           f'{megabytes(median(some, "stored"))} |')
        out.append('')
    return '\n'.join(out)


def verdicts(rows):
    out = ['| workload | what | measured, median (min..max) | target | |', '|---|---|---:|---:|---|']
    for workload, text, got, limit, reached in judge(rows):
        whole = limit >= 10
        out.append(f'| {workload} | {text} | {spread(got, 0 if whole else 2)} | ≤ {limit:.0f} | ' if whole else
                   f'| {workload} | {text} | {spread(got)} | ≤ {limit:g} | ')
        out[-1] += 'reached |' if reached else '**missed** |'
    return '\n'.join(out) + '\n'


# Plots: horizontal bars, one for each tool, with a line from the smallest to the largest of the rounds.

def bar_rows(rows, workload, field, scale):
    out = []
    for (name, step), tools in groups(rows).items():
        if name != workload:
            continue
        for tool, some in tools.items():
            got = [r[field] / scale for r in some if r[field]]
            if got:
                out.append((step, tool, statistics.median(got), min(got), max(got)))
    return out


def svg_bars(title, unit, bars):
    left, width, step = 210, 430, 24
    top = max(b[4] for b in bars) or 1
    height = 56 + step * len(bars)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 110}" height="{height}" font-family="sans-serif" font-size="13">',
           f'<rect width="100%" height="100%" fill="white"/><text x="10" y="22" font-size="15">{html.escape(title)}</text>']
    for number, (kind, tool, middle, low, high) in enumerate(bars):
        y = 40 + step * number
        out.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{html.escape(kind + ": " + tool)}</text>'
                   f'<rect x="{left}" y="{y + 2}" width="{width * middle / top:.1f}" height="{step - 8}" fill="{COLOURS.get(tool, "#555")}"/>')
        if high > low:
            out.append(f'<line x1="{left + width * low / top:.1f}" x2="{left + width * high / top:.1f}" y1="{y + 10}" y2="{y + 10}" '
                       'stroke="black" stroke-width="1.5"/>')
        out.append(f'<text x="{left + width * high / top + 6:.1f}" y="{y + 14}">{middle:.3g} {unit}</text>')
    return '\n'.join(out + ['</svg>']) + '\n'


def svg_targets(rows):
    """Every ratio as a share of its target: what is left of the line is reached."""
    marks = [(w, text, [g / limit for g in got], ok) for w, text, got, limit, ok in judge(rows)]
    left, width, step = 380, 330, 22
    top = max(1.5, min(3.0, max(max(m[2]) for m in marks) * 1.05))
    height = 62 + step * len(marks)
    at = lambda share: left + width * min(share, top) / top
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 90}" height="{height}" font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/><text x="10" y="22" font-size="15">Measured, as a share of the target (1 = just reached)</text>',
           f'<line x1="{at(1):.1f}" x2="{at(1):.1f}" y1="32" y2="{height - 12}" stroke="black"/>']
    for number, (workload, text, got, ok) in enumerate(marks):
        y, middle = 40 + step * number, statistics.median(got)
        out.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{html.escape(workload + " " + text)}</text>'
                   f'<rect x="{left}" y="{y + 2}" width="{at(middle) - left:.1f}" height="{step - 8}" fill="{"#0b6e4f" if ok else "#c8553d"}"/>'
                   f'<line x1="{at(min(got)):.1f}" x2="{at(max(got)):.1f}" y1="{y + 9}" y2="{y + 9}" stroke="black" stroke-width="1.5"/>'
                   f'<text x="{at(max(got)) + 6:.1f}" y="{y + 14}">{middle:.2f}</text>')
    return '\n'.join(out + ['</svg>']) + '\n'


def png_bars(path, title, unit, bars):
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(figsize=(8, 1 + 0.32 * len(bars)))
    names, middles = [f'{b[0]}: {b[1]}' for b in bars], [b[2] for b in bars]
    axes.barh(names, middles, color=[COLOURS.get(b[1], '#555555') for b in bars],
              xerr=[[b[2] - b[3] for b in bars], [b[4] - b[2] for b in bars]], ecolor='black')
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.set_title(title, loc='left')
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def have_matplotlib():
    """Asked in a process of its own: loading it would make this one large, which spoils the memory figures."""
    import subprocess
    import sys
    return subprocess.run([sys.executable, '-c', 'import matplotlib'], capture_output=True, check=False).returncode == 0


def plots(rows, folder, log):
    os.makedirs(folder, exist_ok=True)
    png = have_matplotlib()
    if not png:
        log('plots: SVG only (PNG needs Debian\'s python3-matplotlib)')
    for workload in sorted({r['workload'] for r in rows}, key=lambda w: int(w[1:])):
        for field, unit, scale, what in (('wall', 's', 1, 'seconds'), ('rss', 'MB', 1e6, 'peak memory'), ('sent', 'MB', 1e6, 'bytes sent')):
            bars = bar_rows(rows, workload, field, scale)
            if not bars:
                continue
            title = f'{workload}: {WORKLOADS[workload][1]}: {what}'
            name = os.path.join(folder, f'{workload}-{field}'.lower())
            with open(name + '.svg', 'w') as f:
                f.write(svg_bars(title, unit, bars))
            if png:
                png_bars(name + '.png', title, unit, bars)
    if judge(rows):
        with open(os.path.join(folder, 'targets.svg'), 'w') as f:
            f.write(svg_targets(rows))


BEGIN, END = '<!-- bench/run --page -->', '<!-- end of bench/run --page -->'


def write_page(page, where, rows, results):
    """Replaces what stands between the two marks of a page; the plots that it shows are copied beside it."""
    names = ['targets.svg'] + [f'{w.lower()}-{field}.svg' for w in sorted({r['workload'] for r in rows}, key=lambda w: int(w[1:]))
                               for field in ('wall', 'sent', 'rss') if field == 'wall' or (w, field) in (('W1', 'sent'), ('W1', 'rss'), ('W4', 'sent'))]
    folder = os.path.join(os.path.dirname(page), 'plots')
    os.makedirs(folder, exist_ok=True)
    for name in names:
        shutil.copy(os.path.join(results, name), folder)
    rounds = {}
    for row in rows:
        if row['step'] != 'first':
            rounds[row['workload']] = max(rounds.get(row['workload'], 0), row['round'] + 1)
    times = ', '.join(f'{w}: {n}' for w, n in sorted(rounds.items(), key=lambda item: int(item[0][1:])))
    parts = [f'{where}\n\nRounds: {times}.', '### Targets, and how near they are', verdicts(rows).strip(), '![targets](plots/targets.svg)', tables(rows).strip(),
             '### Plots\n\nBars are medians, lines go from the smallest to the largest round.', '\n'.join(f'![{n[:-4]}](plots/{n})' for n in names[1:])]
    with open(page) as f:
        old = f.read()
    if not re.search(f'{BEGIN}.*{END}', old, re.DOTALL):
        raise ValueError(f'{page} has no place for the tables: {BEGIN} ... {END}')
    with open(page, 'w') as f:
        f.write(old.split(BEGIN)[0] + BEGIN + '\n' + '\n\n'.join(parts) + '\n' + END + old.split(END, 1)[1])
