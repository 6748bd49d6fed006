"""The benchmark runs: tiny data, one round, coffer alone (restic and borg are not needed for the tests)."""
import csv
import os
import subprocess

import harness


def test_bench_smoke(stage):
    """Every workload gives rows, tables, and plots."""
    results = stage.path('results')
    done = subprocess.run(['/usr/bin/python3', os.path.join(harness.TOP, 'bench', 'run'), '--smoke', '--tools', 'coffer', '--work', stage.path('work'),
                           '--memory', stage.folder, '--programs', os.path.dirname(harness.program('coffer')), '--results', results],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    with open(os.path.join(results, 'results.csv'), newline='') as f:
        rows = list(csv.DictReader(f))
    assert {r['workload'] for r in rows} == {'W1', 'W2', 'W3', 'W4', 'W5', 'W6', 'W7', 'W8', 'W10'}
    assert all(float(r['wall']) > 0 and float(r['rss']) > 0 for r in rows)
    first, second = ([r for r in rows if r['workload'] == w and r['step'] == 'backup'][0] for w in ('W1', 'W2'))
    assert float(second['sent']) < 0.05 * float(first['sent'])
    for name in ('report.md', 'targets.svg', 'w1-wall.svg', 'w6-wall.svg'):
        assert os.path.getsize(os.path.join(results, name)) > 100, name
    assert not os.listdir(stage.path('work'))
