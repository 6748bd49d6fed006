"""The policy of a server: set, shown, tested, kept by the vault and here, changed on either side."""
import json
import os
import sqlite3
import threading
import time

import harness
from harness import DONE, USAGE, WARNINGS

NO_POLICY, INVALID, CHANGED, CUT = 100101, 100001, 900926, 900927


def show(server):
    return server.run('policy', 'show').ok().document


def change_at_the_vault(vault, change, by='vault'):
    """What an administrator does there; the service runs on."""
    with sqlite3.connect(vault.database, timeout=30) as db:
        server, number, text = db.execute('SELECT server, number, document FROM policies ORDER BY number DESC LIMIT 1').fetchone()
        document = json.loads(text)
        change(document)
        document['number'] = number + 1
        db.execute('INSERT INTO policies VALUES(?, ?, ?, ?, ?)',
                   (server, number + 1, json.dumps(document, separators=(',', ':')), int(time.time()), by))
    db.close()


def test_set_changes_only_what_is_given(stage, server, rng):
    assert server.run('policy', 'show').code == NO_POLICY
    source = harness.make_tree(stage.path('data'), rng, files=2)
    server.run('policy', 'set', '--source', source, '--source', '/etc', '--exclude', '*.tmp', '--schedule', 'daily 09:00,21:00',
               '--time-zone', 'Europe/Berlin').ok()
    first = show(server)
    assert first['number'] == 1 and first['retention']['days'] == 30, 'a first schedule gets a rule'
    assert first['points_kept'] == 60 and len(first['next_runs']) == 5 and first['next_runs'] == sorted(first['next_runs'])
    server.run('policy', 'set', '--keep-weekly', '4', '--weekly-on', 'sat 21:00', '--add-exclude-in', f'{source}:cache/').ok()
    server.run('policy', 'set', '--remove-source', '/etc', '--random-delay', '30m', '--catch-up', '2h', '--system-state').ok()
    second = show(server)
    assert second['number'] == 3 and second['sources'] == [{'path': source, 'exclude': ['cache/']}]
    assert second['retention'] == {**first['retention'], 'weeks': 4, 'weekly_on': 'sat 21:00'}
    assert (second['random_delay_minutes'], second['catch_up_minutes'], second['system_state']) == (30, 120, True)
    assert second['exclude'] == ['*.tmp'] and second['schedule'] == first['schedule'] and second['points_kept'] == 64
    # What show prints is a document that set takes.
    path = stage.path('policy.json')
    with open(path, 'w') as f:
        json.dump(first, f)
    third = server.run('policy', 'set', '--file', path, '--drill', 'weekly').ok().document
    assert third['number'] == 4 and third['sources'] == first['sources'] and third['drill'] == 'weekly'
    status = server.run('status').ok(DONE).document
    assert status['problems'] == [] and status['next_run'] == third['next_runs'][0] and status['policy_version'] == 4
    assert third['below_minimum'] == []
    short = server.run('policy', 'set', '--keep-daily', '3').ok().document
    assert short['below_minimum'] == ['the vault keeps at least 7 days, not 3'] and short['points_kept'] == 14
    server.run('policy', 'set', '--keep-daily', '30').ok()
    text = server.run('policy', 'show', json=False).ok().out.decode()
    assert 'daily 09:00,21:00' in text and 'Europe/Berlin' in text and 'up to 60 recovery points' in text


def test_every_fault_is_listed_and_nothing_changed(stage, server):
    refused = server.run('policy', 'set', '--source', '', '--schedule', 'daily 25:00', '--keep-weekly', '9999', '--keep-daily', 'x',
                         '--weekly-on', 'someday', '--time-zone', 'Mars/Base', '--hook', '../x', '--remove-exclude', 'none')
    assert refused.status == USAGE and refused.code == INVALID
    for part in ('empty path', '25:00', "'x' is not a number", 'someday', 'Mars/Base', "hook '../x'", 'there is none',
                 '9999 weeks', 'nothing to back up'):
        assert part in refused.error['message'], refused.error
    assert server.run('policy', 'show').code == NO_POLICY
    for words, code in ((('--source', '/etc', '--time-zone', 'Mars/Base'), 900925), (('--source', '/etc', '--keep-daily', '3'), 100045),
                        (('--source', '/etc', '--schedule', 'daily 01:00,13:00', '--keep-daily', '9000'), 100109),
                        (('--no-system-state',), INVALID), ((), 900003)):
        assert server.run('policy', 'set', *words).code == code, words
    assert server.run('policy', 'set', '--source', '/etc', '--schedule', 'weekly mon 09:00', '--keep-daily', '3').code == 100045


def test_pause_resume_remove(server):
    assert server.run('policy', 'pause').code == NO_POLICY
    server.run('policy', 'set', '--source', '/etc', '--schedule', 'daily 21:00').ok()
    assert server.run('policy', 'pause').ok().document['protection'] == 'paused'
    paused = server.run('status').ok(DONE).document
    assert paused['next_run'] is None and show(server)['next_runs'] == []
    server.run('policy', 'resume').ok()
    assert server.run('status').ok(DONE).document['next_run']
    assert server.run('policy', 'remove').ok().document['protection'] == 'stopped-until-expiry'
    assert server.run('policy', 'remove', '--keep', 'for-ever').ok().document['protection'] == 'stopped-for-ever'
    status = server.run('status').ok(WARNINGS)
    assert status.document['problems'] == [NO_POLICY]
    assert server.run('status', json=False).ok(WARNINGS).out.decode().startswith(f'error {NO_POLICY} NoPolicy')
    assert server.run('policy', 'resume').ok().document['protection'] == 'on'


def test_in_or_out_and_by_which_rule(stage, server):
    data = stage.path('data')
    for path in ('a/keep.txt', 'a/x.tmp', 'a/keep.tmp', 'cache/CACHEDIR.TAG', 'cache/x', 'deep/cache.d/y', 'dump/z'):
        os.makedirs(os.path.dirname(os.path.join(data, path)), exist_ok=True)
        with open(os.path.join(data, path), 'w') as f:
            f.write('Signature: 8a477f597d28d172789f06886806bc55\n' if 'TAG' in path else 'x')
    server.run('policy', 'set', '--source', data, '--exclude', '*.tmp', '--exclude', '!keep.tmp', '--exclude-caches',
               '--add-exclude-in', f'{data}:/deep/*.d/').ok()

    def test(path):
        got = server.run('policy', 'test', os.path.join(data, path)).ok().document
        return got['included'], got['reason'], got['rule'], got['rule_of'], got['matched']
    assert test('a/keep.txt') == (True, 'source', None, None, None)
    assert test('a/x.tmp') == (False, 'pattern', '*.tmp', 'policy', f'{data}/a/x.tmp')
    assert test('a/keep.tmp') == (True, 'source', '!keep.tmp', 'policy', None)
    assert test('deep/cache.d/y') == (False, 'pattern', '/deep/*.d/', 'source', f'{data}/deep/cache.d')
    assert test('cache/x')[:2] == (False, 'cachedir_tag')
    assert test('../elsewhere')[:2] == (False, 'no_source')
    assert test('a/not/there.tmp')[:3] == (False, 'pattern', '*.tmp')
    both = server.run('policy', 'test', f'{data}/a/x.tmp', f'{data}/a/keep.txt').ok().document
    assert [found['included'] for found in both] == [False, True]
    text = server.run('policy', 'test', f'{data}/a/x.tmp', '/etc/passwd', json=False).ok().out.decode().splitlines()
    assert text[0].startswith('out') and "'*.tmp'" in text[0] and 'below no source' in text[1]


def test_a_change_without_the_vault_waits_for_it(stage, vault, server):
    server.run('policy', 'set', '--source', '/etc').ok()
    vault.stop()
    changed = server.run('policy', 'set', '--add-source', '/usr/bin').ok()
    assert changed.document['pending'] is True and changed.document['number'] == 1
    assert len(show(server)['sources']) == 2
    vault.start()
    assert server.run('status').ok(DONE).document['policy_version'] == 2
    assert show(server)['pending'] is False and len(show(server)['sources']) == 2
    # Made on top of a version that is not the newest any more: the newest wins, and the loss is told.
    vault.stop()
    server.run('policy', 'set', '--add-source', '/usr/lib').ok()
    change_at_the_vault(vault, lambda p: p.update(drill='weekly'))
    vault.start()
    result = server.run('policy', 'show').ok()
    assert result.document['number'] == 3 and result.document['drill'] == 'weekly' and result.document['pending'] is False
    assert [s['path'] for s in result.document['sources']] == ['/etc', '/usr/bin']
    assert b'policy-superseded.json' in result.err and b'/usr/lib' in result.err
    with open(os.path.join(server.home, 'state', 'policy-superseded.json')) as f:
        assert len(json.load(f)['sources']) == 3


def test_a_selection_cut_at_the_vault_is_told(stage, vault, server, rng):
    source = harness.make_tree(stage.path('data'), rng, files=2)
    server.run('policy', 'set', '--source', source, '--source', '/usr/bin').ok()
    change_at_the_vault(vault, lambda p: p.update(drill='monthly'))
    assert show(server)['cut'] == [], 'what does not cut is no cut'

    def cut(policy):
        policy['sources'] = policy['sources'][:1]
        policy['exclude'] = ['*.conf']
    change_at_the_vault(vault, cut)
    result = server.run('policy', 'show').ok()
    told = ["source '/usr/bin' was removed", "exclusion '*.conf' was added"]
    assert result.document['cut'] == told and b'/usr/bin' in result.err
    job = server.backup().ok(WARNINGS).summary
    assert job['warnings'] == 2
    assert [w['code'] for w in server.run('jobs', job['job_id']).ok().document['warnings']] == [CUT, CUT]
    assert server.points()[-1]['status'] == 'completed_with_warnings'
    assert server.run('policy', 'set', '--drill', 'none').ok().document['cut'] == told, 'an edit of something else decides nothing'
    assert server.run('policy', 'set', '--confirm-selection').ok().document['cut'] == []
    change_at_the_vault(vault, lambda p: p.update(exclude=[]))
    change_at_the_vault(vault, lambda p: p.update(sources=[{'path': '/usr/lib', 'exclude': []}]))
    assert show(server)['cut'] == [f"source '{source}' was removed"]
    assert server.run('policy', 'set', '--add-source', source).ok().document['cut'] == []


def test_a_vault_that_forgot_gets_it_again(vault, server):
    server.run('policy', 'set', '--source', '/etc').ok()
    server.run('policy', 'set', '--drill', 'weekly').ok()
    vault.stop()
    vault.change('DELETE FROM policies')
    vault.start()
    result = server.run('policy', 'show').ok()
    assert b'sent again' in result.err and result.document['drill'] == 'weekly' and result.document['number'] == 1
    assert vault.query('SELECT number FROM policies') == [(1,)]


def test_rebuild_restores_the_newest_policy(vault, server):
    for drill in ('weekly', 'monthly', 'daily'):
        server.run('policy', 'set', '--source', '/etc', '--drill', drill).ok()
    before = vault.query('SELECT number, document, changed_by FROM policies ORDER BY number')
    vault.stop()
    for name in os.listdir(vault.folder):
        if name.startswith('vault.db'):
            os.unlink(os.path.join(vault.folder, name))
    vault.command('rebuild', vault.folder).ok(DONE, WARNINGS)
    assert vault.query('SELECT number, document, changed_by FROM policies ORDER BY number') == before
    vault.start()
    assert show(server)['drill'] == 'daily'


def test_edits_at_the_same_time_are_all_there(server):
    server.run('policy', 'set', '--source', '/etc').ok()
    outcomes = []

    def edit(i):
        result = server.run('policy', 'set', '--add-exclude', f'*.{i}')
        outcomes.append(result.code if result.status else None)
    threads = [threading.Thread(target=edit, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = outcomes.count(None)
    assert done >= 1 and set(outcomes) <= {None, CHANGED}
    policy = show(server)
    assert len(policy['exclude']) == done and policy['number'] == 1 + done


def test_exclusions_proposed_for_failed_files(stage, server, rng):
    source = harness.make_tree(stage.path('data'), rng, files=3)
    server.run('policy', 'set', '--source', source).ok()
    job = server.backup(source).ok(DONE, WARNINGS).document['job_id']
    # Rows as a backup leaves them for files that it could not read.
    names = [f'{source}/db/x{i}.lock' for i in range(3)] + [f'{source}/one [1].bin', f'{source}/meta']
    with sqlite3.connect(os.path.join(server.home, 'state', 'coffer.db'), timeout=30) as db:
        columns = [row[1] for row in db.execute('PRAGMA table_info(job_warnings)')]
        for number, name in enumerate(names):
            values = {'job': bytes.fromhex(job), 'number': 1000 + number, 'path': os.fsencode(name),
                      'code': 900703 if name.endswith('meta') else 900101, 'errno': 13, 'err_no': 13, 'message': 'no'}
            used = [c for c in columns if c in values]
            db.execute(f'INSERT INTO job_warnings({",".join(used)}) VALUES({",".join("?" * len(used))})', [values[c] for c in used])
    db.close()
    proposed = server.run('policy', 'exclude', '--from-job', job[:12]).ok().document
    assert proposed == [{'pattern': f'{source}/one \\[1].bin', 'files': 1}, {'pattern': f'{source}/db/*.lock', 'files': 3}]
    assert show(server)['exclude'] == []
    applied = server.run('policy', 'exclude', '--from-job', job[:12], '--apply').ok().document
    assert applied['exclude'] == [p['pattern'] for p in proposed]
    assert server.run('policy', 'test', names[3]).ok().document['included'] is False
    assert server.run('policy', 'exclude', '--from-job', job[:12]).ok().document == []
    assert server.run('policy', 'exclude', '--from-job', 'ffff').code == 900922


def test_days_without_a_backup_come_first(stage, clocked_vault, clocked_server, clock, rng):
    server, source = clocked_server, harness.make_tree(stage.path('data'), rng, files=2)
    server.run('policy', 'set', '--source', source, '--schedule', 'daily 21:00').ok()
    assert server.run('status').ok(DONE).document['problems'] == []
    clock.advance(days=8)
    status = server.run('status').ok(WARNINGS).document
    assert status['problems'][0] == NO_POLICY and status['problem_details'][0]['reason'] == 'stale'
    server.run('policy', 'set', '--schedule', 'weekly/4 sat 21:00', '--keep-daily', '0', '--keep-weekly', '9').ok()
    assert server.run('status').ok(DONE).document['problems'] == [], 'no run of this schedule was due yet'
    clock.advance(days=35)
    assert server.run('status').ok(WARNINGS).document['problems'] == [NO_POLICY, 900933]  # and cofferd does not run


def test_a_waiting_change_that_the_vault_refuses(vault, server):
    server.run('policy', 'set', '--source', '/etc').ok()
    vault.stop()
    server.run('policy', 'set', '--schedule', 'daily 21:00', '--time-zone', 'Europe/Berlin').ok()
    vault.start(env={'TZDIR': '/nonexistent'})                                # its machine has no time zones
    result = server.run('policy', 'show').ok()
    assert result.document['schedule'] is None and result.document['pending'] is False
    assert b'Europe/Berlin' in result.err and b'policy-superseded.json' in result.err
    refused = server.run('policy', 'set', '--schedule', 'daily 21:00', '--time-zone', 'Europe/Berlin')
    assert refused.code == 900925 and 'checked by the vault' in refused.error['message']
    # And the other way round: the policy's zone is not known on the server (any more).
    vault.stop()
    vault.start()
    server.run('policy', 'set', '--schedule', 'daily 21:00', '--time-zone', 'Europe/Berlin').ok()
    shown = server.run('policy', 'show', env={'TZDIR': '/nonexistent'}).ok()
    assert shown.document['next_runs'] == [] and b'900925' in shown.err
    status = server.run('status', env={'TZDIR': '/nonexistent'}).ok(WARNINGS).document
    assert status['problems'] == [900925] and status['next_run'] is None


def test_registered_elsewhere_the_policy_is_forgotten(vault, server):
    server.run('policy', 'set', '--source', '/etc').ok()
    server.run('unregister').ok()
    assert not [name for name in os.listdir(os.path.join(server.home, 'state')) if name.startswith('policy')]
    assert server.run('policy', 'show').code == 100012
    assert server.register(vault.credentials()).ok().document['taken_over'] is True
    assert show(server)['number'] == 1, 'the vault kept it'
