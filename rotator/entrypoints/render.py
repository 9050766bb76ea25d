"""What people and programs read. Plans and outcomes have no secret; redaction here is the second line."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rotator.domain.planner import Plan
from rotator.domain.requests import Task
from rotator.domain.text import printable_lines, text
from rotator.domain.verdict import Decision
from rotator.entrypoints.describe import describe
from rotator.ports import Look
from rotator.service.reconcile import Outcome, Result
from rotator.telemetry import redact_text, shown

if TYPE_CHECKING:
    from rich.table import Table

_WIDE = 200


def outcome_line(outcome: Outcome) -> str:
    """One look, as ``--run-once`` prints it."""
    match outcome.result:
        case Result.FAILED:
            what = "; ".join((*outcome.done, *outcome.problems))
        case Result.OK:
            what = "; ".join(outcome.done) or outcome.reason
        case _:
            what = outcome.reason
    return shown(f"{outcome.policy}: {outcome.result}: {what} (next look {text(outcome.next_at)})") + "\n"


def waiting_line(policy: str, look: Look) -> str:
    """A policy that is not due."""
    trouble = f"; last problem: {look.problem}" if look.problem else ""
    return shown(f"{policy}: not due until {text(look.next_at)}{trouble}") + "\n"


def plans_as_json(plans: Sequence[Plan], failures: Sequence[tuple[str, str]], now: datetime) -> str:
    """``{"version": 1, "at", "policies": [...], "failures": [...]}``; times are RFC 3339 in UTC."""
    document = {
        "version": 1,
        "at": text(now),
        "policies": [_plan_as_dict(plan) for plan in plans],
        "failures": [{"policy": policy, "problem": problem} for policy, problem in failures],
    }
    return redact_text(json.dumps(document, indent=2)) + "\n"


def _plan_as_dict(plan: Plan) -> dict[str, object]:
    return {
        "policy": plan.policy,
        "check": plan.verdict.check,
        "decision": plan.verdict.decision,
        "reason": plan.verdict.reason,
        "next_look": text(plan.next_look),
        "actions": [{"action": type(action).__name__, "what": describe(action)} for action in plan.actions],
        "keys": [
            {
                "key_id": item.key.key_id,
                "state": item.key.state,
                "check": item.verdict.check,
                "decision": item.verdict.decision,
                "reason": item.verdict.reason,
            }
            for item in plan.key_verdicts
        ],
    }


def task_as_dict(task: Task) -> dict[str, object]:
    """What waits for a person; times are RFC 3339 in UTC, ``null`` where there is none."""
    times = {name: getattr(task, name) for name in ("expires_at", "opened_at", "deadline")}
    return {
        "kind": task.kind,
        "policy": task.policy,
        "project": task.project,
        "level": task.level,
        "link": task.link,
        "key_name": task.key_name,
        "key_id": task.key_id,
        **{name: text(moment) if moment else None for name, moment in times.items()},
        "owners": list(task.owners),
        "what": list(task.what),
    }


def print_plans(plans: Sequence[Plan], failures: Sequence[tuple[str, str]]) -> None:
    """The plans as a table on standard output."""
    from rich.table import Table  # noqa: PLC0415 - slow to import, and only needed here
    from rich.text import Text  # noqa: PLC0415

    table = Table("policy", "check", "why", "what would be done", "next look (UTC)", show_lines=True)
    for plan in plans:
        reasons = [plan.verdict.reason, *(item.verdict.reason for item in plan.key_verdicts)]
        doing = [f"{number}. {describe(action)}" for number, action in enumerate(plan.actions, 1)]
        trouble = plan.verdict.decision in {Decision.BLOCKED, Decision.REFUSED}
        table.add_row(
            Text(plan.policy),
            Text(plan.verdict.check, style="red" if trouble else ""),
            Text("\n".join(reasons)),
            Text("\n".join(doing) or "nothing"),
            Text(text(plan.next_look)),
        )
    for policy, problem in failures:
        table.add_row(Text(policy), Text("failed", style="red"), Text(problem), Text("nothing"), Text(""))
    print_table(table)


def print_table(table: Table) -> None:
    """On a terminal as wide as it is; in a file or a pipe wide enough that nothing is cut."""
    from rich.console import Console  # noqa: PLC0415 - see print_plans

    Console(width=None if sys.stdout.isatty() else _WIDE).print(tidy(table))


def tidy(table: Table) -> Table:
    """The same table, every ``Text`` in it redacted and harmless to a terminal; the layout would cut a secret up."""
    from rich.text import Text  # noqa: PLC0415 - see print_plans

    for column in table.columns:
        for cell in column.cells:
            if isinstance(cell, Text):
                cell.plain = printable_lines(redact_text(cell.plain))
    return table
