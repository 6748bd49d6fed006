"""Every step of docs/recovery.md, run as it is written: only the places are others."""
import os
import re
import shutil

import pytest

import harness

PAGE = os.path.join(harness.TOP, 'docs', 'recovery.md')


def steps():
    """(where, commands) of each block behind <!-- run: WHERE -->."""
    with open(PAGE, encoding='utf-8') as f:
        page = f.read()
    found = re.findall(r'<!-- run: ([a-z, ]+) -->\n```sh\n(.*?)```', page, re.S)
    assert len(found) == page.count('```sh'), 'a block of commands that nobody runs'
    return found


@pytest.mark.root
def test_recovery_page(stage, rng):
    vault = harness.Vault(stage, 'coffer')
    vault.init().start()
    web1 = harness.Agent(stage, 'web1')
    www, root, mnt = stage.path('www'), stage.path('root'), stage.path('mnt')
    for folder in (www, root, mnt):
        os.mkdir(folder)
    for i in range(30):
        with open(os.path.join(www, f'page{i}.html'), 'wb') as f:
            f.write(rng.randbytes(100000))
    with open(os.path.join(www, 'config.php'), 'w') as f:
        f.write('<?php $secret = 1; ?>\n')
    shutil.copy(web1.passphrase_file, os.path.join(root, 'passphrase'))
    web1.register(vault.credentials()).ok()
    web1.run('policy', 'set', '--source', www).ok()
    web1.run('backup').ok()
    homes = {'server': web1.home, 'elsewhere': stage.path('home-elsewhere'), 'replacement': stage.path('home-replacement'),
             'salvage': stage.path('home-elsewhere'), 'vault': stage.path('home-elsewhere')}
    for home in homes.values():
        os.makedirs(os.path.join(home, 'etc'), exist_ok=True)
        if home != web1.home:
            shutil.copy(os.path.join(web1.home, 'etc', 'agent.conf'), os.path.join(home, 'etc'))
    places = {'/srv/www': www, '/srv/coffer': vault.folder, '/root/': root + '/', '/mnt/': mnt + '/',
              '/var/lib/coffer': os.path.join(web1.home, 'state')}
    # A restored or mounted tree stands below the source's whole path: /mnt/back/srv/www is mnt/back + www here.
    pattern = re.compile(r'/mnt/([a-z]+)/srv/www|' + '|'.join(re.escape(p) for p in sorted(places, key=len, reverse=True)))
    stage.exits.callback(lambda: os.path.ismount(mnt + '/point') and stage.unmount(mnt + '/point'))
    path = ':'.join(sorted({os.path.dirname(harness.program(p)) for p in ('coffer', 'coffer-vault')})) + ':' + os.environ['PATH']
    for number, (where, commands) in enumerate(steps()):
        prepare(number, where, commands, vault, www)
        text = pattern.sub(lambda m: f'{mnt}/{m[1]}{www}' if m[1] else places[m[0]], commands)
        stopped = 'stopped' in where
        if stopped:
            vault.stop()
        done = stage.run(['bash', '-eu', '-c', text], timeout=120,
                         env={'COFFER_HOME': homes[where.split(',')[0]], 'PATH': path})
        assert done.status == 0, f'{where}:\n{text}\n{done}'
        if stopped:
            vault.start()
        if where == 'replacement':                                           # from now on it is the server
            homes['server'] = homes['replacement']
    for place in ('target', 'target2', 'by-key', 'salvaged', 'rest'):
        there = harness.restored(os.path.join(mnt, place), www)
        assert os.path.exists(os.path.join(there, 'config.php')), place
    harness.assert_same_tree(www, harness.restored(os.path.join(mnt, 'target'), www))
    with open(os.path.join(mnt, 'config.php.copy')) as copy, open(os.path.join(mnt, 'config.php.cat')) as cat:
        assert copy.read() == cat.read() == '<?php $secret = 1; ?>\n'


def prepare(number, where, commands, vault, www):
    """What makes the day bad, before the step that mends it."""
    if '--to /mnt/back' in commands or '--in-place --on-conflict overwrite\n' in commands:
        with open(os.path.join(www, 'config.php'), 'w') as f:
            f.write('broken')
    elif '--delete-extra' in commands:
        for name in ('page1.html.locked', 'ransom.txt'):
            open(os.path.join(www, name), 'w').close()
        os.unlink(os.path.join(www, 'page1.html'))
    elif '--best-effort-damaged' in commands:
        pack = vault.packs(kind=0)[0]
        with open(pack, 'r+b') as f:
            f.seek(os.path.getsize(pack) // 2)
            f.write(b'\0' * 16)
