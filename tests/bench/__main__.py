"""``make bench``: whole-process figures of the rotator beside a floor of bare clients, in one run.

The floor sends the same HTTP calls at the same concurrency. A second floor also makes as many durable transactions
as a rotation does, because "every phase is durable before the next effect" has a price in any language.

The round before the first one is not measured: in it, keys that were adopted are replaced, and before such a key is
touched the provider is asked once more what it is. That call comes once in the life of a policy.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rotator.adapters.journal.sql import SqlJournal
from rotator.adapters.journal.tables import policy_state
from rotator.config import load
from rotator.domain.events import RotationRequested
from tests.parts.openbao import OpenBao
from tests.parts.rotator import Rotator
from tests.parts.simulator import ORGANIZATION, Simulator

FIELD = "TOGETHER_API_KEY"
PROJECTS = 10
WORKERS = 8
console = Console(highlight=False)


@dataclass(frozen=True)
class Cost:
    """What one process took: seconds, seconds, MiB."""

    wall: float
    cpu: float
    memory: float


def measured(command: list[str], environ: dict[str, str] | None = None) -> Cost:
    measure = [sys.executable, str(Path(__file__).with_name("measure.py")), *command]
    done = subprocess.run(measure, env=environ, check=True, capture_output=True, text=True)
    cost = json.loads(done.stdout)
    if cost.pop("code") != 0:
        raise RuntimeError(f"{command[1:4]} failed")
    return Cost(**cost)


class Stage:
    """Simulator, OpenBao, and two equal sets of policies: one for the rotator, one for the floor."""

    def __init__(self, folder: Path, simulator: Simulator, openbao: OpenBao, size: int) -> None:
        self.folder, self.simulator, self.openbao, self.size = folder, simulator, openbao, size
        projects = [simulator.create_project(f"p{number}", organization=ORGANIZATION) for number in range(PROJECTS)]
        self.sets = {
            owner: [
                {"name": f"{owner}-{n}", "project": projects[n % PROJECTS], "path": f"{owner}/{n}"} for n in range(size)
            ]
            for owner in ("rotator", "floor")
        }
        for policies in self.sets.values():
            for policy in policies:
                key = simulator.create_key_by_hand(policy["project"], policy["name"])
                openbao.put("secret", policy["path"], {FIELD: key.secret.reveal(), "other": "kept"})
        self.rotator = Rotator(folder, self._document(), self._environ())

    def _document(self) -> dict[str, object]:
        return {
            "version": 1,
            "instance": "bench",
            "state": {"url": f"sqlite:///{self.folder}/state.db"},
            "service": {"workers": WORKERS},
            "providers": {
                "together": {
                    "type": "together",
                    "base_url": self.simulator.base_url,
                    "management_key": {"env": "MANAGEMENT_KEY"},
                }
            },
            "backends": {
                "openbao": {
                    "type": "vault",
                    "url": self.openbao.url,
                    "auth": {"method": "token", "token": {"env": "BAO_TOKEN"}},
                }
            },
            "policies": [
                {
                    "name": policy["name"],
                    "provider": "together",
                    "project": policy["project"],
                    "destinations": [{"backend": "openbao", "mount": "secret", "path": policy["path"], "field": FIELD}],
                }
                for policy in self.sets["rotator"]
            ],
        }

    def _environ(self) -> dict[str, str]:
        return {"MANAGEMENT_KEY": self.simulator.management_key.reveal(), "BAO_TOKEN": self.openbao.token.reveal()}

    def ask_for_rotations(self) -> None:
        settings = load(self.rotator.config, self.rotator.environ)
        journal = SqlJournal.open(settings.state_url, is_dead=lambda _holder: True)
        for policy in settings.policies:
            journal.request(policy.name, RotationRequested(reason="bench"), datetime.now(UTC))
        journal.close()

    def by_rotator(self) -> tuple[Cost, int]:
        self.ask_for_rotations()
        return self._counted([sys.executable, "-m", "rotator", "--config", str(self.rotator.config), "--run-once"])

    def by_floor(self, **more: str) -> tuple[Cost, int]:
        plan = self.folder / "floor.json"
        plan.write_text(
            json.dumps(
                {
                    "workers": WORKERS,
                    "provider": self.simulator.base_url,
                    "vault": self.openbao.url,
                    "mount": "secret",
                    "management_key": self.simulator.management_key.reveal(),
                    "vault_token": self.openbao.token.reveal(),
                    "policies": self.sets["floor"],
                    **more,
                }
            )
        )
        return self._counted([sys.executable, str(Path(__file__).with_name("floor.py")), str(plan)])

    def _counted(self, command: list[str]) -> tuple[Cost, int]:
        """The cost, and the calls that the two servers received."""
        before = self._calls()
        cost = measured(command, self.rotator.environ)
        return cost, self._calls() - before

    def _calls(self) -> int:
        return sum(self.simulator.counters()["requests"].values()) + self.openbao.requests()


def rotations(folder: Path, size: int, rounds: int) -> None:
    with ExitStack() as stack:
        console.print(f"rotating {size} policies in {PROJECTS} projects, {rounds} times each, {WORKERS} workers")
        simulator = stack.enter_context(Simulator())
        openbao = stack.enter_context(OpenBao(audit=True))
        stage = Stage(folder, simulator, openbao, size)
        stage.rotator.call("--run-once", timeout=600)  # adoption, not measured
        stage.by_rotator()  # the replacement of what was adopted, not measured
        ours, floors, durable, calls = [], [], [], (0, 0)
        for _ in range(rounds):
            ours_cost, ours_calls = stage.by_rotator()
            floor_cost, floor_calls = stage.by_floor()
            ours.append(ours_cost)
            floors.append(floor_cost)
            durable.append(stage.by_floor(journal=str(folder / "floor.db"))[0])
            calls = (ours_calls, floor_calls)
    table = Table("figure (median)", "rotator", "floor", "ratio", "aim", "floor, durable", "ratio")
    for name, aim in (("wall", "1.25"), ("cpu", "")):
        a, b, c = (statistics.median(getattr(cost, name) for cost in costs) for costs in (ours, floors, durable))
        table.add_row(f"{name}, seconds", f"{a:.2f}", f"{b:.2f}", f"{a / b:.2f}", aim, f"{c:.2f}", f"{a / c:.2f}")
    a, b = (count / size for count in calls)
    table.add_row("calls per rotation", f"{a:.1f}", f"{b:.1f}", f"{a / b:.2f}", "", f"{b:.1f}", f"{a / b:.2f}")
    a, b, c = (max(cost.memory for cost in costs) for costs in (ours, floors, durable))
    table.add_row("memory, MiB", f"{a:.0f}", f"{b:.0f}", f"{a / b:.2f}", "", f"{c:.0f}", f"{a / c:.2f}")
    console.print(table)


def start_up(folder: Path, size: int) -> None:
    idle = folder / "idle.yaml"
    policies = "".join(
        f"  - name: policy-{n}\n    provider: together\n    project: proj_{n % 20}\n    destinations:\n"
        f"      - {{backend: vault, mount: secret, path: apps/{n}, field: {FIELD}}}\n"
        for n in range(size)
    )
    idle.write_text(
        f'version: 1\ninstance: bench\nstate: {{url: "sqlite:///{folder}/idle.db"}}\n'
        "providers:\n  together: {type: together, management_key: {env: KEY}}\n"
        "backends:\n  vault: {type: vault, url: 'http://127.0.0.1:1', auth: {method: token, token: {env: KEY}}}\n"
        f"policies:\n{policies}"
    )
    environ = {**os.environ, "KEY": "never used"}
    # In a process of its own: a child's peak memory counts from its parent's.
    subprocess.run([sys.executable, "-m", "tests.bench", "--plant", str(idle)], env=environ, check=True)
    bare = [measured([sys.executable, "-c", "pass"]).wall for _ in range(15)]
    version = [measured([str(Path(sys.executable).with_name("rotator")), "--version"]).wall for _ in range(15)]
    command = [sys.executable, "-m", "rotator", "--config", str(idle), "--run-once"]
    runs = [measured(command, environ) for _ in range(5)]
    table = Table("figure (median)", "measured", "aim")
    ratio = statistics.median(version) / statistics.median(bare)
    table.add_row("--version, ms", f"{statistics.median(version) * 1000:.0f}", "")
    table.add_row("a bare interpreter, ms", f"{statistics.median(bare) * 1000:.0f}", "")
    table.add_row("ratio", f"{ratio:.1f}", "under 3")
    table.add_row(f"--run-once, {size} idle policies, s", f"{statistics.median(r.wall for r in runs):.2f}", "under 2")
    table.add_row("its memory, MiB", f"{max(r.memory for r in runs):.0f}", "under 120")
    console.print(table)


def plant(config: Path) -> None:
    """A journal in which nothing is due."""
    settings = load(config, os.environ)
    journal = SqlJournal.open(settings.state_url, is_dead=lambda _holder: True)
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="microseconds")
    rows = [
        {"policy": p.name, "state": json.dumps({"policy": p.name}), "next_at": later, "digest": p.digest}
        for p in settings.policies
    ]
    with journal._write() as connection:
        connection.execute(policy_state.insert(), rows)
    journal.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policies", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--plant", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.plant:
        plant(given.plant)
        return
    with tempfile.TemporaryDirectory(prefix="rotator-bench-") as name:
        start_up(Path(name), given.idle)
        rotations(Path(name), given.policies, given.rounds)


if __name__ == "__main__":
    main()
