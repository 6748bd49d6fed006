"""A vault that is put back to an older copy (a restored snapshot of its host): noticed, and nothing is lost."""
import os
import shutil

import harness
from harness import DONE, FAILED, WARNINGS


def test_vault_rolled_back(stage, vault, server, rng):
    source = harness.make_tree(stage.path('source'), rng, files=60)
    server.backup(source).ok()
    first = server.points()[-1]['id']
    vault.stop()
    harness.copy_folder(vault.folder, stage.path('older'))
    vault.start()
    for _ in range(2):
        harness.change_tree(source, rng)
        server.backup(source).ok()
    vault.stop()
    shutil.rmtree(vault.folder)
    os.rename(stage.path('older'), vault.folder)
    vault.start()

    harness.change_tree(source, rng)
    result = server.backup(source)
    assert result.status in (DONE, WARNINGS, FAILED), result
    told = result.out.decode() + result.err.decode()
    assert 'rolled back' in told or 'older' in told or 'rollback' in told.lower(), f'nothing noticed: {result}'
    if result.status == FAILED:                                  # refused once, with what to do; then it goes on
        assert result.error['actions'], result
        result = server.backup(source).ok(DONE, WARNINGS)
    to = stage.path('restored')
    server.restore('latest', to=to).ok()
    harness.assert_same_tree(source, harness.restored(to, source))
    server.verify(first).ok()
    # Later runs are ordinary ones again.
    harness.change_tree(source, rng)
    server.backup(source).ok(DONE)
    for point in server.points():
        server.verify(point['id']).ok()


def test_rolled_back_behind_an_interrupted_run(stage, vault, server, rng):
    """What is lost was uploaded by a run that committed no point, so that no point tells of it: its pack numbers must not
    come again, or the agent's index would take other bytes for the chunks that it remembers there."""
    source = harness.make_tree(stage.path('source'), rng, files=20)
    server.backup(source).ok()
    vault.stop()
    harness.copy_folder(vault.folder, stage.path('older'))
    vault.start()
    lost = stage.path('lost')
    os.mkdir(lost)
    with open(os.path.join(lost, 'data'), 'wb') as f:
        f.write(rng.randbytes(120 << 20))
    before = len(vault.packs())
    process = server.spawn('backup', lost)
    # More packs than the index keeps between two of its durable points.
    harness.wait_for(lambda: len(vault.packs()) > before + 50 or process.poll() is not None, 60, every=0.01)
    assert process.poll() is None, 'the backup ended before it was killed'
    stage.end(process)
    vault.stop()
    shutil.rmtree(vault.folder)
    os.rename(stage.path('older'), vault.folder)
    vault.start()

    both = stage.path('both')
    os.mkdir(both)
    with open(os.path.join(both, 'a'), 'wb') as f:
        f.write(rng.randbytes(60 << 20))
    os.rename(os.path.join(lost, 'data'), os.path.join(both, 'b'))
    server.backup(both).ok(DONE, WARNINGS)
    server.verify('latest').ok(DONE)
    to = stage.path('restored')
    server.restore('latest', to=to).ok(DONE)
    harness.assert_same_tree(both, harness.restored(to, both))
