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
