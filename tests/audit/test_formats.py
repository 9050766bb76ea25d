"""The formats that programs read: each against its schema, and harmless in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote_to_bytes

import jsonschema
import pytest

from rotator.domain.audit.baseline import Acceptance
from rotator.domain.audit.checks import RULES
from rotator.domain.audit.finding import Severity
from rotator.domain.audit.report import report
from rotator.entrypoints.audit.as_csv import COLUMNS, as_csv
from rotator.entrypoints.audit.as_json import as_json
from rotator.entrypoints.audit.formats import written
from rotator.entrypoints.audit.html import as_html, bar_of, scale_of
from rotator.entrypoints.audit.sarif import as_sarif
from rotator.entrypoints.audit.table import as_table
from tests.audit.build import CURRENT, place, project, record, row, seen
from tests.domain.build import DAY, HOUR, NOW, retiring

OUR_SCHEMA = Path(__file__).parents[2] / "config" / "rotator-audit.schema.json"
SARIF_SCHEMA = Path(__file__).with_name("sarif-schema-2.1.0.json")
NASTY = '=HYPERLINK("http://evil.example","<b>key</b>")'
BASELINE = (
    Acceptance(finding="ROT-K14", subject="key_t", reason="[old] tool", until=date(2027, 1, 1)),
    Acceptance(finding="ROT-K05", subject="key_t", reason="expired", until=date(2020, 1, 1)),
    Acceptance(finding="ROT-K05", subject="key_s", reason="milder", until=date(2027, 1, 1), severity=Severity.LOW),
    Acceptance(finding="ROT-K05", subject="key_u", reason="nothing", until=date(2027, 1, 1)),
)


@pytest.fixture(scope="module")
def made():
    looked = seen(
        places=(place(), place("x", index=1)),
        records=record(CURRENT, retiring("o", grace_until=NOW + HOUR, retired_at=NOW - DAY)),
        projects=(project(row(), row("o"), row("s", name=NASTY, expires_at=None), row("t", name="test")),),
        unknown=("the <weather>",),
    )
    return report(
        looked, source="rotator.yaml", scope="every policy", narrowed=False, instance="prod", baseline=BASELINE
    )


@pytest.fixture
def settings(tmp_path):
    """As far as a format needs them."""
    source = tmp_path / "rotator.yaml"
    source.write_text("version: 1\n")
    return SimpleNamespace(source=source)


def test_the_json_report_fits_its_published_schema(made):
    schema = json.loads(OUR_SCHEMA.read_text())
    document = json.loads(as_json(made))
    jsonschema.validate(document, schema, cls=jsonschema.Draft202012Validator)
    assert [one["id"] for one in document["findings"]] == [one.rule.id for one in made.findings]
    assert [one["reason"] for one in document["accepted"]] == ["[old] tool"]
    assert [len(document["baseline"][name]) for name in ("expired", "unmatched", "outgrown")] == [1, 1, 1]
    assert (
        document["keys"][0] | {"began": "2026-11-22T12:00:00Z", "ends": "2026-12-22T12:00:00Z"} == document["keys"][0]
    )


def test_the_schema_is_strict_about_what_it_describes(made):
    schema = json.loads(OUR_SCHEMA.read_text())
    for change in ({"version": 2}, {"findings": [{"id": "ROT-K01"}]}, {"secret": "no"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(json.loads(as_json(made)) | change, schema, cls=jsonschema.Draft202012Validator)


def test_the_sarif_report_fits_the_official_schema_and_names_the_line_of_the_policy(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "my rotator.yaml"
    config.write_text("version: 1\npolicies:\n  - provider: together\n    name: chat\n")

    log = json.loads(as_sarif(made, config))

    jsonschema.Draft4Validator(json.loads(SARIF_SCHEMA.read_text())).validate(log)
    (run,) = log["runs"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == [rule.id for rule in RULES]
    by_id = {(one["ruleId"], one["locations"][0]["logicalLocations"][0]["name"]): one for one in run["results"]}
    drift = by_id["ROT-D05", "dotenv:/srv/.env#KEY"]
    where = drift["locations"][0]["physicalLocation"]
    assert (where["artifactLocation"]["uri"], where["region"]["startLine"]) == ("my%20rotator.yaml", 3)
    assert run["tool"]["driver"]["rules"][drift["ruleIndex"]]["id"] == "ROT-D05"
    (suppressed,) = [one for one in run["results"] if "suppressions" in one]
    assert suppressed["suppressions"] == [{"kind": "external", "justification": "[old] tool (until 2027-01-01)"}]
    assert len({json.dumps(one["partialFingerprints"]) for one in run["results"]}) == len(run["results"])
    assert len(run["invocations"][0]["toolExecutionNotifications"]) == 1


def valid(log):
    jsonschema.Draft4Validator(json.loads(SARIF_SCHEMA.read_text())).validate(log)
    (run,) = log["runs"]
    return run


@pytest.mark.parametrize(
    "name",
    ["ü ber.yaml", "a:b.yaml", "x[1].yaml", 'q".yaml', "..conf/x.yaml", "100%.yaml", "a#b?c.yaml", "\udcff.yaml"],
)
@pytest.mark.parametrize("start", ["", "elsewhere"], ids=["within", "beside"])
def test_the_sarif_report_has_a_valid_reference_to_any_file(tmp_path, monkeypatch, name, start):
    config = tmp_path / name
    config.parent.mkdir(exist_ok=True)
    config.write_text("version: 1\n")
    (tmp_path / start).mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / start)
    done = report(seen(schedules={}), source="x", scope="", narrowed=False, instance="prod")

    run = valid(json.loads(as_sarif(done, config)))

    uri = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert re.fullmatch(r"(?:[\w.~!$&'()*+,;=@/-]|%[0-9A-F]{2})+", uri.removeprefix("file://"), re.ASCII)
    path = os.fsdecode(unquote_to_bytes(uri.removeprefix("file://")))
    assert path == (str(config) if start else name)
    assert uri.startswith("file:///") == bool(start)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("[click](https://evil.example) {0}", r"\[click\](https://evil.example) {{0}}"),
        (r"[a\](https://evil.example)", r"\[a\\\](https://evil.example)"),
        ("[billing] {}", "[billing] {{}}"),
    ],
)
def test_no_name_is_a_link_or_a_placeholder_in_a_sarif_message(name, said, settings):
    shadow = seen(projects=(project(row(), row("s", name=name)),), unknown=(name,))
    done = report(shadow, source="x", scope="", narrowed=False, instance="prod")
    run = valid(json.loads(as_sarif(done, settings.source)))
    assert f"named '{said}'" in run["results"][0]["message"]["text"]
    (gap,) = run["invocations"][0]["toolExecutionNotifications"]
    assert gap["message"]["text"].endswith(said)
    assert run["results"][0]["properties"]["seen"].count(name)


def test_a_later_break_of_the_journal_is_another_alert_on_a_code_scanning_page(settings):
    def fingerprints(*chain):
        done = report(seen(chain=chain), source="x", scope="", narrowed=False, instance="prod")
        return {
            json.dumps(one["partialFingerprints"])
            for one in valid(json.loads(as_sarif(done, settings.source)))["results"]
        }

    before, after = "chat: event 5 was changed", "chat: event 3 is missing"
    assert len(fingerprints(before, after)) == 2
    assert fingerprints(before) < fingerprints(after, before)


def test_no_rule_has_a_link_or_a_placeholder_in_its_words():
    words = "".join(rule.title + rule.why + rule.todo for rule in RULES)
    assert not set(words) & set("{}[]")


def test_no_cell_of_the_csv_is_a_formula(made):
    rows = list(csv.DictReader(io.StringIO(as_csv(made))))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == len(made.findings) + 1
    assert not [cell for one in rows for cell in one.values() if cell[:1] in tuple("=+-@\t\r\n")]
    assert rows[-1]["accepted_because"] == "[old] tool"


@pytest.mark.parametrize("style", ["table", "json", "sarif", "csv", "html"])
def test_no_format_has_what_a_terminal_obeys_or_no_file_can_hold(style, settings):
    named = row("s", name="a\ud800b\x1b[2J\x1b]0;owned\x07\u202e", created_by="\x9b1m")
    done = report(
        seen(projects=(project(row(), named),)), source="rotator.yaml", scope="", narrowed=False, instance="prod"
    )
    text = written(done, settings, style, wide=True)
    assert "key_s" in text.encode().decode()
    assert not set(text) & set("\x1b\x07\u202e\x9b")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝"])  # noqa: RUF001 - full-width counts too
def test_a_cell_that_begins_as_a_formula_is_text(start):
    named = row("s", name=f"{start}cmd|' /C calc'!A0")
    looked = seen(projects=(project(row(), named),))
    done = report(looked, source=f"{start}x", scope="", narrowed=False, instance="prod")
    subject = done.judged.open[0]
    assert subject.seen
    rows = list(csv.DictReader(io.StringIO(as_csv(done))))
    assert not [cell for one in rows for cell in one.values() if cell.startswith(start)]


@pytest.mark.parametrize("delimiter", [";", "\t", ","])
@pytest.mark.parametrize("between", [";", "\t", '";', ';"', "; ", ';""', "';'", "x;\t", "\n", ";;", "\r;"])
@pytest.mark.parametrize("start", ["=", "+", "-", "@", "＝"])  # noqa: RUF001
def test_where_lines_are_cut_at_other_signs_no_cell_begins_as_a_formula_either(delimiter, between, start):
    named = row("s", name=f"x{between}{start}cmd|' /C calc'!A0{between}", created_by=f'y{between}{start}1"')
    done = report(
        seen(projects=(project(row(), named),)), source="rotator.yaml", scope="", narrowed=False, instance="prod"
    )
    rows = csv.reader(io.StringIO(as_csv(done), newline=None), delimiter=delimiter)
    assert not [cell for one in rows for cell in one if cell.strip(' "').startswith(start)]


def test_the_table_names_every_finding_what_was_accepted_and_what_could_not_be_known(made):
    text = as_table(made, wide=True)
    for wanted in ("ROT-D05", "ROT-K05", "accepted until 2027-01-01: ROT-K14 key_t: [old] tool", "the <weather>"):
        assert wanted in text
    assert "baseline: ROT-K05 key_t has expired" in text
    assert "baseline: ROT-K05 key_u matches nothing" in text
    assert "baseline: ROT-K05 key_s was accepted as something milder" in text
    assert text.splitlines()[-1].endswith("nothing was changed")


def test_the_html_report_is_one_file_that_asks_for_nothing_and_escapes_what_others_have_named(made):
    text = as_html(made)
    assert "<b>key</b>" not in text
    assert "&lt;b&gt;key&lt;/b&gt;" in text
    for asking in ("src=", "@import", "url(", "<link", "<iframe", "fetch(", "XMLHttpRequest"):
        assert asking not in text
    assert "default-src 'none'" in text


def test_the_timeline_says_where_each_key_begins_ends_and_is_in_its_grace(made):
    scale = scale_of(made.keys, NOW)
    bars = {bar.life.key_id: bar for bar in (bar_of(life, scale) for life in made.keys)}
    span = (scale.end - scale.start) / DAY
    assert bars["key_a"].length == pytest.approx(100 * 30 / span, abs=0.01)
    assert bars["key_s"].endless
    assert not bars["key_a"].endless
    begins, length = bars["key_o"].grace
    assert begins == pytest.approx(scale.at(NOW - DAY), abs=0.01)
    assert length == pytest.approx(100 * (25 / 24) / span, abs=0.01)
