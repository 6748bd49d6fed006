"""What is backed up: exclusions of the policy and its sources, options, `coffer backup` without PATH, changes of the selection."""
import os
import shutil
import subprocess

import pytest

import harness
from harness import DONE, FAILED, USAGE, WARNINGS

TAG = 'Signature: 8a477f597d28d172789f06886806bc55\n# made by a test\n'


def put(*names, text='content'):
    path = os.path.join(*names)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w') as f:
        f.write(text)
    return path


def stored(server, top, point='latest'):
    """Paths below top in a point, relative."""
    found = server.run('ls', point, top, '--recursive').ok().document
    return {os.path.relpath(e['path'], top) for e in found if e['path'] != top}


def there(top):
    return {os.path.relpath(os.path.join(where, n), top) for where, folders, files in os.walk(top) for n in folders + files}


@pytest.fixture
def tree(stage):
    top = stage.path('data')
    for name in ('a.txt', 'a.tmp', 'cache/x', 'sub/cache/y', 'sub/b.tmp', 'sub/keep.tmp', 'sub/deep/er/c.log', 'build/o/1', 'build/o/2',
                 'logs/1.log', 'logs/keep/2.log', 'end/build', 'tagged/CACHEDIR.TAG', 'tagged/big', 'tagged/in/side', 'liar/CACHEDIR.TAG',
                 'liar/x', 'sub/secret/source/file', 'sub/secret/other'):
        put(top, name)
    put(top, 'tagged/CACHEDIR.TAG', text=TAG)
    return top


def policy(server, *words):
    return server.run('policy', 'set', *words)


def test_no_policy(server, tree):
    refused = server.backup()
    assert refused.status in (FAILED, USAGE) and refused.code == 100101
    assert server.run('backup', '--scheduled', '2026-11-20T21:00:00Z', tree).status == USAGE
    assert server.backup(tree).ok().summary['status'] == 'completed'
    assert server.points()[0]['selection'] == 'manual'


def test_policy_backup_leaves_out_what_it_says(vault, server, tree):
    secret = os.path.join(tree, 'sub/secret/source')
    policy(server, '--source', tree, '--source', secret, '--exclude', '*.tmp', '--exclude', '!keep.tmp', '--exclude', 'secret/',
           '--add-exclude-in', f'{tree}:/build/', '--add-exclude-in', f'{tree}:cache', '--add-exclude-in', f'{tree}:logs/**',
           '--add-exclude-in', f'{tree}:!logs/keep/', '--exclude-caches').ok()
    assert server.backup().ok().summary['status'] == 'completed'
    point = server.points()[0]
    assert point['selection'] == 'policy' and sorted(point['source']) == [tree]
    gone = {'a.tmp', 'sub/b.tmp', 'build', 'build/o', 'build/o/1', 'build/o/2', 'cache', 'cache/x', 'sub/cache', 'sub/cache/y', 'logs/1.log',
            'logs/keep/2.log', 'tagged/big', 'tagged/in', 'tagged/in/side', 'sub/secret/other'}
    assert there(tree) - stored(server, tree) == gone
    assert stored(server, tree) <= there(tree)
    # policy test says the same of every path
    for path in sorted(there(tree)):
        said = server.run('policy', 'test', os.path.join(tree, path)).ok().document
        assert (said['included'] or said['reason'] == 'on_the_way') == (path not in gone), said
    # the reader of the tests computes the selection's ID from sources and exclusions by itself
    subprocess.run(['/usr/bin/python3', harness.READER, vault.objects, vault.servers()[0], '--passphrase-file', server.passphrase_file,
                    '--check'], check=True, capture_output=True)
    # restoring in place with --delete-extra touches nothing of what was left out
    put(tree, 'extra')
    put(tree, 'tagged/new')
    server.run('restore', 'latest', '--in-place', '--on-conflict', 'overwrite', '--delete-extra', '--yes').ok()
    assert not os.path.exists(os.path.join(tree, 'extra'))
    assert gone | {'tagged/new'} <= there(tree)


def test_the_rule_is_named(server, tree):
    policy(server, '--source', tree, '--exclude', '*.log', '--add-exclude-in', f'{tree}:cache/').ok()
    said = server.run('policy', 'test', os.path.join(tree, 'sub/cache/y')).ok().document
    assert (said['included'], said['rule'], said['rule_of']) == (False, 'cache/', 'source')
    said = server.run('policy', 'test', os.path.join(tree, 'logs/1.log')).ok().document
    assert (said['included'], said['rule'], said['rule_of']) == (False, '*.log', 'policy')


def test_a_changed_selection_reads_only_what_is_new(server, tree):
    for i in range(200):
        put(tree, f'many/{i % 10}/f{i}', text=f'{i}' * 500)
    policy(server, '--source', tree).ok()
    first = server.backup().ok().summary
    assert first['files_new'] == first['files'] and first['base_point'] is None
    policy(server, '--add-exclude', '*.tmp').ok()
    second = server.backup().ok().summary
    assert second['base_point'] == first['point_id'] and second['bytes_read'] == 0 and second['files'] == first['files'] - 3
    assert 'a.tmp' not in stored(server, tree)
    extra = put(os.path.dirname(tree), 'more', 'f', text='new source')
    policy(server, '--add-source', os.path.dirname(extra), '--remove-exclude', '*.tmp').ok()
    third = server.backup().ok().summary
    assert third['base_point'] == second['point_id'] and third['files_new'] == 4 and third['files_unchanged'] == second['files']
    assert third['bytes_read'] == len('new source') + 3 * len('content')
    policy(server, '--remove-source', tree).ok()
    fourth = server.backup().ok().summary
    assert fourth['files'] == 1 and fourth['bytes_read'] == 0
    assert [p['selection'] for p in server.points()] == ['policy'] * 4
    assert {'more'} == {e for e in stored(server, os.path.dirname(tree))} - {'more/f'}
    server.verify().ok()


def test_every_nth_run_reads_every_file(server, tree):
    policy(server, '--source', tree, '--full-every', '3').ok()
    read = [server.backup().ok().summary['bytes_read'] > 0 for _ in range(7)]
    assert read == [True, False, True, False, False, True, False]


def test_latest_is_the_policys(server, tree):
    policy(server, '--source', tree, '--exclude', 'sub').ok()
    server.backup().ok()
    server.backup(os.path.join(tree, 'sub')).ok()
    assert server.points()[-1]['selection'] == 'manual'
    assert 'a.txt' in stored(server, tree, 'latest')


def test_a_missing_source_is_a_warning(server, tree, stage):
    other = put(stage.path('other'), 'file')
    policy(server, '--source', tree, '--source', os.path.dirname(other)).ok()
    server.backup().ok()
    shutil.rmtree(os.path.dirname(other))
    done = server.backup().ok(WARNINGS)
    assert done.summary['status'] == 'completed_with_warnings' and done.summary['warnings'] == 1
    point = server.points()[-1]
    assert os.path.dirname(other) in point['source']
    job = server.run('jobs', done.summary['job_id']).ok().document
    assert [w['code'] for w in job['warnings']] == [900702] and job['warnings'][0]['path'] == os.path.dirname(other)
    shutil.move(tree, tree + '.gone')
    failed = server.backup()
    assert failed.status == FAILED and failed.code == 900702
    assert len(server.points()) == 2
    assert server.run('jobs').ok().document[0]['status'] == 'failed'


def test_paths_by_hand_have_exclusions_too(server, tree):
    server.backup(tree, '--exclude', f'{tree}/sub/', '--exclude', '*.tmp', '--exclude-caches').ok()
    left = stored(server, tree)
    assert not any(p.startswith('sub') or p.endswith('.tmp') for p in left) and 'tagged/big' not in left and 'liar/x' in left
    assert server.backup('--exclude', 'x').status == USAGE
    refused = server.backup(tree, '--exclude', '/')
    assert refused.status == USAGE and 'never match' in refused.error['message']


def test_dry_run_counts_the_same(server, tree):
    policy(server, '--source', tree, '--exclude', 'sub', '--exclude-caches').ok()
    said = server.backup('--dry-run').ok().summary
    assert server.backup().ok().summary['files'] == said['files']


@pytest.mark.root
def test_nodump_and_other_file_systems(server, tree, stage):
    disk = stage.mount('ext4')
    if disk is None:
        pytest.skip('no ext4 here')
    top = os.path.join(disk, 'top')
    for name in ('plain', 'flagged', 'folder/in', 'stays'):
        put(top, name)
    for name in ('flagged', 'folder'):
        subprocess.run(['chattr', '+d', os.path.join(top, name)], check=True)
    os.makedirs(os.path.join(top, 'inner'))
    subprocess.run(['mount', '-t', 'tmpfs', 'tmpfs', os.path.join(top, 'inner')], check=True)
    try:
        put(top, 'inner/other')
        policy(server, '--source', top, '--exclude-nodump', '--one-file-system').ok()
        server.backup().ok()
        assert stored(server, top) == {'plain', 'stays', 'inner'}
        for path in sorted(there(top)):
            said = server.run('policy', 'test', os.path.join(top, path)).ok().document
            assert said['included'] == (path in ('plain', 'stays', 'inner')), said
        server.run('restore', 'latest', '--in-place', '--on-conflict', 'overwrite', '--delete-extra', '--yes').ok(DONE, WARNINGS)
        assert there(top) == {'plain', 'flagged', 'folder', 'folder/in', 'stays', 'inner', 'inner/other'}
        policy(server, '--cross-file-systems', '--no-exclude-nodump').ok()
        server.backup().ok()
        assert stored(server, top) == there(top)
    finally:
        subprocess.run(['umount', os.path.join(top, 'inner')], check=True)
