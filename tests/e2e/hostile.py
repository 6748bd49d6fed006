"""A tree with everything that is hard to back up, file systems to put it on, and a comparison that uses
other people's tools. A library: no tests in here.

    with hostile.loop_mount("xfs", "600M") as mount:
        hostile.make_tree(mount + b"/a", "xfs")
        ...
        differences = hostile.compare(mount + b"/a", mount + b"/b", "xfs")
        assert not differences

Paths are bytes throughout. All of it wants root; with as_root=False make_tree leaves out what needs it.
A part of the tree, "deep", has paths longer than 4,096 bytes, which rsync, getfattr and lsattr cannot
reach: there compare() looks through folder descriptors only."""
import contextlib
import ctypes
import errno
import fcntl
import hashlib
import os
import random
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile
import time

FS_IOC_GETFLAGS, FS_IOC_SETFLAGS = 0x80086601, 0x40086602
FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR = 0x801C581F, 0x401C5820
FLAG_COMPRESSED, FLAG_IMMUTABLE, FLAG_APPEND, FLAG_NODUMP, FLAG_NOATIME, FLAG_NOCOW = 0x4, 0x10, 0x20, 0x40, 0x80, 0x800000
KINDS = ("ext4", "xfs", "btrfs", "tmpfs", "ntfs")
DEEP = b"deep"
# Largest value that the file system takes beside a few small ones.
LARGE_XATTR = {"ext4": 3000, "xfs": 65536, "btrfs": 15000, "tmpfs": 60000, "ntfs": 60000}
SPARSE_BIG = 4 * 1024**3 + 123457


def available(fs):
    """None when loop_mount(fs) can work here, else the reason why not."""
    if os.geteuid() != 0:
        return "not root"
    if fs == "tmpfs":
        return None
    if not os.path.exists("/dev/loop-control"):
        return "no loop devices"
    tool = {"ntfs": "mkntfs"}.get(fs, "mkfs." + fs)
    if not shutil.which(tool):
        return tool + " is not installed"
    if fs == "ntfs" and not (shutil.which("ntfs-3g") and os.path.exists("/dev/fuse")):
        return "no ntfs-3g or no FUSE"
    return None


# ---------------------------------------------------------------------------------------------- mounts

_private = False


def _private_mounts():
    """A mount namespace of our own: whatever kills this process, the mounts go with it."""
    global _private
    if _private:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x00020000) != 0:  # CLONE_NEWNS
        return
    # In a chroot "/" is no mount point and this fails: then mounts are seen outside too, and are still undone.
    subprocess.run(["mount", "--make-rprivate", "/"], check=False, stderr=subprocess.DEVNULL)
    _private = True


def _terminate(number, frame):
    raise SystemExit(128 + number)


@contextlib.contextmanager
def loop_mount(fs, size="512M", options=None):
    """A fresh file system of this kind, mounted; yields its path (bytes). Always unmounted and removed."""
    _private_mounts()
    with contextlib.suppress(ValueError):  # not in the main thread: then the caller deals with signals
        if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _terminate)
    base = tempfile.mkdtemp(prefix="coffer-fs-")
    point, image, loop, server = base + "/mount", base + "/image", None, None
    os.mkdir(point)
    mounted = False
    try:
        if fs == "tmpfs":
            _run("mount", "-t", "tmpfs", "-o", options or "size=" + size, "tmpfs", point)
        else:
            _run("truncate", "-s", size, image)
            make = {
                "ext4": ["mkfs.ext4", "-q", "-F", "-I", "256", "-O", "project", "-E", "lazy_itable_init=1"],
                "xfs": ["mkfs.xfs", "-q", "-f"],
                "btrfs": ["mkfs.btrfs", "-q", "-f"],
                "ntfs": ["mkntfs", "-q", "-F", "-Q"],
            }[fs]
            _run(*make, image)
            if fs == "ntfs":
                loop = _run("losetup", "--find", "--show", image).strip()
                server = _serve_ntfs(loop, point, options or "permissions,acl,streams_interface=xattr")
                _detach(loop)  # while it is in use that means: when it is closed
                loop = None
            else:
                default = "loop,prjquota" if fs == "xfs" else "loop"
                try:
                    _run("mount", "-t", fs, "-o", options or default, image, point)
                except RuntimeError:  # a kernel without quotas: then no project numbers on ext4
                    if fs == "ext4":
                        _run(*(word for word in make if word not in ("-O", "project")), image)
                    _run("mount", "-t", fs, "-o", options or "loop", image, point)
        mounted = True
        yield os.fsencode(point)
    finally:
        if mounted:
            _unmount(point)
        if server:
            server.terminate()
            server.wait()
        if loop:
            _detach(loop)
        shutil.rmtree(base, ignore_errors=True)


def _serve_ntfs(device, point, options):
    """The FUSE server as our child, which ends with us."""
    def die_with_parent():
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG

    # The "low" form has the inode numbers of the disk; those of ntfs-3g change while it is mounted.
    server = subprocess.Popen([shutil.which("lowntfs-3g") or "ntfs-3g", "-o", options + ",no_detach", device, point],
                              preexec_fn=die_with_parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(100):
        if os.path.ismount(point):
            return server
        if server.poll() is not None:
            break
        time.sleep(0.1)
    server.kill()
    raise RuntimeError("ntfs-3g did not mount %s" % device)


def _unmount(point):
    for _ in range(50):
        if subprocess.run(["umount", point], capture_output=True).returncode == 0:
            return
        time.sleep(0.1)  # a process that is just ending may still have a file open
    subprocess.run(["umount", "--lazy", point], check=False)


def _detach(loop):
    for _ in range(50):  # the FUSE server closes the device a moment after umount returned
        if subprocess.run(["losetup", "--detach", loop], capture_output=True).returncode == 0:
            return
        time.sleep(0.1)


def _run(*words, **more):
    done = subprocess.run(words, capture_output=True, **more)
    if done.returncode != 0:
        raise RuntimeError("%r: %s" % (words, done.stderr.decode(errors="replace")))
    return done.stdout.decode(errors="replace") if "cwd" not in more else done.stdout


# ------------------------------------------------------------------------------------------ making it


class _Maker:
    def __init__(self, root, fs, as_root, big, seed):
        self.root, self.fs, self.as_root, self.big = root, fs, as_root, big
        self.random = random.Random(seed)

    def path(self, *parts):
        return b"/".join((self.root,) + parts)

    def folder(self, *parts):
        path = self.path(*parts)
        os.makedirs(path, exist_ok=True)
        return path

    def file(self, *parts, data=b"x", mode=None):
        path = self.path(*parts)
        with open(path, "xb") as out:
            out.write(data)
        if mode is not None:
            os.chmod(path, mode)
        return path

    def bytes(self, size):
        return self.random.randbytes(size)

    # -- the parts

    def names(self):
        self.folder(b"names")
        names = [b"-rf", b"--help", b"a b", b" leading", b"trailing ", b"tab\there", b"new\nline", b"quote'\"`$(x)",
                 b"back\\slash", b"*?[x]", "grün-Привет-日本".encode(), b"e\xcc\x81 decomposed", b"...", b".hidden", b"#x#", b"~"]
        if self.fs == "ntfs":
            # FUSE server of NTFS: UTF-8 only, some characters are not for names, at most 255 UTF-16 units
            names = [name for name in names if not any(c in name for c in b"\\*?\"<>|:\n\t") and not name.endswith((b" ", b"."))]
            names.append("ü".encode() * 120)
        else:
            names += [b"bad utf8 \xff\xfe\x80", b"\xc3(", b"latin1 \xe9", b"n" * 255, b"\xff" * 255, b"\x01\x02\x7f", b"bell\a\x1b[31m"]
        for name in names:
            self.file(b"names", name, data=name)
        for name in (b"-d", b"folder with space", b"." + b"d" * 250):
            self.folder(b"names", name)
            self.file(b"names", name, b"inside")

    def deep(self):
        """Paths longer than 4,096 bytes, with content at each level."""
        at = os.open(self.folder(DEEP), os.O_RDONLY | os.O_DIRECTORY)
        for level in range(24 if self.fs != "ntfs" else 8):
            fd = os.open(b"f%d" % level, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640, dir_fd=at)
            os.write(fd, b"level %d" % level)
            os.close(fd)
            name = b"%02d" % level + b"x" * 248
            os.mkdir(name, 0o750, dir_fd=at)
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=at)
            os.close(at)
            at = below
        os.symlink(b"target", b"link", dir_fd=at)
        fd = os.open(b"bottom", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=at)
        os.write(fd, b"the bottom")
        if self.as_root and self.fs != "ntfs":
            os.setxattr(fd, "user.deep", b"down")
        os.utime(fd, ns=(0, 1234567890123456700))
        os.close(fd)
        os.close(at)

    def modes(self):
        self.folder(b"modes")
        modes = [0o000, 0o111, 0o222, 0o444, 0o640, 0o755, 0o1777, 0o2755, 0o4755, 0o6755, 0o7777, 0o4000, 0o2000, 0o1000, 0o007, 0o070]
        for mode in modes:
            # what an ordinary user makes, it can read itself
            self.file(b"modes", b"f%05o" % mode, mode=mode if self.as_root else mode | 0o400)
            path = self.folder(b"modes", b"d%05o" % mode)
            if self.as_root:
                self.file(b"modes", b"d%05o" % mode, b"inside")
                os.chmod(path, mode)
            elif mode & 0o700 == 0o700:
                os.chmod(path, mode)

    def owners(self):
        if not self.as_root:
            return
        self.folder(b"owners")
        for uid, gid in ((0, 0), (1, 1), (65534, 65534), (54321, 54322), (2**31 + 5, 7), (2**32 - 2, 2**32 - 2)):
            if self.fs == "ntfs" and uid > 2**30:
                continue
            os.chown(self.file(b"owners", b"%d.%d" % (uid, gid)), uid, gid)
        os.chown(self.folder(b"owners", b"folder"), 54321, 54322)
        path = self.file(b"owners", b"setuid of another", data=b"#!")
        os.chown(path, 54321, 54322)
        os.chmod(path, 0o6711)
        os.symlink(b"0.0", self.path(b"owners", b"link"))
        os.chown(self.path(b"owners", b"link"), 54321, 1, follow_symlinks=False)

    def times(self):
        self.folder(b"times")
        step = 100 if self.fs == "ntfs" else 1
        seconds = {b"epoch": 0, b"1950": -631152000, b"1969": -1, b"2001": 1000000000, b"2037": 2**31 - 1, b"2200": 7258118400}
        for name, second in seconds.items():
            for extra in (0, step, 123456789 // step * step, 999999999 // step * step):
                path = self.file(b"times", b"%s.%09d" % (name, extra))
                os.utime(path, ns=(0, second * 10**9 + extra))
        os.utime(self.folder(b"times", b"old folder"), ns=(0, -631152000 * 10**9 + 700))
        os.symlink(b"nowhere", self.path(b"times", b"old link"))
        os.utime(self.path(b"times", b"old link"), ns=(0, 86400 * 10**9 + 100), follow_symlinks=False)

    def links(self):
        self.folder(b"links")
        targets = {b"dangling": b"does/not/exist", b"absolute": b"/etc/passwd", b"loop": b"loop", b"loop a": b"loop b", b"loop b": b"loop a",
                   b"to folder": b"../modes", b"dot": b".", b"up": b"../../..", b"slash": b"/", b"long": b"l" * 4095, b"bytes": b"\xff\n\x01 ",
                   b"trailing": b"x/", b"inline 59": b"m" * 59, b"inline 60": b"m" * 60}
        for name, target in targets.items():
            if self.fs == "ntfs" and name in (b"bytes", b"long"):
                continue
            if len(target) > 1023 and self.fs == "xfs":
                target = target[:1023]  # the file system's own limit
            os.symlink(target, self.path(b"links", name))

    def hard_links(self):
        for folder in (b"hard/1", b"hard/2", b"hard/3/4"):
            self.folder(folder)
        first = self.file(b"hard/1", b"file", data=self.bytes(70000))
        os.link(first, self.path(b"hard/2", b"same"))
        os.link(first, self.path(b"hard/3/4", b"again"))
        os.link(self.file(b"hard/1", b"empty", data=b""), self.path(b"hard/3", b"empty too"))
        os.symlink(b"target", self.path(b"hard/1", b"link"))
        os.link(self.path(b"hard/1", b"link"), self.path(b"hard/2", b"link"), follow_symlinks=False)
        os.mkfifo(self.path(b"hard/1", b"fifo"))
        os.link(self.path(b"hard/1", b"fifo"), self.path(b"hard/2", b"fifo"))
        if self.as_root and self.fs != "ntfs":
            os.setxattr(first, "user.shared", b"by all names")

    def sparse(self):
        self.folder(b"sparse")
        block = b"d" * 65536
        shapes = {b"hole first": (4 << 20, [3 << 20]), b"hole middle": (8 << 20, [0, (8 << 20) - 65536]), b"hole end": (6 << 20, [0]),
                  b"all hole": (5 << 20, []), b"odd end": ((3 << 20) + 4321, [1 << 20]), b"many": (16 << 20, range(0, 16 << 20, 1 << 20))}
        if self.big:
            shapes[b"over 4 GiB"] = (SPARSE_BIG, [0, 4 << 30])
        for name, (size, places) in shapes.items():
            with open(self.path(b"sparse", name), "xb") as out:
                out.truncate(size)
                for place in places:
                    out.seek(place)
                    out.write(block[:max(0, min(len(block), size - place))])
        self.file(b"sparse", b"empty", data=b"")
        self.file(b"sparse", b"one", data=b"1")
        with open(self.path(b"sparse", b"written zeroes"), "xb") as out:
            out.write(bytes(2 << 20))
        with open(self.path(b"sparse", b"small hole"), "xb") as out:
            out.truncate(100)

    def xattrs(self):
        self.folder(b"xattrs")
        path = self.file(b"xattrs", b"file")
        folder = self.folder(b"xattrs", b"folder")
        names = ["user.plain", "user.empty", "user.binary", "user." + "n" * 200]
        if self.as_root and self.fs != "ntfs":
            names += ["trusted.secret", "security.coffer"]
        for name in names:
            value = {"user.empty": b"", "user.binary": bytes(range(256))}.get(name, name.encode())
            if self.fs == "ntfs" and (value == b"" or len(name) > 100):
                continue
            os.setxattr(path, name, value)
            if self.fs != "ntfs":
                os.setxattr(folder, name, value)
        large = self.file(b"xattrs", b"large")
        os.setxattr(large, "user.large", self.bytes(LARGE_XATTR[self.fs]))
        if self.fs in ("btrfs", "xfs", "tmpfs"):
            many = self.file(b"xattrs", b"many")
            for number in range(200):
                os.setxattr(many, "user.%03d" % number, self.bytes(number))
        if not self.as_root or self.fs == "ntfs":
            return
        os.symlink(b"file", self.path(b"xattrs", b"link"))
        os.setxattr(self.path(b"xattrs", b"link"), "trusted.link", b"on the link itself", follow_symlinks=False)
        os.mkfifo(self.path(b"xattrs", b"fifo"))
        os.setxattr(self.path(b"xattrs", b"fifo"), "trusted.fifo", b"on the fifo", follow_symlinks=False)
        read_only = self.file(b"xattrs", b"read only", mode=0o444)
        os.setxattr(read_only, "user.plain", b"set all the same")

    def acls(self):
        if self.fs == "ntfs":
            return
        folder = self.folder(b"acls")
        _run("setfacl", "-m", "u:1:rwx,g:54322:r-x,m::r-x", self.file(b"acls", b"file", mode=0o600))
        _run("setfacl", "-m", "u:54321:---", self.file(b"acls", b"denied", mode=0o664))
        _run("setfacl", "-m", "u:1:rw-", "-m", "d:u:1:rwx,d:g::r-x,d:m::rwx", self.folder(b"acls", b"default"))
        self.file(b"acls/default", b"inherited")
        self.folder(b"acls/default", b"sub")
        # made below a default ACL, then freed of what it inherited
        bare = self.file(b"acls/default", b"without", mode=0o640)
        _run("setfacl", "-b", bare)
        os.chmod(bare, 0o640)
        os.chmod(folder, 0o755)

    def capabilities(self):
        if not self.as_root or self.fs == "ntfs":
            return
        self.folder(b"capabilities")
        _run("setcap", "cap_net_raw,cap_net_bind_service+ep", self.file(b"capabilities", b"ping", mode=0o755))
        path = self.file(b"capabilities", b"owned", mode=0o750)
        os.chown(path, 54321, 54322)
        os.chmod(path, 0o4750)
        _run("setcap", "cap_sys_admin+i", path)

    def special(self):
        self.folder(b"special")
        os.mkfifo(self.path(b"special", b"fifo"), 0o620)
        old = os.getcwd()
        os.chdir(self.path(b"special"))  # a socket's path has at most 107 bytes
        with socket.socket(socket.AF_UNIX) as made, contextlib.suppress(OSError):
            made.bind("socket")
        os.chdir(old)
        if not self.as_root:
            return
        for name, kind, device in ((b"null", stat.S_IFCHR, (1, 3)), (b"loop", stat.S_IFBLK, (7, 0)), (b"wide", stat.S_IFCHR, (511, 262143 if self.fs != "ntfs" else 3))):
            path = self.path(b"special", name)
            os.mknod(path, kind | 0o600, os.makedev(*device))
            os.chmod(path, 0o666)
            os.chown(path, 0, 6)

    def many(self):
        self.folder(b"many")
        for number in range(2000):
            self.file(b"many", b"entry-%04d" % number, data=b"%d" % (number % 7))
        self.folder(b"empty folder")
        self.folder(b"nested/empty/folders")

    def contents(self):
        self.folder(b"contents")
        for size in (0, 1, 511, 4095, 4096, 4097, 32767, 32768, 32769, 131072, 131073):
            self.file(b"contents", b"random-%d" % size, data=self.bytes(size))
        self.file(b"contents", b"random-5M", data=self.bytes(5 << 20))
        self.file(b"contents", b"zeroes-5M", data=bytes(5 << 20))
        self.file(b"contents", b"repetitive", data=b"the same line again\n" * 200000)
        self.file(b"contents", b"copy of random-5M", data=open(self.path(b"contents", b"random-5M"), "rb").read())
        if self.fs in ("btrfs", "xfs"):
            _run("cp", "--reflink=always", self.path(b"contents", b"random-5M"), self.path(b"contents", b"reflinked"))

    def flags(self):
        """Last: what is immutable cannot be changed any more."""
        if not self.as_root or self.fs == "ntfs":
            return
        folder = self.folder(b"flags")
        self.folder(b"flags/immutable folder")
        self.file(b"flags/immutable folder", b"inside")
        wanted = {b"immutable": FLAG_IMMUTABLE, b"append": FLAG_APPEND, b"nodump": FLAG_NODUMP, b"noatime": FLAG_NOATIME,
                  b"immutable folder": FLAG_IMMUTABLE, b"both": FLAG_IMMUTABLE | FLAG_APPEND | FLAG_NODUMP}
        if self.fs == "btrfs":
            set_flags(self.file(b"flags", b"nocow", data=b""), FLAG_NOCOW)
            set_flags(self.file(b"flags", b"compressed", data=b""), FLAG_COMPRESSED)
            for name in (b"nocow", b"compressed"):
                with open(self.path(b"flags", name), "wb") as out:
                    out.write(b"squeeze me " * 50000)
            _run("btrfs", "property", "set", self.file(b"flags", b"zstd", data=b""), "compression", "zstd")
        if self.fs in ("ext4", "xfs"):
            for number, name in ((4711, b"project file"), (2**31 + 1, b"project large"), (815, b"project folder/inside")):
                self.folder(b"flags/project folder")
                with _unless(errno.EOPNOTSUPP):  # ext4 made without the feature
                    set_project(self.file(b"flags", name), number)
            with _unless(errno.EOPNOTSUPP):
                set_project(self.path(b"flags/project folder"), 816)
        os.link(self.file(b"flags", b"both"), self.path(b"hard/3", b"immutable too"))  # no link can be made later
        for name, flags in wanted.items():
            if not os.path.lexists(self.path(b"flags", name)):
                self.file(b"flags", name)
            if self.fs == "tmpfs" and flags & FLAG_NOATIME:
                continue
            set_flags(self.path(b"flags", name), flags)
        os.chmod(folder, 0o751)

    def ntfs(self):
        if self.fs != "ntfs":
            return
        self.folder(b"ntfs")
        for name, attributes in ((b"hidden", 0x2), (b"system", 0x4), (b"archive", 0x20), (b"read only", 0x1), (b"all", 0x27)):
            os.setxattr(self.file(b"ntfs", name), "system.ntfs_attrib_be", struct.pack(">I", attributes))
        os.setxattr(self.folder(b"ntfs", b"hidden folder"), "system.ntfs_attrib_be", struct.pack(">I", 0x2))
        for count in (1, 40):  # a security descriptor of some hundred and of over a thousand bytes
            users = ",".join("u:%d:r-x" % (uid + 2000) for uid in range(count))
            _run("setfacl", "-m", users, self.file(b"ntfs", b"acl %d" % count))


    def settle(self):
        """ntfs-3g writes times down long after the change that they are of: give all that have not got one a fixed one."""
        number = 0
        for folder, folders, files in os.walk(self.root, topdown=False):
            for name in sorted(folders + files):
                path = os.path.join(folder, name)
                number += 1
                if not path.startswith((self.path(b"times"), self.path(DEEP) + b"/")):
                    os.utime(path, ns=(0, (1700000000 + number) * 10**9 + number * 100), follow_symlinks=False)


def make_tree(root, fs="ext4", as_root=True, big=True, seed=1):
    """Builds the tree in the new folder root, on a file system of the kind fs. big=False leaves out the
    sparse file of more than 4 GiB (which takes rsync some seconds to read)."""
    root = os.fsencode(root)
    os.mkdir(root)
    maker = _Maker(root, fs, as_root, big, seed)
    old = os.umask(0o022)
    try:
        for part in ("names", "deep", "modes", "owners", "times", "links", "hard_links", "sparse", "xattrs", "acls", "capabilities",
                     "special", "many", "contents", "ntfs", "flags"):
            getattr(maker, part)()
        os.chmod(root, 0o755)
        if fs == "ntfs":
            maker.settle()
        for name in (b"times", b"many", b"empty folder", b""):  # folders' times, the root's own last
            os.utime(root + b"/" + name, ns=(0, 1111111111 * 10**9 + 222222200))
    finally:
        os.umask(old)
    os.sync()


@contextlib.contextmanager
def _unless(number):
    try:
        yield
    except OSError as error:
        if error.errno != number:
            raise


def set_flags(path, flags):
    """Adds inode flags to a file or folder."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        (now,) = struct.unpack("i", fcntl.ioctl(fd, FS_IOC_GETFLAGS, struct.pack("i", 0)))
        fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("I", (now & 0xFFFFFFFF) | flags))
    finally:
        os.close(fd)


def get_flags(path):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        return struct.unpack("I", fcntl.ioctl(fd, FS_IOC_GETFLAGS, struct.pack("I", 0)))[0]
    finally:
        os.close(fd)


def set_project(path, number):
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        attributes = bytearray(fcntl.ioctl(fd, FS_IOC_FSGETXATTR, bytes(28)))
        struct.pack_into("I", attributes, 12, number)
        fcntl.ioctl(fd, FS_IOC_FSSETXATTR, bytes(attributes))
    finally:
        os.close(fd)


def get_project(path):
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        return struct.unpack_from("I", fcntl.ioctl(fd, FS_IOC_FSGETXATTR, bytes(28)), 12)[0]
    finally:
        os.close(fd)


def clear_flags(root):
    """Takes immutable and append-only away everywhere below root, so that it can be deleted."""

    def visit(fd):
        _drop(fd)
        for name in os.listdir(fd):
            kind = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
                continue
            try:
                below = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=fd)
            except PermissionError:
                continue
            try:
                visit(below) if stat.S_ISDIR(kind) else _drop(below)
            finally:
                os.close(below)

    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        visit(fd)
    finally:
        os.close(fd)


def _drop(fd):
    try:
        (now,) = struct.unpack("I", fcntl.ioctl(fd, FS_IOC_GETFLAGS, struct.pack("I", 0)))
        if now & (FLAG_IMMUTABLE | FLAG_APPEND):
            fcntl.ioctl(fd, FS_IOC_SETFLAGS, struct.pack("I", now & ~(FLAG_IMMUTABLE | FLAG_APPEND)))
    except OSError as error:
        if error.errno not in (errno.ENOTTY, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            raise


def remove_tree(root):
    """clear_flags and delete, at any depth."""
    clear_flags(root)
    _run("rm", "-rf", "--one-file-system", "--", root)


# --------------------------------------------------------------------------------------- comparing it


def _rsync(a, b):
    done = subprocess.run(["rsync", "-aHAXSn", "--checksum", "--itemize-changes", "--delete", "--exclude=/" + DEEP.decode(), a + b"/", b + b"/"],
                          capture_output=True)
    lines = [line for line in done.stdout.split(b"\n") if line and line[1:2] != b"S"]  # S: sockets are never restored
    if done.returncode != 0:
        lines.append(b"rsync ended with %d: " % done.returncode + done.stderr)
    return lines


def _listed(root, words, kinds=None):
    """The output lines of a tool that is given all objects of root but the deep ones, in a fixed order."""
    find = ["find", ".", "-path", "./" + DEEP.decode(), "-prune", "-o"]
    find += (["-type", kinds, "-print0"] if kinds else ["!", "-type", "s", "-print0"])
    names = sorted(_run(*find, cwd=root).split(b"\0"))
    lines = []
    for start in range(0, len(names), 400):
        some = [name for name in names[start:start + 400] if name]
        if some:
            lines += subprocess.run(list(words) + some, cwd=root, capture_output=True).stdout.split(b"\n")
    return lines


def _flags(root):
    """lsattr, without the letters that tell how a file is stored rather than what was set."""
    lines = []
    for line in _listed(root, ["lsattr", "-d", "-p", "--"], "f,d"):
        words = line.split(None, 2)
        if len(words) == 3:
            kept = bytes(c for c in words[1] if c not in b"-eINEVhB")
            lines.append(words[0] + b" " + kept + b" " + words[2])
    return lines


def _ntfs_attributes(root):
    return _attributes(root, ["getfattr", "-h", "-e", "hex", "-n", "system.ntfs_attrib_be", "-n", "system.ntfs_acl", "--"], "f,d") + \
        _attributes(root, ["getfattr", "-h", "-e", "hex", "-n", "system.ntfs_acl", "--"], "f,d")


def _find(root):
    """Types, permissions, owners, link counts, times to the nanosecond and targets, at any depth."""
    form = "%P\\0%y\\0%m\\0%n\\0%T@\\0%l\\0%U\\0%G\\0%s\\0\\0\\0"
    out = _run("find", ".", "!", "-type", "s", "-printf", form, cwd=root)
    rows = []
    for record in out.split(b"\0\0\0"):
        words = record.split(b"\0")
        if len(words) >= 9:
            if words[1] == b"d":
                words[8] = b""  # a folder's size is the file system's business
                words[3] = b""
            rows.append(b" | ".join(words))
    return sorted(rows)


def _hard_links(root):
    groups = {}
    for record in _run("find", ".", "!", "-type", "d", "-links", "+1", "-printf", "%i %P\\0", cwd=root).split(b"\0"):
        if record:
            inode, path = record.split(b" ", 1)
            groups.setdefault(inode, []).append(path)
    return sorted(b" = ".join(sorted(group)) for group in groups.values())


def _walk(fd, prefix=b""):
    """All objects below an open folder: (path, folder descriptor, name, lstat), at any depth."""
    for name in sorted(os.fsencode(entry) for entry in os.listdir(fd)):
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        yield prefix + name, fd, name, status
        if stat.S_ISDIR(status.st_mode):
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            try:
                yield from _walk(below, prefix + name + b"/")
            finally:
                os.close(below)


def _data_map(fd, size):
    extents, at = [], 0
    while at < size:
        try:
            data = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break
            return [(0, size)]
        at = os.lseek(fd, data, os.SEEK_HOLE)
        extents.append((data, at))
    return extents


def _holes(root):
    """path -> (data extents, bytes allocated) of every file that has, or could have, holes."""
    found = {}
    top = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for path, folder, name, status in _walk(top):
        if stat.S_ISREG(status.st_mode) and status.st_size >= 65536:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
            found[path] = (_data_map(fd, status.st_size), status.st_blocks * 512, status.st_size)
            os.close(fd)
    os.close(top)
    return found


def _compare_holes(a, b):
    os.sync()
    differences = []
    left, right = _holes(a), _holes(b)
    for path in sorted(left.keys() & right.keys()):
        (map_a, allocated_a, size), (map_b, allocated_b, _) = left[path], right[path]
        if map_a == map_b:
            continue
        data_a, data_b = (sum(end - start for start, end in extents) for extents in (map_a, map_b))
        if abs(data_a - data_b) > max(131072, size // 50) and abs(allocated_a - allocated_b) > max(131072, size // 50):
            differences.append(b"holes: %s: %d bytes of data became %d" % (path, data_a, data_b))
    return differences


def _deep(root):
    """Content and attributes of the deep part."""
    rows = []
    try:
        top = os.open(root + b"/" + DEEP, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return rows
    for path, folder, name, status in _walk(top):
        row = [b"%d" % status.st_mode, b"%d" % status.st_mtime_ns, path]
        if stat.S_ISREG(status.st_mode):
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=folder)
            with open(fd, "rb") as content:
                row.append(hashlib.sha256(content.read()).hexdigest().encode())
                row += [key.encode() + os.getxattr(fd, key) for key in sorted(os.listxattr(fd))]
        rows.append(b" | ".join(row))
    os.close(top)
    return rows


def _lines_differ(what, a, b):
    left, right = set(a), set(b)
    return [what + b": only in the first: " + line for line in sorted(left - right)] + \
           [what + b": only in the second: " + line for line in sorted(right - left)]


def compare(a, b, fs="ext4"):
    """What is different between the trees a (the original) and b, as a list of lines (bytes): empty when they
    are the same. Sockets are left out: they are recorded but never restored."""
    a, b = os.fsencode(a), os.fsencode(b)
    differences = [b"rsync: " + line for line in _rsync(a, b)]
    differences += _lines_differ(b"find", _find(a), _find(b))
    differences += _lines_differ(b"hard links", _hard_links(a), _hard_links(b))
    differences += _lines_differ(b"getfattr", _fattr(a), _fattr(b))
    differences += _lines_differ(b"getcap", _listed(a, ["getcap"], "f"), _listed(b, ["getcap"], "f"))
    differences += _lines_differ(b"deep", _deep(a), _deep(b))
    differences += _compare_holes(a, b)
    if fs == "ntfs":
        differences += _lines_differ(b"ntfs attributes", _ntfs_attributes(a), _ntfs_attributes(b))
    else:
        differences += _lines_differ(b"lsattr", _flags(a), _flags(b))
    return differences


def _attributes(root, words, kinds=None):
    """One line per attribute, with its file: getfattr prints blocks."""
    lines, name = [], b""
    for line in _listed(root, words, kinds):
        if line.startswith(b"# file: "):
            name = line[8:]
        elif line:
            lines.append(name + b" " + line)
    return lines


def _fattr(root):
    return _attributes(root, ["getfattr", "-h", "-d", "-m", "-", "-e", "hex", "--"])
