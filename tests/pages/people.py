"""The page of a link over fakes and a real journal: a person with a browser, and the service that answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx

from rotator.config import HttpSettings
from rotator.domain.links import PREFIX, digest_of
from rotator.domain.record import HandoverLink
from rotator.domain.request_events import HandoverLinkMade
from rotator.domain.secret import SecretValue
from rotator.entrypoints.http.handing import Handing
from rotator.entrypoints.http.pages import Pages
from rotator.entrypoints.http.server import Listener
from tests.service.people import AssistedStage

TOKEN = "a-token-of-nobody-that-is-long-enough-to-be-one"
LINK = f"{PREFIX}chat/{TOKEN}"


def give_link(stage: AssistedStage, token: str = TOKEN, valid: timedelta = timedelta(minutes=30)) -> None:
    rotation = stage.record.awaiting
    assert rotation is not None
    now = stage.clock.now()
    link = HandoverLink(digest=digest_of(token), until=now + valid, name="ada <ops>")
    event = HandoverLinkMade(rotation_id=rotation.rotation_id, link=link, by="root")
    stage.journal.request(stage.policy.name, event, now)


@contextmanager
def serving(
    stage: Any,
    *,
    tls: tuple[Path, Path] | None = None,
    url: str | None = None,
    offered: bool = True,
    used: Callable[[], AbstractContextManager[Any]] | None = None,
) -> Iterator[str]:
    """The address of the service."""

    def one() -> AbstractContextManager[Any]:
        return nullcontext(SimpleNamespace(application=stage, policies={stage.policy.name: stage.policy}))

    handing = Handing(used=used or one, url=url, encrypted=tls is not None)
    pages = Pages(
        alive=lambda: "",
        ready=SimpleNamespace(problems=lambda *, detailed: {}, warnings=dict),
        token=lambda: SecretValue("the token of scrapes"),
        metrics=lambda: (b"", "text/plain"),
        overview=SimpleNamespace(),
        handing=handing if offered else None,
    )
    listener = Listener(HttpSettings(host="127.0.0.1", port=0, token=None, tls=tls), pages)
    listener.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{listener.port}"
    finally:
        listener.stop()


def send(address: str, key: str, *, path: str = LINK, **rest: str) -> httpx.Response:
    """The form, as a browser sends it, and the page that it is sent on to."""
    return httpx.post(address + path, data=form(key, **rest), follow_redirects=True, timeout=60)


def form(key: str, **rest: str) -> dict[str, str]:
    return {"key": key, "expires": "never", **rest}


def words(page: httpx.Response) -> str:
    """What a person reads."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text.split("<main>")[-1]))
