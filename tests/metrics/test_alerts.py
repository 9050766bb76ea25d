"""Each alert rule, evaluated by Prometheus' own tool over the series of a sick service and of a healthy one."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

RULES = Path(__file__).parents[2] / "config" / "alerts.yaml"
GRACES, ALERTS = "rotator_grace_extensions_total", "rotator_alerts_total"
EXPIRY, NEXT = "rotator_policy_key_expiry_timestamp_seconds", "rotator_policy_next_rotation_timestamp_seconds"
STARTED, HOLD = "rotator_policy_rotation_started_timestamp_seconds", "rotator_policy_on_hold"
LOOK = "rotator_policy_next_look_timestamp_seconds"
FROM, UNTIL = "rotator_certificate_start_timestamp_seconds", "rotator_certificate_expiry_timestamp_seconds"
ASKED, ESCALATED, OVERDUE = (
    f'rotator_policy_requests{{kind="create",level="{level}"}}' for level in ("asked", "escalated", "overdue")
)
BEAT, STUCK = "rotator_heartbeat_timestamp_seconds", "rotator_stuck"

# Rule, moment, series that must fire it, series that must not. Prometheus' time begins at 0, one sample a minute;
# for the SLOW ones, one in ten minutes.
CASES = {
    "target away": ("RotatorDown", "10m", {'up{job="rotator"}': "0+0x20"}, {'up{job="rotator"}': "1+0x20"}),
    "target unknown": ("RotatorDown", "10m", {"other": "0+0x20"}, {'up{job="rotator"}': "1+0x20"}),
    "no rounds": ("RotatorNoHeartbeat", "10m", {BEAT: "0+0x20", STUCK: "0+0x20"}, {BEAT: "0+60x20", STUCK: "0+0x20"}),
    "stuck": ("RotatorNoHeartbeat", "10m", {BEAT: "0+60x20", STUCK: "1+0x20"}, {BEAT: "0+60x20", STUCK: "0+0x20"}),
    "journal": (
        "RotatorJournalUnreadable",
        "15m",
        {"rotator_journal_readable": "0+0x20"},
        {"rotator_journal_readable": "0+0x8 1+0x20"},
    ),
    "expiry": (
        "RotatorExpiryNear",
        "60m",
        {EXPIRY: "5000+0x70", NEXT: "1000+0x70"},
        {EXPIRY: "10000+0x70", NEXT: "1000+0x70"},
    ),
    "already rotated": (
        "RotatorExpiryNear",
        "60m",
        {EXPIRY: "5000+0x70", NEXT: "1000+0x70"},
        {EXPIRY: "5000+0x20 90000+0x70", NEXT: "1000+0x20 80000+0x70"},
    ),
    "phase": ("RotatorStuckInPhase", "120m", {STARTED: "0+0x130"}, {STARTED: "4000+0x130"}),
    "phase over": ("RotatorStuckInPhase", "120m", {STARTED: "0+0x130"}, {STARTED: "0+0x50 _x80"}),
    "looks": (
        "RotatorLookFailing",
        "20m",
        {"rotator_policy_consecutive_failures": "3+0x30"},
        {"rotator_policy_consecutive_failures": "2+0x30"},
    ),
    "look late": ("RotatorLookOverdue", "80m", {LOOK: "0+0x90"}, {LOOK: "2000+0x90"}),
    "never looked at": ("RotatorLookOverdue", "80m", {HOLD: "0+0x90"}, {HOLD: "0+0x90", LOOK: "9000+0x90"}),
    "new or gone": (
        "RotatorLookOverdue",
        "80m",
        {f'{HOLD}{{policy="a"}}': "0+0x90", f'{LOOK}{{policy="b"}}': "9000+0x90"},
        {f'{HOLD}{{policy="new"}}': "_x30 0+0x60", f'{HOLD}{{policy="gone"}}': "0+0x60 _x30"},
    ),
    "circuit": (
        "RotatorEndpointInTrouble",
        "15m",
        {"rotator_endpoint_in_trouble": "1+0x30"},
        {"rotator_endpoint_in_trouble": "1+0x7 0+0x30"},
    ),
    "notifications": (
        "RotatorNotificationsFailing",
        "15m",
        {"rotator_notification_failures": "3+0x30"},
        {"rotator_notification_failures": "2+0x30"},
    ),
    "overdue": ("RotatorRotationOverdue", "420m", {NEXT: "0+0x50"}, {NEXT: "9000+0x50"}),
    "person late": (
        "RotatorRotationOverdue",
        "420m",
        {NEXT: "0+0x50", OVERDUE: "1+0x50"},
        {NEXT: "0+0x50", ESCALATED: "1+0x50"},
    ),
    "person asked": (
        "RotatorExpiryNear",
        "60m",
        {EXPIRY: "5000+0x70", NEXT: "1000+0x70", ESCALATED: "1+0x70"},
        {EXPIRY: "5000+0x70", NEXT: "1000+0x70", ASKED: "1+0x70"},
    ),
    "another is to be revoked": (
        "RotatorExpiryNear",
        "60m",
        {EXPIRY: "5000+0x70", NEXT: "1000+0x70", ASKED.replace("create", "revoke"): "1+0x70"},
        {EXPIRY: "10000+0x70", NEXT: "1000+0x70"},
    ),
    "hold": ("RotatorOnHoldTooLong", "1510m", {HOLD: "1+0x160"}, {HOLD: "1+0x70 0+0x7 1+0x90"}),
    "hold over pods": (
        "RotatorOnHoldTooLong",
        "1510m",
        {f'{HOLD}{{instance="a",policy="p"}}': "1+0x70 _x90", f'{HOLD}{{instance="b",policy="p"}}': "_x72 1+0x90"},
        {f'{HOLD}{{instance="a",policy="p"}}': "1+0x70 _x90", f'{HOLD}{{instance="b",policy="q"}}': "_x72 1+0x90"},
    ),
    "old key": ("RotatorOldKeyInUse", "80m", {GRACES: "0+0x70 1+0x30"}, {GRACES: "3+0x90"}),
    "first extension": (
        "RotatorOldKeyInUse",
        "80m",
        {f'{GRACES}{{policy="a"}}': "_x70 1+0x20"},
        {f'{GRACES}{{policy="a"}}': "_x10 1+0x90", f'{GRACES}{{policy="b"}}': "_x70 0+0x20"},
    ),
    "another pod": (
        "RotatorOldKeyInUse",
        "80m",
        {f'{GRACES}{{instance="a"}}': "2+0x60 _x30", f'{GRACES}{{instance="b"}}': "_x62 2+0x30"},
        {f'{GRACES}{{instance="a"}}': "2+0x60 _x30", f'{GRACES}{{instance="b"}}': "_x62 0+0x30"},
    ),
    "configuration": (
        "RotatorConfigurationRefused",
        "20m",
        {"rotator_configuration_refused": "1+0x30"},
        {"rotator_configuration_refused": "1+0x10 0+0x30"},
    ),
    "log": (
        "RotatorLogLost",
        "30m",
        {"rotator_log_lines_lost_total": "0+30x40"},
        {"rotator_log_lines_lost_total": "0+30x10 300+0x40"},
    ),
    "drift": (
        "RotatorDestinationDrift",
        "80m",
        {f'{ALERTS}{{check="Drifted"}}': "4+0x70 5+0x30"},
        {f'{ALERTS}{{check="Drifted"}}': "4+0x90", f'{ALERTS}{{check="StillInUse"}}': "4+0x70 5+0x30"},
    ),
    "first drift": (
        "RotatorDestinationDrift",
        "80m",
        {f'{ALERTS}{{check="Drifted"}}': "_x70 1+0x20"},
        {f'{ALERTS}{{check="Drifted"}}': "_x10 1+0x90"},
    ),
    "skew": (
        "RotatorClockSkew",
        "20m",
        {"rotator_clock_skew_seconds": "-60+0x30"},
        {"rotator_clock_skew_seconds": "5+0x30"},
    ),
    "certificate": (
        "RotatorCertificateNotRenewed",
        "20m",
        {"rotator_certificate_unusable": "1+0x30"},
        {"rotator_certificate_unusable": "1+0x8 0+0x30", FROM: "0+0x30", UNTIL: "7200+0x30"},
    ),
    "certificate ends": (
        "RotatorCertificateNotRenewed",
        "110m",
        {FROM: "0+0x120", UNTIL: "7200+0x120"},
        {FROM: "0+0x90 5400+0x30", UNTIL: "7200+0x90 12600+0x30"},
    ),
}


SLOW = {"RotatorRotationOverdue": "10m", "RotatorOnHoldTooLong": "10m"}


def case(alert: str, moment: str, series: dict[str, str], *, fires: bool) -> dict[str, object]:
    """A test as promtool reads it. Through ALERTS, so that no annotation is repeated here."""
    firing = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)'
    return {
        "name": f"{alert}: {series}",
        "interval": SLOW.get(alert, "1m"),
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": firing, "eval_time": moment, "exp_samples": [{"labels": "{}", "value": int(fires)}]}
        ],
    }


def judged(folder: Path, cases: list[dict[str, object]], every: str = "1m") -> subprocess.CompletedProcess[str]:
    file = folder / "tests.yaml"
    given = {"rule_files": [str(RULES)], "evaluation_interval": every, "tests": cases}
    file.write_text(yaml.safe_dump(given))
    command = ["promtool", "test", "rules", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("every", ["1m", "10m"])
def test_each_rule_fires_for_a_sick_service_and_not_for_a_healthy_one(tmp_path: Path, every: str) -> None:
    cases = [
        case(alert, moment, series, fires=fires)
        for alert, moment, sick, healthy in CASES.values()
        for series, fires in ((sick, True), (healthy, False))
        if SLOW.get(alert, "1m") == every
    ]
    assert cases
    done = judged(tmp_path, cases, every)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_tool_would_tell(tmp_path: Path) -> None:
    alert, moment, sick, _ = CASES["skew"]
    assert judged(tmp_path, [case(alert, moment, sick, fires=False)]).returncode == 1


def rules() -> list[dict[str, object]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return group["rules"]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_each_rule_is_tested_and_says_what_is_wrong_and_what_to_do(rule: dict[str, dict[str, str]]) -> None:
    assert rule["alert"] in {alert for alert, *_ in CASES.values()}
    assert set(rule["annotations"]) == {"summary", "action"}
    assert rule["labels"]["severity"] in {"page", "ticket"}


def test_each_rule_has_its_section_in_the_runbook_and_each_section_its_rule() -> None:
    page = (RULES.parents[1] / "docs" / "operations.md").read_text()
    sections = re.findall(r"^### (Rotator\w+)\n\n(Page|Ticket)\. ", page, re.MULTILINE)
    wanted = [(rule["alert"], str(rule["labels"]["severity"]).capitalize()) for rule in rules()]
    assert sections == wanted


def test_every_query_of_the_dashboard_is_promql(tmp_path: Path) -> None:
    panels = json.loads((RULES.parent / "grafana-dashboard.json").read_text())["panels"]
    queries = [target["expr"].replace("$policy", "chat") for panel in panels for target in panel["targets"]]
    assert queries
    recorded = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
