"""The clock that tests move: it works where it is wanted, and the ordinary programs do not have it."""
import subprocess

import pytest

import harness
from harness import DONE

NAME = b'COFFER_TEST_CLOCK'


@pytest.mark.parametrize('name', ['coffer', 'cofferd', 'coffer-vault'])
def test_ordinary_programs_do_not_have_it(name):
    with open(harness.program(name), 'rb') as f:
        assert NAME not in f.read()
    other = harness.program(name, clock=True)
    if not other:
        pytest.skip('no programs with a test clock')
    with open(other, 'rb') as f:
        assert NAME in f.read(), 'the look sees nothing where it must'


def test_time_is_the_files(stage, clock, clocked_vault, clocked_server):
    with open(stage.path('file'), 'w') as f:
        f.write('contents')
    clock.advance(days=3, hours=5)
    clocked_server.backup(stage.path('file')).ok(DONE)
    point, = clocked_server.points()
    assert point['time'] == point['received'] == clock.text
    clock.advance(minutes=90)
    job = clocked_server.run('jobs').ok().document[0]
    assert job['started'] == job['finished'] == point['time'] != clock.text


def test_without_the_file_it_stops(stage, clock):
    done = subprocess.run([harness.program('coffer-vault', clock=True), 'init', stage.path('v'), '--url', 'https://localhost:1'],
                          env={NAME.decode(): '/nonexistent'}, stderr=subprocess.PIPE, check=False)
    assert done.returncode < 0 and b'cannot be read' in done.stderr
