"""What a few-step model makes of 1, 2, 4 and 8 calls, against its teacher in as many: how far from the data, how fast.

    python benchmarks/fewstep.py [flowmap-mnist] [--n 10000] [--repeats 1] [--runs 9] [--threads 2]

--n 0 measures times alone.

Targets: 16 pictures in 4 calls in 200 ms; FD_clf of the student at 2 calls at most twice its teacher's at 8. Distances
are those of `python -m gen_models evaluate`, against the test set; the teacher has the guidance that was learnt.
Times are medians of pairs: student and teacher in turn, 16 pictures at once.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from gen_models import metrics, zoo
from gen_models.evaluate.subject import Subject, judges_of, source_of
from gen_models.interface import GenerativeModel

FEW, MANY = 2, 8  # calls of the student and of the teacher that are compared


def distance(subject: Subject, repeat: int, values: dict) -> float:
    """FD_clf of samples with such options against the test set."""
    parts = [subject.rows(x) for _, x in subject.draw(repeat, values)]
    return metrics.frechet(torch.cat(parts), subject.reference)


def took(model: GenerativeModel, values: dict) -> float:
    """Seconds for 16 samples at once."""
    begun = time.perf_counter()
    for _ in zoo.sample(model, 0, 16, **values):
        pass
    return time.perf_counter() - begun


def subject_of(name: str, n: int) -> Subject:
    entry = zoo.BUNDLED.entry(name)
    return Subject(name, entry, zoo.load(name), source_of(entry), judges_of(zoo.BUNDLED, entry.data), n, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entry", nargs="?", default="flowmap-mnist")
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=1, help="sets of samples, of which the mean is taken")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    student = subject_of(args.entry, args.n)
    teacher = subject_of(student.entry.teacher, args.n)
    guided = {"guidance": student.model.guidance}
    rows = [("student", student, {"steps": steps}, steps) for steps in (1, 2, 4, 8)]
    rows += [("teacher, euler", teacher, guided | {"solver": "euler", "steps": steps}, steps) for steps in (1, 2, 4, 8)]
    rows += [("teacher, dpm++2m", teacher, guided | {"solver": "dpm++2m", "steps": MANY}, MANY)]
    rows += [("teacher, its walk", teacher, student.model.target(), 15)]
    times: dict[int, list[float]] = {k: [] for k in range(len(rows))}
    for run in range(args.runs + 1):
        for k, (_, subject, values, _) in enumerate(rows):
            seconds = took(subject.model, values)
            if run:  # the first of each is warming up
                times[k].append(seconds)
    found = {}
    for k, (who, subject, values, calls) in enumerate(rows):
        each = f"16 pictures {1000 * statistics.median(times[k]):7.1f} ms"
        if args.n:
            fd = found[who, calls] = statistics.mean(distance(subject, seeds, values) for seeds in range(args.repeats))
            each = f"FD_clf {fd:7.4f}  {each}"
        print(f"{who:18} {calls:3} calls  {each}", flush=True)
    if not args.n:
        return
    best = min(fd for (who, calls), fd in found.items() if who.startswith("teacher") and calls == MANY)
    ratio = found["student", FEW] / best
    print(f"student at {FEW} calls / teacher's best at {MANY}: {ratio:.2f} (at most 2)")


if __name__ == "__main__":
    main()
