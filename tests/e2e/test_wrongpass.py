"""Passphrases: rules, a wrong one, and what is told."""
import os

import pytest

import harness
from harness import FAILED


def test_takeover_needs_the_passphrase(stage, vault, agent, rng):
    """A machine that registers under a known name must open that name's key slot."""
    source = harness.make_tree(stage.path('source'), rng)
    credentials = vault.credentials()
    first = agent('one')
    first.register(credentials, name='shop').ok()
    first.backup(source).ok()
    stranger = agent('two', passphrase='quite another passphrase')
    result = stranger.register(credentials, name='shop')
    assert result.status == FAILED and result.code in (34511, 34505), result
    assert len(vault.servers()) == 1
    first.backup(source).ok()                                                              # nothing was taken away
    owner = agent('three')
    owner.register(credentials, name='shop').ok()
    to = stage.path('restored')
    owner.restore('latest', to=to).ok()
    harness.assert_same_tree(source, harness.restored(to, source))
    assert first.backup(source).status == FAILED                                           # the token went over


def test_other_machine_reads_with_the_passphrase_only(stage, vault, agent, rng):
    source = harness.make_tree(stage.path('source'), rng)
    first = agent('one')
    first.register(vault.credentials()).ok()
    first.backup(source).ok()
    reading = vault.credentials(purpose='restore')
    other = agent('two')
    wrong = stage.path('wrong')
    with open(wrong, 'w') as f:
        f.write('quite another passphrase\n')
    to = stage.path('restored')
    result = other.restore('latest', to=to, more=['--server', 'one', '--credentials', reading, '--passphrase-file', wrong])
    assert result.status == FAILED and result.code in (34505, 34507, 34506), result
    assert not os.path.exists(to) or not os.listdir(to)
    other.restore('latest', to=to, more=['--server', 'one', '--credentials', reading, '--passphrase-file',
                                         first.passphrase_file]).ok()
    harness.assert_same_tree(source, harness.restored(to, source))


@pytest.mark.parametrize('text', ['', 'short', 'fifteen letters', 'not only ascii: \N{SNOWMAN} at all'])
def test_passphrase_rules(vault, agent, text):
    one = agent('one', passphrase=text)
    result = one.register(vault.credentials())
    assert result.status in (1, 2), result
    assert 'passphrase' in result.error['message'].lower(), result
    assert not vault.servers()
    assert text == '' or text not in result.error['message']
