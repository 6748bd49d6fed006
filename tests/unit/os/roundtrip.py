#!/usr/bin/env python3
"""roundtrip.py COPYTREE FS: on a fresh file system, build the hostile tree, copy it with the program
copytree, and compare the two with other people's tools. FS "user": in a temporary folder, as an ordinary
user. Exit status 77 (skipped) where this cannot run."""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "e2e"))
import hostile  # noqa: E402


def copy_and_compare(copytree, a, b, fs):
    done = subprocess.run([copytree, a, b], capture_output=True)
    sys.stdout.buffer.write(done.stdout + done.stderr)
    differences = hostile.compare(a, b, fs)
    for line in differences[:60]:
        print(line[:300])
    print("%s: %d differences" % (fs, len(differences)))
    return 1 if done.returncode or done.stdout or differences else 0


def as_user(copytree):
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
    if not os.access("/", os.X_OK) or not os.access(copytree, os.X_OK):
        print("SKIP: the root or the build folder is closed to ordinary users")
        return 77
    base = os.fsencode(tempfile.mkdtemp(prefix="coffer-user-"))
    try:
        hostile.make_tree(base + b"/a", "ext4", as_root=False, big=False)
        return copy_and_compare(copytree, base + b"/a", base + b"/b", "ext4")
    finally:
        subprocess.run(["chmod", "-R", "u+rwX", base], capture_output=True)
        subprocess.run(["rm", "-rf", base], check=False)


def main():
    copytree, fs = sys.argv[1:3]
    if fs == "user":
        return as_user(copytree)
    reason = hostile.available(fs)
    if reason:
        print("SKIP: %s: %s" % (fs, reason))
        return 77
    with hostile.loop_mount(fs, "700M") as mount:
        a, b = mount + b"/a", mount + b"/b"
        hostile.make_tree(a, fs, big=fs != "ntfs")
        try:
            return copy_and_compare(copytree, a, b, fs)
        finally:
            for path in (a, b):
                if os.path.isdir(path):
                    hostile.clear_flags(path)


if __name__ == "__main__":
    sys.exit(main())
