"""The page of a link, where a person hands a new key over. Without scripts; what was sent is never shown again.

A form that was sent is answered with a redirection to the same address, so that no browser keeps it to send it again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from urllib.parse import urlsplit

import structlog

from rotator.domain.handover import seen
from rotator.domain.links import PREFIX, opened
from rotator.domain.model import Policy
from rotator.domain.record import HandoverLink, KeyState, PolicyRecord
from rotator.domain.secret import Unjudged
from rotator.entrypoints.http import form
from rotator.entrypoints.http.answer import Answer
from rotator.entrypoints.http.asked import Request, is_this_machine
from rotator.entrypoints.http.drawing import environment
from rotator.entrypoints.http.ended import Ended
from rotator.entrypoints.served import InForce, Served
from rotator.errors import JournalError, Stopping
from rotator.service.desk import UNCERTAIN, Handover, Taken
from rotator.service.handover import Handed

_LATER = "again"
"""What the address asks where a form was not read because too many were sent at a time."""

_POLICY = (
    "default-src 'none'; style-src 'nonce-{}'; img-src data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_TOO_MANY = Handover(
    taken=Taken.BUSY, why="too many keys are handed over at this moment: nothing was taken, send it again"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handing:
    """The pages under ``/handover/``; see ``__call__``.

    :param used: around each answer: what is in force is not closed before its end.
    :param url: by which people reach the service, where that is not as it listens.
    :param encrypted: whether it speaks TLS itself.
    """

    used: Callable[[], AbstractContextManager[InForce]]
    url: str | None
    encrypted: bool
    ended: Ended = field(default_factory=Ended, repr=False)

    def __call__(self, request: Request) -> Answer:
        """The page for who asks for it; for who sends the form, what came of it, at the same address."""
        if why := self._refuses(request):
            return Answer.text(HTTPStatus.FORBIDDEN, why)
        with self.used() as in_force:
            return self._answer(request, in_force)

    def later(self, request: Request) -> Answer:
        """For who sends a form while there is no room for it: it is to be sent again."""
        return _sent_on(f"{request.path}?{_LATER}")

    def _answer(self, request: Request, in_force: InForce) -> Answer:
        name, _, token = request.path.removeprefix(PREFIX).partition("/")
        application, policy = in_force.application, in_force.policies.get(name)
        if policy is not None and policy.assistance is None:
            policy = None  # its provider makes keys by itself now
        try:
            record = application.journal.load(name) if policy else PolicyRecord(policy=name)
        except JournalError:
            return _sent_on(request.path) if request.form else _drawn(HTTPStatus.SERVICE_UNAVAILABLE, "closed")
        link, rotation = opened(record, token, application.clock.now()), record.awaiting
        if request.form is not None:
            if policy and link and rotation:
                handover = self._take(application, policy, record, link, request.form)
                self.ended.note(name, token, handover, rotation.rotation_id)
            return _sent_on(request.path)
        told = self.ended.of(name, token)
        if policy and link:
            alert = told.newest if told and told.newest.taken is not Taken.ACCEPTED else None
            return _drawn(
                HTTPStatus.OK,
                "asked",
                handover=_TOO_MANY if request.query == _LATER else alert,
                policy=policy,
                record=record,
                link=link,
                unneeded=told.unneeded if told else (),
            )
        if told is None:
            return _drawn(HTTPStatus.NOT_FOUND, "unknown")
        page, handover = told.stands(record)
        replaced = record.in_state(KeyState.RETIRING)
        facts = {"name": name, "policy": policy, "replaced": replaced, "unneeded": told.unneeded}
        return _drawn(HTTPStatus.OK, page, handover=handover, **facts)

    def _take(
        self, application: Served, policy: Policy, record: PolicyRecord, link: HandoverLink, sent: Unjudged
    ) -> Handover:
        if application.clock.stopping:
            why = "the service is being stopped: nothing was taken, send it again when it is back"
            return Handover(taken=Taken.POSTPONED, why=why)
        try:
            said = form.read(sent)
        except ValueError as error:
            return Handover(taken=Taken.POSTPONED, why=str(error))
        if application.desk is None:
            why = "the service can't open its journal yet: wait, and send it again"
            return Handover(taken=Taken.POSTPONED, why=why)
        handed = Handed(
            secret=said.key, expires=said.expires, by=link.name, via="page", began=seen(record), link=link.digest
        )
        return _outcome(partial(application.desk.hand_over, policy, handed))

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


def _outcome(hand_over: Callable[[], Handover]) -> Handover:
    """Whatever is raised is an outcome: the person is told at the same address."""
    doubt = UNCERTAIN
    try:
        return hand_over()
    except Stopping:
        why, doubt = "the service is being stopped", f"{doubt}, when it is back"
    except JournalError as error:
        why = str(error)
    except Exception:  # noqa: BLE001 - it is logged
        structlog.get_logger().exception("http.crashed")
        why = "a defect, the log has its traceback"
    return Handover(taken=Taken.UNFINISHED, why=why, doubt=doubt)


def _sent_on(address: str) -> Answer:
    return Answer(status=HTTPStatus.SEE_OTHER, body=b"", headers={"Location": address})


def _drawn(status: HTTPStatus, page: str, *, handover: Handover | None = None, **facts: object) -> Answer:
    """Draw a page.

    :param page: ``asked``; then ``accepted``, ``open`` (taken, and not finished), ``over`` (and something else is in
        place), ``refused``, ``postponed``; or ``unknown`` or ``closed``.
    """
    nonce = secrets.token_urlsafe(18)
    content = (
        environment()
        .get_template("handover.html")
        .render(page=page, handover=handover, nonce=nonce, Taken=Taken, **{"unneeded": (), **facts})
    )
    headers = {
        "Content-Security-Policy": _POLICY.format(nonce),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "same-origin",  # not "no-referrer": the form would come from nowhere
    }
    return Answer.html(status, content, headers)
