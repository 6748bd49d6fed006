#!/usr/bin/python3
"""measure.py LANE-GUARD EXPECTED.json [--update]

Counts what one lane of a backup costs for each new small file, each unchanged one and each MiB of a large one:
instructions (callgrind, portable code paths), system calls (strace), bytes copied; and compares with the committed
numbers: 5 % off for instructions and copies, or a call more, fails. An improvement of more than 5 % fails too, so that
the bound follows; fewer calls do not, since some file systems save one. After a change that is meant:

    tests/perf/measure.py build/tests/perf/lane-guard tests/perf/expected.json --update
"""
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile

SKIP = 77
FILES, MIB_BIG = 2000, 8
TOLERANCE = 0.05
# No SHA-NI, VAES, AVX-512: valgrind 3.19 knows none of them, and the counts must not depend on the processor.
PORTABLE = {'OPENSSL_ia32cap': '~0x0:~0x0', 'GLIBC_TUNABLES': 'glibc.cpu.hwcaps=-AVX2_Usable,-AVX512F_Usable,-ERMS'}
CALLS = ('openat', 'openat2', 'read', 'pread64', 'close', 'statx', 'newfstatat', 'fstat', 'lseek', 'ioctl', 'flistxattr',
         'llistxattr', 'fgetxattr', 'getdents64', 'pwrite64', 'readlinkat')


def skip(why):
    print(f'skipped: {why}')
    sys.exit(SKIP)


def run(argv, **kw):
    done = subprocess.run(argv, capture_output=True, text=True, check=False, **kw)
    if done.returncode:
        sys.exit(f'{" ".join(argv)}: exit status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}')
    return done.stdout


def instructions(guard, folder, tree):
    """(of the whole process, of the lane's thread) for one run."""
    out = os.path.join(folder, 'callgrind.out')
    run(['valgrind', '--tool=callgrind', f'--callgrind-out-file={out}', '--quiet', guard, 'run', folder, tree],
        env={**os.environ, **PORTABLE})
    with open(out, encoding='ascii', errors='replace') as f:
        total = [int(line.split()[1]) for line in f if line.startswith('summary:')]
    text = run(['callgrind_annotate', '--inclusive=yes', '--threshold=100', out])
    lane = [int(found.replace(',', '')) for found in re.findall(r'^ *([\d,]+) \([^)]*\) +\S*:lane_loop ', text, re.MULTILINE)]
    if len(total) != 1 or not lane:
        sys.exit('callgrind gave no sums, or src/backup/run.c has no lane_loop any more')
    return total[0], max(lane)


def system_calls(guard, folder, tree):
    """{call: how many} of one run, and what it printed."""
    out = os.path.join(folder, 'strace.out')
    text = run(['strace', '-f', '-c', '-o', out, guard, 'run', folder, tree])
    counts = {}
    with open(out, encoding='ascii') as f:
        for line in f:
            found = re.match(r'\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)(?:\s+\d+)?\s+(\w+)$', line)
            if found and found.group(2) in CALLS:
                counts[found.group(2)] = int(found.group(1))
    return counts, json.loads(text)


def forget(folder, tree):
    shutil.rmtree(os.path.join(folder, f'scratch-{tree}'), ignore_errors=True)


def measure(guard, folder):
    """The numbers, by name."""
    run([guard, 'make', folder])
    got = {}
    base = instructions(guard, folder, 'empty')
    for name, tree, units in (('new small file', 'small', FILES), ('unchanged file', 'small', FILES), ('MiB of a large file', 'big', MIB_BIG)):
        total, lane = instructions(guard, folder, tree)
        got[f'lane instructions per {name}'] = round((lane - base[1]) / units)
        if name != 'unchanged file':  # little more than starting up, which varies by a few per cent of these
            got[f'instructions per {name}'] = round((total - base[0]) / units)
    for tree in ('empty', 'small', 'big'):
        forget(folder, tree)
    base_calls, base_said = system_calls(guard, folder, 'empty')
    for name, tree in (('new small', 'small'), ('unchanged', 'small')):
        calls, said = system_calls(guard, folder, tree)
        wanted = {'files_new': FILES, 'files_unchanged': 0} if name == 'new small' else {'files_new': 0, 'files_unchanged': FILES}
        if any(said[k] != v for k, v in wanted.items()):
            sys.exit(f'{name}: {said}')
        for call in CALLS:
            number = (calls.get(call, 0) - base_calls.get(call, 0)) / FILES
            if abs(number) >= 0.005:
                got[f'{call} per {name} file'] = round(number, 2)
        got[f'bytes copied per {name} file'] = round((said['copied'] - base_said['copied']) / FILES)
        got[f'bytes read per {name} file'] = round(said['bytes_read'] / FILES)
    _, said = system_calls(guard, folder, 'big')
    got['bytes copied per byte of a large file'] = round((said['copied'] - base_said['copied']) / (MIB_BIG << 20), 3)
    return got


def compare(got, expected):
    """Lines about what is out of bounds."""
    wrong = []
    for name in sorted(set(got) | set(expected)):
        new, old = got.get(name, 0), expected.get(name, 0)
        calls = name.split()[0] in CALLS
        # A handful of bytes a file is the length of the folder's own name, divided by the files.
        slack = 8 if name.startswith('bytes ') else 0
        off = new - old > 0.02 if calls else abs(new - old) > max(TOLERANCE * old, slack, 1e-9)
        print(f'{"!" if off else " "} {name}: {new} (expected {old})')
        if off:
            wrong.append(f'{name}: {new}, expected {old}: {"dearer" if new > old else "cheaper: let the bound follow"}')
    return wrong


def main():
    guard, path = sys.argv[1:3]
    for tool in ('valgrind', 'strace'):
        if not shutil.which(tool):
            skip(f'{tool} is not installed')
    if platform.machine() != 'x86_64':
        skip(f'the numbers are for x86_64, not {platform.machine()}')
    with tempfile.TemporaryDirectory(prefix='coffer-perf-') as folder:
        got = measure(os.path.abspath(guard), folder)
    if '--update' in sys.argv:
        with open(path, 'w', encoding='ascii') as f:
            json.dump(got, f, indent=2)
            f.write('\n')
        print(json.dumps(got, indent=2))
        return
    with open(path, encoding='ascii') as f:
        wrong = compare(got, json.load(f))
    if wrong:
        sys.exit('\n'.join(wrong) + f'\nif this is meant: tests/perf/measure.py {guard} {path} --update')


main()
