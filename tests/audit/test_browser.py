"""The HTML report in a real browser: what the timeline shows, filters, a phone, the dark, paper, accessibility."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from rotator.domain.audit.report import Report, report
from rotator.entrypoints.audit.html import as_html
from tests.audit.build import CURRENT, place, project, record, row, seen
from tests.domain.build import DAY, HOUR, NOW, retiring
from tests.parts.browser import PHONE, Chromium


@pytest.fixture(scope="module")
def made() -> Report:
    looked = seen(
        places=(place(), place("x", index=1)),
        records=record(
            CURRENT, retiring("o", grace_until=NOW + 12 * HOUR, expires_at=NOW + 3 * DAY, retired_at=NOW - DAY)
        ),
        projects=(
            project(row(), row("o", expires_at=NOW + 3 * DAY), row("s", name="test <i>key</i>", expires_at=None)),
        ),
        unknown=("the weather",),
        chain=("event 7 was changed " + "x" * 200,),
    )
    return report(looked, source="rotator.yaml", scope="every policy", narrowed=False, instance="prod")


@pytest.fixture(scope="module")
def address(made: Report, tmp_path_factory: pytest.TempPathFactory) -> str:
    file: Path = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(as_html(made), encoding="utf-8")
    return file.as_uri()


def box(page, key: str, part: str) -> dict:
    return page.locator(f"tr[data-key={key}] svg .{part}").bounding_box()


def test_the_report_opens_without_complaints_and_asks_for_nothing(chromium: Chromium, address: str) -> None:
    with chromium.visit(address) as visit:
        assert "Audit of rotator instance prod" in visit.page.inner_text("h1")
        assert visit.requests == [address]
        assert visit.complaints == []
        assert visit.inaccessible() == []


def test_the_timeline_shows_what_the_data_says(chromium: Chromium, address: str, made: Report) -> None:
    """Positions on the screen are moments: measured between two of them, all others must lie where they say."""
    lives = {life.key_id: life for life in made.keys}
    with chromium.visit(address) as visit:
        page = visit.page
        assert page.locator("tr[data-key]").count() == len(lives) == 3
        bar, now = box(page, "key_a", "bar"), box(page, "key_a", "now")
        life = lives["key_a"]
        pixels = bar["width"] / ((life.ends - life.began) / DAY)

        def at(moment: datetime) -> float:
            return bar["x"] + pixels * ((moment - life.began) / DAY)

        assert now["x"] + now["width"] / 2 == pytest.approx(at(NOW), abs=1.5)
        due = box(page, "key_a", "due")
        assert due["x"] + due["width"] / 2 == pytest.approx(at(life.next_due), abs=1.5)
        grace, old = box(page, "key_o", "grace"), lives["key_o"]
        assert grace["x"] == pytest.approx(at(old.replaced), abs=1.5)
        assert grace["x"] + grace["width"] == pytest.approx(at(old.grace_until), abs=1.5)
        ended = box(page, "key_o", "bar")
        assert ended["x"] + ended["width"] == pytest.approx(at(old.ends), abs=1.5)
        endless = page.locator("tr[data-key=key_s] svg").bounding_box()
        bar = box(page, "key_s", "bar")
        assert bar["x"] + bar["width"] == pytest.approx(endless["x"] + endless["width"], abs=1.5)
        assert "never ends" in page.inner_text("tr[data-key=key_s]")


def test_findings_are_filtered_by_severity_policy_and_words(chromium: Chromium, address: str, made: Report) -> None:
    with chromium.visit(address) as visit:
        page = visit.page
        every = page.locator(".finding:visible")
        assert every.count() == len(made.findings)
        page.fill("#text", "shadow")
        assert [one.get_attribute("data-id") for one in every.all()] == ["ROT-K05"]
        assert page.inner_text("#shown") == f"1 of {len(made.findings)}"
        page.fill("#text", "")
        page.select_option("#policy", "chat")
        assert every.count() == sum(one.policy == "chat" for one in made.findings)
        page.select_option("#policy", "")
        page.uncheck("input[value=critical]")
        assert every.count() == sum(one.severity != "critical" for one in made.findings)
        assert visit.inaccessible() == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_is_readable_on_a_phone(chromium: Chromium, address: str, dark: bool) -> None:  # noqa: FBT001 - pytest's
    with chromium.visit(address, size=PHONE, dark=dark) as visit:
        assert visit.overflow() == 0
        assert visit.inaccessible() == []
        back = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (back == "rgb(20, 23, 26)") is dark


def test_all_of_it_is_there_without_scripts_and_on_paper(chromium: Chromium, address: str, made: Report) -> None:
    with chromium.visit(address, scripts=False) as visit:
        assert visit.page.locator(".finding:visible").count() == len(made.findings)
        assert not visit.page.locator("#filters").is_visible()
        visit.page.emulate_media(media="print", color_scheme="dark")
        assert visit.page.locator(".finding:visible").count() == len(made.findings)
        assert visit.page.pdf(format="A4")[:5] == b"%PDF-"
