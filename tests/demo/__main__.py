"""``make demo``: the real rotator against the simulator and a real OpenBao, with keys that live for seconds.

Two consumers use the official SDK all the time: one reads its key from a dotenv file, one from OpenBao. The demo
fails when one of their calls is refused.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.parts.openbao import OpenBao
from tests.parts.rotator import Rotator, count
from tests.parts.simulator import PROJECT, Simulator

ROTATIONS = 4
AT_MOST_SECONDS = 50
LIFE = {"lifetime": "12s", "renew_before": "7s", "grace": "3s", "check_every": "2s", "settle": "5s"}
FIELD = "TOGETHER_API_KEY"
STORIES = {
    "key.adopted": ("cyan", "adopted   {key_id}, which a person had put there"),
    "key.issued": ("green", "created   {key_id} ({key_name})"),
    "key.verified": ("green", "verified  by the provider"),
    "destination.published": ("green", "published {destination}, and read back"),
    "grace.started": ("yellow", "grace     the old key stays valid until {grace_until}"),
    "key.revoked": ("magenta", "revoked   {key_id}"),
    "key.closed": ("magenta", "closed    {key_id}: {evidence}"),
    "alert": ("red", "alert     {check}: {reason}"),
    "problem": ("red", "problem   {what}"),
}

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    begun = time.monotonic()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rotator-demo-")))
        console.print("[bold]starting[/bold] the Together simulator and OpenBao, each a process of its own")
        simulator = stack.enter_context(Simulator())
        openbao = stack.enter_context(OpenBao())
        dotenv = folder / "chat.env"
        first = simulator.create_key_by_hand(PROJECT, "made by hand in the console")
        dotenv.write_text(f"# the chat service reads this file\nMODEL=demo\n{FIELD}={first.secret.reveal()}\n")
        openbao.put("secret", "apps/chat", {FIELD: first.secret.reveal(), "other": "kept"})
        console.print(f"a person put key {first.key_id} into {dotenv.name} and into OpenBao; consumers start using it")
        rotator = Rotator(folder, configuration(folder, dotenv, simulator, openbao), environment(simulator, openbao))
        vault = {"VAULT_ADDR": openbao.url, "VAULT_TOKEN": openbao.token.reveal()}
        consumers = [
            stack.enter_context(consumer("dotenv", str(dotenv), simulator, rotator.environ)),
            stack.enter_context(consumer("vault", "apps/chat", simulator, {**rotator.environ, **vault})),
        ]
        with rotator.service(tell) as service:
            service.wait_for(
                lambda events: (
                    count(events, "grace.started") >= ROTATIONS
                    and sum("refused by the provider" in event.get("evidence", "") for event in events) >= ROTATIONS
                ),
                seconds=AT_MOST_SECONDS,
            )
            service.stop()
        used = Counter[str]()
        for process in consumers:
            process.terminate()
            used.update(json.loads(process.communicate(timeout=20)[0]))
        kept = "MODEL=demo" in dotenv.read_text() and openbao.get("secret", "apps/chat")["other"] == "kept"
        report(service.events(), simulator, used, time.monotonic() - begun)
    return 0 if kept and used["calls"] and not used["refused"] else 1


def configuration(folder: Path, dotenv: Path, simulator: Simulator, openbao: OpenBao) -> dict[str, object]:
    return {
        "version": 1,
        "instance": "demo",
        "state": {"url": f"sqlite:///{folder}/state.db"},
        "log": {"level": "info", "format": "json"},
        "providers": {
            "together": {
                "type": "together",
                "base_url": simulator.base_url,
                "management_key": {"env": "TOGETHER_MANAGEMENT_KEY"},
            }
        },
        "backends": {
            "openbao": {
                "type": "vault",
                "url": openbao.url,
                "auth": {"method": "token", "token": {"env": "BAO_TOKEN"}},
            }
        },
        "policies": [
            {
                "name": "chat",
                "provider": "together",
                "project": PROJECT,
                **LIFE,
                "destinations": [
                    {"backend": "dotenv", "path": str(dotenv), "field": FIELD},
                    {"backend": "openbao", "mount": "secret", "path": "apps/chat", "field": FIELD},
                ],
            }
        ],
    }


def environment(simulator: Simulator, openbao: OpenBao) -> dict[str, str]:
    return {"TOGETHER_MANAGEMENT_KEY": simulator.management_key.reveal(), "BAO_TOKEN": openbao.token.reveal()}


@contextmanager
def consumer(
    kind: str, place: str, simulator: Simulator, environ: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(Path(__file__).with_name("consumer.py")), kind, place, simulator.base_url]
    process = subprocess.Popen(command, env=dict(environ), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"the consumer of {place} did not start; its error is above")
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def tell(line: str) -> None:
    """A line of the service's log, as a story."""
    if not line.startswith("{"):
        console.print(line.rstrip(), style="red", markup=False)
        return
    event = json.loads(line)
    if event["event"] in STORIES:
        style, story = STORIES[event["event"]]
        console.print(f"{event['timestamp'][11:19]}  {story.format(**event)}", style=style, markup=False)


def report(events: list[dict[str, str]], simulator: Simulator, used: Counter[str], seconds: float) -> None:
    table = Table("what", "how many", title=f"after {seconds:.0f} seconds")
    table.add_row("rotations done", str(count(events, "grace.started")))
    table.add_row("keys revoked", str(count(events, "key.revoked")))
    table.add_row("keys left", str(len(simulator.keys(project=PROJECT, state="live"))))
    console.print(table)
    style = "bold red" if used["refused"] else "bold green"
    console.print(f"consumer calls: {used['calls']}, refused: {used['refused']}", style=style)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        console.print("interrupted; everything is stopped")
        sys.exit(130)
