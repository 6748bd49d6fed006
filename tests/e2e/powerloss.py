"""What may be on a disk after the power went: replays a log of file operations. A library: no tests in here.

A build with -Dos_record=true writes such a log (src/os/record.h) to the file that COFFER_OS_RECORD names.

    loss = powerloss.PowerLoss("log", root="/srv/vault")      # root: the folder whose fate matters
    for prefix in range(len(loss) + 1):                       # the power goes after so many operations
        for choice in powerloss.CHOICES:
            loss.build(prefix, "/tmp/after", choice, seed=prefix)
            ... start the program on /tmp/after and check what it must still have ...

The model is stricter than the common file systems: file data reach the disk by fsync of the file, names by
fsync of their folder, and what was not synced may be there or not, independently. Only what the program
wrote through its own file layer is in the log; files written by others (SQLite) come from base."""
import os
import random
import shutil
import struct
from collections import namedtuple

CREATE, WRITE, TRUNCATE, SYNC, SYNC_FOLDER, RENAME, LINK, UNLINK, MKDIR, RMDIR = range(1, 11)
NAMES = {CREATE: "create", WRITE: "write", TRUNCATE: "truncate", SYNC: "sync", SYNC_FOLDER: "sync folder", RENAME: "rename",
         LINK: "link", UNLINK: "unlink", MKDIR: "mkdir", RMDIR: "rmdir"}
# lost: nothing that was not synced. kept: all of it. subset: a random part of the data, and of each folder's
# changes a random beginning. reordered: a random part of the folders' changes too. torn: all of it, but the
# last write only in part.
CHOICES = ("lost", "kept", "subset", "reordered", "torn")

HEAD = struct.Struct("<IBBHIIQQIIQ")
Op = namedtuple("Op", "kind done process thread inode offset path second data end")


def read_log(path):
    """All operations; a last record that is cut (the recorder was killed) is left out. Op.end: the size of
    the log up to and with it."""
    with open(path, "rb") as log:
        raw = log.read()
    ops, at = [], 0
    while at + HEAD.size <= len(raw):
        magic, kind, phase, _, process, thread, inode, offset, size, second, data = HEAD.unpack_from(raw, at)
        if magic != 0x534F4643:
            raise ValueError("not a record at byte %d of %s" % (at, path))
        start = at + HEAD.size
        end = start + size + second + data
        if end > len(raw):
            break
        ops.append(Op(kind, phase == 1, process, thread, inode, offset, raw[start:start + size],
                      raw[start + size:start + size + second], raw[start + size + second:end], end))
        at = end
    return ops


class _File:
    def __init__(self, data=b""):
        self.durable = bytearray(data)
        self.pending = []  # (number of the operation, kind, offset, data)

    @staticmethod
    def apply(content, kind, offset, data):
        if kind == TRUNCATE:
            del content[offset:]
            content.extend(bytes(offset - len(content)))
        else:
            if len(content) < offset:
                content.extend(bytes(offset - len(content)))
            content[offset:offset + len(data)] = data

    def sync(self, before):
        while self.pending and self.pending[0][0] < before:
            self.apply(self.durable, *self.pending.pop(0)[1:])


class _Folder:
    def __init__(self):
        self.live = {}     # as the running program sees it
        self.durable = {}
        self.pending = []  # (number of the operation, [(name, node or None to remove), ...])

    def change(self, number, *entries):
        for name, node in entries:
            if node is None:
                self.live.pop(name, None)
            else:
                self.live[name] = node
        self.pending.append((number, entries))

    @staticmethod
    def apply(names, entries):
        for name, node in entries:
            if node is None:
                names.pop(name, None)
            else:
                names[name] = node

    def sync(self, before):
        while self.pending and self.pending[0][0] < before:
            self.apply(self.durable, self.pending.pop(0)[1])


class PowerLoss:
    def __init__(self, log, root, base=None):
        """root: the folder (absolute) to replay; operations elsewhere are left out. base: a copy of root as it
        was when recording began; None: it was empty, or did not exist."""
        self.root = os.path.realpath(os.fsencode(root))
        self.base = os.fsencode(base) if base else None
        self.ops = read_log(log)
        self._restart()

    def __len__(self):
        return len(self.ops)

    def describe(self, number):
        op = self.ops[number]
        text = "%s%s" % (NAMES[op.kind], "" if op.done else " begins")
        text += " %s" % os.fsdecode(op.path) if op.path else " inode %d" % op.inode
        return text + (" -> %s" % os.fsdecode(op.second) if op.second else "") + (" [%d at %d]" % (len(op.data), op.offset) if op.data else "")

    def prefix_of_size(self, size):
        """How many operations were in the log when it had so many bytes."""
        return sum(1 for op in self.ops if op.end <= size)

    def build(self, prefix, destination, choice="lost", seed=0):
        """Makes destination (removed first) what the disk may have after prefix operations."""
        if choice not in CHOICES:
            raise ValueError(choice)
        if prefix < self.position:
            self._restart()
        while self.position < prefix:
            self._step(self.position, self.ops[self.position])
            self.position += 1
        shutil.rmtree(destination, ignore_errors=True)
        self.made = {}
        self._write_folder(self.top, os.fsencode(destination), choice, random.Random("%s/%s/%s" % (choice, seed, prefix)))

    # -- replaying

    def _restart(self):
        self.position = 0
        self.nodes = {}   # inode -> file or folder
        self.begun = {}   # (process, thread) -> number of the operation at which its sync began
        self.last = None  # the last write: its number
        self.top = _Folder()
        if self.base:
            self._load(self.base, self.top)
        if os.path.isdir(self.root):  # its number, for syncs; a folder that is recreated elsewhere has none
            self.nodes[os.stat(self.root).st_ino] = self.top

    def _load(self, path, folder):
        for entry in os.scandir(path):
            if entry.is_dir(follow_symlinks=False):
                node = _Folder()
                self._load(entry.path, node)
            elif entry.is_file(follow_symlinks=False):
                with open(entry.path, "rb") as file:
                    node = _File(file.read())
            else:
                continue
            folder.live[entry.name] = folder.durable[entry.name] = node

    def _find(self, path):
        """(folder, name) of a path below root; (None, None) for others; name b"" for root itself."""
        if path == self.root:
            return self.top, b""
        if not path.startswith(self.root + b"/"):
            return None, None
        parts = path[len(self.root) + 1:].split(b"/")
        at = self.top
        for part in parts[:-1]:
            at = at.live.get(part)
            if not isinstance(at, _Folder):
                return None, None
        return at, parts[-1]

    def _step(self, number, op):
        if not op.done:
            self.begun[op.process, op.thread] = number
            return
        folder, name = self._find(op.path) if op.path else (None, None)
        if op.kind == CREATE:
            if folder and name in folder.live and self.nodes.get(op.inode) is folder.live[name]:
                return  # it was there already
            self.nodes[op.inode] = _File()
            if folder:
                folder.change(number, (name, self.nodes[op.inode]))
        elif op.kind in (WRITE, TRUNCATE):
            node = self.nodes.get(op.inode)
            if isinstance(node, _File):
                node.pending.append((number, op.kind, op.offset, op.data))
                self.last = number if op.kind == WRITE else self.last
        elif op.kind in (SYNC, SYNC_FOLDER):
            node = self._node(op)
            if node:
                node.sync(self.begun.pop((op.process, op.thread), number))
        elif op.kind == MKDIR:
            if folder is self.top and name == b"":
                self.nodes[op.inode] = self.top
            elif folder:
                self.nodes[op.inode] = _Folder()
                folder.change(number, (name, self.nodes[op.inode]))
        elif op.kind in (UNLINK, RMDIR):
            if folder and name in folder.live:
                folder.change(number, (name, None))
        elif op.kind in (RENAME, LINK):
            self._move(number, op, folder, name)

    def _node(self, op):
        if op.path:  # a folder: by its path, because folders made before the log began have no other name
            folder, name = self._find(op.path)
            if folder is None:
                return None
            return folder if name == b"" else folder.live.get(name)
        return self.nodes.get(op.inode)

    def _move(self, number, op, folder, name):
        to_folder, to_name = self._find(op.second)
        node = self.nodes.get(op.inode) if not op.path else folder.live.get(name) if folder else self.nodes.get(op.inode)
        if node is None:
            return
        if op.kind == RENAME and folder and folder is to_folder:
            folder.change(number, (name, None), (to_name, node))  # one folder: one change, both or none
            return
        if to_folder:
            to_folder.change(number, (to_name, node))
        if op.kind == RENAME and folder:
            folder.change(number, (name, None))

    # -- choosing what was left

    def _names(self, folder, choice, chance):
        names = dict(folder.durable)
        pending = folder.pending
        if choice == "lost":
            pending = []
        elif choice == "subset":
            pending = pending[:chance.randint(0, len(pending))]
        elif choice == "reordered":
            pending = [change for change in pending if chance.random() < 0.5]
        for _, entries in pending:
            _Folder.apply(names, entries)
        return names

    def _content(self, file, choice, chance):
        content = bytearray(file.durable)
        for number, kind, offset, data in file.pending:
            if choice == "lost" or (choice in ("subset", "reordered") and chance.random() < 0.5):
                continue
            if choice == "torn" and number == self.last:
                data = data[:chance.randint(0, len(data))]
            _File.apply(content, kind, offset, data)
        return content

    def _write_folder(self, folder, path, choice, chance):
        os.mkdir(path)
        names = self._names(folder, choice, chance)
        for name in sorted(names):
            node, target = names[name], path + b"/" + name
            if isinstance(node, _Folder):
                if id(node) not in self.made:  # a rename between folders may leave both names: a folder has one
                    self.made[id(node)] = target
                    self._write_folder(node, target, choice, chance)
            elif id(node) in self.made:
                os.link(self.made[id(node)], target)
            else:
                self.made[id(node)] = target
                with open(target, "wb") as out:
                    out.write(self._content(node, choice, chance))
