"""A vault that hides its newest point: the agent keeps the head of the chain and notices."""
import os

import harness
from harness import DONE, FAILED, WARNINGS


def test_newest_point_hidden(stage, vault, server, rng):
    source = harness.make_tree(stage.path('source'), rng)
    for _ in range(3):
        server.backup(source).ok()
        harness.change_tree(source, rng)
    points = server.points()
    vault.stop()
    newest = points[-1]['id']
    folder = os.path.join(vault.objects, 'servers', vault.servers()[0], 'points')
    found = [n for n in os.listdir(folder) if n.endswith(newest)]
    assert len(found) == 1
    os.unlink(os.path.join(folder, found[0]))
    assert vault.change('DELETE FROM points WHERE lower(hex(id)) = ?', newest) == 1
    vault.change('UPDATE servers SET newest = ?, newest_counter = ?', bytes.fromhex(points[-2]['id']), 2)
    vault.start()
    result = server.backup(source)
    told = result.out.decode() + result.err.decode()
    assert result.status in (FAILED, WARNINGS), f'nothing noticed: {result}'
    assert 'rolled back' in told or 'hides' in told or 'newest' in told or 'missing' in told, result
    # Nothing is lost: what is still there restores, and backups go on with a point that says so.
    assert [p['id'] for p in server.points()][:2] == [p['id'] for p in points[:2]]
    server.verify(points[1]['id']).ok(DONE)


def test_relabelled_point(vault, server, stage, rng):
    """An older point under the newest one's name is no such point."""
    source = harness.make_tree(stage.path('source'), rng)
    for _ in range(2):
        server.backup(source).ok()
        harness.change_tree(source, rng)
    folder = os.path.join(vault.objects, 'servers', vault.servers()[0], 'points')
    old, new = sorted(os.listdir(folder))
    with open(os.path.join(folder, old), 'rb') as f:
        content = f.read()
    with open(os.path.join(folder, new), 'wb') as f:
        f.write(content)
    result = server.restore(new.split('-')[1], to=stage.path('restored'))
    assert result.status == FAILED, result
