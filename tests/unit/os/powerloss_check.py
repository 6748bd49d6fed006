#!/usr/bin/env python3
"""powerloss_check.py RECORDTRACE: at no moment can a loss of power take away what was acknowledged, or leave
half of anything under its final name. Also checks that the replay would notice: a log without its syncs must
show such states."""
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "e2e"))
import powerloss  # noqa: E402


def problem(folder, acknowledged):
    """What is wrong with a disk after power came back; None when nothing is."""
    try:
        with open(folder + "/current") as file:
            text = file.read()
    except FileNotFoundError:
        return "nothing is there, %d was acknowledged" % acknowledged if acknowledged >= 0 else None
    match = re.fullmatch(r"(\S+) (\d+) end", text)
    if not match:
        return "half a file: %r" % text
    if int(match[2]) < acknowledged:
        return "%s is there, %d was acknowledged" % (match[2], acknowledged)
    try:
        with open(folder + "/" + match[1], "rb") as file:
            if file.read() != bytes([97 + int(match[2])]) * 2048:
                return "%s is not whole" % match[1]
    except FileNotFoundError:
        return "%s is missing" % match[1]
    return None


def problems(loss, acks, scratch):
    found = []
    for prefix in range(len(loss) + 1):
        acknowledged = max((number for number, at in acks if at <= prefix), default=-1)
        for choice in powerloss.CHOICES:
            for seed in range(3 if choice in ("subset", "reordered", "torn") else 1):
                loss.build(prefix, scratch + "/after", choice, seed)
                wrong = problem(scratch + "/after", acknowledged)
                if wrong:
                    found.append("after %d (%s), %s: %s" % (prefix, loss.describe(prefix - 1) if prefix else "nothing", choice, wrong))
    return found


def main():
    with tempfile.TemporaryDirectory(prefix="coffer-loss-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as scratch:
        root, log = scratch + "/root", scratch + "/log"
        os.mkdir(root)
        done = subprocess.run([sys.argv[1], root], env=dict(os.environ, COFFER_OS_RECORD=log), capture_output=True, text=True, check=True)
        loss = powerloss.PowerLoss(log, root)
        acks = [(int(number), loss.prefix_of_size(int(size))) for number, size in re.findall(r"ack (\d+) (\d+)", done.stdout)]
        assert len(acks) == 5 and len(loss) > 60, (acks, len(loss))
        loss.build(len(loss), scratch + "/after", "kept")
        same = subprocess.run(["diff", "-r", root, scratch + "/after"], capture_output=True, text=True)
        assert same.returncode == 0, same.stdout
        found = problems(loss, acks, scratch)
        print("\n".join(found[:20]))
        print("%d operations, %d bad states" % (len(loss), len(found)))
        failed = bool(found)
        for kind in (powerloss.SYNC, powerloss.SYNC_FOLDER):
            careless = powerloss.PowerLoss(log, root)
            keep = [number for number, op in enumerate(careless.ops) if op.kind != kind]
            careless.ops = [careless.ops[number] for number in keep]
            late = [(number, sum(1 for kept in keep if kept < at)) for number, at in acks]
            noticed = len(problems(careless, late, scratch))
            print("without %s: %d bad states" % (powerloss.NAMES[kind], noticed))
            failed = failed or noticed == 0
        return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
