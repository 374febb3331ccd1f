#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Collect "bench:" lines, hold them against the limits, write the JSON.

usage: bench.py LIMITS JSON|'' LOG...

A figure is a line
  bench: NAME VALUE UNIT (reference NAME VALUE, ratio R)
in a log; the part in brackets may be missing or repeated.
"""

import json
import re
import sys

FIGURE = re.compile(r"^bench: (\w+) ([\d.]+) (\S+)(.*)$")
REFERENCE = re.compile(r"\(reference (\w+) ([\d.]+)")


def number(text):
    value = float(text)
    return int(value) if value == int(value) else value


def read_limits(path):
    limits = {}
    with open(path) as f:
        for line in f:
            words = line.split("#")[0].split()
            if words:
                limits[words[0]] = words[1:]
    return limits


def evaluate(limit, values):
    """A number, or "times*figure+number"; None if that was not measured."""
    name, plus, more = limit.partition("+")
    times, star, rest = name.partition("*")
    if star:
        name = rest
    if re.match(r"[\d.]+$", name):
        return number(name)
    if name not in values:
        return None
    return values[name] * (number(times) if star else 1) + (number(more) if plus else 0)


def main():
    limits = read_limits(sys.argv[1])
    figures, values, failed = [], {}, 0

    for path in sys.argv[3:]:
        with open(path, errors="replace") as f:
            for line in f:
                m = FIGURE.match(line.rstrip())
                if not m:
                    continue
                name, value, unit, rest = m.groups()
                figure = {"name": name, "value": number(value), "unit": unit}
                reference = REFERENCE.search(rest)
                if reference:
                    figure["reference"] = {"name": reference[1],
                                           "value": number(reference[2])}
                    values.setdefault(reference[1], number(reference[2]))
                values[name] = figure["value"]
                figures.append(figure)

    for figure in figures:
        line = f"bench: {figure['name']} {figure['value']} {figure['unit']}"
        ref = figure.get("reference")
        if ref:
            ratio = figure["value"] / ref["value"] if ref["value"] else 0
            line += f" (reference {ref['name']} {ref['value']}, ratio {ratio:.3f})"
        print(line)

    for name, words in limits.items():
        if name not in values:
            print(f"bench: FAILED {name}: not measured")
            failed += 1
            continue
        if words[0] == "report":
            continue
        bound = evaluate(words[1], values)
        if bound is None:
            print(f"bench: FAILED {name}: {words[1]} was not measured")
            failed += 1
            continue
        good = values[name] == bound if words[0] == "equal" else values[name] <= bound
        if not good:
            print(f"bench: FAILED {name}: {values[name]}, must be "
                  f"{words[0].replace('-', ' ')} {bound} ({words[1]})")
            failed += 1
        elif len(words) > 2 and values[name] > number(words[2]):
            print(f"bench: {name}: {values[name]}, within its limit, short of the "
                  f"aim of {words[2]}")

    if sys.argv[2]:
        with open(sys.argv[2], "w") as f:
            json.dump({"figures": figures}, f, indent=1)
            f.write("\n")
    print(f"bench: {len(figures)} figures, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
