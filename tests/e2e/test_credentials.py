"""Registration is a transaction: every way in which a credentials file or the way to the vault can be wrong has its own
reason, and leaves nothing behind on either side."""
import hashlib
import json
import os
import socket
import ssl
import threading

import pytest

import harness
from harness import DONE, FAILED, USAGE

INVALID, UNREADABLE, UNREACHABLE, CERTIFICATE = 34513, 34528, 100021, 100050


def rewrite(path, **changes):
    """Changes members of a credentials file, with a right checksum."""
    with open(path) as f:
        content = json.load(f)
    content.update(changes)
    content.pop('checksum')
    dump = json.dumps(content, sort_keys=True, separators=(',', ':'), ensure_ascii=False)
    content['checksum'] = hashlib.sha256(dump.encode()).hexdigest()
    write(path, json.dumps(content))


def write(path, text):
    with open(path, 'w') as f:
        f.write(text)


def expired(stage, vault, path):
    rewrite(path, issued='2020-01-01T00:00:00Z', expires='2020-01-11T00:00:00Z')


def superseded(stage, vault, path):
    vault.credentials(stage.path('newer.credentials'))


def truncated(stage, vault, path):
    os.truncate(path, os.path.getsize(path) // 2)


def tampered(stage, vault, path):
    with open(path) as f:
        content = json.load(f)
    content['vault_name'] = 'another name'
    write(path, json.dumps(content))


def foreign(stage, vault, path):
    with open(path) as f:
        mine = json.load(f)
    other = harness.Vault(stage, 'other').init()
    with open(other.credentials()) as f:
        theirs = json.load(f)
    write(path, json.dumps(theirs))
    rewrite(path, url=mine['url'], ca=mine['ca'])


def wrong_purpose(stage, vault, path):
    os.rename(vault.credentials(stage.path('restore.credentials'), purpose='restore'), path)


def too_new(stage, vault, path):
    rewrite(path, version=2)


@pytest.mark.parametrize('spoil', [expired, superseded, truncated, tampered, foreign, wrong_purpose, too_new])
def test_reasons(stage, vault, agent, spoil):
    path = vault.credentials()
    spoil(stage, vault, path)
    one = agent()
    for more in ([], ['--check']):
        result = one.register(path, *more)
        assert result.status == FAILED and result.code == INVALID, result
        assert result.error['reason'] == spoil.__name__, result
        assert result.error['causes'] and result.error['actions'], result
    assert not vault.servers() and vault.query('SELECT count(*) FROM servers')[0][0] == 0
    # What failed is not in the way of the right file.
    one.register(vault.credentials(stage.path('right.credentials'))).ok()


def test_not_credentials_at_all(stage, vault, agent):
    one = agent()
    result = one.register(stage.path('does not exist'))
    assert result.status in (FAILED, USAGE) and result.code == UNREADABLE, result
    write(stage.path('text'), 'this is not JSON')
    result = one.register(stage.path('text'))
    assert result.status == FAILED and result.code == INVALID, result


def test_vault_is_not_there(stage, vault, agent):
    path = vault.credentials()
    vault.stop()
    result = agent().register(path)
    assert result.status == FAILED and result.code == UNREACHABLE, result
    assert str(vault.port) in result.error['message'], result


def test_another_service_answers(stage, vault, agent):
    """A server with a certificate that the credentials' CA did not sign is not the vault."""
    path = vault.credentials()
    key, certificate = stage.path('key.pem'), stage.path('certificate.pem')
    stage.tool('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', key, '-out',
               certificate, '-days', '2', '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1')
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(('127.0.0.1', 0)) as listener:
        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                    context.wrap_socket(connection, server_side=True).close()
                except ssl.SSLError:
                    continue
                except OSError:
                    return
        threading.Thread(target=serve, daemon=True).start()
        rewrite(path, url=f'https://127.0.0.1:{listener.getsockname()[1]}')
        result = agent().register(path)
        listener.shutdown(socket.SHUT_RDWR)
    assert result.status == FAILED and result.code in (CERTIFICATE, UNREACHABLE, 900401, 900402), result
    assert result.code != UNREACHABLE, f'a wrong certificate has its own reason: {result}'


def test_check_changes_nothing(stage, vault, agent):
    one = agent()
    one.register(vault.credentials(), '--check').ok(DONE)
    assert vault.query('SELECT count(*) FROM servers')[0][0] == 0
    assert one.backup('/etc').code == 100012


def test_registering_twice(stage, vault, server):
    """A registered server is not registered again by accident."""
    result = server.register(vault.credentials(stage.path('second.credentials')))
    assert result.status in (DONE, FAILED), result
    assert vault.query('SELECT count(*) FROM servers')[0][0] == 1


def test_unregister_and_come_back(stage, vault, server, rng):
    """A machine that was set up anew takes its name over with the passphrase and finds its points."""
    source = harness.make_tree(stage.path('source'), rng, files=10)
    point = server.backup(source).ok().summary['point_id']
    server.run('unregister').ok()
    assert server.run('points').code == 100012
    server.register(vault.credentials(stage.path('second.credentials'))).ok()
    assert [p['id'] for p in server.points()] == [point]
    summary = server.backup(source).ok().summary
    assert summary['bytes_stored'] < 100000, f'what the vault has is not stored again: {summary}'
