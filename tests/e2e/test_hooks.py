"""Commands before and after a backup: what they are told, what their failure means, who may define them; and the two
examples that come with Coffer, with a real SQLite and a real PostgreSQL."""
import glob
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time

import pytest

import harness
from harness import DONE, FAILED, WARNINGS, wait_for

AGENT = {'kdf_memory': '19MiB', 'kdf_passes': 2, 'pack_size': '1MiB'}
EXAMPLES = os.path.join(harness.TOP, 'share', 'hooks')


class Hooks:
    def __init__(self, stage, server):
        self.stage, self.server, self.hooks = stage, server, {}
        self.folder, self.source = stage.path('hooks'), stage.path('source')
        os.mkdir(self.folder, 0o755)
        os.mkdir(self.source)
        with open(os.path.join(self.source, 'file'), 'w') as f:
            f.write('contents')
        server.run('policy', 'set', '--source', self.source).ok()

    def script(self, name, text, mode=0o755):
        path = os.path.join(self.folder, name)
        with open(path, 'w') as f:
            f.write('#!/bin/sh\n' + text)
        os.chmod(path, mode)
        return path

    def define(self, name, **keys):
        """name's keys, and the policy that names all that were defined."""
        self.hooks.update({f'{name}.{key}': value for key, value in keys.items()})
        self.server.configure({'agent': AGENT, 'hooks': self.hooks})
        names = dict.fromkeys(key.rsplit('.', 1)[0] for key in self.hooks)
        self.server.run('policy', 'set', *[w for n in names for w in ('--hook', n)]).ok()

    def log(self, name):
        return f'env >{self.stage.path(name)}\n'

    def said(self, name):
        with open(self.stage.path(name)) as f:
            return dict(line.rstrip('\n').split('=', 1) for line in f)

    def warnings(self):
        job = self.server.run('jobs').document[0]
        return self.server.run('jobs', job['id']).document['warnings']


@pytest.fixture
def hooks(stage, server):
    return Hooks(stage, server)


def test_they_are_told_what_happens(hooks):
    order = hooks.stage.path('order')
    for name in 'one', 'two':
        hooks.define(name, pre=hooks.script(f'{name}-pre', hooks.log(f'{name}-pre') + f'echo {name}-pre $* >>{order}\n') + ' a  b',
                     post=hooks.script(f'{name}-post', hooks.log(f'{name}-post') + f'echo {name}-post >>{order}\n'))
    summary = hooks.server.backup().ok().summary
    with open(order) as f:
        assert f.read().split('\n') == ['one-pre a b', 'two-pre a b', 'two-post', 'one-post', '']
    before, after = hooks.said('one-pre'), hooks.said('two-post')
    assert before['COFFER_HOOK'] == 'one' and before['COFFER_PHASE'] == 'pre' and before['COFFER_SCHEDULED'] == ''
    assert after['COFFER_JOB'] == before['COFFER_JOB'] == summary['job_id'] and after['COFFER_PHASE'] == 'post'
    assert after['COFFER_POINT'] == summary['point_id'] and after['COFFER_STATUS'] == 'completed'
    assert after['COFFER_ERROR'] == after['COFFER_WARNINGS'] == '0' and after['COFFER_SERVER'] == 'server'
    assert before['COFFER_JOB_TYPE'] == 'backup' and 'COFFER_POINT' not in before
    assert not any(name.startswith(('PYTEST', 'HOME', 'USER', 'COFFER_BUILD', 'COFFER_HOME')) for name in before), before
    # Paths given by hand are not the policy's selection: no hooks.
    os.unlink(order)
    hooks.server.backup(hooks.source).ok()
    assert not os.path.exists(order)


@pytest.mark.parametrize('meaning', ['fail', 'warning', 'ignore'])
def test_what_a_failure_means(hooks, meaning):
    for phase in 'pre', 'post':
        what_a_failure_means(hooks, phase, meaning)


def what_a_failure_means(hooks, phase, meaning):
    before = len(hooks.server.points())
    hooks.hooks.clear()
    hooks.define('bad', **{phase: hooks.script('bad', 'echo the reason is this >&2; exit 7\n'), 'on_failure': meaning})
    hooks.define('other', post=hooks.script('other', hooks.log('other')))
    result = hooks.server.backup()
    points = len(hooks.server.points()) - before
    if meaning == 'fail':
        assert result.status == FAILED and result.code == 900930 and result.error['reason'] == 'exit'
        assert 'exit status 7; it said: the reason is this' in result.error['message'] and 'hook bad' in result.error['message']
        job = hooks.server.run('jobs').document[0]
        assert job['status'] == 'failed' and job['error']['code'] == 900930
        assert points == (0 if phase == 'pre' else 1) and bool(job['point_id']) == (phase == 'post')
    elif meaning == 'warning':
        assert result.status == WARNINGS and points == 1
        warning, = hooks.warnings()
        assert warning['code'] == 900930 and 'the reason is this' in warning['message']
    else:
        assert result.status == DONE and points == 1
    # Hooks whose turn never came have nothing to clean up.
    assert os.path.exists(hooks.stage.path('other')) == (phase == 'post' or meaning != 'fail')
    if os.path.exists(hooks.stage.path('other')):
        os.unlink(hooks.stage.path('other'))


def test_a_time_limit_ends_it_with_what_it_started(hooks):
    mark = hooks.stage.path('mark')
    hooks.define('slow', pre=hooks.script('slow', f'(sleep 60; touch {mark}) &\necho $! >{mark}.pid\nwait\n'), timeout='1s')
    begun = time.monotonic()
    result = hooks.server.backup()
    assert time.monotonic() - begun < 20 and result.status == FAILED and result.error['reason'] == 'timeout'
    with open(mark + '.pid') as f:
        child = int(f.read())
    wait_for(lambda: not os.path.exists(f'/proc/{child}') or open(f'/proc/{child}/stat').read().rsplit(')', 1)[1].split()[0] == 'Z')


def test_cancelling_ends_it_and_cleans_up(hooks):
    hooks.define('slow', pre=hooks.script('slow', 'exec sleep 60\n'), post=hooks.script('after', hooks.log('after')))
    process = hooks.server.spawn('backup')
    job = wait_for(lambda: next(iter(hooks.server.run('jobs').document), None))
    wait_for(lambda: subprocess.run(['pgrep', '-P', str(process.pid)], stdout=subprocess.DEVNULL, check=False).returncode == 0)
    hooks.server.run('cancel', job['id']).ok()
    assert process.wait(30) == 128 + signal.SIGTERM
    assert hooks.said('after')['COFFER_STATUS'] == 'cancelled' and hooks.said('after')['COFFER_POINT'] == ''
    assert hooks.server.run('jobs').document[0]['status'] == 'cancelled'


def test_much_output_is_no_trouble(hooks):
    hooks.define('loud', pre=hooks.script('loud', 'yes "a line of output" | head -c 5000000; echo the end; exit 1\n'))
    result = hooks.server.backup()
    assert result.error['message'].rstrip().endswith('the end') and len(result.error['message']) < 4000


@pytest.mark.root
def test_what_others_can_change_is_refused(hooks):
    mark = hooks.stage.path('mark')
    script = hooks.script('pre', f'touch {mark}\n')
    hooks.define('one', pre=script)

    def refused(reason='writable'):
        result = hooks.server.backup()
        assert result.status == FAILED and result.code == 900931 and result.error['reason'] == reason, str(result)
        assert not os.path.exists(mark)

    os.chmod(script, 0o777)
    refused()
    os.chmod(script, 0o775)
    refused()
    os.chmod(script, 0o755)
    os.chown(script, 65534, 65534)
    refused()
    os.chown(script, 0, 0)
    os.chmod(hooks.folder, 0o777)                                  # somebody could put another in its place
    refused()
    os.chmod(hooks.folder, 0o1777)                                 # not with the sticky bit
    hooks.server.backup().ok()
    os.unlink(mark)
    os.chmod(hooks.folder, 0o755)
    conf = os.path.join(hooks.server.home, 'etc', 'agent.conf')
    os.chmod(conf, 0o666)
    refused()
    os.chmod(conf, 0o644)
    link = os.path.join(hooks.folder, 'link')
    aside = hooks.stage.path('aside')
    os.mkdir(aside)
    os.chmod(aside, 0o777)
    shutil.copy(script, aside)
    os.symlink(os.path.join(aside, 'pre'), link)
    hooks.define('one', pre=link)
    refused()
    hooks.define('one', pre=os.path.join(hooks.folder, 'nothing'))
    refused('missing')
    hooks.define('one', pre=script, on_failure='warning')
    os.chmod(script, 0o777)
    assert hooks.server.backup().status == WARNINGS and not os.path.exists(mark)
    os.chmod(script, 0o755)
    hooks.server.backup().ok()
    assert os.path.exists(mark)


def test_the_policy_only_names_them(hooks):
    hooks.server.run('policy', 'set', '--hook', 'nowhere').ok(DONE, WARNINGS)
    result = hooks.server.backup()
    assert result.status == WARNINGS
    warning, = hooks.warnings()
    assert warning['code'] == 900931 and 'nowhere' in warning['message']


MISTAKES = [
    ('x.pre = backup', 'absolute'), ('x.pre = /bin/true\nx.pre = /bin/false', 'second time'), ('x.before = /bin/true', 'NAME.pre'),
    ('x.timeot = 5s\nx.pre = /bin/true', "did you mean 'timeout'"), ('x.timeout = 5\nx.pre = /bin/true', '90s, 10min, 2h'),
    ('x.timeout = 25h\nx.pre = /bin/true', '90s, 10min, 2h'), ('x.on_failure = panic\nx.pre = /bin/true', 'fail, warning or ignore'),
    ('x.timeout = 5s', 'no command'), ('a b.pre = /bin/true', 'name')]


def test_mistakes_in_the_file(agent):
    server = agent()
    for line, wanted in MISTAKES:
        with open(os.path.join(server.home, 'etc', 'agent.conf'), 'w') as f:
            f.write('[hooks]\n' + line + '\n')
        result = server.run('jobs')
        assert result.status == harness.USAGE and result.code == 900901 and wanted in result.error['message'], str(result)


def test_sqlite_example(hooks, stage):
    """A database that is written to all the time: every restored copy is whole."""
    database = stage.path('shop.db')
    with sqlite3.connect(database) as db:
        db.executescript('PRAGMA journal_mode=WAL; CREATE TABLE a(n INTEGER, filler BLOB); CREATE TABLE b(n INTEGER);')
    db.close()
    writer = stage.spawn(['/usr/bin/python3', '-c', '''
import sqlite3, sys, os
db, n = sqlite3.connect(sys.argv[1], timeout=60), 0
while True:
    n += 1
    with db:
        db.execute("INSERT INTO a VALUES(?, ?)", (n, os.urandom(2000)))
        db.execute("INSERT INTO b VALUES(?)", (n,))
''', database])
    dumps = stage.path('dumps')
    os.mkdir(dumps)
    hooks.define('shop', pre=f'{EXAMPLES}/sqlite-dump -d {dumps} {database}')
    hooks.server.run('policy', 'set', '--source', dumps).ok()
    rows = 0
    for i in range(2):
        wait_for(lambda: sqlite3.connect(database).execute('SELECT count(*) FROM a').fetchone()[0] > rows + 50)
        summary = hooks.server.backup().ok().summary
        to = stage.path(f'restored{i}')
        hooks.server.restore(summary['point_id'], to=to).ok()
        copy, = glob.glob(harness.restored(to, dumps) + '/*shop.db')
        db = sqlite3.connect(copy)
        assert db.execute('PRAGMA integrity_check').fetchone() == ('ok',)
        counts = db.execute('SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b), (SELECT max(n) FROM a)').fetchone()
        assert counts[0] == counts[1] == counts[2] > rows
        rows = counts[0]
        db.close()
    stage.end(writer)
    hooks.define('shop', pre=f'{EXAMPLES}/sqlite-dump -d {dumps} {database}-misspelt')
    assert 'no such file' in hooks.server.backup().error['message']


@pytest.fixture
def postgres(stage):
    """A PostgreSQL of the test's own: real server, real tools. It runs as a user of its own."""
    harness.need_ordinary_user()
    bins = sorted(glob.glob('/usr/lib/postgresql/*/bin'))
    assert bins, 'the package postgresql is missing (scripts/packages lists it)'
    folder, sockets = stage.path('pgdata'), stage.path('pg')
    os.mkdir(sockets)
    shutil.chown(sockets, 'postgres', 'postgres')
    as_postgres = ['runuser', '-u', 'postgres', '--']
    os.mkdir(folder)
    shutil.chown(folder, 'postgres', 'postgres')
    stage.tool(*as_postgres, f'{bins[-1]}/initdb', '-D', folder, '--auth=peer', '--no-sync', '-E', 'UTF8', '--locale=C.UTF-8')
    become = ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups']  # not a process in between: it gets the signals
    server = stage.spawn([*become, f'{bins[-1]}/postgres', '-D', folder, '-k', sockets, '-c', 'listen_addresses=', '-c', 'fsync=off'],
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def sql(text, database='postgres'):
        return stage.tool(*as_postgres, 'psql', '-X', '-A', '-t', '-h', sockets, '-v', 'ON_ERROR_STOP=1', '-c', text, database).decode().strip()

    def ready():
        return subprocess.run([*as_postgres, 'psql', '-X', '-h', sockets, '-c', '', 'postgres'], stderr=subprocess.DEVNULL,
                              check=False).returncode == 0
    wait_for(ready)
    def stop():
        server.send_signal(signal.SIGINT)                          # a fast shutdown
        server.wait(30)
        stage.end(server)
    sql.folder, sql.sockets, sql.stop = folder, sockets, stop
    return sql


def as_service(*more):
    """The words before a command that leave it the rights of cofferd.service, and of a drop-in."""
    with open(os.path.join(harness.TOP, 'share/systemd/cofferd.service.in')) as f:
        kept = re.search(r'^CapabilityBoundingSet=(.*)', f.read(), re.M).group(1).split() + list(more)
    return ['setpriv', '--bounding-set=-all,' + ','.join('+' + c.lower().replace('cap_', '') for c in kept), '--no-new-privs']


@pytest.mark.root
@pytest.mark.parametrize('how', ['becoming postgres', 'as root by pg_ident.conf'] if os.environ.get('COFFER_LONG')
                         else ['as root by pg_ident.conf'])
def test_postgresql_example(hooks, stage, postgres, how):
    if how.startswith('as root'):
        with open(os.path.join(postgres.folder, 'pg_hba.conf'), 'w') as f:
            f.write('local all postgres peer map=coffer\n')
        with open(os.path.join(postgres.folder, 'pg_ident.conf'), 'a') as f:
            f.write('coffer root postgres\ncoffer postgres postgres\n')
        postgres('SELECT pg_reload_conf()')
        service = as_service()
    else:
        service = as_service('CAP_SETUID', 'CAP_SETGID', 'CAP_KILL')
    names = ['shop', "it's a \\name"]
    postgres('CREATE ROLE clerk')
    for name in names:
        postgres('CREATE DATABASE "%s"' % name)
        postgres("CREATE TABLE t AS SELECT n, repeat('x', 100) AS filler FROM generate_series(1, 3000) n", name)
    dumps = stage.path('dumps')
    hooks.define('pg', pre=f'{EXAMPLES}/postgresql-dump -d {dumps} -h {postgres.sockets}', timeout='2min')
    os.mkdir(dumps, 0o700)
    hooks.server.run('policy', 'set', '--source', dumps).ok()
    first = hooks.server.backup(wrapper=service).ok().summary
    postgres("INSERT INTO t VALUES(0, 'new')", 'shop')
    second = hooks.server.backup(wrapper=service).ok().summary
    assert second['bytes_stored'] < first['bytes_stored']          # dumps of what did not change are not sent again
    to = stage.path('restored')
    hooks.server.restore(second['point_id'], to=to).ok()
    where = harness.restored(to, dumps)
    with open(os.path.join(where, 'databases')) as f:
        found = {name: oid for oid, name in (line.rstrip('\n').split(' ', 1) for line in f)}
    assert set(found) == {*names, 'postgres'}
    with open(os.path.join(where, 'roles.sql')) as f:
        assert 'CREATE ROLE clerk' in f.read()
    os.chmod(to, 0o755)
    subprocess.run(['chown', '-R', 'postgres', to], check=True)
    postgres('CREATE DATABASE again')
    stage.tool('runuser', '-u', 'postgres', '--', 'pg_restore', '-h', postgres.sockets, '-d', 'again',
               os.path.join(where, found['shop'] + '.dump'))
    assert postgres('SELECT count(*), min(n) FROM t', 'again') == '3001|0'
    postgres.stop()
    failed = hooks.server.backup()
    assert failed.status == FAILED and failed.code == 900930 and 'connection' in failed.error['message'], str(failed)


def test_scheduled_runs_have_them_too(stage, clock, clocked_vault, clocked_server):
    hooks = Hooks(stage, clocked_server)
    hooks.define('one', pre=hooks.script('pre', hooks.log('pre')), post=hooks.script('post', hooks.log('post')))
    clocked_server.run('policy', 'set', '--schedule', 'daily 09:00', '--time-zone', 'UTC').ok()
    daemon = harness.Daemon(clocked_server).start(env={'SECRET_OF_THE_SERVICE': '1'})
    clock.advance(hours=9)
    wait_for(lambda: [j for j in clocked_server.run('jobs').document if j['status'] == 'completed'])
    assert hooks.said('pre')['COFFER_SCHEDULED'] == clock.text and 'SECRET_OF_THE_SERVICE' not in hooks.said('pre')
    assert hooks.said('post')['COFFER_STATUS'] == 'completed'
    assert json.dumps(hooks.said('post'))
    daemon.stop()
