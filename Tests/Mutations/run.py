#!/usr/bin/env python3
"""Removes guards of the state machines, one at a time, and sees that the simulation finds each.

The sources are copied to .build-mutations and every guard there is made to depend on a variable of the environment, so
that one build serves all. Exit code 1 if a mutation is not found in 1,000 schedules, or if the unchanged code fails.
"""

import os, pathlib, re, shutil, subprocess, sys

root = pathlib.Path(__file__).resolve().parents[2]
copy = root / ".build-mutations"
SCHEDULES = 1000

WORKERS, WORKER = "Coordinator+Workers.swift", "Worker.swift"
# What it does, the file, the guard, and the guard as it is when mutation M is on.
MUTATIONS = [
    ("a result is taken though its items are done", WORKERS,
     "job.batch == runs[k].batchNumber, isOpen(job, k)\n        else {\n            // Done",
     "job.batch == runs[k].batchNumber, M || isOpen(job, k)\n        else {\n            // Done"),
    ("a result of an earlier batch is taken for one of the running batch", WORKERS,
     "guard let k = index(job.study), job.batch == runs[k].batchNumber,",
     "guard let k = index(job.study), M || job.batch == runs[k].batchNumber,",
     "attempt.job.batch == runs[k].batchNumber else { return }\n        settle",
     "M || attempt.job.batch == runs[k].batchNumber else { return }\n        settle"),
    ("a lease that its holder does not name is kept", WORKERS,
     "where !held.contains(lease.attempt) &&", "where !M && !held.contains(lease.attempt) &&"),
    ("leases that a process no longer names in its hello are forgotten", WORKERS,
     "for lease in before where !held.contains", "for lease in before where !M && !held.contains"),
    ("leaving as planned counts against the job", WORKERS,
     "&& !isPlanned ?", "&& (M || !isPlanned) ?"),
    ("all jobs of a lost worker are blamed", WORKERS,
     "cause: position == 0 &&", "cause: (M || position == 0) &&"),
    ("an attempt that is lost twice counts twice", WORKERS,
     "if let cause, runs[k].tries[attempt.job]?.lost.contains(attempt.number) != true {",
     "if let cause, M || runs[k].tries[attempt.job]?.lost.contains(attempt.number) != true {"),
    ("a result is acknowledged and not persisted", WORKERS,
     "decide(facts, &effects, now)\n            progressed",
     "if M { for fact in facts { apply(fact, at: now) } } else { decide(facts, &effects, now) }\n            progressed"),
    ("a job is never given up", WORKERS,
     "if losses.count >= settings.crashLimit,", "if !M, losses.count >= settings.crashLimit,"),
    ("a stranger's failure counts", WORKERS,
     "guard roster.incarnation(of: peer) == finished.incarnation,\n                roster[finished",
     "guard M || roster.incarnation(of: peer) == finished.incarnation,\n                M || roster[finished"),
    ("silent workers are not missed", "Coordinator.swift",
     "for incarnation in roster.silent(for: settings.lost, now: now) {",
     "for incarnation in roster.silent(for: settings.lost, now: now) where !M {"),
    ("numbers of attempts are used again", "Coordinator+Scheduling.swift",
     "runs[k].tries[job, default: .init()].number += 1",
     "runs[k].tries[job, default: .init()].number = M ? 1 : (runs[k].tries[job]?.number ?? 0) + 1"),
    ("a result is sent once", WORKER,
     "sendAgain(before: now, &effects, now)\n        for", "if !M { sendAgain(before: now, &effects, now) }\n        for"),
    ("a lost wish for a blob is not repeated", WORKER,
     "for k in fetches.indices where fetches[k].askAgain <= now {",
     "for k in fetches.indices where !M && fetches[k].askAgain <= now {"),
    ("a repeated submission is another study", "Coordinator+Studies.swift",
     "guard !runs.contains(where: { $0.submission.token == submission.token }),",
     "guard M || !runs.contains(where: { $0.submission.token == submission.token }),"),
]


def prepare():
    for name in ["Package.swift", "Sources", "Tests"]:
        target = copy / name
        if target.is_dir():
            shutil.rmtree(target)
        if (root / name).is_dir():
            shutil.copytree(root / name, target)
        else:
            copy.mkdir(exist_ok=True)
            shutil.copy(root / name, target)
    cluster = copy / "Sources/Cluster"
    for number, (what, file, *edits) in enumerate(MUTATIONS, 1):
        path = cluster / file
        text = path.read_text()
        for before, after in zip(edits[::2], edits[1::2]):
            if text.count(before) != 1:
                sys.exit(f"mutation {number} ({what}): the guard is there {text.count(before)} times in {file}")
            text = text.replace(before, re.sub(r"\bM\b", f"isMutated({number})", after))
        path.write_text(text)
    (cluster / "Mutated.swift").write_text(
        "import Glibc\n\nprivate let mutation = getenv(\"CAIRN_MUTATION\").map { atoi($0) } ?? 0\n\n"
        "func isMutated(_ number: Int32) -> Bool { mutation == number }\n")


def run(number):
    result = subprocess.run(
        [copy / ".build/release/cairn", "simulate", "--count", str(SCHEDULES), "--no-progress"],
        env={**os.environ, "CAIRN_MUTATION": str(number)}, capture_output=True, text=True)
    line = next((line for line in result.stderr.splitlines() if line.startswith("seed ") or "invariant" in line), "")
    return result.returncode != 0, line


prepare()
subprocess.run(["swift", "build", "-c", "release", "--product", "cairn"], cwd=copy, check=True)
missed = []
for number, what in [(0, "nothing is changed")] + [(k, m[0]) for k, m in enumerate(MUTATIONS, 1)]:
    isFound, line = run(number)
    print(f"{number:3}  {what}: {'found' if isFound else 'not found'}  {line[:120]}", flush=True)
    if isFound != (number > 0):
        missed.append(number)
sys.exit(1 if missed else 0)
