#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Which rows of the feature table are proved where, from the last check.

usage: rows.py --list FILE --results DIR --hosts "H..." --kernels "K..."
               [--need "ROW..."] [--json FILE]

A cell (row, host, kernel) is
  proved    a test that declares the row passed, and none failed
  skip      all that declare it were skipped, with permission
  failed    one that declares it failed, or did not report
  missing   a test declares the row elsewhere, but nothing was reported here
  open      no test declares the row

The exit status is 1 if a cell is failed or missing, or if a row of --need is
not proved in every cell.
"""

import argparse
import json
import os
import sys


def read_rows(path):
    rows = {}
    with open(path) as f:
        for line in f:
            line = line.strip()
            if line and not line.startswith("#"):
                name, title = line.split(None, 1)
                rows[name] = title
    return rows


def cell(cases):
    """State of one cell, and the tests or reasons behind it."""
    def names(cases):
        return sorted({c["program"] for c in cases})

    if not cases:
        return "missing", []
    bad = [c for c in cases if c["status"] == "failed"]
    if bad:
        return "failed", sorted({f"{c['program']}:{c['case']}" for c in bad})
    good = [c for c in cases if c["status"] == "passed"]
    if good:
        return "proved", names(good)
    return "skip", sorted({c["reason"] for c in cases})


def main():
    parser = argparse.ArgumentParser()
    for name in ("list", "results", "hosts", "kernels"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--need", default="")
    parser.add_argument("--json", default="")
    args = parser.parse_args()

    rows = read_rows(args.list)
    combos = [(h, k) for k in args.kernels.split() for h in args.hosts.split()]
    complaints = []
    results = {}
    for h, k in combos:
        path = os.path.join(args.results, f"{h}-{k}.json")
        results[h, k] = []
        if os.path.exists(path):
            with open(path) as f:
                results[h, k] = json.load(f)["cases"]
        else:
            complaints.append(f"{h}-{k} was not run")

    declared = set()
    for cases in results.values():
        for c in cases:
            declared.update(c["rows"])
    for row in sorted(declared - set(rows)):
        complaints.append(f"{row} is declared by a test, but is no row")
    need = args.need.split()
    for row in need:
        if row not in rows:
            complaints.append(f"{row} is no row")

    table = []
    for row, title in rows.items():
        cells = {}
        for combo in combos:
            if row in declared:
                cells[combo] = cell([c for c in results[combo] if row in c["rows"]])
            else:
                cells[combo] = ("open", [])
            state, why = cells[combo]
            name = "-".join(combo)
            if state in ("failed", "missing"):
                complaints.append(f"{row} on {name}: {state} {', '.join(why)}".rstrip())
            elif row in need and state != "proved":
                complaints.append(f"{row} on {name}: needed, but {state}")
        table.append((row, title, cells))

    heads = [f"{h}-{k}" for h, k in combos]
    print("row  " + " ".join(f"{h:<15}" for h in heads) + " what, and proved by")
    notes = []
    for row, title, cells in table:
        tests = sorted({t for state, why in cells.values() if state == "proved"
                        for t in why})
        line = " ".join(f"{cells[c][0]:<15}" for c in combos)
        print(f"{row:<4} {line} {title}" + (f" [{' '.join(tests)}]" if tests else ""))
        for c in combos:
            if cells[c][0] == "skip":
                notes.append(f"{row} on {'-'.join(c)}: {'; '.join(cells[c][1])}")
    if notes:
        print("\nPermitted skips:")
        for note in notes:
            print("  " + note)
    count = {}
    for _, _, cells in table:
        for state, _ in cells.values():
            count[state] = count.get(state, 0) + 1
    print("\n" + ", ".join(f"{n} cells {s}" for s, n in sorted(count.items())))
    for complaint in complaints:
        print("FAILED " + complaint)

    if args.json:
        with open(args.json, "w") as f:
            json.dump({"rows": [
                {"row": row, "title": title,
                 "cells": [{"host": h, "kernel": k, "state": cells[h, k][0],
                            "why": cells[h, k][1]} for h, k in combos]}
                for row, title, cells in table], "complaints": complaints},
                f, indent=1)
            f.write("\n")
    good = count.get("proved", 0)
    skipped = count.get("skip", 0)
    # Last, for those who sum up.
    print(f"{good} passed, {len(complaints)} failed, {skipped} skipped")
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
