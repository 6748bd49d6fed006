"""The throttle: what all processes of an agent move together, counted where it arrives."""
import os
import socket
import subprocess
import threading
import time

import pytest

from harness import Agent, Vault, wait_for

LONG = bool(os.environ.get('COFFER_LONG'))


class Counter:
    """Passes TCP connections on to a port, and counts what arrives from either side, with its time."""

    def __init__(self, stage, port):
        self.to, self.seen, self.closing = port, [], False
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.url = f'https://127.0.0.1:{self.port}'
        threading.Thread(target=self.accept, daemon=True).start()
        stage.exits.callback(self.close)

    def accept(self):
        while not self.closing:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(('127.0.0.1', self.to))
            except OSError:     # the vault is not up yet
                near.close()
                continue
            # What the agent has not taken must wait at the vault, not here.
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            for s in (near, far):
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.copy, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self.copy, args=(far, near, False), daemon=True).start()

    def copy(self, a, b, up):
        """up: bytes count when they come from the agent; down: when they have gone into its socket."""
        try:
            while True:
                data = a.recv(16384)
                if up:
                    self.seen.append((time.monotonic(), len(data)))
                if not data:
                    b.shutdown(socket.SHUT_WR)
                    return
                view = memoryview(data)
                while view:
                    size = b.send(view)
                    if not up:
                        self.seen.append((time.monotonic(), size))
                    view = view[size:]
        except OSError:
            for s in (a, b):
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def rate(self, start, seconds):
        """Bits a second that moved within these seconds."""
        end = start + seconds
        time.sleep(max(0, end - time.monotonic()))
        return 8 * sum(n for t, n in list(self.seen) if start <= t < end) / seconds

    def close(self):
        self.closing = True
        self.listener.close()


def scene(stage, rng, first_mib):
    vault = Vault(stage)
    counter = Counter(stage, vault.port)
    vault.url = counter.url
    vault.init()
    vault.start()
    agent = Agent(stage)
    agent.register(vault.credentials()).ok()
    for name, mib in (('first', first_mib), ('second', 2 * first_mib)):
        os.mkdir(stage.path(name))
        for i in range(8):
            with open(stage.path(name, f'{i}.bin'), 'wb') as f:
                f.write(rng.randbytes((mib << 20) // 8))
    agent.backup(stage.path('first')).ok()
    return agent, counter


def running(counter, amount):
    """The jobs move their data, not their first words."""
    base = sum(n for _, n in list(counter.seen))
    wait_for(lambda: sum(n for _, n in list(counter.seen)) - base > amount, 60)


def test_together(stage, rng):
    """A backup, a restore and a verify keep to the rate together; a change is followed while they run."""
    agent, counter = scene(stage, rng, 9)
    agent.run('throttle', 'set', '--other', '8Mbit').ok()
    jobs = [agent.spawn('backup', stage.path('second')), agent.spawn('restore', 'latest', '--to', stage.path('to')),
            agent.spawn('verify', 'latest')]
    running(counter, 256 << 10)
    got = counter.rate(time.monotonic(), 10)
    assert all(job.poll() is None for job in jobs), 'a job ended too early to measure'
    assert 7.2e6 <= got <= 8.8e6, f'{got / 1e6:.2f} Mbit/s instead of 8'
    agent.run('throttle', 'set', '--other', '3Mbit').ok()
    time.sleep(1.5)     # the rates are looked at twice a second
    for _ in range(3):      # two seconds are few: a busy machine may leave the line unused in them
        got = counter.rate(time.monotonic(), 2)
        assert got <= 3.8e6, f'{got / 1e6:.2f} Mbit/s instead of 3'
        if got >= 2.2e6:
            break
    assert got >= 2.2e6, f'{got / 1e6:.2f} Mbit/s instead of 3'
    agent.run('throttle', 'off').ok()       # the rest of the data in no time
    for job in jobs:
        out, err = job.communicate(timeout=60)
        assert job.returncode == 0, (out, err)
    assert sorted(os.listdir(stage.path('to') + stage.path('first'))) == [f'{i}.bin' for i in range(8)]


def test_words(stage):
    agent = Agent(stage)
    assert agent.run('throttle', 'show').ok().document['enabled'] is False
    shown = agent.run('throttle', 'set', '--work-hours', '09:00-18:00', '--work-days', 'mon-fri', '--work', '2Mbit', '--other', '50Mbit',
                      env={'TZ': 'UTC'}).ok().document
    assert shown == {**agent.run('throttle', 'show', env={'TZ': 'UTC'}).ok().document, 'now': shown['now'], 'bits_per_second': shown['bits_per_second']}
    assert (shown['work'], shown['other'], shown['enabled']) == (2000000, 50000000, True)
    assert shown['windows'] == [{'days': ['mon', 'tue', 'wed', 'thu', 'fri'], 'from': '09:00', 'to': '18:00'}]
    now = time.gmtime()
    all_day = agent.run('throttle', 'set', '--work-hours', 'daily 00:00-24:00', '--other', 'none').ok().document
    assert all_day['now'] == 'work' and all_day['bits_per_second'] == 2000000 and all_day['other'] is None, now
    assert agent.run('throttle', 'off').ok().document['bits_per_second'] is None
    for bad in (['--work', '2MB'], ['--work', '1kbit'], ['--work-hours', '9-5'], ['--work-days', 'mon-fri'], ['--work-hours', 'noday 09:00-10:00'],
                ['--work', 'none', '--other', 'none']):
        assert agent.run('throttle', 'set', *bad).status == 2, bad
    with open(os.path.join(agent.home, 'state', 'throttle.conf'), 'w') as f:
        f.write('what is this\n')
    assert agent.run('throttle', 'show').code == 900901
    agent.run('throttle', 'off').ok()       # a way out


@pytest.mark.skipif(not LONG, reason='COFFER_LONG: takes five minutes')
@pytest.mark.parametrize('job', ['backup', 'restore', 'verify', 'mount'])
def test_slowest(stage, rng, job):
    """64 kbit/s over a minute."""
    agent, counter = scene(stage, rng, 2)
    agent.run('throttle', 'set', '--other', '64kbit').ok()
    if job == 'mount':
        os.mkdir(stage.path('at'))
        agent.run('mount', 'latest', stage.path('at'), '--idle', '5m').ok()
        stage.exits.callback(agent.run, 'unmount', stage.path('at'))
        process = stage.spawn(['sh', '-c', f'cat {stage.path("at")}{stage.path("first")}/*'], stdout=subprocess.DEVNULL)
    else:
        words = {'backup': ['backup', stage.path('second')], 'restore': ['restore', 'latest', '--to', stage.path('to')], 'verify': ['verify']}
        process = agent.spawn(*words[job])
    running(counter, 48 << 10)
    got = counter.rate(time.monotonic(), 60)
    assert process.poll() is None
    assert 57600 <= got <= 70400, f'{got / 1e3:.2f} kbit/s instead of 64'
    agent.run('throttle', 'off').ok()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, (out, err)
