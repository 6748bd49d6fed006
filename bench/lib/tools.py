"""The tools that are compared. Each keeps everything in a folder of its own and knows:
    fresh()            a new, empty repository (not measured)
    backup(paths)      a Sample; sent: bytes that the run added to the repository
    restore(to)        the newest point into the empty folder `to`; tree(to): where the source is then
    dump(path, out)    one file of the newest point
    forget_caches()    as on a machine that has never read this repository
"""
import glob
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request

from lib.measure import Failed, Service, folder_bytes, run

PASSWORD = 'correct horse battery staple'


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def last_json(text):
    for line in reversed(text.splitlines()):
        try:
            return json.loads(line)
        except ValueError:
            continue
    raise Failed(f'no JSON in: {text[-500:]}')


class Tool:
    name = None
    service = None

    def __init__(self, work, program):
        self.folder, self.program = os.path.join(work, 'tools', self.name), program
        self.repository = os.path.join(self.folder, 'repository')
        self.points = 0

    def version(self):
        return subprocess.run([self.program, '--version'], capture_output=True, text=True, check=False).stdout.split('\n')[0].strip()

    def environment(self):
        return {}

    def clean(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def stop(self):
        if self.service:
            self.service.stop()
            self.service = None

    def fresh(self):
        self.clean()
        os.makedirs(self.folder)
        self.points = 0
        self.init()

    def stored_bytes(self):
        return folder_bytes(self.repository)

    def measured(self, argv, **kw):
        """run() with the service's share."""
        if self.service:
            self.service.reset_peak()
            before = self.service.cpu()
        sample = run(argv, env=self.environment(), **kw)
        if self.service:
            sample.service_cpu, sample.service_rss = self.service.cpu() - before, self.service.peak()
        return sample

    def backup(self, *paths, files=None, unchanged=None):
        """files, unchanged: how many the run must report, where the tool says so."""
        before = self.stored_bytes()
        self.points += 1
        sample = self.measured(self.backup_argv(*paths))
        sample.stored = self.stored_bytes()
        sample.sent = sample.stored - before
        self.check_backup(sample, files, unchanged)
        return sample

    def check_backup(self, sample, files, unchanged):
        pass

    def expect(self, what, got, wanted):
        if wanted is not None and got != wanted:
            raise Failed(f'{self.name}: {what} {got}, not {wanted}')

    def restore(self, to):
        return self.measured(self.restore_argv(to))

    def tree(self, to, source):
        return os.path.join(to, source.lstrip('/'))

    def dump(self, path, out):
        return self.measured(self.dump_argv(path), output=out)


class Coffer(Tool):
    """With the real vault service, over TLS on loopback."""
    name = 'coffer'

    def __init__(self, work, programs):
        super().__init__(work, os.path.join(programs, 'coffer'))
        self.vault_program = os.path.join(programs, 'coffer-vault')
        self.repository = os.path.join(self.folder, 'vault', 'objects')
        self.home = os.path.join(self.folder, 'home')

    def argv(self, *words):
        return [self.program, '--home', self.home, '--json', *words]

    def init(self):
        port, vault = free_port(), os.path.join(self.folder, 'vault')
        ready, credentials = os.path.join(self.folder, 'ready'), os.path.join(self.folder, 'credentials')
        run([self.vault_program, 'init', vault, '--name', 'bench', '--url', f'https://127.0.0.1:{port}'])
        self.service = Service([self.vault_program, 'serve', vault, '--listen', f'127.0.0.1:{port}', '--ready-file', ready],
                               os.path.join(self.folder, 'vault.log'))
        end = time.monotonic() + 60
        while not os.path.exists(ready):
            if not self.service.alive() or time.monotonic() > end:
                raise Failed('coffer-vault serve did not start: ' + open(os.path.join(self.folder, 'vault.log')).read()[-1000:])
            time.sleep(0.02)
        run([self.vault_program, 'credentials', vault, '--output', credentials])
        run(self.argv('register', credentials, '--generate-passphrase', os.path.join(self.folder, 'passphrase')))

    def backup_argv(self, *paths):
        return self.argv('backup', *paths)

    def check_backup(self, sample, files, unchanged):
        summary = last_json(sample.out)
        self.expect('files', summary['files'], files)
        self.expect('unchanged files', summary['files_unchanged'], unchanged)
        self.expect('warnings', summary['warnings'], 0)

    def restore_argv(self, to):
        return self.argv('restore', 'latest', '--to', to)

    def dump_argv(self, path):
        return [self.program, '--home', self.home, 'cat', 'latest', path]

    def forget_caches(self):
        shutil.rmtree(os.path.join(self.home, 'scratch'), ignore_errors=True)


class Restic(Tool):
    name = 'restic'

    def environment(self):
        return {'RESTIC_REPOSITORY': self.repository, 'RESTIC_PASSWORD': PASSWORD,
                'RESTIC_CACHE_DIR': os.path.join(self.folder, 'cache')}

    def version(self):
        return ' '.join(subprocess.run([self.program, 'version'], capture_output=True, text=True, check=False).stdout.split()[:2])

    def init(self):
        run([self.program, 'init'], env=self.environment())

    def backup_argv(self, *paths):
        return [self.program, 'backup', '--json', '-q', *paths]

    def check_backup(self, sample, files, unchanged):
        summary = last_json(sample.out)
        self.expect('files', summary['total_files_processed'], files)
        self.expect('unchanged files', summary['files_unmodified'], unchanged)

    def restore_argv(self, to):
        return [self.program, 'restore', 'latest', '--target', to]

    def dump_argv(self, path):
        return [self.program, 'dump', 'latest', path]

    def forget_caches(self):
        shutil.rmtree(os.path.join(self.folder, 'cache'), ignore_errors=True)


class ResticNew(Restic):
    name = 'restic-new'


class ResticRclone(Restic):
    """The same through a server on loopback (plain HTTP: its best case)."""
    name = 'restic-rclone'
    port = None

    def environment(self):
        return {**super().environment(), 'RESTIC_REPOSITORY': f'rest:http://127.0.0.1:{self.port}/'}

    def init(self):
        self.port = free_port()
        os.makedirs(self.repository)
        self.service = Service(['rclone', 'serve', 'restic', '--addr', f'127.0.0.1:{self.port}', '--config', '/dev/null', self.repository],
                               os.path.join(self.folder, 'rclone.log'))
        end = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f'http://127.0.0.1:{self.port}/', timeout=5).close()
                break
            except urllib.error.HTTPError:
                break  # it answers
            except OSError:
                if not self.service.alive() or time.monotonic() > end:
                    raise Failed('rclone serve restic did not start') from None
                time.sleep(0.05)
        super().init()


class Borg(Tool):
    name = 'borg'
    compression = ()

    def environment(self):
        base = os.path.join(self.folder, 'base')
        return {'BORG_REPO': self.repository, 'BORG_PASSPHRASE': PASSWORD, 'BORG_BASE_DIR': base,
                'BORG_RELOCATED_REPO_ACCESS_IS_OK': 'yes', 'BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK': 'yes'}

    def init(self):
        run([self.program, 'init', '-e', 'repokey'], env=self.environment())

    def backup_argv(self, *paths):
        return [self.program, 'create', *self.compression, f'::{self.points}', *paths]

    def restore(self, to):
        return self.measured([self.program, 'extract', f'::{self.points}'], cwd=to)

    def dump_argv(self, path):
        return [self.program, 'extract', '--stdout', f'::{self.points}', path.lstrip('/')]

    def forget_caches(self):
        shutil.rmtree(os.path.join(self.folder, 'base'), ignore_errors=True)


class BorgZstd(Borg):
    name = 'borg-zstd3'
    compression = ('--compression', 'zstd,3')


class Borg2(Borg):
    name = 'borg2'

    def init(self):
        run([self.program, 'repo-create', '-e', 'repokey-aes-ocb'], env=self.environment())

    def backup_argv(self, *paths):
        return [self.program, 'create', f'point{self.points}', *paths]

    def restore(self, to):
        return self.measured([self.program, 'extract', f'point{self.points}'], cwd=to)

    def dump_argv(self, path):
        return [self.program, 'extract', '--stdout', f'point{self.points}', path.lstrip('/')]


class Kopia(Tool):
    name = 'kopia'

    def environment(self):
        return {'KOPIA_PASSWORD': PASSWORD, 'KOPIA_CONFIG_PATH': os.path.join(self.folder, 'config'),
                'KOPIA_CACHE_DIRECTORY': os.path.join(self.folder, 'cache'), 'KOPIA_LOG_DIR': os.path.join(self.folder, 'log'),
                'KOPIA_CHECK_FOR_UPDATES': 'false'}

    def init(self):
        run([self.program, 'repository', 'create', 'filesystem', '--path', self.repository], env=self.environment())

    def backup_argv(self, *paths):
        return [self.program, 'snapshot', 'create', '--json', *paths]

    def check_backup(self, sample, files, unchanged):
        self.root = last_json(sample.out)['rootEntry']['obj']

    def restore_argv(self, to):
        return [self.program, 'restore', self.root, to]

    def tree(self, to, source):
        return to

    def dump_argv(self, path):
        raise Failed('kopia: not part of W8')

    def forget_caches(self):
        for path in glob.glob(os.path.join(self.folder, 'cache', '*')):
            shutil.rmtree(path, ignore_errors=True)


def present(work, programs):
    """Every tool that is installed, in the order of the columns."""
    found = [Coffer(work, programs)]
    restic, borg = shutil.which('restic'), shutil.which('borg')
    if restic:
        found.append(Restic(work, restic))
        if shutil.which('rclone'):
            found.append(ResticRclone(work, restic))
    if borg:
        found += [Borg(work, borg), BorgZstd(work, borg)]
    new = os.environ.get('RESTIC_NEW')
    if new:
        found.append(ResticNew(work, new))
    for kind, program in ((Borg2, 'borg2'), (Kopia, 'kopia')):
        if shutil.which(program):
            found.append(kind(work, shutil.which(program)))
    return found
