"""The page at ``/`` in a real browser: for everybody, and with nothing from elsewhere."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit

from tests.domain.build import DAY, NOW, key
from tests.pages.sample import TOKEN, WILD, Stage, one_of_each, row, serving
from tests.parts.browser import PHONE, Chromium, Visit

SOON = timedelta(milliseconds=100)


def names(visit: Visit) -> list[str]:
    return visit.page.locator("article h3").all_inner_texts()


def in_order(states: list[str]) -> bool:
    wanted = ["problem", "hold", "rotating", "due", "grace", "new", "fine"]
    return states == sorted(states, key=wanted.index)


def test_without_scripts_it_tells_of_every_policy_what_is_the_matter_and_what_to_do(chromium: Chromium) -> None:
    with serving(Stage()) as address, chromium.visit(address, scripts=False) as visit:
        assert visit.page.title() == "(5) rotator prod"
        assert set(names(visit)) == set(one_of_each())
        assert in_order([one.split()[0] for one in visit.page.locator("article").evaluate_all(
            "all => all.map(one => one.className)")])  # fmt: skip
        failing = visit.page.locator("article", has_text="failing").inner_text()
        assert "403 permission denied" in failing
        assert "rotator policy vault" in failing
        held = visit.page.locator("article.hold").inner_text()
        assert WILD in held
        assert "rotator release held" in held
        assert visit.page.locator("meta[http-equiv=refresh]").get_attribute("content") == "30"
        assert visit.page.locator("article svg rect").count() > 20

        visit.page.locator("#d-grace summary").click()
        assert "to be revoked 2026-11-24 08:00" in visit.page.locator("#d-grace").inner_text()
        visit.page.get_by_role("link", name="Pause").click()
        assert visit.page.locator("meta[http-equiv=refresh]").count() == 0
        visit.page.get_by_role("link", name="2 grace").click()
        assert names(visit) == ["grace", "refusal"]
        assert (visit.foreign, visit.complaints) == ([], [])


def test_nobody_is_shut_out_on_a_desktop_or_a_phone_in_light_or_dark(chromium: Chromium) -> None:
    stage = Stage(troubles={"backend vault": "sealed"})
    with serving(stage) as address:
        for kind in ({"size": PHONE, "dark": True}, {}):
            with chromium.visit(address, **kind) as visit:
                visit.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
                assert (visit.overflow(), visit.foreign, visit.complaints) == (0, [], [])
                assert visit.inaccessible() == []


def test_it_is_drawn_anew_without_taking_the_place_from_who_reads(chromium: Chromium) -> None:
    stage = Stage()
    with serving(stage, every=SOON) as address:
        port = urlsplit(address).port
        with chromium.visit(address) as visit:
            for name in ("fine", "due"):
                visit.page.locator(f"#d-{name} summary").click()
            stage.rows = {**stage.rows, "fine": row("fine", key("z"), hold="somebody's order")}
            visit.page.get_by_text("somebody's order").wait_for()
            assert visit.page.locator("details[open]").count() == 2
            assert visit.page.evaluate("document.activeElement.closest('details').id") == "d-due"
            assert visit.page.title() == "(5) rotator prod"
            stage.broken = True
            visit.page.get_by_text("The journal can't be read: the disk is gone").wait_for()
            assert visit.page.title() == "(1) rotator prod"
            stage.broken = False
            visit.page.get_by_text("Nothing is due.").first.wait_for()
            gone = [one for one in visit.complaints if "503" not in one]
            assert (visit.foreign, gone) == ([], [])
            stop(visit, port, stage, address)


def stop(visit: Visit, port: int | None, stage: Stage, address: str) -> None:
    """What is seen while the service is away: old news, called so."""
    visit.page.context.set_offline(True)
    visit.page.get_by_text("The service does not answer.").wait_for()
    assert names(visit)
    visit.page.context.set_offline(False)
    visit.page.get_by_text("The service does not answer.").wait_for(state="detached")


def test_of_two_thousand_policies_the_problems_come_first_and_the_keyboard_finds_the_others(chromium: Chromium) -> None:
    policy, known, look = one_of_each()["fine"]
    rows = {f"team-{number:04d}": (replace(policy, name=f"team-{number:04d}"), known, look) for number in range(1999)}
    rows["zz-ending"] = row("zz-ending", key("c", created_at=NOW - 28 * DAY, expires_at=NOW + 2 * DAY))
    with serving(Stage(rows)) as address, chromium.visit(address) as visit:
        assert names(visit)[:2] == ["zz-ending", "team-0000"]
        assert len(names(visit)) == 50
        page = visit.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "To the policies"
        page.keyboard.press("Tab")
        page.keyboard.type("TEAM-19")
        page.keyboard.press("Enter")
        page.wait_for_url("**/?q=TEAM-19*")
        assert page.locator("nav[aria-label=States] li").first.inner_text() == "99 of 2000 policies"
        page.get_by_role("link", name="Next").press("Enter")
        page.wait_for_url("**page=2*")
        assert names(visit)[-1] == "team-1998"
        assert "51 to 99 of 99" in page.locator("nav.pages").inner_text()
        page.goto(f"{address}?q=nobody-has-this&state=nonsense&page=999999")
        page.get_by_role("link", name="Show all").click()
        page.wait_for_url(lambda url: "?" not in url)
        assert len(names(visit)) == 50


def test_a_browser_gives_the_token_as_a_password_and_on_paper_everything_is_open(chromium: Chromium) -> None:
    with serving(Stage(), TOKEN) as address, chromium.visit(address, password=TOKEN) as visit:
        assert visit.page.locator("article").count() == 13
        visit.page.emulate_media(media="print")
        assert visit.page.locator("form").is_hidden()
        assert visit.page.get_by_text("dotenv:/srv/.env#KEY").first.is_visible()
