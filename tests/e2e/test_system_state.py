"""--system-state: what it takes to rebuild this machine is in the point, as files; nothing of it is put on a disk on the way."""
import os
import subprocess

import pytest

import harness
from harness import DONE, WARNINGS

STATE = '/.coffer-system-state'
RECORDINGS = os.path.join(harness.TOP, 'tests', 'unit', 'sysstate', 'recordings')
pytestmark = pytest.mark.root


@pytest.fixture
def saved(server, stage):
    """A server whose policy is its state and one file; backed up once."""
    top = stage.path('data')
    os.makedirs(top)
    with open(os.path.join(top, 'file'), 'w') as f:
        f.write('content')
    server.run('policy', 'set', '--source', top, '--system-state', '--exclude', '*.bak').ok()
    server.first = server.backup().ok(DONE, WARNINGS).summary
    return server


def test_restorable_as_files(saved, stage):
    to = stage.path('to')
    saved.restore('latest', STATE, to=to).ok()
    folder = to + STATE
    got = harness.read_tree(folder)
    assert {b'RECOVER.md', b'mounts.txt', b'kernel-command-line.txt', b'users.txt', b'groups.txt'} <= set(got)
    assert all(os.stat(os.path.join(os.fsencode(folder), n)).st_mode & 0o777 == 0o600 for n in got)
    assert os.stat(folder).st_mode & 0o777 == 0o700
    with open('/proc/cmdline', 'rb') as f:
        assert got[b'kernel-command-line.txt'] == f.read()
    packages = subprocess.run(['dpkg-query', '--show', '--showformat=${binary:Package}\t${Version}\n'], capture_output=True,
                              check=True).stdout.decode().splitlines()
    assert {tuple(line.split('\t')[:2]) for line in got[b'packages.tsv'].decode().splitlines()} == {tuple(p.split('\t')) for p in packages}
    assert b'root:x:0:' in got[b'users.txt']
    recover = got[b'RECOVER.md'].decode()
    assert all(f'\n## {n}. ' in recover for n in (1, 2, 6, 7, 8, 9))
    # /etc is in the same point, by the ordinary way
    saved.restore('latest', '/etc/hostname', to=to).ok()
    with open('/etc/hostname', 'rb') as a, open(to + '/etc/hostname', 'rb') as b:
        assert a.read() == b.read()
    assert sorted(p for p in saved.points()[-1]['source'] if not p.startswith('/boot') and not p.startswith('/efi')) == sorted(
        [STATE, '/etc', stage.path('data')])
    assert saved.run('policy', 'test', STATE + '/RECOVER.md').ok().document['included']
    saved.verify().ok()


def test_an_unchanged_machine_costs_nothing(saved):
    before = saved.run('ls', 'latest', STATE).ok().document
    again = saved.backup().ok(DONE, WARNINGS).summary
    assert again['files_new'] == 0 and again['bytes_read'] == 0
    after = saved.run('ls', 'latest', STATE).ok().document
    changed = {os.path.basename(e['path']) for e in after if e not in before}
    # Other tests mount and unmount images meanwhile.
    assert changed <= {'mounts.txt', 'block-devices.json', 'file-systems.txt', 'network-addresses.json', 'network-routes.json', 'RECOVER.md'}, changed
    assert saved.run('diff', saved.first['point_id'][:12], 'latest').status == DONE


def test_disks_from_recordings(server, stage):
    tools = stage.path('tools')
    os.makedirs(tools)
    for name in {f.split('_')[0] for f in os.listdir(RECORDINGS)} - {'replay'}:
        os.symlink(os.path.join(RECORDINGS, 'replay'), os.path.join(tools, name))
    server.run('policy', 'set', '--system-state').ok()
    server.backup(env={'PATH': f'{tools}:{os.environ["PATH"]}'}).ok(DONE, WARNINGS)
    names = {os.path.basename(e['path']) for e in server.run('ls', 'latest', STATE).ok().document}
    assert {'partition-table.sda.sfdisk', 'partition-table.sdb.sfdisk', 'md.md0.txt', 'luks.md0.txt', 'lvm.vg0.vgcfg'} <= names
    text = server.run('cat', 'latest', STATE + '/RECOVER.md', json=False).ok().out
    assert b'vgcfgrestore vg0 -f lvm.vg0.vgcfg' in text
    dry = server.run('backup', '--dry-run').ok(DONE, WARNINGS).summary
    assert dry['files'] > len(names) - 30
