"""Two backups at once, a fleet that registers at once, and servers that are none of each other's business."""
import json
import os
import signal
import ssl
import threading
import urllib.error
import urllib.request

import harness
from harness import BUSY, DONE, WARNINGS

FLEET = 20


def test_second_backup_is_refused(stage, vault, server, rng):
    source = stage.path('source')
    os.mkdir(source)
    for i in range(8):
        with open(os.path.join(source, f'file{i}'), 'wb') as f:
            f.write(rng.randbytes(30 << 20))
    first = server.spawn('backup', source)

    def running():
        """the first backup is in the list of jobs"""
        assert first.poll() is None, 'the first backup ended too early'
        jobs = server.run('jobs')
        return jobs.status == DONE and [j for j in jobs.document if j['status'] == 'running']
    job = harness.wait_for(running)[0]
    os.kill(first.pid, signal.SIGSTOP)                                    # it holds its locks as long as we look
    try:
        second = server.backup(source)
        assert second.status == BUSY, second
        assert job['id'] in json.dumps(second.error), second
        # Reading is not excluded.
        server.run('points').ok()
    finally:
        os.kill(first.pid, signal.SIGCONT)
    out, err = first.communicate(timeout=120)
    harness.Result(first.args, first.returncode, out, err).ok()
    server.backup(source).ok()


def test_fleet(stage, vault, agent, rng):
    """20 agents with one credentials file register and back up at once."""
    credentials = vault.credentials()
    shared = harness.make_tree(stage.path('shared'), rng, files=15)
    failures, agents = [], [agent(f'server{i:02d}') for i in range(FLEET)]

    def live(i, one):
        try:
            source = stage.path(f'source{i}')
            harness.copy_folder(shared, source)
            with open(os.path.join(source, 'own'), 'w') as f:
                f.write(f'of server {i}\n' * 1000)
            one.register(credentials).ok()
            one.backup(source).ok(DONE, WARNINGS)
            to = stage.path(f'restored{i}')
            one.restore('latest', to=to).ok()
            harness.assert_same_tree(source, harness.restored(to, source))
        except BaseException as e:                                        # a thread's failure must reach the test
            failures.append(f'server {i}: {e}')
    threads = [threading.Thread(target=live, args=pair) for pair in enumerate(agents)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, '\n'.join(failures[:5])
    assert len(vault.servers()) == FLEET
    for one in agents:
        assert len(one.points()) == 1


def call(vault, method, path, token=None, body=None, headers=None, url=None):
    """(status, reply) of one request, with a token of our choice."""
    context = ssl._create_unverified_context()
    request = urllib.request.Request(url or vault.url + path, method=method, data=body)
    request.add_header('Coffer-Agent', '0.1.0')
    request.add_header('Coffer-Protocol', '1')
    if token:
        request.add_header('Authorization', f'Bearer {token}')
    for name, value in (headers or {}).items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, context=context, timeout=30) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as e:
        return e.code, e.read()


def find_token(server):
    """The agent's token, from its state folder, as 64 hexadecimal digits that the vault accepts."""
    import re
    for where, _, names in os.walk(os.path.join(server.home, 'state')):
        for name in names:
            with open(os.path.join(where, name), 'rb') as f:
                for match in re.findall(rb'(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])', f.read()):
                    yield match.decode()


def test_other_servers_are_foreign(stage, vault, agent, rng):
    """A valid token of server two with server one's IDs: all refused, nothing changed."""
    credentials = vault.credentials()
    one, two = agent('one'), agent('two')
    source = harness.make_tree(stage.path('source'), rng)
    for server in (one, two):
        server.register(credentials).ok()
        server.backup(source).ok()
    point = one.points()[-1]['id']
    tokens = [t for t in find_token(two) if call(vault, 'GET', '/v1/self', t)[0] == 200]
    assert tokens, 'no token of server two found in its state folder'
    token = tokens[0]
    theirs = json.loads(call(vault, 'GET', '/v1/self', token)[1])['server_id']
    first = next(s for s in vault.servers() if s != theirs)
    folder = os.path.join(vault.objects, 'servers', first)
    pack = int(sorted(os.listdir(os.path.join(folder, 'packs')))[0].split('-')[0], 16)
    session = sorted(os.listdir(os.path.join(folder, 'records')))[0]
    with open(os.path.join(folder, 'points', sorted(os.listdir(os.path.join(folder, 'points')))[-1]), 'rb') as f:
        point_object = f.read()
    before = sorted(os.listdir(folder + '/packs')) + sorted(os.listdir(folder + '/points'))
    refused = (400, 403, 404, 409, 410)
    assert call(vault, 'GET', f'/v1/points/{point}', token)[0] in refused
    assert call(vault, 'GET', f'/v1/points/{point}/map', token)[0] in refused
    assert call(vault, 'GET', f'/v1/records/{session}', token)[0] in refused
    assert call(vault, 'POST', f'/v1/sessions/{session}:heartbeat', token, b'{}')[0] in refused
    assert call(vault, 'POST', f'/v1/sessions/{session}:close', token, b'{}')[0] in refused
    assert call(vault, 'PUT', f'/v1/points/{point}', token, point_object, {'Coffer-Session': session})[0] in refused
    body = json.dumps({'session': session, 'size': 1000, 'xxh3': '00' * 16}).encode()
    assert call(vault, 'POST', f'/v1/packs/{pack + 1000000}:upload', token, body)[0] in refused
    status, reply = call(vault, 'POST', '/v1/leases', token, json.dumps({'lease': '11' * 16, 'kind': 'restore', 'points': [point]}).encode())
    assert status in refused, (status, reply)
    # Pack numbers are each server's own: number n of server two is another pack than number n of server one.
    status, reply = call(vault, 'POST', '/v1/packs:download', token, json.dumps({'packs': [pack]}).encode())
    if status == 200:
        for entry in json.loads(reply)['packs']:
            assert 'error' in entry or entry['session'] != session, entry
    for bad in ('', '00' * 32, 'x' * 64, token[:-1]):
        assert call(vault, 'GET', '/v1/self', bad or None)[0] == 401
    assert before == sorted(os.listdir(folder + '/packs')) + sorted(os.listdir(folder + '/points'))
    one.verify('latest').ok()
