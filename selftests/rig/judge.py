#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Judge a run of an emulated host.

usage: judge.py --host H --kernel K --status S --serial FILE --console FILE
                --expect FILE --permitted FILE --allowed FILE --json FILE

--expect: what must report: lines "program case ROW ROW...", a program that
names no cases as "program".  --status: what the host's main script returned,
or "timeout" or "died".

Every case that was expected ends as passed, failed or skipped; everything
else that is wrong with the run is a problem. The exit status is 1 unless
there are neither failures nor problems.
"""

import argparse
import fnmatch
import json
import re
import sys

# What no kernel may say, host's or guest's.
BAD = re.compile(
    r"""WARNING: | BUG: | \bOops\b | kernel\ BUG | Kernel\ panic |
    Call\ [Tt]race: | general\ protection\ fault | invalid\ opcode: |
    possible\ (circular|recursive|irq) | suspicious\ RCU | INFO:\ possible |
    rcu.*\b(stall|detected|INFO:) | INFO:\ task\ .*\ blocked |
    \bKASAN\b | \bUBSAN\b | \bKCSAN\b | \bODEBUG\b |
    unreferenced\ object | kmemleak:.*new\ suspected |
    scheduling\ while\ atomic | sleeping\ function\ called |
    unchecked\ MSR\ access | (list_add|list_del)\ corruption |
    refcount_t: | soft\ lockup | hard\ LOCKUP | Missing\ ENDBR |
    Bad\ page | bad\ page | stack\ (is\ )?corrupt | nobody\ cared |
    unable\ to\ handle | double\ fault | WARN_ON |
    \#\ rig:\ kvmi\.ko\ does\ not""",
    re.X,
)
# KASAN, UBSAN and kmemleak announce themselves at boot.
RESULT = re.compile(
    r"^(not ok|ok) +\d+ +(?:- +)?(\S+)\s*(?:# *(SKIP|TODO)\b *(.*))?", re.I
)


def lines(path):
    with open(path, errors="replace") as f:
        return [line.rstrip("\r\n").replace("\0", "") for line in f]


def read_list(path, fields, sep):
    """Lines of "field field ... sep reason"; '#' starts a comment line."""
    entries = []
    for n, line in enumerate(lines(path), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        head, colon, reason = line.partition(sep)
        head = head.split()
        if not colon or len(head) != fields or not reason.strip():
            sys.exit(f"{path}:{n}: not '{fields} fields {sep} reason'")
        entries.append((*head, reason.strip()))
    return entries


def permission(permitted, host, kernel, program, case):
    for h, k, p, c, reason in permitted:
        pairs = ((host, h), (kernel, k), (program, p), (case, c))
        if all(fnmatch.fnmatchcase(value, glob) for value, glob in pairs):
            return reason
    return None


def read_expect(path):
    """{program: {case: [rows]}}, in order."""
    expect = {}
    for line in lines(path):
        words = line.split()
        if words:
            cases = expect.setdefault(words[0], {})
            if len(words) > 1:
                cases[words[1]] = words[2:]
    return expect


def unreported():
    """A program of which nothing is known yet."""
    return {"status": None, "cases": {}, "skip": None, "plan": None, "said": []}


def read_serial(text):
    """What each program reported: {program: (exit status, {case: (...)})}."""
    programs, current = {}, None
    for line in text:
        m = re.match(r"# rig: (start|end) (\S+) ?(\S*)$", line)
        if m and m[1] == "start":
            current = m[2]
            programs[current] = unreported()
        elif m and current:
            programs[current]["status"] = int(m[3])
            current = None
        elif current:
            p = programs[current]
            plan = re.match(r"1\.\.(\d+)\s*(?:# *SKIP\b *(.*))?$", line)
            result = RESULT.match(line)
            if plan:
                p["plan"] = int(plan[1])
                if p["plan"] == 0:
                    p["skip"] = plan[2] or "no reason given"
            elif result:
                ok, name, directive, reason = result.groups()
                status = "passed"
                if ok.lower() != "ok":
                    status = "failed"
                    reason = " ".join(["not ok", *p["said"]])
                elif directive and directive.upper() == "SKIP":
                    status = "skipped"
                # The same name twice: the worse one counts.
                old = p["cases"].get(name)
                if not old or old[0] != "failed":
                    p["cases"][name] = (status, (reason or "").strip())
                p["said"] = []
            elif line.strip():
                # The end of it says why: enough for who has but the verdict.
                p["said"] = [*p["said"], "| " + line[:160].lstrip("# ")][-4:]
    return programs


def judge(args):
    permitted = read_list(args.permitted, 4, ":")
    expect = read_expect(args.expect)
    serial, console = lines(args.serial), lines(args.console)
    reported = read_serial(serial)
    problems, cases = [], []

    if args.status == "timeout":
        problems.append("the emulated host did not finish in time")
    elif args.status == "died":
        problems.append("the emulated host went off before its end")
    elif args.status != "0":
        problems.append(f"the main script returned {args.status}")

    def add(program, case, status, reason, rows):
        if status == "skipped":
            why = permission(permitted, args.host, args.kernel, program, case)
            if why is None:
                status = "failed"
                reason = f"skipped without permission: {reason}"
            else:
                reason = f"{reason} ({why})"
        cases.append({"program": program, "case": case, "status": status,
                      "reason": reason, "rows": rows})

    for program, declared in expect.items():
        p = reported.get(program)
        if p is None:
            p = unreported()
            why = "the program did not run"
        elif p["status"] is None:
            why = " ".join(["the program did not end", *p["said"]])
        elif p["status"] in (124, 137):
            why = " ".join(["the program was killed: timeout", *p["said"]])
        else:
            why = "no report"
        got = p["cases"]
        failed_before = len([c for c in cases if c["status"] == "failed"])
        for case, rows in declared.items():
            if case in got:
                status, reason = got[case]
                add(program, case, status, reason, rows)
            elif p["skip"] is not None and p["status"] == 4:
                add(program, case, "skipped", p["skip"], rows)
            else:
                add(program, case, "failed", why, rows)
                why = why.partition(" | ")[0]
        # Cases nobody declared count all the same.
        for case, (status, reason) in got.items():
            if case not in declared:
                add(program, case, status, reason, [])
        # A program without cases is one itself, told by its exit status.
        if not declared and not got:
            status = {0: "passed", 4: "skipped"}.get(p["status"], "failed")
            if p["status"] not in (0, 4) and p["status"] is not None and why == "no report":
                why = f"exit status {p['status']}"
            add(program, program, status, p["skip"] or why, [])
        failed = len([c for c in cases if c["status"] == "failed"]) - failed_before
        if p["status"] not in (0, 4, None) and not failed:
            problems.append(f"{program}: exit status {p['status']}, "
                            "though no case failed")
        if program in reported and p["status"] is None:
            problems.append(f"{program}: did not end")
        if p["plan"] and p["plan"] != len(got):
            problems.append(f"{program}: planned {p['plan']} cases, "
                            f"reported {len(got)}")

    allowed = [re.compile(line) for line in lines(args.allowed)
               if line.strip() and not line.startswith("#")]
    seen = set()
    for text in (console, serial):
        for line in text:
            if BAD.search(line) and not any(a.search(line) for a in allowed):
                # The kernel's log is printed a second time at the end.
                key = re.sub(r"^\[ *[\d.]+\] ", "", line)
                if key not in seen:
                    seen.add(key)
                    problems.append(f"log: {line.strip()}")
    return cases, problems


def main():
    parser = argparse.ArgumentParser()
    for name in ("host", "kernel", "status", "serial", "console", "expect",
                 "permitted", "allowed", "json"):
        parser.add_argument("--" + name, required=True)
    args = parser.parse_args()

    cases, problems = judge(args)
    count = {s: len([c for c in cases if c["status"] == s])
             for s in ("passed", "failed", "skipped")}
    with open(args.json, "w") as f:
        json.dump({"host": args.host, "kernel": args.kernel,
                   "cases": cases, "problems": problems}, f, indent=1)
        f.write("\n")
    for c in cases:
        if c["status"] == "failed":
            print(f"FAILED {c['program']} {c['case']}: {c['reason']}")
    for problem in problems[:30]:
        print(f"PROBLEM {problem}")
    if len(problems) > 30:
        print(f"PROBLEM ... and {len(problems) - 30} more")
    # A problem is a failure that belongs to no case.
    failed = count["failed"] + len(problems)
    print(f"{count['passed']} passed, {failed} failed, {count['skipped']} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
