#!/usr/bin/env python3
"""cf_exclude against git check-ignore: random patterns and paths, verdict and deciding rule.

usage: exclude_git.py TOOL [--cases N] [--seed N]

Left out on purpose: "name**/..." where Git's own shortcut for a literal beginning treats the stars as if they stood
alone, against gitignore(5); and an escaped slash.
"""
import argparse, os, random, subprocess, sys, tempfile

NAMES = ["a", "b", "ab", "abc", "ba", "a.o", "b.o", "a.c", "x y", "[a]", "a*", "#a", "!a", "a b ", "-", "]", "A1", "\xe4"]
ATOMS = ["a", "b", "c", ".", "o", "*", "*", "?", "[ab]", "[!a]", "[^b.]", "[a-c]", "[]a]", "[[:upper:]]", "[[:digit:]x]", "\\*",
         "\\[", "\\#", "-", " ", "[a-]", "[\\]]", "1", "]", "[[:alpha:]-]"]


def make_tree(top, rng):
    paths = []
    def fill(folder, depth):
        for name in rng.sample(NAMES, 6):
            path = folder + "/" + name
            if depth < 3 and rng.random() < 0.5:
                os.mkdir((top + path).encode("latin-1"))
                paths.append(("D", path))
                fill(path, depth + 1)
            else:
                open((top + path).encode("latin-1"), "w").close()
                paths.append(("F", path))
    fill("", 0)
    return paths


def piece(rng):
    if rng.random() < 0.5:
        return rng.choice(NAMES).replace("[", "\\[").replace("*", "\\*")
    return "".join(rng.choice(ATOMS) for _ in range(rng.randint(1, 4)))


def pattern(rng):
    parts = [rng.choice(["**", "**", "***"]) if rng.random() < 0.2 else piece(rng) for _ in range(rng.choice([1, 1, 1, 2, 2, 3, 4]))]
    text = "/".join(parts)
    for i, c in enumerate(text):      # see above
        if text[i:i + 2] == "**" and i > 0 and text[i - 1] not in "/*":
            return pattern(rng)
    text = rng.choice(["", "", "", "/"]) + text + rng.choice(["", "", "/"])
    return rng.choice(["", "", "", "!"]) + text


def one_case(tool, top, paths, rng):
    patterns = [pattern(rng) for _ in range(rng.randint(1, 7))]
    with open(top + "/.gitignore", "w", encoding="latin-1") as f:
        f.write("".join(p + "\n" for p in patterns))
    given = "".join(p[1:] + "\0" for _, p in paths)
    git = subprocess.run(["git", "check-ignore", "--no-index", "-v", "-n", "-z", "--stdin"], cwd=top, input=given.encode("latin-1"),
                         capture_output=True)
    assert git.returncode in (0, 1), git.stderr
    fields = git.stdout.decode("latin-1").split("\0")[:-1]
    expected = []
    for i in range(0, len(fields), 4):
        source, line, rule, _ = fields[i:i + 4]
        expected.append("in -" if not source else f"{'in' if rule.startswith('!') else 'out'} {int(line) - 1}")
    lines = "".join(f"P {p}\n" for p in patterns) + "".join(f"{t} {p}\n" for t, p in paths)
    ours = subprocess.run([tool], input=lines.encode("latin-1"), capture_output=True, check=True).stdout.decode().splitlines()
    assert len(ours) == len(expected) == len(paths)
    wrong = [(p, o, e) for p, o, e in zip(paths, ours, expected) if o != e]
    for p, o, e in wrong[:2]:
        print(f"patterns {patterns!r}, {p[0]} {p[1]!r}: ours {o}, git's {e}")
    return len(paths), len(wrong), sum(e.startswith("out") for e in expected)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("tool")
    parser.add_argument("--cases", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    pairs = wrong = out = 0
    with tempfile.TemporaryDirectory() as top:
        os.environ.update(HOME=top + "/..", GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null")
        subprocess.run(["git", "init", "-q", top], check=True)
        paths = make_tree(top, rng)
        for _ in range(options.cases):
            p, w, o = one_case(options.tool, top, paths, rng)
            pairs, wrong, out = pairs + p, wrong + w, out + o
    print(f"{pairs} pairs of pattern list and path, {out} excluded, {wrong} differ")
    sys.exit(1 if wrong else 0)


main()
