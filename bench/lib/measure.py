"""Running a program and measuring it: wall time, processor time and peak memory of everything it started."""
import os
import subprocess
import tempfile
import threading
import time

TICK = os.sysconf('SC_CLK_TCK')


class Failed(Exception):
    """A step did not do what it was asked to."""


class Sample:
    """One measured run: wall, user, system (seconds), rss (bytes), and of the service that it talked to."""

    def __init__(self, wall, user, system, rss, out, err, status):
        self.wall, self.user, self.system, self.rss = wall, user, system, rss
        self.out, self.err, self.status = out, err, status
        self.service_cpu = self.service_rss = 0.0
        self.sent = self.stored = None

    @property
    def cpu(self):
        return self.user + self.system + self.service_cpu


def high_water(pid):
    """Peak resident memory of a running process in bytes; 0 when it is gone."""
    try:
        with open(f'/proc/{pid}/status', 'rb') as f:
            for line in f:
                if line.startswith(b'VmHWM:'):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return 0


class Watch(threading.Thread):
    """Looks at a process's peak memory now and then. The kernel's own figure (ru_maxrss) is exact but counts what
    the process was before exec, a copy of this interpreter: it is of use only above that."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.ended = pid, 0, threading.Event()
        self.start()

    def run(self):
        while not self.ended.wait(0.02):
            self.peak = max(self.peak, high_water(self.pid))


def run(argv, env=None, cwd=None, ok=(0,), output=None, timeout=7200):
    """Runs argv; fails unless its exit status is one of ok. output: a file for its standard output."""
    own = high_water(os.getpid())
    with tempfile.TemporaryFile() as err, (open(output, 'wb') if output else tempfile.TemporaryFile()) as out:
        began = time.monotonic()
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd,
                                   env={**os.environ, **(env or {})})
        watch = Watch(process.pid)
        timer = threading.Timer(timeout, process.kill)
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        timer.cancel()
        watch.ended.set()
        process.returncode = os.waitstatus_to_exitcode(status)
        texts = []
        for stream in (out, err):
            if stream is out and output:
                texts.append('')
                continue
            stream.seek(0)
            texts.append(stream.read().decode('utf-8', 'replace'))
    exact = usage.ru_maxrss * 1024
    sample = Sample(wall, usage.ru_utime, usage.ru_stime, exact if exact > own * 1.1 else watch.peak or exact,
                    texts[0], texts[1], process.returncode)
    if process.returncode not in ok:
        raise Failed(f'{" ".join(argv)}: exit status {process.returncode}\n{texts[0][-1500:]}{texts[1][-1500:]}')
    return sample


class Service:
    """A server that is measured by what /proc says of it."""

    def __init__(self, argv, log, env=None):
        with open(log, 'ab') as f:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=f, stderr=f, env={**os.environ, **(env or {})})
        self.pid = self.process.pid

    def cpu(self):
        with open(f'/proc/{self.pid}/stat', 'rb') as f:
            fields = f.read().rsplit(b')', 1)[1].split()
        return sum(map(int, fields[11:15])) / TICK

    def reset_peak(self):
        try:
            with open(f'/proc/{self.pid}/clear_refs', 'w') as f:
                f.write('5')
        except OSError:
            pass  # not root: the peak since its start

    def peak(self):
        return high_water(self.pid)

    def alive(self):
        return self.process.poll() is None

    def stop(self):
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()


def folder_bytes(path):
    """The sizes of all files below path."""
    total, stack = 0, [path]
    while stack:
        try:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        total += entry.stat(follow_symlinks=False).st_size
        except FileNotFoundError:
            pass
    return total
