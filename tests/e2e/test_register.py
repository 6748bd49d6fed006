"""The way to the vault: clocks, TLS, proxies, log-in pages, versions, and being killed on it. What is wrong with the
credentials file itself is in test_credentials.py."""
import json
import os
import signal
import time

import pytest

import harness
from harness import DONE, FAILED, WARNINGS
from relay import Proxy, Relay, make_certificate, rewrite, set_header, shift_date

INVALID, UNREACHABLE, PROXY, TLS, BAD_REPLY = 34513, 100021, 100050, 900401, 900402
NOT_REGISTERED, ALREADY, TAKEN, WRONG_PASSPHRASE, CLOCK, VERSION = 100012, 900924, 34511, 34505, 130052, 130003
NO_POLICY = 100101  # what `status` says of a server that was registered and no more
DAY = 86400
NO_PROXY = {name: '' for name in ('https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY', 'no_proxy', 'NO_PROXY')}


def refused(result, code, reason=None, status=FAILED):
    assert result.status == status and result.code == code, result
    assert reason is None or result.error['reason'] == reason, result
    assert result.error['actions'], result
    return result


def nothing_left(agent):
    state = os.path.join(agent.home, 'state')
    assert not [n for n in os.listdir(state) if 'registration' in n], os.listdir(state)
    refused(agent.run('status'), NOT_REGISTERED)


def relayed(stage, vault, change=None, **kw):
    relay = Relay(stage, vault, change, **kw)
    return relay, relay.credentials(vault.credentials(), stage.path('relayed.credentials'))


# ---- clocks ------------------------------------------------------------------------------------------------

def test_the_vaults_clock_decides(stage, vault, agent):
    """By the vault's clock the file has expired, whatever ours says."""
    _, path = relayed(stage, vault, shift_date(11 * DAY))
    one = agent()
    refused(one.register(path), INVALID, 'expired')
    nothing_left(one)


def test_a_clock_that_is_off_is_a_warning(stage, vault, agent):
    relay, path = relayed(stage, vault, shift_date(2 * DAY))
    one = agent()
    result = one.register(path).ok(WARNINGS)
    assert abs(result.document['clock_offset'] - 2 * DAY) < 60
    assert '130052' in result.err.decode()
    status = one.run('status').ok(WARNINGS).document
    assert status['problems'] == [NO_POLICY, CLOCK] and status['vault']['answers'] is True
    relay.change = shift_date(0)
    assert one.run('status').ok(WARNINGS).document['problems'] == [NO_POLICY]


def test_expired_by_our_clock_when_the_vault_is_away(stage, vault, agent):
    path = rewrite(vault.credentials(), stage.path('old'), issued='2020-01-01T00:00:00Z', expires='2020-01-11T00:00:00Z')
    vault.stop()
    result = refused(agent().register(path), INVALID, 'expired')
    assert 'could not be asked' in result.error['message']


@pytest.mark.parametrize('days', [(-30, -1), (1, 30)])
def test_a_certificate_out_of_its_time(stage, vault, agent, days):
    """Expired or not yet valid: a clock is off, which is another thing than a certificate that nobody trusts."""
    _, path = relayed(stage, vault, start=days[0], end=days[1])
    refused(agent().register(path), CLOCK, 'certificate_time')


# ---- TLS ---------------------------------------------------------------------------------------------------

def test_a_certificate_of_another_authority(stage, vault, agent):
    relay = Relay(stage, vault)
    path = rewrite(vault.credentials(), stage.path('other'), url=relay.url)
    one = agent()
    refused(one.register(path), TLS, 'certificate')
    assert not relay.requests, 'nothing may be sent to somebody who is not trusted'
    nothing_left(one)


def test_the_systems_trust_is_not_ours(stage, vault, agent):
    """A certificate that the whole machine trusts is not trusted when the credentials carry a CA."""
    relay = Relay(stage, vault)
    store = stage.path('store.pem')
    with open(store, 'w') as f:
        f.write(relay.ca)
    path = rewrite(vault.credentials(), stage.path('other'), url=relay.url)
    result = agent().run('register', path, '--check', env={'SSL_CERT_FILE': store, 'CURL_CA_BUNDLE': store})
    refused(result, TLS, 'certificate')


def test_an_old_tls_version(stage, vault, agent):
    pem, port = stage.path('old.pem'), harness.free_port()
    ca = make_certificate(pem)
    with open(stage.path('s_server.log'), 'wb') as log:
        stage.spawn(['openssl', 's_server', '-accept', f'127.0.0.1:{port}', '-cert', pem, '-key', pem, '-tls1_1', '-cipher',
                     'ALL:@SECLEVEL=0', '-quiet'], stdout=log, stderr=log)

    def listening():
        """s_server listens"""
        with open('/proc/net/tcp') as f:
            return f':{port:04X} 00000000:0000 0A' in f.read()
    harness.wait_for(listening)
    path = rewrite(vault.credentials(), stage.path('old'), url=f'https://127.0.0.1:{port}', ca=ca)
    refused(agent().register(path), TLS, 'tls_version')


# ---- proxies -----------------------------------------------------------------------------------------------

def test_a_proxy_that_wants_a_password(stage, vault, agent):
    proxy, one, path = Proxy(stage, 'me:secret'), agent(), vault.credentials()
    refused(one.register(path, '--proxy', proxy.url), PROXY, '407')
    nothing_left(one)
    password = stage.path('proxy.password')
    with open(password, 'w') as f:
        f.write('secret\n')
    os.chmod(password, 0o600)
    cheap = {'kdf_memory': '19MiB', 'kdf_passes': 2}
    one.configure({'agent': cheap, 'proxy': {'url': proxy.url, 'user': 'me', 'password_file': password}})
    one.register(path).ok()
    assert proxy.passed > 0
    passed = proxy.passed
    one.run('status').ok(WARNINGS)
    assert proxy.passed > passed, 'later requests take the configured proxy too'


def test_a_proxy_from_the_command_line_is_kept(stage, vault, agent):
    proxy, one = Proxy(stage), agent()
    one.register(vault.credentials(), '--proxy', proxy.url).ok()
    passed = proxy.passed
    assert passed > 0
    one.run('status').ok(WARNINGS)
    assert proxy.passed > passed


@pytest.mark.parametrize('url', ['http://me:secret@127.0.0.1:3128', 'ftp://127.0.0.1:3128', '127.0.0.1'])
def test_a_proxy_address_that_will_not_do(stage, vault, agent, url):
    result = refused(agent().register(vault.credentials(), '--proxy', url), 280001, status=harness.USAGE)
    assert 'secret' not in result.error['message']


def test_a_proxy_of_the_environment(stage, vault, agent):
    proxy, path, one = Proxy(stage), vault.credentials(), agent()
    one.run('register', path, '--check', env={**NO_PROXY, 'https_proxy': proxy.url}).ok()
    assert proxy.passed > 0
    gone = f'http://127.0.0.1:{harness.free_port()}'
    refused(one.run('register', path, '--check', env={**NO_PROXY, 'https_proxy': gone}), PROXY, 'unreachable')


# ---- other answers than a vault's --------------------------------------------------------------------------

@pytest.mark.parametrize('status', [200, 302, 404])
def test_a_login_page(stage, vault, agent, status):
    def page(_, reply):
        reply.update(status=status, headers=[('Content-Type', 'text/html'), ('Location', 'https://login.example/')],
                     body=b'<html>Welcome to the hotel</html>')
    _, path = relayed(stage, vault, page)
    one = agent()
    refused(one.register(path), BAD_REPLY, 'not_json')
    nothing_left(one)


def test_a_vault_behind_a_gateway_that_is_starting(stage, vault, agent):
    """502 without a vault's headers is passing trouble: waited out after the first contact."""
    seen = []

    def gateway(request, reply):
        seen.append(request)
        if len(seen) in (3, 4):
            reply.update(status=502, headers=[], body=b'<html>Bad gateway</html>')
    _, path = relayed(stage, vault, gateway)
    agent().register(path).ok()
    assert len(seen) > 4


def test_rubbish_with_a_vaults_headers(stage, vault, agent):
    def rubbish(request, reply):
        if request[1] == '/v1/version':
            reply['body'] = b'{"vault_id": 7}'
    _, path = relayed(stage, vault, rubbish)
    refused(agent().register(path), BAD_REPLY, 'fields')


@pytest.mark.parametrize('headers, reason', [({'Coffer-Protocol': '2-3'}, 'update_agent'),
                                             ({'Coffer-Agent-Oldest': '99.0'}, 'update_agent')])
def test_versions_that_do_not_overlap(stage, vault, agent, headers, reason):
    def change(_, reply):
        for name, value in headers.items():
            set_header(reply, name, value)
    _, path = relayed(stage, vault, change)
    result = refused(agent().register(path), VERSION, reason)
    assert 'update' in result.error['message']


def test_the_vault_keeps_another_slot_than_was_sent(stage, vault, agent):
    """The key must open from the vault's copy before anything is kept here."""
    def swap(request, reply):
        if request == ('GET', '/v1/slots'):
            text = reply['body'].decode()
            place = text.index('"slot":"') + 100
            reply['body'] = (text[:place] + ('A' if text[place] != 'A' else 'B') + text[place + 1:]).encode()
    relay, path = relayed(stage, vault, swap)
    one = agent()
    refused(one.register(path), 130055)
    nothing_left(one)
    relay.change = lambda request, reply: None
    one.register(path).ok()


def test_answers_that_get_lost(stage, vault, agent):
    """Each answer in turn is lost once, after the vault has done its work: requests are asked again, not done twice."""
    lost = set()

    def lose(request, _):
        if request not in lost and request[1] not in ('/v1/version', '/v1/credentials:check'):
            lost.add(request)
            raise Relay.Cut
    _, path = relayed(stage, vault, lose)
    one, again = agent('one'), agent('one-again')
    one.register(path, name='web').ok()
    again.register(path, name='web').ok()
    assert ('POST', '/v1/servers') in lost and any(p.endswith(':unlock') for _, p in lost)
    assert vault.query('SELECT count(*) FROM servers')[0][0] == 1
    assert again.server_id


# ---- names -------------------------------------------------------------------------------------------------

def test_taking_a_name_over(stage, vault, agent):
    first, second = agent('first'), agent('second')
    path = vault.credentials()
    first.register(path, name='web').ok()
    result = second.register(path, name='web').ok().document
    assert result['taken_over'] is True and result['server_id'] == second.server_id
    # The machine that had the name before is told, keeps its registration, and does nothing by itself.
    status = first.run('status').ok(WARNINGS).document
    assert status['problems'] and status['server']['id'] == second.server_id
    assert vault.query('SELECT count(*) FROM servers')[0][0] == 1


def test_a_name_with_another_passphrase(stage, vault, agent):
    path = vault.credentials()
    first, second = agent('first'), agent('second', passphrase='another passphrase, long enough')
    first.register(path, name='web').ok()
    result = refused(second.register(path, name='web'), WRONG_PASSPHRASE)
    assert any('34507' in cause for cause in result.error['causes'])
    nothing_left(second)
    made = stage.path('made.passphrase')
    refused(second.run('register', path, '--generate-passphrase', made, '--name', 'web'), TAKEN)
    assert not os.path.exists(made), 'no passphrase is made that opens nothing'
    first.run('status').ok(WARNINGS)
    second.register(path, '--new', name='web').ok()
    assert vault.query('SELECT count(*) FROM servers')[0][0] == 2
    first.run('status').ok(WARNINGS)


def test_a_generated_passphrase_is_kept_and_opens(stage, vault, agent):
    path, made = vault.credentials(), stage.path('made.passphrase')
    one, other = agent('one'), agent('other')
    one.run('register', path, '--generate-passphrase', made, '--name', 'web').ok()
    assert os.stat(made).st_mode & 0o777 == 0o600
    other.passphrase_file = made
    assert other.register(path, name='web').ok().document['taken_over'] is True


@pytest.mark.parametrize('passphrase, reason', [('too short', 'too_short'), ('long enough but not \u00e4scii', 'not_ascii'),
                                                ('\u00e4', 'too_short,not_ascii')])
def test_passphrase_rules(stage, vault, agent, passphrase, reason):
    one = agent(passphrase=passphrase)
    refused(one.register(vault.credentials()), 100042, reason, status=harness.USAGE)
    assert vault.query('SELECT count(*) FROM servers')[0][0] == 0


def test_registered_already(stage, vault, agent, server):
    refused(server.register(vault.credentials()), ALREADY)
    other = harness.Vault(stage, 'other').init().start()
    result = refused(server.register(other.credentials()), 100110)
    assert '"vault"' in result.error['message'] and '"other"' in result.error['message']


# ---- status, jobs, unregister ------------------------------------------------------------------------------

def test_status_without_the_vault(stage, vault, server):
    known = server.run('status').ok(WARNINGS).document
    assert known['points'] == 0 and known['vault']['answers'] is True
    vault.stop()
    result = server.run('status').ok(WARNINGS)
    assert result.document['problems'] == [NO_POLICY, 100062] and result.document['vault']['answers'] is False
    assert result.document['points'] == 0 and result.document['checked'] == known['checked']
    assert result.document['problem_details'][1]['reason'] == 'refused'
    text = server.run('status', json=False).ok(WARNINGS).out.decode()
    assert '100062' in text and 'ago' in text
    vault.start()
    server.run('status').ok(WARNINGS)


def test_status_tells_of_a_failed_backup(stage, vault, server, rng):
    source = harness.make_tree(stage.path('source'), rng, files=3)
    server.backup(source).ok()
    assert server.run('status').ok(WARNINGS).document['problems'] == [NO_POLICY]
    failed = server.backup(stage.path('nowhere'))
    assert failed.status != DONE
    jobs = server.run('jobs').ok().document
    if jobs[0]['status'] == 'failed':                                       # refused before a job began: nothing to tell
        status = server.run('status').ok(WARNINGS).document
        assert status['problems'] == [NO_POLICY, jobs[0]['error']['code']] and failed.code == jobs[0]['error']['code']
    server.backup(source).ok()
    status = server.run('status').ok(WARNINGS).document
    assert status['problems'] == [NO_POLICY] and status['last_backup'] and status['points'] == 2


def test_unregister_without_the_vault(stage, vault, server):
    vault.stop()
    result = server.run('unregister', '--yes').ok(WARNINGS)
    assert result.document['vault_told'] is False
    refused(server.run('status'), NOT_REGISTERED)


def test_damaged_keys_are_named(stage, vault, server):
    path = os.path.join(server.home, 'state', 'registration', 'keys')
    with open(path, 'r+b') as f:
        f.seek(50)
        f.write(b'\0\0\0\0')
    status = server.run('status').ok(WARNINGS).document
    assert status['problems'] == [NO_POLICY, 34506] and status['problem_details'][1]['reason'] == 'damaged'
    # The documented way out: forget, and take the name over with the passphrase.
    server.run('unregister').ok()
    assert server.register(vault.credentials()).ok().document['taken_over'] is True


def test_jobs_and_cancel(stage, vault, server, rng):
    source = harness.make_tree(stage.path('source'), rng, files=10)
    assert server.run('jobs').ok().document == []
    done = server.backup(source).ok().summary
    # A backup that hangs on its vault is cancelled, and says so.
    os.kill(vault.process.pid, signal.SIGSTOP)
    process = server.spawn('backup', source)

    def running():
        """the second job is in the history"""
        jobs = server.run('jobs').ok().document
        return jobs[0]['id'] if jobs[0]['status'] == 'running' else None
    try:
        job = harness.wait_for(running)
        server.run('cancel', job[:12]).ok()
    finally:
        os.kill(vault.process.pid, signal.SIGCONT)
    process.communicate(timeout=60)
    assert process.returncode in (130, 143)
    jobs = server.run('jobs').ok().document
    assert [j['id'] for j in jobs] == [job, done['job_id']]
    assert [j['status'] for j in jobs] == ['cancelled', 'completed']
    assert jobs[0]['error']['code'] == 900004 and jobs[1]['point_id'] == done['point_id']
    refused(server.run('cancel', job), 900923, status=harness.USAGE)
    refused(server.run('cancel', 'ffff'), 900922, status=harness.USAGE)
    one = server.run('jobs', done['job_id'][:10]).ok().document
    assert one['warnings'] == [] and one['bytes'] == done['bytes']


# ---- killed on the way -------------------------------------------------------------------------------------

def test_killed_while_registering(stage, vault, agent, rng):
    """At any moment: afterwards it is registered or not, nothing in between, and registering again works."""
    path = vault.credentials()
    start = time.monotonic()
    agent('measure').register(path).ok()
    whole = time.monotonic() - start
    outcomes = {'registered': 0, 'not': 0}
    for i in range(20):
        one = agent(f'server{i}')
        process = one.spawn('register', path, '--passphrase-file', one.passphrase_file, '--name', f'name{i // 2}')
        try:
            process.wait(rng.random() * whole * 1.1)
        except Exception:                                                   # still at it
            pass
        stage.end(process)
        process.stdout.close()
        process.stderr.close()
        status = one.run('status')
        if status.status in (DONE, WARNINGS):
            outcomes['registered'] += 1
            assert status.document['problems'] == [NO_POLICY], status
        else:
            outcomes['not'] += 1
            refused(status, NOT_REGISTERED)
            one.register(path, name=f'name{i // 2}').ok()
            assert one.run('status').ok(WARNINGS).document['problems'] == [NO_POLICY]
    assert outcomes['not'] >= 5, outcomes
    assert vault.query('SELECT count(*) FROM servers')[0][0] <= 11


def test_the_vault_hears_of_jobs(stage, vault, server, rng):
    """Also of one that was cancelled, and of one that ended while the vault was away (the next job tells)."""
    source = harness.make_tree(stage.path('source'), rng, files=10)
    done = server.backup(source).ok().summary

    def at_the_vault():
        return {j['id']: j for j in vault.command('--json', 'jobs', vault.folder).ok().document}
    first = at_the_vault()[done['job_id']]
    assert first['status'] == 'completed' and first['type'] == 'backup'
    process = server.spawn('backup', source)

    def started():
        """a second job is in the history"""
        jobs = server.run('jobs').ok().document
        return jobs[0]['id'] if len(jobs) > 1 else None
    second = harness.wait_for(started)
    vault.kill()
    harness.wait_for(lambda: process.poll() is not None or server.run('cancel', second).status == DONE)
    process.communicate(timeout=60)
    vault.start()
    ended = {j['id']: j for j in server.run('jobs').ok().document}[second]['status']
    assert ended != 'running'
    server.backup(source).ok()
    assert at_the_vault()[second]['status'] == ended


def test_a_scratch_folder_of_ones_own(stage, vault, agent, rng):
    source = harness.make_tree(stage.path('source'), rng, files=10)
    one, scratch = agent(), stage.path('fast disk', 'cache')
    one.register(vault.credentials(), '--scratch', scratch).ok()
    one.backup(source).ok()
    assert os.listdir(scratch) and not os.listdir(os.path.join(one.home, 'scratch'))
    assert one.backup(source).ok().summary['files_unchanged'] == 10


# ---- another server's data ---------------------------------------------------------------------------------

def other_options(credentials, passphrase_file, server='web'):
    return ['--server', server, '--credentials', credentials, '--passphrase-file', passphrase_file]


def test_another_servers_data(stage, vault, agent, rng):
    source = harness.make_tree(stage.path('source'), rng, files=10)
    web, desk = agent('web'), agent('desk', passphrase='a passphrase of another one')
    web.register(vault.credentials()).ok()
    point = web.backup(source).ok().summary['point_id']
    path = vault.credentials(stage.path('restore.credentials'), purpose='restore')

    # On a machine that is not registered at all.
    points = desk.run('points', *other_options(path, web.passphrase_file)).ok().document
    assert [p['id'] for p in points] == [point]
    desk.run('points', *other_options(path, web.passphrase_file, server=web.server_id)).ok()
    refused(desk.run('status'), NOT_REGISTERED)
    refused(desk.run('points', *other_options(path, desk.passphrase_file)), WRONG_PASSPHRASE)
    refused(desk.run('points', *other_options(path, web.passphrase_file, server='nobody')), 140014)
    # The read tokens end with the command, and what they were for is not what registering needs.
    assert vault.query('SELECT count(*) FROM tokens WHERE agent = 0 AND revoked = 0')[0][0] == 0
    assert vault.query('SELECT count(*) FROM tokens WHERE agent = 0')[0][0] > 0
    refused(desk.register(path), INVALID, 'wrong_purpose')


def test_an_ambiguous_name_is_refused_with_the_list(stage, vault, agent):
    path = vault.credentials()
    first, second = agent('first'), agent('second', passphrase='another passphrase, long enough')
    first.register(path, name='web').ok()
    second.register(path, '--new', name='web').ok()
    result = refused(agent('desk').run('points', *other_options(path, first.passphrase_file)), 900003, 'ambiguous', status=harness.USAGE)
    assert first.server_id in result.error['message'] and second.server_id in result.error['message']
    agent('desk2').run('points', *other_options(path, second.passphrase_file, server=second.server_id)).ok()
    # Taking over: the passphrase tells which of the two is meant.
    again = agent('again', passphrase='another passphrase, long enough')
    assert again.register(path, name='web').ok().document['server_id'] == second.run('status').ok(WARNINGS).document['server']['id']
    first.run('status').ok(WARNINGS)


# ---- a vault that answers anything ---------------------------------------------------------------------------

def spoil(value, rng, depth=0):
    """Somewhere in a JSON value something is missing, of another type, or out of range."""
    if isinstance(value, dict) and value and (depth == 0 or rng.random() < 0.6):
        key = rng.choice(sorted(value))
        if rng.random() < 0.2:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: spoil(value[key], rng, depth + 1)}
    if isinstance(value, list) and value and rng.random() < 0.7:
        place = rng.randrange(len(value))
        return value[:place] + [spoil(value[place], rng, depth + 1)] + value[place + (rng.random() < 0.5):]
    return rng.choice([None, True, -1, 0, 1 << 62, 1e300, '', 'x' * 3000, '\u0000', 'ff' * 16, [], [None], {}, {'a': []}, '9999-99-99'])


def test_a_vault_that_answers_anything(stage, vault, agent, rng):
    """Whatever comes back, the agent ends with an error of its own, never with a crash."""
    relay, path = relayed(stage, vault)
    one, source = agent(), harness.make_tree(stage.path('source'), rng, files=5)
    one.register(path).ok()
    one.backup(source).ok()

    def change(request, reply):
        if rng.random() < 0.5:
            return
        try:
            reply['body'] = json.dumps(spoil(json.loads(reply['body']), rng)).encode()
        except ValueError:
            if reply['body'] and rng.random() < 0.3:
                place = rng.randrange(len(reply['body']))
                reply['body'] = reply['body'][:place] + bytes([rng.randrange(256)]) + reply['body'][place + 1:]
    relay.change = change
    ends = {}
    for i in range(60):
        words = rng.choice([('status',), ('points',), ('backup', source), ('register', path, '--check'), ('ls', 'latest')])
        result = one.run(*words, timeout=120)
        assert result.status in (0, 1, 2, 3), result
        assert b'Sanitizer' not in result.err and b'runtime error' not in result.err, result
        ends[result.status] = ends.get(result.status, 0) + 1
    assert ends.get(1, 0) >= 10, ends
    relay.change = lambda request, reply: None
    one.backup(source).ok()
    one.run('verify').ok()
