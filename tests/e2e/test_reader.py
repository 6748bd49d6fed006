"""The independent reader, written from docs/format.md, restores what the product stored."""
import hashlib
import json
import os
import shutil
import subprocess

import pytest

import harness


def reader(vault, server, *words):
    done = subprocess.run(['/usr/bin/python3', harness.READER, vault.objects, vault.servers()[0], '--passphrase-file',
                           server.passphrase_file, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=300)
    return done


def ok(done):
    assert done.returncode == 0, done.stderr.decode()
    return done


GOLDEN = os.path.join(harness.TOP, 'tests', 'golden')


@pytest.fixture
def golden(stage):
    """The kept vault with what stands in it; read(...) runs the reader on a copy of it."""
    with open(os.path.join(GOLDEN, 'vectors.json')) as f:
        vectors = json.load(f)
    passphrase, copy = stage.path('passphrase'), stage.path('golden')
    shutil.copytree(os.path.join(GOLDEN, 'vault'), copy)
    with open(passphrase, 'w') as f:
        f.write(vectors['passphrase'] + '\n')

    def read(*words):
        return subprocess.run(['/usr/bin/python3', harness.READER, copy, vectors['server'], '--passphrase-file', passphrase, *words],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=60)
    return vectors, os.path.join(copy, 'servers', vectors['server']), read


def expected(file):
    if 'text' in file:
        return file['text'].encode()
    if 'bytes' in file:
        return bytes.fromhex(file['bytes'])
    if 'repeat' in file:
        size = file['repeat_bytes']
        return (file['repeat'].encode() * size)[:size] + bytes.fromhex(file.get('then', ''))
    return None


def test_golden_vault(stage, golden):
    vectors, _, read = golden
    for number, point in enumerate(vectors['points']):
        to = stage.path(f'restored{number}')
        ok(read('--point', point, '--check', '--extract', '/', '--to', to))
        for path, file in vectors['files'].items():
            there = harness.restored(to, path)
            if 'target' in file:
                assert os.readlink(there) == file['target']
                continue
            content = expected(file)
            assert os.path.getsize(there) == (file['size'] if content is None else len(content)), path
            if content is not None:
                with open(there, 'rb') as f:
                    assert f.read() == content, path
        assert os.path.samefile(harness.restored(to, '/srv/data/noise'), harness.restored(to, '/srv/data/noise again'))


@pytest.mark.parametrize('bad', [n for n in sorted(os.listdir(os.path.join(GOLDEN, 'bad'))) if n.split('-')[0] in ('slot', 'record', 'pack', 'point')])
def test_golden_damage_is_refused(golden, bad):
    """Each of the kept bad objects in the place of the good one."""
    vectors, folder, read = golden
    kind, point = bad.split('-')[0], vectors['points'][0]
    with open(os.path.join(GOLDEN, 'bad', bad), 'rb') as f:
        content = f.read()
    where = os.path.join(folder, kind + 's')
    old = sorted(os.listdir(where))[0]
    os.unlink(os.path.join(where, old))
    if kind == 'point':                                                      # its name is its own hash
        point = hashlib.sha256(content).hexdigest()
        old = f'{1:016x}-{point}'
    with open(os.path.join(where, old), 'wb') as f:
        f.write(content)
    done = read('--point', point, '--check')
    assert done.returncode == (4 if bad == 'slot-commitment' else 3), done


@pytest.fixture
def source(stage, rng):
    """Small and large files, links, holes, odd names; a folder large enough to be split."""
    top = harness.make_tree(stage.path('source'), rng, files=30)
    with open(os.path.join(top, 'large'), 'wb') as f:
        f.write(rng.randbytes(9 << 20) + bytes(3 << 20) + b'text ' * 400000)
    with open(os.path.join(top, 'sparse'), 'wb') as f:
        f.truncate(50 << 20)
        f.seek(20 << 20)
        f.write(rng.randbytes(100000))
    many = os.path.join(top, 'many')
    os.mkdir(many)
    for i in range(2500):
        with open(os.path.join(many, f'a file with a rather long name so that the folder is split {i:06d}'), 'w') as f:
            f.write(str(i))
    os.symlink('nowhere', os.path.join(top, 'dangling'))
    os.link(os.path.join(top, 'large'), os.path.join(top, 'second name'))
    os.mkfifo(os.path.join(top, 'fifo'))
    with open(os.path.join(os.fsencode(top), b'not utf-8 \xff\n'), 'wb') as f:
        f.write(b'x')
    os.utime(os.path.join(top, 'sparse'), ns=(0, -1234567890123456789))
    os.chmod(os.path.join(top, 'large'), 0o4750)
    return top


def test_restores_byte_for_byte(stage, vault, server, source):
    server.backup(source).ok()
    ok(reader(vault, server, '--check'))
    to = stage.path('by-reader')
    ok(reader(vault, server, '--extract', '/', '--to', to))
    harness.assert_same_tree(source, harness.restored(to, source), deep=False)
    one = stage.path('one')
    path = os.path.join(source, 'large')
    ok(reader(vault, server, '--extract', path, '--to', one))
    with open(path, 'rb') as a, open(harness.restored(one, path), 'rb') as b:
        assert a.read() == b.read()
    assert os.stat(harness.restored(to, os.path.join(source, 'sparse'))).st_blocks * 512 < 2 << 20


def test_older_points_and_deltas(stage, vault, server, source, rng):
    """Every point of a chain opens, also after changes (delta maps) and with a second selection."""
    kept = []
    for i in range(3):
        if i:
            harness.change_tree(source, rng)
        point = server.backup(source).ok().summary['point_id']
        copy = stage.path(f'copy{i}')
        harness.copy_folder(source, copy)
        kept.append((point, copy))
    server.backup(os.path.join(source, 'many')).ok()
    for point, copy in kept:
        to = copy + '-restored'
        ok(reader(vault, server, '--point', point, '--extract', source, '--to', to))
        harness.assert_same_tree(copy, harness.restored(to, source), deep=False)


def test_wrong_passphrase(stage, vault, server, source):
    server.backup(os.path.join(source, 'many')).ok()
    with open(server.passphrase_file, 'w') as f:
        f.write('not the passphrase at all\n')
    done = reader(vault, server, '--list')
    assert done.returncode == 4 and b'wrong passphrase' in done.stderr, done


def test_notices_damage(vault, server, source):
    server.backup(source).ok()
    path = vault.packs(kind=0)[0]
    with open(path, 'r+b') as f:
        f.seek(1000)
        byte = f.read(1)
        f.seek(1000)
        f.write(bytes([byte[0] ^ 1]))
    done = reader(vault, server, '--check')
    assert done.returncode == 3 and b'damaged' in done.stderr, done
