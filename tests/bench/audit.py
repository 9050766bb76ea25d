"""``make audit-scale``: an audit of 2,000 policies in 20 projects, on a simulator and a real OpenBao, in figures."""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.__main__ import Cost, measured
from tests.parts.openbao import OpenBao
from tests.parts.rotator import COMMAND, Rotator
from tests.parts.simulator import ORGANIZATION, Simulator

FIELD = "TOGETHER_API_KEY"
console = Console(highlight=False, width=120)


@dataclass(frozen=True)
class Asked:
    """What reached the two servers."""

    lists: int
    whoami: int
    usage: int
    reads: int
    others: int
    changes: int


def stage(folder: Path, simulator: Simulator, openbao: OpenBao, policies: int, projects: int) -> Rotator:
    """Policies whose keys a person has made, and a rotator that has adopted them."""
    ids = [simulator.create_project(f"p{number}", organization=ORGANIZATION) for number in range(projects)]
    ends = datetime.now(UTC) + timedelta(days=25)
    entries = []
    for number in range(policies):
        project = ids[number % projects]
        key = simulator.create_key_by_hand(project, f"consumer {number}", expires_at=ends)
        openbao.put("secret", f"apps/{number}", {FIELD: key.secret.reveal()})
        place = {"backend": "vault", "path": f"apps/{number}", "field": FIELD}
        entries.append({"name": f"p{number}", "provider": "together", "project": project, "destinations": [place]})
    document = {
        "version": 1,
        "instance": "scale",
        "state": {"url": f"sqlite:///{folder}/state.db"},
        "providers": {
            "together": {
                "type": "together", "base_url": simulator.base_url, "management_key": {"env": "MANAGEMENT_KEY"},
            }
        },
        "backends": {
            "vault": {"type": "vault", "url": openbao.url, "auth": {"method": "token", "token": {"env": "T"}}},
        },
        "policies": entries,
    }  # fmt: skip
    return Rotator(folder, document, {"MANAGEMENT_KEY": simulator.management_key.reveal(), "T": openbao.token.reveal()})


def audited(rotator: Rotator, simulator: Simulator, openbao: OpenBao, *options: str) -> tuple[Cost, Asked]:
    simulator.clear_counters()
    before = openbao.requests()
    command = [*COMMAND, "audit", "--config", str(rotator.config), "--format", "json", *options]
    cost = measured(command, dict(rotator.environ))
    requests, sent = simulator.counters()["requests"], openbao.sent(before)
    counted = {kind: sum(n for name, n in requests.items() if kind in name) for kind in ("api-keys", "whoami", "usage")}
    reads = sum("/data/" in one for one in sent)
    changes = simulator.counters()["changing_requests"] + sum(one.split()[0] != "read" for one in sent)
    return cost, Asked(
        lists=counted["api-keys"],
        whoami=counted["whoami"],
        usage=counted["usage"],
        reads=reads,
        others=len(sent) - reads,
        changes=changes,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policies", type=int, default=2000)
    parser.add_argument("--projects", type=int, default=20)
    given = parser.parse_args()
    table = Table("audit", "wall", "CPU", "memory", "list pages", "whoami", "usage", "reads", "other", "changes")
    with (
        tempfile.TemporaryDirectory(prefix="rotator-audit-") as folder,
        OpenBao(audit=True) as openbao,
        Simulator() as simulator,
    ):
        rotator = stage(Path(folder), simulator, openbao, given.policies, given.projects)
        done = rotator.run_once(timeout=1800)
        if done.returncode != 0:
            console.print(done.stdout[-2000:], done.stderr[-2000:])
            return 1
        seen = []
        for name, options in (("with the journal", ()), ("without it", ("--no-journal",))):
            cost, asked = audited(rotator, simulator, openbao, *options)
            seen.append(asked)
            numbers = (asked.lists, asked.whoami, asked.usage, asked.reads, asked.others, asked.changes)
            table.add_row(name, f"{cost.wall:.1f} s", f"{cost.cpu:.1f} s", f"{cost.memory:.0f} MiB", *map(str, numbers))
    console.print(f"{given.policies} policies in {given.projects} projects; a list has 100 keys on a page")
    console.print(table)
    pages = given.projects * -(-given.policies // given.projects // 100)
    met = all(one.lists == pages and one.reads == given.policies and not one.changes for one in seen)
    met = met and seen[0].whoami <= 1
    console.print("one list for each project, one read for each destination, nothing changed" if met else "MISSED")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
