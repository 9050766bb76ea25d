"""What a failed exchange means for the caller: which error, may it pass, may the request have been carried out.

Decided on status and code, never on a message's text: DESIGN.md and the platform's error page name these two.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from rotator.adapters.providers._exchange import Answer, NoAnswer
from rotator.errors import (
    OutcomeUnknown,
    ProviderDenied,
    ProviderError,
    ProviderNonsense,
    ProviderRejected,
    ProviderUnavailable,
)

_SERVER_ERRORS = range(500, 600)
_CLIENT_ERRORS = range(400, 500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One attempt that did not succeed.

    :param problem: what happened: a status, a code, or a class of network errors.
    :param kind: the error, if this attempt decides.
    :param passing: the same request may succeed later.
    :param refused: the credential that was sent is none (401).
    :param happened: the request changes something, and may have been carried out.
    :param retry_after: seconds that the provider asked to wait.
    """

    problem: str
    kind: type[ProviderError]
    passing: bool = False
    refused: bool = False
    happened: bool = False
    retry_after: float | None = None

    def error(self, place: str, *, happened: bool) -> ProviderError | OutcomeUnknown:
        """The error to raise; ``happened`` when this or an earlier attempt may have been carried out."""
        message = f"{place}: {self.problem}"
        if happened:
            return OutcomeUnknown(message)
        if self.kind is ProviderUnavailable:
            return ProviderUnavailable(message, retry_after=self.retry_after)
        return self.kind(message)


def judge_read(answer: Answer | NoAnswer) -> Answer | Failure:
    """The answer itself, if it is 200; else what went wrong with a request that changes nothing."""
    if isinstance(answer, NoAnswer):
        return Failure(problem=answer.problem, kind=ProviderUnavailable, passing=True)
    if answer.status == HTTPStatus.OK:
        return answer
    if answer.status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.REQUEST_TIMEOUT, *_SERVER_ERRORS):
        return _passing(answer)
    if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        refused = answer.status == HTTPStatus.UNAUTHORIZED
        return Failure(problem=answer.describe(), kind=ProviderDenied, refused=refused)
    if answer.status in _CLIENT_ERRORS and answer.envelope() is not None:
        return Failure(problem=answer.describe(), kind=ProviderRejected)
    return Failure(problem=f"{answer.describe()}, not an answer of the contract", kind=ProviderNonsense)


def judge_change(answer: Answer | NoAnswer, success: HTTPStatus) -> Answer | Failure:
    """The answer itself, if it has the status of success; else what went wrong with a request that changes something.

    Only an answer that the provider itself must have given says that nothing happened: 429, 401, or a client
    error in its envelope. A page of something in between proves nothing: it may stand for an answer that it hid.
    """
    if isinstance(answer, NoAnswer):
        return Failure(problem=answer.problem, kind=ProviderUnavailable, passing=True, happened=answer.sent)
    if answer.status == success:
        return answer
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return _passing(answer)
    if answer.status in (HTTPStatus.REQUEST_TIMEOUT, *_SERVER_ERRORS):
        return _passing(answer, happened=True)
    if answer.status == HTTPStatus.UNAUTHORIZED or (answer.status in _CLIENT_ERRORS and answer.envelope() is not None):
        refused = answer.status == HTTPStatus.UNAUTHORIZED
        denied = refused or answer.status == HTTPStatus.FORBIDDEN
        kind = ProviderDenied if denied else ProviderRejected
        return Failure(problem=answer.describe(), kind=kind, refused=refused)
    problem = f"{answer.describe()}, not an answer of the contract"
    return Failure(problem=problem, kind=ProviderNonsense, happened=True)


def _passing(answer: Answer, *, happened: bool = False) -> Failure:
    return Failure(
        problem=answer.describe(),
        kind=ProviderUnavailable,
        passing=True,
        happened=happened,
        retry_after=answer.retry_after(),
    )
