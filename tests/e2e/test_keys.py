"""Who can open a server's backups: another passphrase, a recovery key, a recovery kit, a salvaged state folder."""
import json
import os
import shutil
import sqlite3

import nacl.public
import pytest
import requests

import harness
import reader
from harness import FAILED, USAGE, WARNINGS

NEW = 'a passphrase that replaces the other'


@pytest.fixture
def protected(stage, vault, server, rng):
    """A registered server with one point; .source is its folder."""
    server.source = harness.make_tree(stage.path('source'), rng)
    server.backup(server.source).ok()
    return server


def secret_file(stage, name, text):
    path = stage.path(name)
    with open(path, 'w') as f:
        f.write(text + '\n')
    os.chmod(path, 0o600)
    return path


def restore_elsewhere(stage, agent, protected, *how, name='elsewhere'):
    """On a machine that is not registered; the result."""
    to = stage.path(name + '-restored')
    result = agent(name).restore('latest', to=to, more=list(how))
    if result.status == 0:
        harness.assert_same_tree(protected.source, harness.restored(to, protected.source))
    return result


def key_pair(stage, name='recovery', *encrypt):
    private, public = stage.path(name + '.key'), stage.path(name + '.pub')
    stage.tool('openssl', 'genpkey', '-algorithm', 'X25519', '-out', private, *encrypt)
    stage.tool('openssl', 'pkey', '-in', private, '-pubout', '-out', public,
               *(['-passin', encrypt[-1]] if encrypt else []))
    return private, public


def test_changed_passphrase_opens_and_the_old_one_for_a_while(stage, vault, agent, protected):
    reading = vault.credentials(purpose='restore')
    old, new = protected.passphrase_file, secret_file(stage, 'new', NEW)
    protected.run('passphrase', 'check', '--passphrase-file', old).ok()
    assert protected.run('passphrase', 'change', '--new-passphrase-file', new).ok().document['slot'] == 2
    assert protected.run('passphrase', 'check', '--passphrase-file', new).ok().document['slot'] == 2
    assert protected.run('passphrase', 'check', '--passphrase-file', old).code == 34505
    protected.backup(protected.source).ok()
    for number, passphrase in enumerate((new, old)):
        restore_elsewhere(stage, agent, protected, '--server', 'server', '--credentials', reading, '--passphrase-file',
                          passphrase, name=f'elsewhere{number}').ok()
    wrong = secret_file(stage, 'wrong', 'neither the one nor the other')
    assert restore_elsewhere(stage, agent, protected, '--server', 'server', '--credentials', reading, '--passphrase-file',
                             wrong, name='third').code == 34505
    assert 'passphrase_changed' in vault.log_text()                                         # the vault records it
    vault.stop()
    vault.command('rebuild', vault.folder).ok()
    vault.start()
    restore_elsewhere(stage, agent, protected, '--server', 'server', '--credentials', reading, '--passphrase-file', old,
                      name='after-rebuild').ok()


def test_old_passphrase_ends_after_two_weeks(stage, clock, clocked_vault, clocked_server, rng):
    clocked_server.source = harness.make_tree(stage.path('source'), rng)
    clocked_server.backup(clocked_server.source).ok()
    new = secret_file(stage, 'new', NEW)
    clocked_server.run('passphrase', 'change', '--new-passphrase-file', new).ok()
    kit = stage.path('kit')
    clocked_server.run('recovery-kit', kit).ok()

    def points(passphrase):
        other = harness.Agent(stage, 'other', clock=clock)
        return other.run('points', '--kit', kit, '--passphrase-file', passphrase)
    clock.advance(days=13, hours=23)
    points(clocked_server.passphrase_file).ok()
    clock.advance(hours=2)
    assert points(clocked_server.passphrase_file).code == 34505
    points(new).ok()


def test_lost_passphrase_while_the_server_lives(stage, agent, protected):
    """--generate-passphrase, and a file that exists is not overwritten."""
    made = stage.path('made')
    protected.run('passphrase', 'change', '--generate-passphrase', made).ok()
    again = protected.run('passphrase', 'change', '--generate-passphrase', made)
    assert again.status == FAILED, again
    kit = stage.path('kit')
    protected.run('recovery-kit', kit).ok()
    restore_elsewhere(stage, agent, protected, '--kit', kit, '--passphrase-file', made).ok()


def test_recovery_key_opens_without_a_passphrase(stage, vault, agent, protected):
    private, public = key_pair(stage)
    first = protected.run('passphrase', 'add-recovery-key', public).ok().document
    assert protected.run('passphrase', 'add-recovery-key', public).ok().document == first  # the same slot
    reading = vault.credentials(purpose='restore')
    restore_elsewhere(stage, agent, protected, '--server', 'server', '--credentials', reading, '--recovery-key-file',
                      private).ok()
    # The independent reader opens the slot too, written from docs/format.md.
    der = stage.tool('openssl', 'pkey', '-in', private, '-outform', 'DER')
    store = reader.Store(vault.objects, protected.server_id, nacl.public.PrivateKey(der[-32:]))
    by_passphrase = reader.Store(vault.objects, protected.server_id, harness.PASSPHRASE.encode())
    assert (store.master_key, store.gear_key) == (by_passphrase.master_key, by_passphrase.gear_key)
    stranger, _ = key_pair(stage, 'stranger')
    refused = restore_elsewhere(stage, agent, protected, '--server', 'server', '--credentials', reading,
                                '--recovery-key-file', stranger, name='strange')
    assert refused.status == FAILED and refused.error['name'] == 'RecoveryKeyUnusable', refused
    # A changed passphrase does not touch it, and it does not replace the passphrase.
    new = secret_file(stage, 'new', NEW)
    protected.run('passphrase', 'change', '--new-passphrase-file', new).ok()
    restore_elsewhere(stage, agent, protected, '--server', 'server', '--credentials', reading, '--recovery-key-file',
                      private, name='later').ok()
    restore_elsewhere(stage, agent, protected, '--server', 'server', '--credentials', reading, '--passphrase-file', new,
                      name='passphrase').ok()


def test_recovery_keys_that_cannot_be_used(stage, protected):
    private, public = key_pair(stage)
    locked, _ = key_pair(stage, 'locked', '-aes256', '-pass', 'pass:secret')
    rsa = stage.path('rsa.pub')
    key = stage.tool('openssl', 'genpkey', '-algorithm', 'ED25519')
    with open(rsa, 'wb') as f:
        f.write(stage.tool('openssl', 'pkey', '-pubout', input=key))
    before = protected.run('passphrase', 'check', '--passphrase-file', protected.passphrase_file).ok().document
    for path, reason in ((private, 'private'), (rsa, 'pem'), (protected.passphrase_file, 'pem')):
        result = protected.run('passphrase', 'add-recovery-key', path)
        assert result.status == FAILED and result.error['reason'] == reason, result
    assert protected.run('passphrase', 'check', '--passphrase-file', protected.passphrase_file).ok().document == before
    assert os.path.exists(locked) and os.path.exists(public)


def test_recovery_kit_needs_nothing_but_the_passphrase(stage, vault, agent, protected):
    kit = stage.path('kit')
    protected.run('recovery-kit', kit).ok()
    assert os.stat(kit).st_mode & 0o777 == 0o600
    text = open(kit).read()
    assert text.startswith('# Recovery kit') and harness.PASSPHRASE not in text
    vault.credentials()                                                      # newer credentials do not end a kit
    vault.credentials(purpose='restore')
    how = ['--kit', kit, '--passphrase-file', protected.passphrase_file]
    restore_elsewhere(stage, agent, protected, *how).ok()
    other = agent('other')
    assert len(other.run('points', *how).ok().document) == 1
    other.run('ls', 'latest', '/', *how).ok()
    assert protected.run('recovery-kit', kit).status == FAILED            # nothing is overwritten
    both = other.run('points', *how, '--server', 'server')
    assert both.status == USAGE, both
    wrong = secret_file(stage, 'wrong', 'not the passphrase at all')
    assert other.run('points', '--kit', kit, '--passphrase-file', wrong).code == 34505
    for damage in (text.replace('"secret": "', '"secret": "0'), text[:len(text) // 2], '', '# nothing\n'):
        broken = secret_file(stage, 'broken', damage)
        result = other.run('points', '--kit', broken, '--passphrase-file', protected.passphrase_file)
        assert result.status == FAILED and result.code == 34513, result


def test_a_registered_machine_reads_another_server(stage, vault, agent, protected, rng):
    """Registered here under another name, or with another vault: --server and --kit lead to the other one all the same."""
    kit, reading = stage.path('kit'), vault.credentials(purpose='restore')
    protected.run('recovery-kit', kit).ok()
    elsewhere = harness.Vault(stage, 'elsewhere').init().start()
    for number, other_vault in enumerate((vault, elsewhere)):
        other = agent(f'other{number}')
        other.register(other_vault.credentials(stage.path(f'register{number}'))).ok()
        own = harness.make_tree(stage.path(f'own{number}'), rng, files=5)
        other.backup(own).ok()
        secret = ['--passphrase-file', protected.passphrase_file]
        for way, how in enumerate((['--kit', kit, *secret], ['--server', 'server', '--credentials', reading, *secret])):
            to = stage.path(f'restored{number}{way}')
            other.restore('latest', to=to, more=how).ok()
            harness.assert_same_tree(protected.source, harness.restored(to, protected.source))
            assert len(other.run('points', *how).ok().document) == 1
            other.run('ls', 'latest', protected.source, *how).ok()
            assert other.run('find', '*', *how).ok().document
        to = stage.path(f'restored-own{number}')                             # and its own data as before
        other.restore('latest', to=to).ok()
        harness.assert_same_tree(own, harness.restored(to, own))


def test_recovery_kit_is_for_its_server_only(stage, vault, agent, protected, rng):
    kit = stage.path('kit')
    protected.run('recovery-kit', kit).ok()
    other = agent('other')
    other.register(vault.credentials(), name='other').ok()
    body = json.loads(text_without_comments(kit))
    secret = body['credentials']['secret']
    for path in ('challenge', 'unlock'):
        assert call(vault, secret, 'POST', f'/v1/servers/{other.server_id}:{path}', {})[0] == 404
    status, listed = call(vault, secret, 'GET', '/v1/servers')
    assert status == 200 and [s['name'] for s in listed['servers']] == ['server'], listed
    assert call(vault, secret, 'POST', '/v1/servers', {})[0] in (400, 401, 403)


def call(vault, secret, method, path, body=None):
    answer = requests.request(method, vault.url + path, json=body, verify=False, timeout=30, headers={
        'Authorization': 'Coffer-Credentials ' + secret, 'Coffer-Agent': '0.1.0', 'Coffer-Protocol': '1'})
    return answer.status_code, answer.json()


def text_without_comments(path):
    return ''.join(line for line in open(path) if not line.startswith('#'))


def test_kit_notices_a_vault_that_was_put_back(stage, vault, agent, protected):
    vault.stop()
    copy = vault.folder + '.copy'
    shutil.copytree(vault.folder, copy)
    vault.start()
    with open(os.path.join(protected.source, 'later'), 'w') as f:
        f.write('new since')
    protected.backup(protected.source).ok()
    kit = stage.path('kit')
    protected.run('recovery-kit', kit).ok()
    secret_row = copy_kit_row(vault.folder)
    vault.stop()
    shutil.rmtree(vault.folder)
    os.rename(copy, vault.folder)
    secret_row(vault.folder)                 # the older copy would not know the kit at all: a worse vault than that
    vault.start()
    result = agent('other').run('points', '--kit', kit, '--passphrase-file', protected.passphrase_file)
    assert result.status == WARNINGS, result
    assert b'100' in result.err or b'rolled' in result.err or b'older' in result.err, result


def copy_kit_row(folder):
    """Takes the kit's row out of a vault's database; the result puts it into another."""
    with sqlite3.connect(os.path.join(folder, 'vault.db')) as db:
        rows = db.execute("SELECT * FROM credentials WHERE purpose='kit'").fetchall()
    assert len(rows) == 1

    def put(other):
        with sqlite3.connect(os.path.join(other, 'vault.db')) as db:
            db.executemany(f'INSERT INTO credentials VALUES({",".join("?" * len(rows[0]))})', rows)
    return put


def test_salvaged_state_folder_restores(stage, vault, agent, protected):
    """The dead server's disk: its state folder, put under a home of one's own, is enough without any passphrase."""
    home = stage.path('salvaged')
    os.mkdir(home)
    shutil.copytree(os.path.join(protected.home, 'state'), os.path.join(home, 'state'))
    to = stage.path('restored')
    result = stage.run([harness.program('coffer'), 'restore', 'latest', '--to', to, '--home', home, '--json'])
    assert result.status == 0, result
    harness.assert_same_tree(protected.source, harness.restored(to, protected.source))


