"""``make week``: sixty days of 200 policies on simulated time, under faults, restarts and reloads; then the figures."""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import time

from rich.console import Console
from rich.table import Table

from tests.domain.build import DAY
from tests.model.quiet import quiet_log
from tests.model.world import scratch
from tests.week.run import growth, week

FLAT = {"rss": 1.1, "objects": 1.05, "files": 1.0, "threads": 1.0, "secrets": 1.2, "events": 1.15, "pages": 1.15}
"""How much the last quarter of the time may have more than the third one."""

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.week", description=__doc__)
    parser.add_argument("--policies", type=int, default=200)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--retention", type=int, default=14, help="of the journal, in days")
    parser.add_argument("--seed", type=int, default=None, help="draws the same faults again")
    given = parser.parse_args()
    seed = secrets.randbelow(10**6) if given.seed is None else given.seed
    console.print(f"seed {seed}")
    begun, folder = time.monotonic(), scratch()
    try:
        with quiet_log(), console.status("starting") as now:
            report = week(
                folder,
                seed=seed,
                policies=given.policies,
                days=given.days,
                retention=given.retention * DAY,
                say=now.update,
            )
    finally:
        shutil.rmtree(folder)
    seconds, cpu = time.monotonic() - begun, time.process_time()
    table = Table("what", "how many", title=f"{given.days} days in {seconds:.0f} s ({cpu:.0f} s of CPU)")
    for what, number in report.counts.items():
        table.add_row(what, f"{number:,}")
    console.print(table)
    table = Table("has", "at 1/2", "at 3/4", "at the end", "growth", "allowed", title="what it has grown to")
    good = not report.violations
    days = [report.samples[given.days // 2], report.samples[3 * given.days // 4], report.samples[-1]]
    for name, most in FLAT.items():
        found = growth(report, name)
        good = good and found <= most
        table.add_row(name, *(f"{getattr(day, name):,}" for day in days), f"{found:.3f}", f"{most}")
    console.print(table)
    for violation in report.violations[:40]:
        console.print(f"violation: {violation}", style="red", markup=False)
    console.print("every promise held, and it stays flat" if good else "NOT GOOD")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
