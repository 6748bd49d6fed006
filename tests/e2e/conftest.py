"""Fixtures of the end-to-end tests (python3-pytest of Debian): run with
    COFFER_BUILD=build /usr/bin/python3 -m pytest tests/e2e
"""
import os
import random
import shutil
import signal
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import harness  # noqa: E402


def stop(number, frame):
    """SIGTERM ends the run as Ctrl-C does: with everything cleaned up."""
    raise KeyboardInterrupt


def pytest_configure(config):
    signal.signal(signal.SIGTERM, stop)
    config.addinivalue_line('markers', 'root: needs root (loop mounts, owners)')
    if not harness.program('coffer') or not harness.program('coffer-vault'):
        raise pytest.UsageError(f'coffer and coffer-vault are not in {harness.BUILD}: build first, or set COFFER_BUILD')


def pytest_collection_modifyitems(items):
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker('root'):
            item.add_marker(pytest.mark.skip(reason='needs root: mounts, owners, file capabilities'))


def pytest_report_header(config):
    return f'coffer: {harness.program("coffer")}, seed {seed()}'


def seed():
    """COFFER_SEED repeats a run."""
    return int(os.environ.get('COFFER_SEED', '20261120'))


@pytest.fixture
def rng(request):
    return random.Random(f'{seed()}/{request.node.name}')


@pytest.fixture
def stage():
    """A folder of its own (short path, mode 0755: ordinary users must get in), and everything in it ended afterwards."""
    folder = tempfile.mkdtemp(prefix='coffer-e2e-', dir=os.environ.get('COFFER_E2E_DIR', '/var/tmp'))
    os.chmod(folder, 0o755)
    stage = harness.Stage(folder)
    try:
        yield stage
    finally:
        stage.close()
        if not os.environ.get('COFFER_E2E_KEEP'):
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def vault(stage):
    """A vault that serves."""
    return harness.Vault(stage).init().start()


@pytest.fixture
def agent(stage):
    """Makes agents by name; not registered."""
    return lambda name='server', **kw: harness.Agent(stage, name, **kw)


@pytest.fixture
def server(vault, agent):
    """A registered agent."""
    one = agent()
    one.register(vault.credentials()).ok()
    return one


@pytest.fixture
def clock(stage):
    """Time that the test moves; see harness.Clock."""
    if not harness.program('coffer', clock=True):
        pytest.skip(f'no programs with a test clock in {harness.BUILD}: meson configure -Dtest_clock=true')
    return harness.Clock(stage.folder)


@pytest.fixture
def clocked_vault(stage, clock):
    """A vault that serves, in the time of the test's clock."""
    return harness.Vault(stage, clock=clock).init().start()


@pytest.fixture
def clocked_server(stage, clocked_vault, clock):
    """A registered agent, in the time of the test's clock."""
    one = harness.Agent(stage, clock=clock)
    one.register(clocked_vault.credentials()).ok()
    return one
