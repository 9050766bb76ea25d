"""``make soak``: a thousand rotations under random faults and kills, then a crowd of rotators on one journal."""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.soak.run import Report, crowd, storm

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.soak", description=__doc__)
    parser.add_argument("--rotations", type=int, default=1000, help="of the storm; the crowd makes a fifth of it")
    parser.add_argument("--seed", type=int, default=None, help="draws the same faults and kills again")
    parser.add_argument("--policies", type=int, default=48, help="of the storm; the crowd has 50")
    parser.add_argument("--keep", type=Path, help="an empty folder for everything that is written; it stays")
    parser.add_argument("--part", choices=["storm", "crowd"], help="only one of the two")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends this ends all that it started
    seed = secrets.randbelow(10**6) if arguments.seed is None else arguments.seed
    console.print(f"seed {seed}")
    good = True
    parts = {
        "storm": (storm, arguments.policies, arguments.rotations),
        "crowd": (crowd, 50, max(arguments.rotations // 5, 60)),
    }
    for name, (part, size, at_least) in parts.items():
        if arguments.part in (None, name):
            begun = time.monotonic()
            with _folder(arguments.keep, name) as folder, console.status(f"{name}: starting") as now:
                report = part(
                    folder,
                    seed=seed,
                    size=size,
                    at_least=at_least,
                    say=lambda text, name=name, now=now: now.update(f"{name}: {text}"),
                )
            show(name, seed, report, time.monotonic() - begun)
            good = good and not report.violations
    return 0 if good else 1


@contextmanager
def _folder(keep: Path | None, name: str) -> Iterator[Path]:
    if keep is not None:
        (keep / name).mkdir(parents=True)
        yield keep / name
        return
    with tempfile.TemporaryDirectory(prefix="rotator-soak-") as folder:
        yield Path(folder)


def show(name: str, seed: int, report: Report, seconds: float) -> None:
    table = Table("what", "how many", title=f"{name}, seed {seed}, {seconds:.0f} seconds")
    for what, number in report.counts.items():
        table.add_row(what, f"{number:,}")
    for never in ("refused", "late"):
        if never not in report.counts:
            table.add_row(never, "0")
    table.add_section()
    for kind, number in sorted(report.struck.items()):
        table.add_row(f"fault: {kind}", f"{number:,}")
    table.add_section()
    table.add_row("violations", f"{len(report.violations):,}", style="bold red" if report.violations else "bold green")
    console.print(table)
    for violation in report.violations[:40]:
        console.print(f"violation: {violation}", style="red", markup=False)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        console.print("interrupted; everything is stopped")
        sys.exit(130)
