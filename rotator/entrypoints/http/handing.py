"""The page of a link, where a person hands a new key over. Without scripts; what was sent is never shown again.

A form that was sent is answered with a redirection to the same address, so that no browser keeps it to send it again.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from threading import Lock
from urllib.parse import parse_qs, urlsplit

from rotator.domain.handover import seen
from rotator.domain.links import PREFIX, digest_of, opened
from rotator.domain.model import Policy
from rotator.domain.record import Expiration, HandoverLink, PolicyRecord
from rotator.domain.secret import SecretValue
from rotator.entrypoints.http.answer import Answer
from rotator.entrypoints.http.asked import Request, is_this_machine
from rotator.entrypoints.http.drawing import environment
from rotator.entrypoints.served import Served
from rotator.errors import JournalError, Stopping
from rotator.service.desk import Handover, Taken
from rotator.service.handover import Handed

_FIELDS = 8
_REMEMBERED = 64

_POLICY = (
    "default-src 'none'; style-src 'nonce-{}'; img-src data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_UNCERTAIN = "whether the key was taken is not certain: hand the same one over again"


class Ended:
    """How the newest handovers by a link ended, to be told once the browser asks. By the digest of the link's token."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._known: OrderedDict[str, Handover] = OrderedDict()

    def note(self, token: str, handover: Handover) -> None:
        """The newest counts; of many links, the oldest is forgotten."""
        with self._lock:
            self._known.pop(digest_of(token), None)
            self._known[digest_of(token)] = handover
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    def of(self, token: str) -> Handover | None:
        """``None`` where nothing was handed over by it, or another process took it."""
        with self._lock:
            return self._known.get(digest_of(token))


@dataclass(frozen=True, slots=True, kw_only=True)
class Handing:
    """The pages under ``/handover/``; see ``__call__``.

    :param url: by which people reach the service, where that is not as it listens.
    :param encrypted: whether it speaks TLS itself.
    """

    application: Callable[[], Served]
    policies: Callable[[], Mapping[str, Policy]]
    url: str | None
    encrypted: bool
    _ended: Ended = field(default_factory=Ended, repr=False)

    def __call__(self, request: Request) -> Answer:
        """The page for who asks for it; for who sends the form, what came of it, at the same address."""
        if why := self._refuses(request):
            return Answer.text(HTTPStatus.FORBIDDEN, why)
        name, _, token = request.path.removeprefix(PREFIX).partition("/")
        policy, application = self.policies().get(name), self.application()
        now = application.clock.now()
        try:
            record = application.journal.load(name) if policy else PolicyRecord(policy=name)
        except JournalError:
            return _drawn(HTTPStatus.SERVICE_UNAVAILABLE, "closed")
        link = opened(record, token, now)
        if policy and link and request.form is not None:
            self._ended.note(token, self._take(application, policy, record, link, request.form))
        if request.form is not None:
            return Answer(status=HTTPStatus.SEE_OTHER, body=b"", headers={"Location": request.path})
        handover = self._ended.of(token)
        if policy and link:
            return _drawn(HTTPStatus.OK, "asked", handover=handover, policy=policy, record=record, link=link)
        if handover is None:
            return _drawn(HTTPStatus.NOT_FOUND, "unknown")
        page = "accepted" if handover.taken is Taken.ACCEPTED else "open"
        return _drawn(HTTPStatus.OK, page, handover=handover, name=name)

    def _take(
        self, application: Served, policy: Policy, record: PolicyRecord, link: HandoverLink, form: SecretValue
    ) -> Handover:
        desk, (secret, expires, fault) = application.desk, _read(form)
        if fault or secret is None or desk is None:
            why = fault or "the service can't open its journal yet: wait, and send it again"
            return Handover(taken=Taken.POSTPONED, why=why)
        handed = Handed(secret=secret, expires=expires, by=link.name, via="page", began=seen(record))
        try:
            return desk.hand_over(policy, handed)
        except Stopping:
            return Handover(taken=Taken.UNFINISHED, why=f"the service is being stopped; {_UNCERTAIN}, when it is back")
        except JournalError as error:
            return Handover(taken=Taken.UNFINISHED, why=f"{error}; {_UNCERTAIN}")

    def _refuses(self, request: Request) -> str:
        """Plain HTTP stays on this machine, or comes from a proxy with the name that people know; a form from here."""
        host, url = request.host, self.url or ""
        if not (self.encrypted or is_this_machine(host) or (url and host == urlsplit(url).netloc)):
            return "keys are handed over on this machine, by https, or at http.url"
        scheme = "https" if self.encrypted else "http"
        here = {"", f"{scheme}://{host}", url}  # only a browser says where a form comes from
        if request.form is not None and request.origin not in here:
            return "a form of another page is not taken"
        return ""


def _read(form: SecretValue) -> tuple[SecretValue | None, Expiration | None, str]:
    """The key, its expiration (``None``: as it was asked for), and what is wrong with the form."""
    try:
        fields = parse_qs(form.reveal(), keep_blank_values=True, errors="replace", max_num_fields=_FIELDS)
    except ValueError:
        return None, None, "that was not this form: nothing was taken"
    secret = SecretValue(fields.get("key", [""])[-1])
    if not secret.reveal().strip():
        return None, None, "the key is missing: nothing was handed over"
    try:
        return secret, _expiration(fields.get("expires", [""])[-1], fields.get("date", [""])[-1]), ""
    except ValueError as error:
        return None, None, f"{error}: nothing was taken, send the key again"


def _expiration(said: str, date: str) -> Expiration | None:
    """``None``: as it was asked for. Raises ``ValueError`` with a sentence."""
    if date and said != "other":
        raise ValueError("you chose a date, and another answer")
    if said == "never":
        return Expiration(None)
    if said != "other":
        return None
    try:
        return Expiration.on(date)
    except ValueError:
        raise ValueError("say on which date the key expires (YYYY-MM-DD)") from None


def _drawn(status: HTTPStatus, page: str, *, handover: Handover | None = None, **facts: object) -> Answer:
    """:param page: ``asked``, ``accepted``, ``open`` (taken, and not finished), ``unknown`` or ``closed``."""
    nonce = secrets.token_urlsafe(18)
    content = (
        environment()
        .get_template("handover.html")
        .render(page=page, handover=handover, nonce=nonce, Taken=Taken, **facts)
    )
    headers = {
        "Content-Security-Policy": _POLICY.format(nonce),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "same-origin",  # not "no-referrer": the form would come from nowhere
    }
    return Answer.html(status, content, headers)
