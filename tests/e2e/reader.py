#!/usr/bin/python3
"""A reader of Coffer's stored format, written from docs/format.md alone: the proof that the page is complete.

    reader.py OBJECTS SERVER_ID --passphrase-file F [--point ID] [--list] [--extract PATH --to DIR] [--check]

OBJECTS is the folder of a vault's embedded store (section 1). Without --point the newest point is read. --list prints
the tree, --extract restores PATH (a file or a folder, "/" for all) below DIR under its absolute path, --check reads
every chunk of the tree. Section numbers in comments are those of the page. Simple before fast: not for production.
"""
import argparse
import collections
import ctypes
import errno
import hashlib
import hmac
import os
import resource
import stat
import struct
import sys
import threading

import nacl.public
import nacl.signing
import xxhash
import zstandard
from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAX_CHUNK = 524288
DATA, TREE = 0, 1
FILE, DIRECTORY, SYMLINK, FIFO, CHARDEV, BLOCKDEV, SOCKET = range(1, 8)
TYPE_LETTER = {FILE: '-', DIRECTORY: 'd', SYMLINK: 'l', FIFO: 'p', CHARDEV: 'c', BLOCKDEV: 'b', SOCKET: 's'}
XATTRS, XATTR_CHUNKS, INODE_FLAGS, PROJECT, LINKED, SPARSE, CHANGED, NOT_READ, IMPLIED = (1 << i for i in range(9))


class Damaged(Exception):
    """Bytes that the page does not allow."""


class WrongPassphrase(Exception):
    pass


def need(condition, what):
    if not condition:
        raise Damaged(what)


class Cursor:
    """Takes integers and bytes from the front of a buffer; refuses everything the page says to refuse."""

    def __init__(self, data, what):
        self.data, self.at, self.what = data, 0, what

    def take(self, n):
        need(self.at + n <= len(self.data), f'{self.what}: cut short at byte {self.at}')
        out = self.data[self.at:self.at + n]
        self.at += n
        return out

    def uint(self, n):
        return int.from_bytes(self.take(n), 'little')

    def varint(self, limit=(1 << 64) - 1, least=0):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
            need(shift < 70, f'{self.what}: integer too long')
        need(byte != 0 or shift == 7, f'{self.what}: integer not in its shortest form')
        need(least <= value <= limit, f'{self.what}: {value} is not within {least}..{limit}')
        return value

    def zigzag(self):
        n = self.varint()
        return (n >> 1) ^ -(n & 1)

    def bytes(self, limit, least=0):
        return self.take(self.varint(limit, least))

    def end(self):
        need(self.at == len(self.data), f'{self.what}: {len(self.data) - self.at} bytes left over')


def hkdf(key, info, n, salt=b''):
    """RFC 5869 with SHA-256."""
    prk = hmac.new(salt or bytes(32), key, hashlib.sha256).digest()
    out = block = b''
    for i in range(1, (n + 31) // 32 + 1):
        block = hmac.new(prk, block + info + bytes([i]), hashlib.sha256).digest()
        out += block
    return out[:n]


def unseal(key, nonce, sealed, additional, what):
    try:
        return AESGCM(key).decrypt(nonce, bytes(sealed), additional)
    except InvalidTag:
        raise Damaged(f'{what}: GCM tag does not fit') from None


def u64(n):
    return n.to_bytes(8, 'little')


def xxh3(data):
    return xxhash.xxh3_128_digest(data)


def padme(size):
    e = size.bit_length() - 1
    z = (e.bit_length() - 1) + 1
    unit = 1 << (e - z) if e > z else 1
    return (size + unit - 1) // unit * unit


Ref = collections.namedtuple('Ref', 'id pack segment offset length')
Entry = collections.namedtuple('Entry', 'name type flags mode uid user gid group sec nsec xattrs xattr_content inode_flags '
                               'project link error size extents content node totals target device')
Content = collections.namedtuple('Content', 'depth refs')
Part = collections.namedtuple('Part', 'first node totals')


def read_ref(c):                                                                                          # section 6
    return Ref(c.take(32), c.varint((1 << 48) - 1, 1), c.varint(65533), c.varint(MAX_CHUNK), c.varint(MAX_CHUNK, 1))


def read_content(c, most=1024):
    depth = c.varint(6)
    refs = [read_ref(c) for _ in range(c.varint(most))]
    need(refs or depth == 0, f'{c.what}: content of depth {depth} without references')
    return Content(depth, refs)


def read_totals(c):
    return tuple(c.varint() for _ in range(4))


def read_xattrs(c):
    out = []
    for _ in range(c.varint(4096, 1)):
        name, value = c.bytes(255, 1), c.bytes(65536)
        need(b'\0' not in name and (not out or out[-1][0] < name), f'{c.what}: xattr names do not ascend')
        out.append((name, value))
    return out


def read_owners(c):
    return [(c.varint((1 << 32) - 1), c.bytes(255)) for _ in range(c.varint(65536))]


def read_entry(c, owners, groups):                                                                        # section 7
    name = c.bytes(255, 1)
    need(b'/' not in name and b'\0' not in name and name not in (b'.', b'..'), f'{c.what}: name {name!r}')
    type_ = c.uint(1)
    need(FILE <= type_ <= SOCKET, f'{c.what}: type {type_}')
    flags = c.varint(511)
    need(not (flags & XATTRS and flags & XATTR_CHUNKS or flags & NOT_READ and flags & SPARSE or flags & (SPARSE | CHANGED) and type_ != FILE
              or flags & IMPLIED and type_ != DIRECTORY or flags & LINKED and type_ == DIRECTORY), f'{c.what}: flags {flags} of {name!r}')
    mode = c.varint(0o7777)
    owner, group = c.varint(), c.varint()
    need(owner < len(owners) and group < len(groups), f'{c.what}: owner outside its table')
    sec, nsec = c.zigzag(), c.varint(999999999)
    xattrs = read_xattrs(c) if flags & XATTRS else []
    xattr_content = read_content(c) if flags & XATTR_CHUNKS else None
    inode_flags = c.varint((1 << 32) - 1) if flags & INODE_FLAGS else 0
    project = c.varint((1 << 32) - 1) if flags & PROJECT else 0
    link = (c.uint(8), c.varint(least=1)) if flags & LINKED else None
    need(not link or link[0], f'{c.what}: link group 0')
    size, extents, content, node, totals, target, device, error = 0, None, None, None, None, None, None, None
    if flags & NOT_READ:
        error = c.varint()
    elif type_ == FILE:
        size = c.varint((1 << 63) - 1)
        if flags & SPARSE:
            extents, end = [], 0
            for _ in range(c.varint(4096)):
                start = end + c.varint()
                end = start + c.varint(least=1)
                need(end <= size, f'{c.what}: extent beyond the size of {name!r}')
                extents.append((start, end - start))
        content = read_content(c)
    elif type_ == DIRECTORY:
        node, totals = read_ref(c), read_totals(c)
    elif type_ == SYMLINK:
        target = c.bytes(4095, 1)
        need(b'\0' not in target, f'{c.what}: target of {name!r}')
    elif type_ in (CHARDEV, BLOCKDEV):
        device = (c.varint((1 << 32) - 1), c.varint((1 << 32) - 1))
    return Entry(name, type_, flags, mode, *owners[owner], *groups[group], sec, nsec, xattrs, xattr_content, inode_flags,
                 project, link, error, size, extents, content, node, totals, target, device)


class Pack:                                                                                      # sections 2.3, 4, 5
    def __init__(self, store, number, session, path, generation=0, base=0, size=None):
        self.store, self.number, self.session, self.what = store, number, session, f'pack {number}'
        self.file, self.base, self.generation = open(path, 'rb'), base, generation
        size = os.fstat(self.file.fileno()).st_size if size is None else size
        need(112 + 32 + 40 <= size <= 256 << 20, f'{self.what}: {size} bytes')
        header = self.read(0, 112)
        c = Cursor(header, self.what)
        need(c.take(4) == b'CFPK' and c.uint(2) == 1, f'{self.what}: magic or version')
        self.kind = c.uint(1)
        need(self.kind in (DATA, TREE) and c.uint(1) == 0, f'{self.what}: kind')
        need((c.take(16), c.take(16), c.uint(8)) == (store.server, session, number), f'{self.what}: header names another pack')
        tags = c.take(32), c.take(32)
        trailer = self.read(size - 40, 40)
        table_at, count, zero = struct.unpack('<QII', trailer[:16])
        need(trailer[32:] == b'CFPKEND1' and zero == 0, f'{self.what}: trailer')
        need(2 <= count <= 65535 and table_at + 32 * count == size - 40, f'{self.what}: extent table')
        table = self.read(table_at, 32 * count)
        need(xxh3(header + table + trailer[:16]) == trailer[16:32], f'{self.what}: checksum of header and extents')
        self.extents, last = {}, -1
        for i in range(count):
            number_, zero, length, offset, digest = struct.unpack_from('<HHIQ16s', table, 32 * i)
            need(number_ > last and zero == 0 and number_ != 0xFFFE, f'{self.what}: extents do not ascend')
            need(length > 17, f'{self.what}: extent of {length} bytes')
            self.extents[number_], last = (offset, length, digest), number_
        need(last == 0xFFFF, f'{self.what}: no directory')
        end = 112
        for offset, length, _ in sorted(self.extents.values()):
            need(offset >= end and offset + length <= table_at, f'{self.what}: extents overlap')
            end = offset + length
        keys = hkdf(store.session_key(session), b'coffer pack' + u64(self.number), 64)
        dkeys = hkdf(store.directory_key, b'coffer directory' + u64(self.number), 64, salt=session)
        need((keys[32:], dkeys[32:]) == tags, f'{self.what}: commitment tag')
        self.keys = keys[:32], dkeys[:32]
        self.directory = self.read_directory()

    def read(self, at, n):
        self.file.seek(self.base + at)
        data = self.file.read(n)
        need(len(data) == n, f'{self.what}: cut short')
        return data

    def segment(self, number):
        what = f'{self.what} segment {number}'
        need(number in self.extents, f'{what}: is not in the pack')
        offset, length, digest = self.extents[number]
        stored = self.read(offset, length)
        need(xxh3(stored) == digest, f'{what}: checksum')
        method, is_dir = stored[0], number == 0xFFFF
        need(method in (0, 1), f'{what}: method {method}')
        additional = struct.pack('<4sHBB', b'CFSG', 1, self.kind + 2 * is_dir, method) + self.store.server + self.session \
            + self.number.to_bytes(6, 'little') + number.to_bytes(2, 'little')
        plain = unseal(self.keys[is_dir], number.to_bytes(2, 'little') + bytes(10), stored[1:], additional, what)
        stored_size, raw_size = struct.unpack_from('<II', plain)
        need(1 <= raw_size <= (4 << 20 if is_dir else MAX_CHUNK), f'{what}: raw size {raw_size}')
        need(8 + stored_size <= len(plain) == padme(8 + stored_size), f'{what}: padded size')
        need(not any(plain[8 + stored_size:]), f'{what}: padding is not zero')
        payload = plain[8:8 + stored_size]
        if method == 1:
            need(zstandard.frame_content_size(payload) == raw_size, f'{what}: size in the zstd frame')
            z = zstandard.ZstdDecompressor().decompressobj()
            try:
                payload = z.decompress(payload)
            except zstandard.ZstdError as e:
                raise Damaged(f'{what}: {e}') from None
            need(not z.unused_data, f'{what}: bytes behind the zstd frame')
        need(len(payload) == raw_size, f'{what}: {len(payload)} bytes instead of {raw_size}')
        return payload

    def read_directory(self):
        c = Cursor(self.segment(0xFFFF), f'directory of {self.what}')
        out, last, chunks = {}, -1, 0
        for _ in range(c.varint(65534)):
            number, at = c.varint(65533, last + 1), 0
            for _ in range(c.varint(65536, 1)):
                id_, length = c.take(32), c.varint(MAX_CHUNK, 1)
                out[number, at] = id_, length
                at, chunks = at + length, chunks + 1
            need(at <= MAX_CHUNK, f'{c.what}: segment {number} too large')
            last = number
        c.end()
        named, there = {s for s, _ in out}, set(self.extents) - {0xFFFF}
        need(chunks <= 65536 and (named == there if self.generation == 0 else named >= there), f'{c.what}: does not fit the extents')
        return out


def read_merged(store, name):                                                                             # section 5.1
    """(number, session, generation, offset, size) of the packs that stand in a merged object."""
    path = os.path.join(store.root, 'merged', name)
    what = f'merged object {name}'
    with open(path, 'rb') as f:
        head = f.read(48)
        need(len(head) == 48 and head[:8] == b'CFMG\1\0\0\0', f'{what}: frame')
        need(head[8:24] == store.server and head[24:40].hex() == name, f'{what}: name')
        count, zero = struct.unpack('<II', head[40:])
        need(1 <= count <= 1024 and zero == 0, f'{what}: count')
        head += f.read(48 * count)
        need(xxh3(head) == f.read(16), f'{what}: checksum')
    end, last, out = len(head) + 16, 0, []
    for i in range(count):
        number, session, generation, zero, offset, size = struct.unpack_from('<Q16sIIQQ', head, 48 + 48 * i)
        need(number > last and generation >= 1 and zero == 0 and offset == end, f'{what}: packs')
        last, end = number, offset + size
        out.append((number, session, generation, offset, size))
    need(end == os.path.getsize(path), f'{what}: size')
    return out


class Store:
    """One server's objects, opened with its passphrase."""

    def __init__(self, objects, server_hex, passphrase):
        self.server, self.root = bytes.fromhex(server_hex), os.path.join(objects, 'servers', server_hex)
        self.open_slot(passphrase)
        self.sessions, self.packs, self.segments, self.pack_names = {}, collections.OrderedDict(), collections.OrderedDict(), {}
        for name in self.names('packs'):
            number, rest = name.split('-')
            session, _, generation = rest.partition('.')
            self.note_pack(int(number, 16), bytes.fromhex(session), int(generation or '0', 16), os.path.join('packs', name), 0, None)
        for name in self.names('merged'):
            for number, session, generation, offset, size in read_merged(self, name):
                self.note_pack(number, session, generation, os.path.join('merged', name), offset, size)
        self.points = {}
        for name in self.names('points'):
            counter, id_ = name.split('-')
            self.points[bytes.fromhex(id_)] = int(counter, 16), name
        self.live, self.relocations = None, []
        for name in self.names('relocations'):
            number, id_ = name.split('-')
            self.relocations.append((int(number, 16), bytes.fromhex(id_), name))
        self.relocations.sort()
        self.moved = {}

    def note_pack(self, number, session, generation, path, base, size):
        """The highest generation of a pack is where it stands."""
        known = self.pack_names.get(number)
        need(not known or known[0] == session, f'pack {number}: of two sessions')
        if not known or known[1] < generation:
            self.pack_names[number] = session, generation, path, base, size

    def names(self, folder):
        path = os.path.join(self.root, folder)
        return os.listdir(path) if os.path.isdir(path) else []

    def read(self, *name):
        with open(os.path.join(self.root, *name), 'rb') as f:
            return f.read()

    def open_slot(self, passphrase):                                                                    # section 2.1
        """passphrase: bytes, or a nacl.public.PrivateKey that a recovery slot is sealed to."""
        by_kind = {1: [], 3: []}
        for name in self.names('slots'):
            raw = self.read('slots', name)
            need(len(raw) == 276 and raw[6] in by_kind, 'key slot: size or kind')
            by_kind[raw[6]].append((int(name, 16), raw))
        if not isinstance(passphrase, bytes):
            return self.open_recovery(by_kind[3], passphrase)
        need(by_kind[1], 'no key slot')
        self.slot, raw = max(by_kind[1])
        magic, version, kind, zero, server, number, memory, passes, lanes, salt, public, tag, nonce, sealed = \
            struct.unpack('<4sHBB16sIIII16s32s32s12s144s', raw)
        need((magic, version, kind, zero, lanes) == (b'CFKS', 1, 1, 0, 1), 'key slot: frame')
        need(server == self.server and number == self.slot, 'key slot: of another server or number')
        need(19456 <= memory <= 1048576 and 2 <= passes <= 16, 'key slot: cost out of bounds')
        kek = hash_secret_raw(passphrase, salt, passes, memory, 1, 32, Type.ID, 0x13)
        keys = hkdf(kek, b'coffer slot', 96)
        if keys[32:64] != tag:
            raise WrongPassphrase('the passphrase does not open the key slot')
        need(bytes(nacl.signing.SigningKey(keys[64:]).verify_key) == public, 'key slot: public key')
        plain = unseal(keys[:32], nonce, sealed, raw[:120], 'key slot')
        self.master_key, self.id_key, self.gear_key, self.directory_key = (plain[i:i + 32] for i in range(0, 128, 32))

    def open_recovery(self, slots, private):
        for self.slot, raw in slots:
            magic, version, kind, zero, server, number, recipient, public, zeros, box = struct.unpack('<4sHBB16sI32s32sQ176s', raw)
            need((magic, version, kind, zero, zeros) == (b'CFKS', 1, 3, 0, 0), 'recovery slot: frame')
            need(server == self.server and number == self.slot, 'recovery slot: of another server or number')
            if recipient != bytes(private.public_key):
                continue
            plain = nacl.public.SealedBox(private).decrypt(box)
            seed = hkdf(plain[:32], b'coffer recovery' + server + struct.pack('<I', number), 32)
            need(bytes(nacl.signing.SigningKey(seed).verify_key) == public, 'recovery slot: public key')
            self.master_key, self.id_key, self.gear_key, self.directory_key = (plain[i:i + 32] for i in range(0, 128, 32))
            return
        raise WrongPassphrase('no recovery slot is sealed to this key')

    def open_record(self, raw, session):                                                                # section 2.2
        need(len(raw) == 132 and raw[:8] == b'CFKR\1\0\0\0', 'key record: frame')
        need(raw[8:24] == self.server and raw[24:40] == session, 'key record: of another server or session')
        keys = hkdf(self.master_key, b'coffer record' + session, 64)
        need(keys[32:] == raw[40:72], 'key record: commitment tag')
        return unseal(keys[:32], raw[72:84], raw[84:], raw[:72], 'key record')

    def session_key(self, session):
        if session not in self.sessions:
            self.sessions[session] = self.open_record(self.read('records', session.hex()), session)
        return self.sessions[session]

    def pack(self, number):
        if number not in self.packs:
            need(number in self.pack_names, f'pack {number}: missing')
            if len(self.packs) >= 64:
                self.packs.popitem(last=False)[1].file.close()
            session, generation, path, base, size = self.pack_names[number]
            self.packs[number] = Pack(self, number, session, os.path.join(self.root, path), generation, base, size)
        self.packs.move_to_end(number)
        return self.packs[number]

    def chunk(self, ref, kind):
        for there in self.moved.get(ref.id, ()):                  # the newest record first
            if there.length == ref.length and there.segment in self.live.get(there.pack, ()):
                ref = there
                break
        what = f'pack {ref.pack} segment {ref.segment}'
        need(self.live is None or ref.segment in self.live.get(ref.pack, ()), f'{what}: outside the liveness map')
        pack = self.pack(ref.pack)
        need(pack.kind == kind, f'{what}: a chunk of type {kind} in a pack of kind {pack.kind}')
        need(pack.directory.get((ref.segment, ref.offset)) == (ref.id, ref.length), f'{what}: not in the directory')
        key = ref.pack, ref.segment
        if key not in self.segments:
            if len(self.segments) >= 128:
                self.segments.popitem(last=False)
            self.segments[key] = pack.segment(ref.segment)
        self.segments.move_to_end(key)
        data = self.segments[key][ref.offset:ref.offset + ref.length]
        need(len(data) == ref.length, f'{what}: reference beyond the segment')
        need(hmac.new(self.id_key, bytes([kind]) + data, hashlib.sha256).digest() == ref.id, f'{what}: chunk ID')
        return data

    # ------------------------------------------------------------------------------------------------ the tree
    def leaves(self, content):
        """The data references of a content, in order."""
        if content.depth == 0:
            yield from content.refs
            return
        for ref in content.refs:
            c = Cursor(self.chunk(ref, TREE), 'list node')
            need(c.uint(1) == 1 and c.uint(1) == 2, 'list node: version or kind')
            depth = c.uint(1)
            need(depth == content.depth - 1, 'list node: depth')
            refs = [read_ref(c) for _ in range(c.varint(2048, 1))]
            c.end()
            yield from self.leaves(Content(depth, refs))

    def xattrs(self, entry):
        if not entry.flags & XATTR_CHUNKS:
            return entry.xattrs
        c = Cursor(b''.join(self.chunk(r, DATA) for r in self.leaves(entry.xattr_content)), 'xattrs')
        out = read_xattrs(c)
        c.end()
        return out

    def entries(self, ref, level=None):
        """All entries of a directory, in order; level: what a parent of kind 1 says."""
        c = Cursor(self.chunk(ref, TREE), 'node')
        need(c.uint(1) == 1, 'node: version')
        kind = c.uint(1)
        if kind == 0:
            need(level in (None, 0), 'node: entries where a split directory belongs')
            owners, groups, last = read_owners(c), read_owners(c), b''
            for _ in range(c.varint()):
                entry = read_entry(c, owners, groups)
                need(entry.name > last, 'node: names do not ascend')
                last = entry.name
                yield entry
            c.end()
            return
        need(kind == 1, f'node: kind {kind}')
        own = c.uint(1)
        need(1 <= own <= 6 and level in (None, own), 'node: level')
        parts = [Part(c.bytes(255, 1), read_ref(c), read_totals(c)) for _ in range(c.varint(least=1))]
        c.end()
        last = b''
        for part in parts:
            need(part.first > last, 'node: first names do not ascend')
            for i, entry in enumerate(self.entries(part.node, own - 1)):
                need(entry.name > last and (i or entry.name == part.first), 'node: names do not ascend over parts')
                last = entry.name
                yield entry

    def content(self, entry):
        """(offset, bytes) of a file's data."""
        extents = list(entry.extents) if entry.flags & SPARSE else [(0, entry.size)] if entry.size else []
        want, at = sum(n for _, n in extents), 0
        extents.reverse()
        for ref in self.leaves(entry.content):
            data = self.chunk(ref, DATA)
            at += len(data)
            need(at <= want, f'{entry.name!r}: content longer than its extents')
            while data:
                start, length = extents.pop()
                yield start, data[:length]
                if length > len(data):
                    extents.append((start + len(data), length - len(data)))
                data = data[length:]
        need(at == want, f'{entry.name!r}: content of {at} bytes instead of {want}')

    # --------------------------------------------------------------------------------------------- recovery points
    def open_point(self, id_):                                                                            # section 8
        counter, name = self.points[id_]
        raw = self.read('points', name)
        what = f'point {id_.hex()[:12]}'
        need(hashlib.sha256(raw).digest() == id_, f'{what}: ID')
        need(len(raw) >= 152 and xxh3(raw[:-16]) == raw[-16:], f'{what}: checksum')
        c = Cursor(raw, what)
        need(c.take(8) == b'CFRP\1\0\0\0', f'{what}: magic or version')
        server, session, number, previous = c.take(16), c.take(16), c.uint(8), c.take(32)
        sizes = [c.uint(4) for _ in range(5)]
        need(c.uint(4) == 0 and server == self.server and number == counter, f'{what}: header')
        need(sizes[0] == 132 and sizes[1] <= 65536 and sizes[2] <= 32 << 20 and sizes[3] <= 64 << 20 and sizes[4] <= 1 << 20, f'{what}: sizes')
        tag = c.take(32)
        record, summary, pack_list, live, sealed = (c.take(n) for n in sizes)
        c.take(16)
        c.end()
        need((number == 1) == (previous == bytes(32)), f'{what}: previous point')
        for other, (count, _) in self.points.items():
            need(count != number - 1 or other == previous, f'{what}: does not follow {other.hex()[:12]}')
        key = self.open_record(record, session)
        keys = hkdf(key, b'coffer root', 64)
        need(keys[32:] == tag, f'{what}: commitment tag')
        root = Cursor(unseal(keys[:32], sealed[:12], sealed[12:], raw[:80] + b'root', what), f'root of {what}')
        point = self.read_root(root)
        need(point['frame'] == (server, session, number, previous), f'{what}: relabelled')
        for part, label in ((summary, 'summary'), (pack_list, 'pack_list'), (live, 'map')):
            need(hashlib.sha256(part).digest() == point[label], f'{what}: hash of the {label}')
        point['summary'] = self.read_summary(summary)
        need((point['selection'], point['selection_id']) == (point['summary']['selection'], point['summary']['selection_id']),
             f'{what}: selection of root and summary')
        point.update(id=id_, previous=previous, new_packs=self.read_pack_list(pack_list), live_raw=live)
        point['live'] = self.read_map(live)
        for number, id_, name in self.relocations:
            self.read_relocation(number, id_, name, point)
        return point

    def read_relocation(self, number, id_, name, point):                                                 # section 12
        raw = self.read('relocations', name)
        what = f'relocation record {number}'
        need(hashlib.sha256(raw).digest() == id_ and xxh3(raw[:-16]) == raw[-16:], f'{what}: ID or checksum')
        c = Cursor(raw, what)
        need(c.take(8) == b'CFRL\1\0\0\0', f'{what}: magic or version')
        server, session = c.take(16), c.take(16)
        need(server == self.server and c.uint(8) == number >= 1, f'{what}: header')
        sizes = [c.uint(4) for _ in range(5)]
        need(c.uint(4) == 0 and sizes[0] == 132, f'{what}: sizes')
        tag = c.take(32)
        record, points, extra, healed, sealed = (c.take(n) for n in sizes)
        c.take(16)
        c.end()
        keys = hkdf(self.open_record(record, session), b'coffer relocation', 64)
        need(keys[32:] == tag, f'{what}: commitment tag')
        p = Cursor(points, what)
        ids = [p.take(32) for _ in range(p.varint(65536, 1))]
        p.end()
        need(ids == sorted(set(ids)), f'{what}: points do not ascend')
        additional = raw[:48] + b''.join(hashlib.sha256(part).digest() for part in (points, extra, healed)) + b'relocation'
        plain = Cursor(unseal(keys[:32], sealed[:12], sealed[12:], additional, what), what)
        need(plain.uint(1) == 1, f'{what}: version of the sealed part')
        refs = [read_ref(plain) for _ in range(plain.varint(131072))]
        plain.end()
        need([r.id for r in refs] == sorted({r.id for r in refs}), f'{what}: chunks do not ascend')
        extra = self.read_map(extra)
        self.read_map(healed)
        need(all(r.segment in extra.get(r.pack, ()) for r in refs), f'{what}: an address outside its own map')
        if point['id'] not in ids:
            return
        for pack, segments in extra.items():
            point['live'][pack] = set(point['live'].get(pack, ())) | set(segments)
        for ref in refs:
            self.moved.setdefault(ref.id, []).insert(0, ref)

    def read_root(self, c):
        need(c.uint(1) == 1, f'{c.what}: version')
        point = {'frame': (c.take(16), c.take(16), c.uint(8), c.take(32)), 'selection': c.uint(1), 'selection_id': c.take(16),
                 'time': (c.zigzag(), c.varint(999999999)), 'summary': c.take(32)}
        point.update(pack_list=c.take(32), map=c.take(32), node=read_ref(c), totals=read_totals(c), host=c.bytes(255),
                     version=c.bytes(64))
        point['sources'] = [c.bytes(4095, 1) for _ in range(c.varint(65536))]
        point['exclusions'] = [c.bytes(4095, 1) for _ in range(c.varint(65536))]
        c.end()
        blob = bytes([2, point['selection']]) + b''.join(leb(len(s)) + s for s in sorted(point['sources'])) \
            + b''.join(leb(len(s)) + s for s in point['exclusions'])
        need(hmac.new(self.id_key, blob, hashlib.sha256).digest()[:16] == point['selection_id'], f'{c.what}: selection ID')
        return point

    def read_summary(self, raw):
        c = Cursor(raw, 'summary')
        need(c.uint(1) == 1, 'summary: version')
        out = {k: c.uint(1) for k in ('selection', 'scan', 'flags')}
        need(out['selection'] <= 1 and out['scan'] <= 1 and out['flags'] <= 1, 'summary: values')
        for k in ('started finished files directories others bytes files_new files_changed files_unchanged bytes_read '
                  'bytes_stored warnings').split():
            out[k] = c.varint()
        out['selection_id'] = c.take(16)
        need(c.varint() == 0, 'summary: pairs of the future')
        c.end()
        return out

    def read_pack_list(self, raw):
        c, last, out = Cursor(raw, 'pack list'), 0, []
        for _ in range(c.varint(1048576)):
            last = c.varint((1 << 48) - 1, last + 1)
            session = c.take(16)
            need(self.pack_names.get(last, (None,))[0] == session, f'pack list: pack {last} of session {session.hex()} is missing')
            out.append(last)
        c.end()
        return out

    def read_map(self, raw, below=9):                                                                     # section 9
        """{pack number: set of live segments}, a delta applied to its base."""
        c = Cursor(raw, 'liveness map')
        need(c.uint(1) == 1, 'liveness map: version')
        flags = c.uint(1)
        need(flags <= 7, 'liveness map: flags')
        out, chain = {}, 0
        if flags & 1:
            base, chain = c.take(32), c.uint(1)
            need(1 <= chain < below and base in self.points, 'liveness map: chain or base')
            base_raw = self.read('points', self.points[base][1])
            need(hashlib.sha256(base_raw).digest() == base, 'liveness map: base point ID')
            sizes = struct.unpack_from('<IIII', base_raw, 80)
            at = 136 + sum(sizes[:3])
            base_map = base_raw[at:at + sizes[3]]
            need((base_map[34] if base_map[1] & 1 else 0) == chain - 1, 'liveness map: chain does not fit its base')
            out = dict(self.read_map(base_map, chain))
        number = 0
        for _ in range(c.varint(16777216)):
            number += c.varint((1 << 48) - 1 - number, 1)
            code = c.uint(1)
            if code == 0:
                need(flags & 1 and out.pop(number, None) is not None, 'liveness map: none without a base')
                continue
            live = set()
            if code == 1:
                live = range(c.varint(65534, 1))
            elif code == 2:
                end = 0
                for i in range(c.varint(65534, 1)):
                    start = end + c.varint(65534, least=1 if i else 0)
                    end = start + c.varint(65534, 1)
                    need(end <= 65534, 'liveness map: range')
                    live.update(range(start, end))
            elif code == 3:
                mask = c.bytes(8192, 1)
                need(mask[-1], 'liveness map: mask ends in zeros')
                live = {8 * j + i for j, b in enumerate(mask) for i in range(8) if b >> i & 1}
                need(max(live) <= 65533, 'liveness map: mask')
            else:
                raise Damaged(f'liveness map: code {code}')
            if flags & 4:
                classes = int.from_bytes(c.take((2 * len(live) + 7) // 8), 'little')
                need(classes >> 2 * len(live) == 0, 'liveness map: unused bits')
            out[number] = live
        c.end()
        return out


def leb(n):
    out = b''
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


# ------------------------------------------------------------------------------------------------------- what it does
def walk(store, ref, prefix=b''):
    for entry in store.entries(ref):
        path = prefix + b'/' + entry.name
        yield path, entry
        if entry.type == DIRECTORY and entry.node:
            yield from walk(store, entry.node, path)


def count_totals(store, point):
    """Reads every node and checks the totals, which the page says are those below a directory."""
    def below(ref):
        sums = [0, 0, 0, 0]
        for e in store.entries(ref):
            sums[1 if e.type == DIRECTORY else 0 if e.type == FILE else 2] += 1
            sums[3] += e.size
            if e.type == DIRECTORY and e.node:
                inner = below(e.node)
                need(tuple(inner) == e.totals, f'totals of {e.name!r}: {e.totals} instead of {inner}')
                sums = [a + b for a, b in zip(sums, inner)]
        return sums
    sums = below(point['node'])
    need(tuple(sums) == point['totals'], f'totals of the root: {point["totals"]} instead of {sums}')


LIBC = ctypes.CDLL(None, use_errno=True)


class Extractor:
    """Restores below a folder, relative to directory descriptors: paths may be longer than PATH_MAX."""

    def __init__(self, store):
        self.store, self.links, self.problems, self.files = store, {}, collections.Counter(), 0

    def attempt(self, kind, call, *args, **kw):
        try:
            call(*args, **kw)
        except OSError as e:
            self.problems[f'{kind}: {errno.errorcode.get(e.errno, e.errno)}'] += 1

    def tree(self, ref, fd, want):
        """Restores those entries below node ref that lie on the way to want (a list of names) or below it."""
        found = False
        for e in self.store.entries(ref):
            if want and e.name != want[0]:
                continue
            if e.flags & NOT_READ:
                self.problems[f'not read: {e.error}'] += 1
                continue
            found = True
            if e.type == DIRECTORY:
                if not os.path.lexists(b'/proc/self/fd/%d/%b' % (fd, e.name)):
                    os.mkdir(e.name, 0o700, dir_fd=fd)
                sub = os.open(e.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                try:
                    found = self.tree(e.node, sub, want[1:]) or len(want) == 1 or not want
                    self.metadata(e, sub)
                finally:
                    os.close(sub)
            else:
                self.leaf(e, fd)
        return found

    def leaf(self, e, fd):
        if e.link and e.link[0] in self.links:
            os.link(b'/proc/self/fd/%d' % self.links[e.link[0]], e.name, dst_dir_fd=fd, follow_symlinks=True)
            return
        if e.type == FILE:
            self.file(e, fd)
        elif e.type == SYMLINK:
            os.symlink(e.target, e.name, dir_fd=fd)
        elif e.type == SOCKET:
            return
        else:
            kind = {FIFO: stat.S_IFIFO, CHARDEV: stat.S_IFCHR, BLOCKDEV: stat.S_IFBLK}[e.type]
            try:
                os.mknod(e.name, kind | 0o600, os.makedev(*e.device) if e.device else 0, dir_fd=fd)
            except PermissionError:
                self.problems['device: EPERM'] += 1
                return
        node = os.open(e.name, os.O_PATH | os.O_NOFOLLOW, dir_fd=fd)
        self.metadata(e, node)
        if e.link:
            self.links[e.link[0]] = node
        else:
            os.close(node)

    def file(self, e, fd):
        out = os.open(e.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=fd)
        try:
            for at, data in self.store.content(e):
                os.pwrite(out, data, at)
            os.ftruncate(out, e.size)
        finally:
            os.close(out)
        self.files += 1

    def metadata(self, e, node):
        path = b'/proc/self/fd/%d' % node
        if os.geteuid() == 0:
            if LIBC.fchownat(node, b'', e.uid, e.gid, 0x1000):            # AT_EMPTY_PATH: the entry itself, a symlink too
                self.problems[f'owner: {errno.errorcode[ctypes.get_errno()]}'] += 1
        if e.type != SYMLINK:
            for name, value in self.store.xattrs(e):
                self.attempt(f'xattr {name.decode(errors="replace")}', os.setxattr, path, name, value)
            self.attempt('mode', os.chmod, path, e.mode)
        times = (ctypes.c_long * 4)(e.sec, e.nsec, e.sec, e.nsec)
        if LIBC.utimensat(node, b'', times, 0x1000):
            self.problems[f'mtime: {errno.errorcode[ctypes.get_errno()]}'] += 1


def show(path, e):
    text = path.decode('utf-8', 'backslashreplace').replace('\n', '\\n')
    tail = f' -> {e.target!r}' if e.target else f' not read: {e.error}' if e.error else ''
    print(f'{TYPE_LETTER[e.type]}{e.mode:04o} {e.uid}:{e.gid} {e.size:>12} {e.sec}.{e.nsec:09d} {text}{tail}')


def run(args):
    with open(args.passphrase_file, 'rb') as f:
        passphrase = f.read().split(b'\n')[0]
    store = Store(args.objects, args.server_id, passphrase)
    need(store.points, 'no recovery point')
    ids = [i for i in store.points if i.hex().startswith(args.point or '')]
    need(ids, f'no point {args.point}')
    point = store.open_point(max(ids, key=lambda i: store.points[i]))
    store.live = point['live']
    s = point['summary']
    print(f"point {point['id'].hex()} counter {point['frame'][2]} host {point['host'].decode(errors='replace')} "
          f"files {s['files']} bytes {s['bytes']} sources {[p.decode(errors='replace') for p in point['sources']]}", file=sys.stderr)
    count_totals(store, point)
    if args.list:
        for path, entry in walk(store, point['node']):
            show(path, entry)
    if args.check:
        chunks = 0
        for _, entry in walk(store, point['node']):
            store.xattrs(entry)
            if entry.type == FILE and not entry.flags & NOT_READ:
                chunks += sum(1 for _ in store.content(entry))
        print(f'checked: {chunks} chunks', file=sys.stderr)
    if args.extract:
        os.makedirs(args.to, exist_ok=True)
        extractor = Extractor(store)
        fd = os.open(args.to, os.O_RDONLY | os.O_DIRECTORY)
        want = [n for n in os.fsencode(args.extract).split(b'/') if n]
        need(extractor.tree(point['node'], fd, want) or not want, f'{args.extract}: not in the point')
        for what, n in sorted(extractor.problems.items()):
            print(f'warning: {what} ({n} times)', file=sys.stderr)
        print(f'extracted: {extractor.files} files', file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description='independent reader of the stored format')
    parser.add_argument('objects')
    parser.add_argument('server_id')
    parser.add_argument('--passphrase-file', required=True)
    parser.add_argument('--point')
    parser.add_argument('--list', action='store_true')
    parser.add_argument('--check', action='store_true')
    parser.add_argument('--extract', metavar='PATH')
    parser.add_argument('--to', metavar='DIR')
    args = parser.parse_args()
    if args.extract and not args.to:
        parser.error('--extract needs --to')
    status = []

    def guarded():
        try:
            run(args)
            status.append(0)
        except WrongPassphrase as e:
            print(f'wrong passphrase: {e}', file=sys.stderr)
            status.append(4)
        except Damaged as e:
            print(f'damaged: {e}', file=sys.stderr)
            status.append(3)
        finally:
            sys.stdout.flush()

    # Trees may be thousands of folders deep, and each level holds a descriptor and some frames.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    sys.setrecursionlimit(1000000)
    threading.stack_size(512 << 20)
    worker = threading.Thread(target=guarded)
    worker.start()
    worker.join()
    return status[0] if status else 1


if __name__ == '__main__':
    sys.exit(main())
