"""Many days in a row: one vault, two servers, changing trees, restarts and kills; what is kept must not grow by itself.

COFFER_SOAK says how many seconds (default 12, with COFFER_LONG 1800)."""
import os
import signal
import time

import harness
from harness import DONE, WARNINGS

SECONDS = float(os.environ.get('COFFER_SOAK', '1800' if os.environ.get('COFFER_LONG') else '12'))


def resident_kib(pid):
    with open(f'/proc/{pid}/status') as f:
        return next(int(line.split()[1]) for line in f if line.startswith('VmRSS'))


def descriptors(pid):
    return len(os.listdir(f'/proc/{pid}/fd'))


def test_soak(stage, vault, rng):
    agents = []
    for name in ('one', 'two'):
        agent = harness.Agent(stage, name)
        agent.register(vault.credentials(stage.path(f'credentials-{name}'))).ok()
        agents.append((agent, harness.make_tree(stage.path(f'source-{name}'), rng, files=60)))
    rounds = restored = kills = 0
    early_memory = early_descriptors = None
    end = time.monotonic() + SECONDS
    while time.monotonic() < end or rounds < 6:
        agent, source = agents[rounds % 2]
        harness.change_tree(source, rng, share=0.1)
        chance = rng.random()
        if chance < 0.15:  # the agent is killed somewhere in the middle
            process = agent.spawn('backup', source)
            time.sleep(rng.random() * 0.15)  # a random moment is the point of it
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        elif chance < 0.22:
            vault.kill()
            vault.start()
            kills += 1
            early_memory = None
        summary = agent.backup(source).ok(DONE, WARNINGS).summary
        assert summary['status'] in ('completed', 'completed_with_warnings')
        rounds += 1
        if rounds % 5 == 0:
            to = stage.path(f'back-{rounds}')
            agent.restore('latest', to=to).ok(DONE, WARNINGS)
            harness.assert_same_tree(source, harness.restored(to, source))
            harness.remove_folder(to)
            restored += 1
        if rounds % 7 == 0:
            agent.verify('latest').ok(DONE)
        pid = vault.process.pid
        if early_memory is None or rounds < 6:
            early_memory, early_descriptors = resident_kib(pid), descriptors(pid)
        else:
            assert resident_kib(pid) < early_memory + 65536, 'the service grows'
            assert descriptors(pid) < early_descriptors + 64, 'the service leaks descriptors'
    for agent, source in agents:
        points = agent.points()
        agent.verify(points[0]['id']).ok(DONE)
        agent.verify('latest').ok(DONE)
        leftovers = [n for n in os.listdir(agent.home + '/scratch') if n.startswith('.coffer-')]
        assert leftovers == [], leftovers
    print(f'{rounds} backups, {restored} restores, {kills} kills in {SECONDS:.0f} s')
