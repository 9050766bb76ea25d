"""The alert rules over one scrape of a real service, evaluated by Prometheus' own tool."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

RULES = Path(__file__).parents[2] / "config" / "alerts.yaml"
_STEP = 10  # minutes
_LONG = 1440  # minutes: no rule looks further back


def judged(
    folder: Path, scrape: str, now: float, expected: Mapping[str, Sequence[str]]
) -> subprocess.CompletedProcess[str]:
    """Ends with 0 where the expressions of exactly these alerts hold for exactly these policies ("": the service).

    ``for`` is left out: the scrape is what the service looked like all day long until ``now``. promtool's time begins
    at 0, so moments are moved.
    """
    shift = _LONG * 60 - now
    samples = [one for family in text_string_to_metric_families(scrape) for one in family.samples]
    series = [{"series": 'up{job="rotator"}', "values": f"1+0x{_LONG // _STEP}"}]
    series += [_series(one, shift) for one in samples]
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    tests = [
        {
            "expr": f"count by (policy) ({rule['expr']})",
            "eval_time": f"{_LONG}m",
            "exp_samples": [
                {"labels": f'{{policy="{policy}"}}' if policy else "{}", "value": 1}
                for policy in expected.get(rule["alert"], ())
            ],
        }
        for rule in group["rules"]
    ]
    given = {"interval": f"{_STEP}m", "input_series": series, "promql_expr_test": tests}
    file = folder / "recorded.yaml"
    file.write_text(yaml.safe_dump({"evaluation_interval": f"{_STEP}m", "tests": [given]}))
    command = ["promtool", "test", "rules", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def _series(one: Sample, shift: float) -> dict[str, str]:
    labels = ",".join(f'{name}="{value}"' for name, value in one.labels.items())
    moved = one.value + shift if one.name.endswith("_timestamp_seconds") else one.value
    return {"series": f"{one.name}{{{labels}}}", "values": f"{moved:.3f}+0x{_LONG // _STEP}"}
