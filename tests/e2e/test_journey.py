"""The commands of README.md run as they are written there, one after the other (only the port is another)."""
import os
import re
import shlex

import harness


def commands():
    """The block behind <!-- journey --> in README.md."""
    with open(os.path.join(harness.TOP, 'README.md'), encoding='utf-8') as f:
        found = re.search(r'<!-- journey -->\n```sh\n(.*?)```', f.read(), re.S)
    assert found, 'README.md has no block behind <!-- journey -->'
    return found[1]


def test_readme(stage):
    port = str(harness.free_port())
    lines = ['set -eu']
    for line in commands().splitlines():
        line = line.replace('8443', port)
        lines.append(line)
        if line.split('#')[0].rstrip().endswith('&'):                       # a person types slower than a shell reads
            lines.append(f'for i in {{1..200}}; do (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null && break; sleep 0.05; done')
    lines.append('kill %1; wait %1')
    script = stage.path('journey.sh')
    with open(script, 'w') as f:
        f.write('\n'.join(lines) + '\n')
    env = {k: v for k, v in os.environ.items() if not k.startswith('COFFER_')}
    env['PATH'] = os.path.dirname(harness.program('coffer')) + ':' + env['PATH']
    process = stage.spawn(['bash', '-m', script], cwd=stage.folder, env=env, stdout=-1, stderr=-2)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out.decode(errors='replace')[-4000:]
    source = re.search(r'^coffer backup (\S+)', commands(), re.M)[1]
    back = re.search(r'^coffer restore \S+ .*--to (\S+)', commands(), re.M)[1]
    assert os.listdir(harness.restored(stage.path(back), source))


def test_policy_of_readme(server):
    """The policy that README.md suggests is one that can be saved."""
    with open(os.path.join(harness.TOP, 'README.md'), encoding='utf-8') as f:
        line = re.search(r'^sudo coffer (policy set .*?[^\\])$', f.read(), re.M | re.S)[1]
    words = shlex.split(line.replace('\\\n', ' '))
    server.run(*words).ok()
    shown = server.run('policy', 'show').ok().document
    assert shown['next_runs'] and shown['points_kept'] > 30, shown
