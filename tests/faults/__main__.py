"""``make faults``: every fault at every point of a rotation, then pairs; or one plan again, with what was written."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from queue import Queue

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.faults.explore import Share, explore
from tests.faults.installation import PLACES
from tests.faults.life import Plan, Run, live
from tests.faults.points import Fault
from tests.faults.stage import Stage

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """The exit code: 1 where something was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--point", type=int, action="append", default=[], help="number of a point; with --fault")
    parser.add_argument("--fault", type=Fault, action="append", default=[], help=", ".join(Fault))
    parser.add_argument("--first", choices=PLACES, default=PLACES[0], help="the place that is written first")
    parser.add_argument("--pairs", type=int, default=500, help="how many pairs of faults")
    parser.add_argument("--seed", type=int, default=1, help="of the pairs")
    parser.add_argument("--no-singles", action="store_true", help="pairs only")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes side by side")
    parser.add_argument("--share", help=argparse.SUPPRESS)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the servers are stopped, and the folders removed
    if given.point or given.fault:
        if len(given.point) != len(given.fault):
            parser.error("each --point has its --fault")
        return again(Plan(faults=dict(zip(given.point, given.fault, strict=True)), first=given.first))
    share = Share(of=given.jobs, singles=not given.no_singles, pairs=given.pairs, seed=given.seed)
    if given.share:
        return a_share(Share(**json.loads(given.share)))
    return report(list(everything(share)))


def again(plan: Plan) -> int:
    """One plan, with all that the rotator wrote."""
    with Stage() as stage:
        run, output = live(stage, plan, "again")
    sys.stdout.write(output)
    for point in run.points:
        mark = f"  <-- {plan.faults[point.number]}" if point.number in plan.faults else ""
        sys.stdout.write(f"{point.number:4} {point.place} {point.what}{mark}\n")
    sys.stdout.write(f"{run.passes} passes, {run.made} keys made, {run.struck} faults struck\n")
    sys.stdout.write("".join(f"VIOLATION {violation}\n" for violation in run.violations))
    return bool(run.violations)


def a_share(share: Share) -> int:
    """In a process of its own: one line of JSON for each run."""
    with Stage() as stage:
        for run in explore(stage, share):
            sys.stdout.write(json.dumps(run.as_json()) + "\n")
            sys.stdout.flush()
    return 0


def everything(share: Share) -> Iterator[Run]:
    """All shares side by side."""
    lines: Queue[str | int] = Queue()

    def follow(process: subprocess.Popen[str]) -> None:
        for line in process.stdout:
            lines.put(line)
        lines.put(process.wait())

    shares = [json.dumps({**asdict(share), "number": number}) for number in range(share.of)]
    with ExitStack() as stack:
        for one in shares:
            command = [sys.executable, "-m", "tests.faults", "--share", one]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(process.terminate)
            threading.Thread(target=follow, args=(process,), daemon=True).start()
        task = (progress := stack.enter_context(Progress(console=console, transient=True))).add_task("runs", total=None)
        left = len(shares)
        while left:
            line = lines.get()
            if isinstance(line, int):
                assert line == 0, "a share ended before its end; see its errors above"
                left -= 1
                continue
            progress.advance(task)
            yield Run.from_json(json.loads(line))


def report(runs: list[Run]) -> int:
    """The tables, and each violation with the command that repeats it."""
    alone, pairs = ([run for run in runs if len(run.plan.faults) == size] for size in (1, 2))
    if alone:
        console.print(_table(alone))
    both = [run for run in pairs if run.struck == len(run.plan.faults)]
    bad = [run for run in runs if run.violations]
    for run in bad:
        console.print(f"\n{run.where}", style="bold red")
        for violation in run.violations:
            console.print(f"  {violation}", markup=False)
        console.print(f"  {run.again}", markup=False)
    points = len({(run.plan.first, number) for run in alone for number in run.plan.faults})
    missed = sum(not run.struck for run in alone)
    console.print(
        f"\n{points} points, {len(alone)} single faults ({missed} not met), {len(both)} pairs "
        f"({len(pairs) - len(both)} more whose second fault was not met): "
        f"{sum(len(run.violations) for run in bad)} violations in {len(bad)} runs"
    )
    return bool(bad)


def _table(runs: list[Run]) -> Table:
    tried: dict[tuple[str, Fault], int] = defaultdict(int)
    violated: dict[tuple[str, Fault], int] = defaultdict(int)
    for run in runs:
        ((number, fault),) = run.plan.faults.items()
        point = run.points[number - 1]
        tried[point.place, fault] += 1
        violated[point.place, fault] += bool(run.violations)
    places = sorted({place for place, _ in tried})
    table = Table("fault", *places, title="one fault: runs, and how many of them violated something")
    for fault in Fault:
        cells = [
            f"{tried[place, fault]}" + (f" [red]{violated[place, fault]}[/]" if violated[place, fault] else "")
            if tried[place, fault]
            else ""
            for place in places
        ]
        table.add_row(fault, *cells)
    return table


if __name__ == "__main__":
    sys.exit(main())
