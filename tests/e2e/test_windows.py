"""Windows as a person sees them: ``status`` and ``--dry-run`` say when the next one opens, also when clocks change."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rotator.clock import SystemClock
from tests.e2e.installation import FIELD, credentials, document, in_file, policy
from tests.parts.here import here
from tests.parts.rotator import Rotator
from tests.parts.simulator import PROJECT, Simulator

LONG = {"lifetime": "30d", "renew_before": "7d", "grace": "24h"}
CASES = {
    "an ordinary day": ("2027-01-10T12:00Z", "30 2 * * *", "2027-01-11T01:30:00Z"),
    "the hour that is missing in spring": ("2027-03-27T12:00Z", "30 2 * * *", "2027-03-28T01:00:00Z"),
    "the day before summer time ends": ("2027-10-30T12:00Z", "30 3 * * *", "2027-10-31T02:30:00Z"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_due_key_waits_and_everything_says_until_when(
    tmp_path: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, case: tuple[str, str, str]
) -> None:
    now, cron, opens = case
    ahead = datetime.fromisoformat(now) - datetime.now(UTC)
    simulator.advance(ahead.total_seconds())
    monkeypatch.setattr(SystemClock, "now", lambda _clock: datetime.now(UTC) + ahead)
    ends = datetime.fromisoformat(now) + timedelta(days=6)
    key = simulator.create_key_by_hand(PROJECT, "by hand", expires_at=ends)
    (tmp_path / ".env").write_text(f"{FIELD}={key.secret.reveal()}\n")
    window = {"cron": cron, "duration": "2h", "timezone": "Europe/Berlin"}
    made = {**policy(in_file(tmp_path / ".env"), **LONG), "windows": [window]}
    rotator = Rotator(
        tmp_path,
        document(tmp_path, simulator.base_url, [made]),
        {**credentials(simulator), "COLUMNS": "200"},
    )
    assert here(rotator, "--run-once").exit_code == 0

    plan = here(rotator, "--dry-run", "--format", "json")
    status = json.loads(here(rotator, "status", "--json").stdout)["policies"][0]
    table = here(rotator, "status").stdout

    (planned,) = json.loads(plan.stdout)["policies"]
    assert planned["actions"] == []
    assert planned["reason"].endswith(f"waits for its window, which opens at {opens}")
    assert planned["next_look"] <= opens
    assert status["next_window"] == opens
    assert status["next_rotation"] < opens
    assert f"window: {opens}" in table
    assert [one["id"] for one in simulator.keys(state="live") if one["project_id"] == PROJECT] == [key.key_id]
