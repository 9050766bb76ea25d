"""The browser of the tests notices what the tests of pages rely on."""

from __future__ import annotations

from pathlib import Path

from tests.parts.browser import PHONE, Chromium

GOOD = '<!doctype html><html lang="en"><title>good</title><main><h1>Good</h1><p>Nothing is wrong here.</main>'
BAD = (
    "<!doctype html><title>bad</title><img src='https://elsewhere.example/x.png'><script>nowhere()</script>"
    "<div style='width: 2000px'>wide</div>"
)


def test_a_page_that_asks_nobody_and_breaks_no_rule_passes(chromium: Chromium, tmp_path: Path) -> None:
    file = tmp_path / "good.html"
    file.write_text(GOOD)
    with chromium.visit(file.as_uri(), size=PHONE) as visit:
        assert visit.requests == [file.as_uri()]
        assert (visit.foreign, visit.complaints, visit.inaccessible()) == ([], [], [])


def test_a_page_that_asks_others_fails_or_has_no_words_is_found_out(chromium: Chromium, tmp_path: Path) -> None:
    file = tmp_path / "bad.html"
    file.write_text(BAD)
    with chromium.visit(file.as_uri()) as visit:
        assert visit.foreign == ["https://elsewhere.example/x.png"]
        assert any("nowhere is not defined" in complaint for complaint in visit.complaints)
        assert visit.overflow() > 700
        broken = " ".join(visit.inaccessible())
    assert "html-has-lang" in broken
    assert "image-alt" in broken
