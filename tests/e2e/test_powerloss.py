"""The power goes: what the programs wrote, synced and renamed is recorded at the os floor (a build with -Dos_record=true),
and the disk is made as it may be after any beginning of it, without what was not synced. COFFER_POWER_LOSSES says how many
moments are tried on each side."""
import os
import shutil
import subprocess

import pytest

import harness
import powerloss
from harness import DONE, WARNINGS

LOSSES = int(os.environ.get('COFFER_POWER_LOSSES', '400' if os.environ.get('COFFER_LONG') else '40'))


@pytest.fixture(scope='module')
def recording():
    """A build that records."""
    if 'COFFER_RECORD_BUILD' in os.environ:                                   # one that is built already
        return os.environ['COFFER_RECORD_BUILD']
    folder = harness.BUILD.rstrip('/') + '-record'
    if not shutil.which('meson'):
        pytest.skip('needs meson, to build with -Dos_record=true')
    if not os.path.exists(os.path.join(folder, 'build.ninja')):
        subprocess.run(['meson', 'setup', folder, harness.TOP, '-Dos_record=true', '-Dtests=false'], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(['ninja', '-C', folder, 'src/cli/coffer', 'src/cli/coffer-vault'], check=True, stdout=subprocess.DEVNULL)
    return folder


def moments(loss, rng):
    """(operations done, what became of the unsynced ones): spread evenly, all choices in turn, and the very end."""
    count = len(loss)
    assert count > 15, f'only {count} operations were recorded'
    out = [(count, 'lost'), (count, 'kept')]
    for i in range(LOSSES - 2):
        low, high = i * count // (LOSSES - 2), (i + 1) * count // (LOSSES - 2)
        out.append((rng.randint(low, max(low, high - 1)), powerloss.CHOICES[i % len(powerloss.CHOICES)]))
    return sorted(out)


def test_vault(stage, agent, recording, rng):
    """Every point that a backup reported as committed is there afterwards, made again from the objects alone."""
    log = stage.path('log')
    vault = harness.Vault(stage, build=recording)
    vault.init()
    base = stage.path('base')
    harness.copy_folder(vault.objects, base)
    objects = os.path.realpath(vault.objects)
    vault.start(env={'COFFER_OS_RECORD': log})
    server = agent()
    server.register(vault.credentials()).ok()
    registered = os.path.getsize(log)
    source = harness.make_tree(stage.path('source'), rng, files=25, most=400000)
    reported = []                                                  # (size of the log when the backup ended, point)
    for _ in range(3):
        point = server.backup(source).ok().summary['point_id']
        reported.append((os.path.getsize(log), point))
        harness.change_tree(source, rng)
    vault.stop()
    recorded = vault.folder

    loss = powerloss.PowerLoss(log, objects, base)
    reported = [(loss.prefix_of_size(size), point) for size, point in reported]
    registered = loss.prefix_of_size(registered)
    template = stage.path('template')
    shutil.copytree(recorded, template, ignore=lambda where, names: [n for n in names if n == 'objects' or n.startswith('vault.db')])
    checked = 0
    for prefix, choice in moments(loss, rng):
        what = f'after {prefix} operations, {choice}' + (f' ({loss.describe(prefix)} was next)' if prefix < len(loss) else '')
        shutil.rmtree(recorded)
        shutil.copytree(template, recorded)
        loss.build(prefix, objects, choice, seed=prefix)
        if prefix < registered:
            continue
        result = vault.command('rebuild', recorded)
        assert result.status in (DONE, WARNINGS), f'{what}: {result}'
        vault.start()
        # The agent knows the newest point; when the power went before that, it says so (3).
        found = [p['id'] for p in server.run('points').ok(DONE, WARNINGS).document]
        must = [point for end, point in reported if end <= prefix]
        assert found[:len(must)] == must, f'{what}: committed points are gone: {found} instead of {must}'
        for point in found:
            result = server.verify(point)
            assert result.status in (DONE, WARNINGS) and not result.summary['damaged'], f'{what}: {result}'
        checked += 1
        vault.stop()
    assert checked >= LOSSES // 2


def test_agent(stage, vault, agent, recording, rng):
    """The agent's folders may be anything that a power loss leaves: the next backup completes and verifies."""
    server = agent(build=recording)
    server.register(vault.credentials()).ok()
    source = harness.make_tree(stage.path('source'), rng, files=25, most=400000)
    server.backup(source).ok()
    harness.change_tree(source, rng)
    home, base, log = os.path.realpath(server.home), stage.path('base'), stage.path('log')
    harness.copy_folder(home, base)
    server.backup(source, env={'COFFER_OS_RECORD': log}).ok()
    known = len(server.points())
    loss = powerloss.PowerLoss(log, home, base)
    for prefix, choice in moments(loss, rng):
        what = f'after {prefix} operations, {choice}'
        loss.build(prefix, home, choice, seed=prefix)
        harness.change_tree(source, rng, share=0.1)
        result = server.backup(source)
        assert result.status in (DONE, WARNINGS), f'{what}: {result}'
        known += 1
        assert len(server.points()) == known, what
        result = server.verify('latest')
        assert result.status == DONE, f'{what}: {result}'
