"""What is backed up: taken from Debian's packages or made, always the same for the same seed."""
import os
import random
import shutil
import subprocess

from lib.measure import Failed, run

LINUX = '/usr/src/linux-source-6.1.tar.xz'
MIB = 1 << 20


def warm(path):
    """Reads everything once, so that every tool finds it in the page cache. Returns how many regular files there are."""
    buffer, count = bytearray(4 * MIB), 0
    paths = [path] if os.path.isfile(path) else (os.path.join(w, n) for w, _, names in os.walk(path) for n in names)
    for name in paths:
        if os.path.islink(name) or not os.path.isfile(name):
            continue
        count += 1
        fd = os.open(name, os.O_RDONLY)
        try:
            while os.readv(fd, [buffer]):
                pass
        finally:
            os.close(fd)
    return count


def warm_names(path):
    """Looks at every name, so that the kernel has every inode at hand for each tool alike."""
    stack = [path]
    while stack:
        with os.scandir(stack.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    stack.append(entry.path)
                else:
                    entry.stat(follow_symlinks=False)


def same(a, b, checksum=False):
    """Fails unless two folders are the same: names, sizes, times, modes; with checksum also the contents."""
    argv = ['rsync', '-aHn', '--delete', '--itemize-changes', *(['--checksum'] if checksum else []), a + '/', b + '/']
    got = run(argv)
    # A folder's own time differs when the tool does not restore that of the top.
    wrong = [line for line in got.out.splitlines() if line and line.split()[-1] != './']
    if wrong:
        raise Failed(f'{a} and {b} differ:\n' + '\n'.join(wrong[:20]))


class Linux:
    """The Linux source; smoke: a small tree of text instead."""

    def __init__(self, work, smoke):
        self.path, self.smoke = os.path.join(work, 'data', 'linux'), smoke

    def make(self):
        if os.path.exists(self.path + '.complete'):
            return self.path
        shutil.rmtree(self.path, ignore_errors=True)
        os.makedirs(self.path)
        if self.smoke:
            small_files(self.path, folders=12, files=25, sizes=(100, 30000))
        else:
            run(['tar', '-xJf', LINUX, '-C', self.path, '--strip-components=1', '--no-same-owner'])
        open(self.path + '.complete', 'w').close()
        return self.path

    def copy(self, to, parts=None):
        """A private copy for a workload that changes it."""
        self.make()
        shutil.rmtree(to, ignore_errors=True)
        os.makedirs(to)
        for part in parts or ['.']:
            source = os.path.join(self.path, part)
            if os.path.isdir(source):
                os.makedirs(os.path.join(to, part), exist_ok=True)
                run(['cp', '-a', source + '/.', os.path.join(to, part)])
        return to


WORDS = [w.encode() for w in
         '''alpha static return struct error server config value index buffer length offset packet device driver kernel
         memory inode folder entry handle status config_option 0x00 { } ; == -> /* */ # include define if else for while'''.split()]


def pool(seed, size):
    """Text that compresses about four times."""
    rng = random.Random(seed)
    out = bytearray()
    while len(out) < size:
        out += b' '.join(rng.choices(WORDS, k=12)) + b' %d\n' % rng.randrange(10 ** 9)
    return bytes(out[:size])


def fill_folders(path, first, last, files, sizes, seed):
    text = pool(seed, MIB)
    rng = random.Random(f'{seed}/{first}')
    for folder in range(first, last):
        where = os.path.join(path, f'{folder // 100:03d}', f'{folder:05d}')
        os.makedirs(where)
        at = os.open(where, os.O_RDONLY | os.O_DIRECTORY)
        for number in range(files):
            size = rng.randrange(*sizes)
            start = rng.randrange(MIB - size)
            fd = os.open(f'file{number:03d}.txt', os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=at)
            os.writev(fd, [b'%d/%d\n' % (folder, number), text[start:start + size]])
            os.close(fd)
        os.close(at)


def small_files(path, folders, files, sizes=(200, 2000), seed=5):
    """folders x files, every one different; two processes."""
    half, children = folders // 2, []
    for first, last in ((0, half), (half, folders)):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                fill_folders(path, first, last, files, sizes, seed)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    if any(os.waitpid(child, 0)[1] for child in children):
        raise Failed(f'making small files in {path}')


def noise(path, size, seed):
    rng = random.Random(seed)
    with open(path, 'wb') as f:
        for left in range(size, 0, -MIB):
            f.write(rng.randbytes(min(left, MIB)))


def disk_image(path, size, linux, work):
    """An ext4 image holding the Linux source and, for 40 % of its size, files that do not compress; every block of
    it is allocated (the free ones are zeros)."""
    inside = os.path.join(work, 'data', 'inside')
    shutil.rmtree(inside, ignore_errors=True)
    os.makedirs(inside)
    os.symlink('nowhere', os.path.join(inside, 'link'))
    for number in range(16):
        noise(os.path.join(inside, f'noise{number}'), size // 40, seed=f'image/{number}')
    run(['cp', '-al', linux, os.path.join(inside, 'linux')])
    with open(path, 'wb') as f:
        f.truncate(size)
    run(['mkfs.ext4', '-q', '-F', '-U', '00000000-0000-4000-8000-000000000000', '-E',
         'hash_seed=00000000-0000-4000-8000-000000000000,lazy_itable_init=0', '-d', inside, path])
    shutil.rmtree(inside)
    fd = os.open(path, os.O_RDWR)
    try:
        position = 0
        while position < size:  # holes become written zeros
            block = os.pread(fd, MIB, position)
            os.pwrite(fd, block, position)
            position += len(block)
        os.fsync(fd)
    finally:
        os.close(fd)


def overwrite(path, count, seed):
    """count random aligned 4 KiB blocks get new, incompressible content."""
    rng = random.Random(seed)
    fd = os.open(path, os.O_WRONLY)
    try:
        blocks = os.fstat(fd).st_size // 4096
        for block in rng.sample(range(blocks), min(count, blocks)):
            os.pwrite(fd, rng.randbytes(4096), block * 4096)
        os.fsync(fd)
    finally:
        os.close(fd)


def churn(path, share, seed):
    """share of the files: of these 40 % changed inside or at the end, 20 % removed, 20 % renamed; and 20 % as many added."""
    rng = random.Random(seed)
    files = sorted(os.path.join(w, n) for w, _, names in os.walk(path) for n in names)
    files = [f for f in files if not os.path.islink(f)]
    text = pool(seed, MIB // 4)
    for name in rng.sample(files, max(5, int(len(files) * share))):
        what = rng.randrange(5)
        if what < 2:
            size, line = os.path.getsize(name), b'/* %d */\n' % rng.randrange(10 ** 12)
            with open(name, 'r+b') as f:
                f.seek(rng.choice([size, rng.randrange(size + 1)]))
                f.write(line)
        elif what == 2:
            os.unlink(name)
        elif what == 3:
            os.rename(name, f'{name[:200]}-{rng.randrange(10 ** 6)}')
        else:
            size = rng.randrange(1000, 40000)
            start = rng.randrange(len(text) - size)
            with open(os.path.join(os.path.dirname(name), f'new-{rng.randrange(10 ** 9)}.c'), 'wb') as f:
                f.write(b'%d\n' % rng.randrange(10 ** 12) + text[start:start + size])


def remove(path):
    """Faster than shutil on a million files."""
    subprocess.run(['rm', '-rf', path], check=True)
