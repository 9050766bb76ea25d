"""Debian's chromium, headless and driven by Playwright; and the rules of axe-core for accessibility."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:  # every worker loads this module, and Playwright takes a second to import
    from playwright.sync_api import Browser, Page, Route

DESKTOP = (1280, 900)
PHONE = (360, 740)

_ARGUMENTS = [
    "--no-sandbox",  # the tests run as root
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_MILLISECONDS = 20_000  # a busy machine draws slowly
_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@dataclass(frozen=True, slots=True)
class Visit:
    """A page in a browser profile of its own.

    :ivar page: Playwright's page.
    :ivar requests: the address of everything that it asked for, in order.
    :ivar foreign: those of ``requests`` that went to another origin than the first; none of them was let out.
    :ivar complaints: errors of its scripts, and what the console said as a warning or error: CSP violations too.
    """

    page: Page
    requests: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def inaccessible(self) -> list[str]:
        """What breaks a rule of accessibility, a sentence each. Needs a visit with ``scripts``."""
        from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - see above

        found = Axe().run(self.page, options={"runOnly": _RULES, "resultTypes": ["violations"]}).response
        return [
            f"{violation['id']}: {violation['help']}: {node['html'][:200]} {json.dumps(node['any'][:1])[:300]}"
            for violation in found["violations"]
            for node in violation["nodes"]
        ]

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window: 0, or somebody must scroll sideways."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


class Chromium:
    """A started browser; see ``visit``."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser

    @contextmanager
    def visit(
        self,
        address: str,
        *,
        size: tuple[int, int] = DESKTOP,
        dark: bool = False,
        scripts: bool = True,
        password: str | None = None,
    ) -> Iterator[Visit]:
        """Open an address (``http:`` or ``file:``) as somebody who was never there.

        :param size: of the window, in CSS pixels; ``PHONE`` has fingers and a dense screen, too.
        :param password: given by HTTP Basic where the server asks for it.
        """
        given: dict[str, Any] = {"http_credentials": {"username": "", "password": password}} if password else {}
        is_phone = size == PHONE
        context = self._browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            java_script_enabled=scripts,
            device_scale_factor=2 if is_phone else 1,
            has_touch=is_phone,
            is_mobile=is_phone,
            service_workers="block",
            timezone_id="America/New_York",  # so that a page which means UTC has to say so
            **given,
        )
        context.set_default_timeout(_MILLISECONDS)
        visit = Visit(context.new_page())
        origin = urlsplit(address)[:2]

        def let_through(route: Route) -> None:
            visit.requests.append(route.request.url)
            if urlsplit(route.request.url)[:2] == origin:
                route.continue_()
            else:
                visit.foreign.append(route.request.url)
                route.abort()

        context.route("**/*", let_through)
        visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        visit.page.on(
            "console",
            lambda said: visit.complaints.append(said.text) if said.type in {"error", "warning"} else None,
        )
        try:
            visit.page.goto(address)
            yield visit
        finally:
            context.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """One browser for a module. No longer: while it runs, Playwright's event loop is this thread's."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - see above

    program = shutil.which("chromium")
    if program is None:
        raise RuntimeError("the tests need chromium: install it (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        try:
            yield Chromium(browser)
        finally:
            browser.close()


def drawn(page: Page, file: Path) -> Path:
    """A picture of the whole page, for a person to look at."""
    page.screenshot(path=file, full_page=True)
    return file
