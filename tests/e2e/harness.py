"""Real vaults and agents for the end-to-end tests: real binaries, real HTTPS on loopback, one folder each.

Whatever a test starts stands in a Stage, which ends it by its process ID and unmounts it, also when the test fails.
"""
import contextlib
import datetime
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import time

import pytest
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BUILD = os.path.abspath(os.environ.get('COFFER_BUILD', os.path.join(TOP, 'build')))
READER = os.path.join(HERE, 'reader.py')
PASSPHRASE = 'correct horse battery staple'

DONE, FAILED, USAGE, WARNINGS, BUSY = 0, 1, 2, 3, 4                       # exit statuses of the contract


def program(name, build=None, clock=None):
    """clock: the program whose time the test moves (meson option test_clock)."""
    for place in ('tests/testclock',) if clock else ('', 'src/cli', 'src'):
        path = os.path.join(build or BUILD, place, name)
        if os.access(path, os.X_OK) and os.path.isfile(path):
            return path
    return None


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def wait_for(what, seconds=30, every=0.02):
    """Polls what() until it gives something true; the one place in these tests that waits."""
    end = time.monotonic() + seconds
    while True:
        got = what()
        if got:
            return got
        if time.monotonic() > end:
            raise TimeoutError(f'{getattr(what, "__doc__", None) or what}: not within {seconds} s')
        time.sleep(every)


class Clock:
    """Time of programs built with -Dtest_clock=true: it stands still unless the test moves it.

    Give it to Vault(…, clock=clock) and Agent(…, clock=clock). It begins 40 days before today, at midnight UTC, because
    certificates are still checked against the real time: move it by up to 300 days. Waiting inside the programs (retries,
    heartbeats) stays real.
    """

    def __init__(self, folder, start=None):
        self.path = os.path.join(str(folder), 'clock')
        self.wall = int(start if start is not None else time.time() // 86400 * 86400 - 40 * 86400)
        self.monotonic_ms = 1000000
        self._write()

    def _write(self):
        with open(self.path + '.new', 'w') as f:
            f.write(f'{self.wall} {self.monotonic_ms}\n')
        os.rename(self.path + '.new', self.path)

    @property
    def env(self):
        return {'COFFER_TEST_CLOCK': self.path}

    def advance(self, seconds=0, minutes=0, hours=0, days=0):
        """Time passes: both clocks."""
        seconds += 60 * minutes + 3600 * hours + 86400 * days
        self.wall += int(seconds)
        self.monotonic_ms += int(seconds * 1000)
        self._write()
        return self

    def until(self, wall):
        """Time passes until that moment (seconds since 1970, or RFC 3339 with Z)."""
        if isinstance(wall, str):
            wall = int(datetime.datetime.fromisoformat(wall.replace('Z', '+00:00')).timestamp())
        assert wall >= self.wall
        return self.advance(wall - self.wall)

    def jump(self, seconds):
        """Somebody sets the wall clock: monotonic time does not follow."""
        self.wall += int(seconds)
        self._write()
        return self

    @property
    def text(self):
        return datetime.datetime.fromtimestamp(self.wall, datetime.timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ')


class Result:
    """How a program ended: status, documents (parsed --json lines), err (stderr text)."""

    def __init__(self, args, status, out, err):
        self.args, self.status, self.out, self.err = args, status, out, err
        self.documents = self._parse(out)

    @staticmethod
    def _parse(out):
        text = out.decode('utf-8', 'surrogateescape')
        try:
            return [json.loads(text)]
        except ValueError:
            pass
        documents = []
        for line in text.splitlines():
            try:
                documents.append(json.loads(line))
            except ValueError:
                return []
        return documents

    @property
    def document(self):
        assert len(self.documents) == 1, f'one document expected: {self}'
        return self.documents[0]

    @property
    def summary(self):
        found = [d for d in self.documents if isinstance(d, dict) and d.get('type') == 'summary']
        assert found and found[-1] is self.documents[-1], f'no summary at the end: {self}'
        return found[-1]

    @property
    def error(self):
        found = [d['error'] for d in self.documents if isinstance(d, dict) and isinstance(d.get('error'), dict)]
        assert found, f'no error object: {self}'
        return found[-1]

    @property
    def code(self):
        return self.error['code']

    def ok(self, *statuses):
        assert self.status in (statuses or (DONE,)), str(self)
        return self

    def __str__(self):
        return f'{" ".join(map(os.fsdecode, self.args))}\nexit status {self.status}\nstdout: {os.fsdecode(self.out[-3000:])}\n' \
               f'stderr: {os.fsdecode(self.err[-3000:])}'


class Stage:
    """Owns processes and mounts of one test."""

    def __init__(self, folder):
        self.folder, self.processes, self.exits = str(folder), [], contextlib.ExitStack()

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def spawn(self, args, **kw):
        process = subprocess.Popen(args, start_new_session=True, stdin=subprocess.DEVNULL, **kw)
        self.processes.append(process)
        return process

    def run(self, args, timeout=120, env=None, **kw):
        process = self.spawn(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **(env or {})}, **kw)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.end(process)
            out, err = process.communicate()
            raise AssertionError(f'still running after {timeout} s: {Result(args, None, out, err)}') from None
        self.processes.remove(process)
        return Result(args, process.returncode, out, err)

    def end(self, process, sig=signal.SIGKILL):
        """Ends a process that we started and what it started (its own process group)."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sig)
        process.wait(30)
        # A child of a wrapper (strace) may take a moment longer than the wrapper.
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            wait_for(lambda: os.killpg(process.pid, 0), 5)
        if process in self.processes:
            self.processes.remove(process)
        return process.returncode

    def mount(self, kind, size_mib=64, options=None, mkfs=()):
        """A fresh file system of that kind, mounted; returns its folder."""
        where = self.path(f'mnt-{kind}-{len(self.exits._exit_callbacks)}')
        os.mkdir(where)
        if kind == 'tmpfs':
            self.tool('mount', '-t', 'tmpfs', '-o', f'size={size_mib}m', 'tmpfs', where)
        else:
            image = where + '.img'
            with open(image, 'wb') as f:
                f.truncate(size_mib << 20)
            make = {'ext4': ['mkfs.ext4', '-q', '-F'], 'xfs': ['mkfs.xfs', '-q', '-f'], 'btrfs': ['mkfs.btrfs', '-q', '-f'],
                    'ntfs': ['mkfs.ntfs', '-q', '-Q', '-F']}[kind]
            self.tool(*make, *mkfs, image)
            if kind == 'ntfs':
                self.tool('ntfs-3g', image, where, *(['-o', options] if options else []))
            else:
                self.tool('mount', '-o', 'loop' + (',' + options if options else ''), '-t', kind, image, where)
        self.exits.callback(self.unmount, where)
        return where

    def unmount(self, where):
        """Unmounts; a loop device made by `mount -o loop` goes with it."""
        subprocess.run(['umount', where], check=False, stderr=subprocess.DEVNULL)
        if os.path.ismount(where):
            subprocess.run(['umount', '-l', where], check=False)

    def tool(self, *args, **kw):
        done = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, **kw)
        assert done.returncode == 0, Result(args, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def close(self):
        for process in list(self.processes):
            with contextlib.suppress(Exception):
                self.end(process)
        self.exits.close()
        # Immutable files of a test must not stay behind.
        subprocess.run(['chattr', '-R', '-f', '-i', '-a', self.folder], check=False, stderr=subprocess.DEVNULL)


def need_ordinary_user():
    """Becoming another user takes root, and a / that this user may enter (a minimal root folder can be closed)."""
    if os.geteuid() != 0:
        pytest.skip('needs root to become another user')
    if os.stat('/').st_mode & 0o5 != 0o5:
        pytest.skip('an ordinary user cannot pass / on this machine')


class EndedEarly(AssertionError):
    """A service that ended before it answered."""


class Vault:
    def __init__(self, stage, name='vault', folder=None, build=None, clock=None):
        self.stage, self.name, self.folder = stage, name, folder or stage.path(name)
        self.program, self.clock = program('coffer-vault', build, clock), clock
        self.port, self.process, self.log = free_port(), None, stage.path(name + '.log')
        self.url, self.listen = f'https://127.0.0.1:{self.port}', f'127.0.0.1:{self.port}'

    def env(self, more=None):
        return {**(self.clock.env if self.clock else {}), **(more or {})}

    def command(self, *args, env=None):
        return self.stage.run([self.program, *args], env=self.env(env))

    def init(self):
        self.command('init', self.folder, '--name', self.name, '--url', self.url).ok()
        return self

    def start(self, wrapper=(), env=None, seconds=60):
        assert self.process is None
        with open(self.log, 'ab') as log:
            self.process = self.stage.spawn([*wrapper, self.program, 'serve', self.folder, '--listen', self.listen],
                                            stdout=log, stderr=log, env={**os.environ, **self.env(env)})
        self.wait_ready(seconds)
        return self

    def wait_ready(self, seconds=60):
        def ready():
            """the vault listens"""
            if self.process.poll() is not None:
                raise EndedEarly(f'coffer-vault serve ended with {self.process.returncode}: {self.log_text()[-3000:]}')
            try:
                context = ssl._create_unverified_context()
                with urllib.request.urlopen(self.url + '/v1/version', context=context, timeout=5) as reply:
                    return reply.status == 200
            except OSError:
                return False
        wait_for(ready, seconds)

    def log_text(self):
        with open(self.log, errors='replace') as f:
            return f.read()

    def kill(self):
        status = self.stage.end(self.process)
        self.process = None
        return status

    def gone(self, seconds=60):
        """Waits until a vault that a test kills from outside is dead."""
        self.process.wait(seconds)
        self.stage.end(self.process)
        self.process = None

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self.stage.end(self.process)
        self.process = None
        assert status == 0, f'coffer-vault serve ended with {status} on SIGTERM: {self.log_text()[-3000:]}'

    def restart(self):
        self.stop()
        return self.start()

    def credentials(self, path=None, purpose='register'):
        path = path or self.stage.path(f'{self.name}-{purpose}.credentials')
        if os.path.exists(path):
            os.unlink(path)
        self.command('credentials', self.folder, '--output', path, '--purpose', purpose).ok()
        return path

    @property
    def objects(self):
        for place in ('objects', 'store', ''):
            path = os.path.join(self.folder, place)
            if os.path.isdir(os.path.join(path, 'journal')) or os.path.isdir(os.path.join(path, 'servers')):
                return path
        raise AssertionError(f'no objects below {self.folder}: {os.listdir(self.folder)}')

    @property
    def database(self):
        found = [n for n in os.listdir(self.folder) if re.fullmatch(r'.*\.(db|sqlite3?)', n)]
        assert len(found) == 1, os.listdir(self.folder)
        return os.path.join(self.folder, found[0])

    def query(self, sql, *values):
        with contextlib.closing(sqlite3.connect(f'file:{self.database}?mode=ro', uri=True, timeout=30)) as db:
            return db.execute(sql, values).fetchall()

    def change(self, sql, *values):
        assert self.process is None, 'only while the service is stopped'
        with contextlib.closing(sqlite3.connect(self.database)) as db, db:
            return db.execute(sql, values).rowcount

    def servers(self):
        path = os.path.join(self.objects, 'servers')
        return sorted(os.listdir(path)) if os.path.isdir(path) else []

    def packs(self, server=None, kind=None):
        """Paths of the pack objects, oldest number first; kind 0 data, 1 tree."""
        out = []
        for s in [server] if server else self.servers():
            folder = os.path.join(self.objects, 'servers', s, 'packs')
            for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
                if not re.fullmatch(r'[0-9a-f]{16}-[0-9a-f]{32}(\.\d{8})?', name):
                    continue
                path = os.path.join(folder, name)
                with open(path, 'rb') as f:
                    if kind is None or f.read(7)[6] == kind:
                        out.append(path)
        return out

    def committed_bytes(self):
        """Bytes of the packs that the database knows as committed."""
        names = [r[0] for r in self.query("SELECT name FROM pragma_table_info('packs')")]
        assert 'size' in names, names
        return self.query('SELECT coalesce(sum(size), 0) FROM packs')[0][0]


class Agent:
    """One protected server: a home folder and the real coffer."""

    def __init__(self, stage, name='server', passphrase=PASSPHRASE, build=None, clock=None):
        self.stage, self.name, self.home = stage, name, stage.path(f'home-{name}')
        self.program, self.passphrase_file = program('coffer', build, clock), stage.path(f'{name}.passphrase')
        self.build, self.clock = build, clock
        with open(self.passphrase_file, 'w') as f:
            f.write(passphrase + '\n')
        os.chmod(self.passphrase_file, 0o600)
        os.makedirs(os.path.join(self.home, 'etc'), exist_ok=True)
        # Cheap keys, and small packs: many of them from little data.
        self.configure({'agent': {'kdf_memory': '19MiB', 'kdf_passes': 2, 'pack_size': '1MiB'}})

    def configure(self, sections):
        with open(os.path.join(self.home, 'etc', 'agent.conf'), 'w') as f:
            for section, keys in sections.items():
                f.write(f'[{section}]\n' + ''.join(f'{k} = {v}\n' for k, v in keys.items()))

    def argv(self, *args, json=True):
        return [self.program, '--home', self.home, *(['--json'] if json else []), *args]

    def run(self, *args, wrapper=(), env=None, json=True, timeout=120, **kw):
        return self.stage.run([*wrapper, *self.argv(*args, json=json)], env=self.env(env), timeout=timeout, **kw)

    def spawn(self, *args, wrapper=(), env=None, **kw):
        kw = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, **kw}
        return self.stage.spawn([*wrapper, *self.argv(*args)], env={**os.environ, **self.env(env)}, **kw)

    def env(self, more=None):
        return {**(self.clock.env if self.clock else {}), **(more or {})}

    def register(self, credentials, *more, name=None):
        return self.run('register', credentials, '--passphrase-file', self.passphrase_file, '--name', name or self.name, *more)

    def backup(self, *paths, **kw):
        time.sleep(0.03)  # a file changed within a clock tick of the scan is rightly read again by the next one
        return self.run('backup', *paths, **kw)

    def restore(self, point, *patterns, to, more=(), **kw):
        return self.run('restore', point, *patterns, '--to', to, *more, **kw)

    def verify(self, *args, **kw):
        return self.run('verify', *args, **kw)

    def points(self):
        return self.run('points').ok().document

    @property
    def server_id(self):
        # The documented way is `status`, which names the server.
        server = self.run('status').ok(DONE, WARNINGS).document['server']
        return server['id'] if isinstance(server, dict) else server


class Daemon:
    """cofferd of an agent, in the foreground."""

    def __init__(self, agent):
        self.agent, self.stage = agent, agent.stage
        self.program = program('cofferd', agent.build, agent.clock)
        self.process, self.log = None, agent.stage.path(f'cofferd-{agent.name}.log')

    def start(self, env=None, wrapper=()):
        assert self.process is None
        with open(self.log, 'ab') as log:
            begin = log.tell()
            self.process = self.stage.spawn([*wrapper, self.program, '--home', self.agent.home, '--foreground'], stdout=log,
                                            stderr=log, env={**os.environ, **self.agent.env(env)})
        wait_for(lambda: 'serves' in self.log_text()[begin:] or self.process.poll() is not None)
        assert self.process.poll() is None, self.log_text()
        return self

    def log_text(self):
        with open(self.log, errors='replace') as f:
            return f.read()

    def stop(self, seconds=90):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(seconds)
        self.stage.end(self.process)
        self.process = None
        assert status == 0, f'cofferd ended with {status} on SIGTERM: {self.log_text()[-3000:]}'

    def kill(self):
        """Only the daemon: its jobs live on, in process groups of their own."""
        self.stage.end(self.process)
        self.process = None


def read_tree(folder):
    """{relative path: bytes} of the regular files below a folder: for small trees."""
    folder, out = os.fsencode(folder), {}
    for where, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(where, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, 'rb') as f:
                    out[os.path.relpath(path, folder)] = f.read()
    return out


def restored(to, source):
    """Where `restore --to` puts a source."""
    return os.path.join(to, source.lstrip('/'))


def assert_same_tree(source, copy, deep=True):
    """Compares with rsync: contents, modes, owners, times, hard links, and (deep) ACLs and xattrs."""
    flags = '-aHAXn' if deep and os.geteuid() == 0 else '-aHn'
    done = subprocess.run(['rsync', flags, '--checksum', '--delete', '--itemize-changes', source + '/', copy + '/'],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0 and not done.stdout, f'{source} and {copy} differ:\n{os.fsdecode(done.stdout[:3000])}' \
                                                     f'{os.fsdecode(done.stderr[:2000])}'


def make_tree(folder, rng, files=40, most=300000, folders=6):
    """An ordinary tree of random and of compressible files, the same for the same random.Random."""
    os.makedirs(folder, exist_ok=True)
    for i in range(files):
        where = os.path.join(folder, f'folder{rng.randrange(folders)}')
        os.makedirs(where, exist_ok=True)
        size = rng.choice([0, 1, 100, 32768, 32769, rng.randrange(most)])
        data = rng.randbytes(size) if rng.random() < 0.5 else (b'line %d of a text file\n' % i * (size // 20 + 1))[:size]
        with open(os.path.join(where, f'file{i}'), 'wb') as f:
            f.write(data)
    return folder


def change_tree(folder, rng, share=0.3):
    """Changes, adds and removes some files. However often: the tree neither runs empty nor grows without end."""
    paths = sorted(os.path.join(w, n) for w, _, names in os.walk(folder) for n in names)
    for path in rng.sample(paths, max(1, int(len(paths) * share))):
        what = rng.randrange(4)
        if what == 0 and len(paths) < 20:
            what = 2
        elif what in (1, 2) and (len(paths) > 400 or os.path.getsize(path) > 2000000):
            what = 0
        if what == 0:
            os.unlink(path)
        elif what == 1:
            with open(path, 'ab') as f:
                f.write(rng.randbytes(rng.randrange(1, 100000)))
        elif what == 2:
            with open(os.path.join(os.path.dirname(path), f'new-{rng.randrange(1 << 30)}'), 'wb') as f:
                f.write(rng.randbytes(rng.randrange(200000)))
        else:
            os.chmod(path, rng.choice([0o600, 0o644, 0o755]))


def copy_folder(source, target):
    subprocess.run(['cp', '-a', source, target], check=True)


def remove_folder(path):
    shutil.rmtree(path, ignore_errors=False)
