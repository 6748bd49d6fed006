"""Damaged packs in the vault's folder: the damaged files are named, the others restore, exit status 3."""
import os

import pytest

import harness
from harness import DONE, WARNINGS


def flip(path, at):
    with open(path, 'r+b') as f:
        f.seek(at)
        old = f.read(1)
        f.seek(at)
        f.write(bytes([old[0] ^ 0x40]))


def damage(packs, how):
    victim = packs[0]
    size = os.path.getsize(victim)
    if how == 'corrupted':
        flip(victim, size // 2)
    elif how == 'truncated':
        os.truncate(victim, size // 2)
    elif how == 'emptied':
        os.truncate(victim, 0)
    elif how == 'missing':
        os.unlink(victim)
    elif how == 'swapped':
        other = packs[1]
        os.rename(victim, victim + '.x')
        os.rename(other, victim)
        os.rename(victim + '.x', other)


@pytest.fixture
def source(stage, rng):
    top = stage.path('source')
    os.mkdir(top)
    for i in range(60):
        with open(os.path.join(top, f'file{i:02d}'), 'wb') as f:
            f.write(rng.randbytes(200000))
    return top


@pytest.mark.parametrize('how', ['corrupted', 'truncated', 'emptied', 'missing', 'swapped'])
def test_damaged_pack(stage, vault, server, source, how):
    server.backup(source).ok(DONE)
    packs = vault.packs(kind=0)
    assert len(packs) >= 2, packs
    damage(packs, how)
    result = server.verify('latest')
    assert result.status == 3, result
    assert result.summary['damaged'], result
    to = stage.path('restored')
    result = server.restore('latest', to=to)
    assert result.status == WARNINGS, result
    named = {os.path.basename(p) for p in result.summary['damaged']}
    original, copy = harness.read_tree(source), harness.read_tree(harness.restored(to, source))
    assert named, result
    if how == 'corrupted':                                        # one flipped byte damages one segment: few files
        assert len(named) <= 4, named
    assert len(named) < len(original), 'files of undamaged packs restore'
    for name, content in original.items():
        name_text = os.fsdecode(name)
        if name_text in named:
            assert name not in copy, f'{name_text} is damaged but stands there'
        else:
            assert copy.get(name) == content, f'{name_text} is neither restored nor named'


def test_damaged_tree_pack(stage, vault, server, rng):
    """A damaged tree pack: named, exit status 3 or 1, nothing restored wrong; the next backup is whole again."""
    source = harness.make_tree(stage.path('source'), rng)
    server.backup(source).ok()
    for path in vault.packs(kind=1):
        flip(path, 200)
    result = server.verify('latest')
    assert result.status in (1, 3), result
    to = stage.path('restored')
    result = server.restore('latest', to=to)
    assert result.status in (1, 3), result
    copy = harness.read_tree(to) if os.path.isdir(to) else {}
    original = harness.read_tree(source)
    where = os.fsencode(source.lstrip('/'))
    for name, content in copy.items():
        assert original[os.path.relpath(name, where)] == content


def test_damage_elsewhere_is_not_in_the_way(stage, vault, server, rng, source):
    """Restoring a file whose pack is whole does not care about the damaged one."""
    server.backup(source).ok()
    os.unlink(vault.packs(kind=0)[0])
    whole = []
    for i in (0, 20, 40, 59):
        to = stage.path(f'restored{i}')
        path = os.path.join(source, f'file{i:02d}')
        result = server.restore('latest', path, to=to)
        if result.status == DONE:
            with open(path, 'rb') as a, open(harness.restored(to, path), 'rb') as b:
                assert a.read() == b.read()
            whole.append(i)
        else:
            assert result.status == WARNINGS and result.summary['damaged'], result
    assert whole and len(whole) < 4, whole


def test_damaged_extent_table(stage, vault, server, source):
    """The table at a pack's end stands in the vault's database too: all files still restore."""
    server.backup(source).ok()
    path = vault.packs(kind=0)[0]
    flip(path, os.path.getsize(path) - 60)
    to = stage.path('restored')
    server.restore('latest', to=to).ok()
    harness.assert_same_tree(source, harness.restored(to, source))
