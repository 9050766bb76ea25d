"""Everything that rotator raises on purpose.

::

    RotatorError
    ├── ConfigError                 the configuration is wrong (with file, line and field)
    ├── MissingSecret               a reference to a secret leads nowhere
    ├── OutcomeUnknown              a changing request was sent, its answer was lost: it may have happened
    ├── ProviderError
    │   ├── ProviderUnavailable     no answer, or a passing one (connection, 429, 5xx on a read)      retryable
    │   ├── ProviderDenied          the management key is refused, or lacks the right
    │   ├── ProviderRejected        the request itself is refused; nothing happened
    │   └── ProviderNonsense        the answer is not what the contract says; nothing of it is believed
    ├── BackendError
    │   ├── BackendUnavailable      no answer, or a passing one (connection, sealed, throttled)       retryable
    │   ├── BackendDenied           the credential is refused, or lacks a right on that path
    │   ├── WrongDestination        the place is not what the policy says (engine, format, kind)
    │   └── VersionConflict         somebody else wrote in between; nothing was written               retryable
    ├── JournalError
    │   ├── JournalUnavailable      it can't be read or written (locked, disk full, read-only)        retryable
    │   │   └── JournalUnusable     it is no journal, or of a newer version; or a library is missing
    │   │       └── JournalEmpty    it is there, and nothing was ever recorded in it
    │   ├── LeaseHeld               another holder is at work on this policy                          retryable
    │   └── LeaseLost               this holder's lease was taken over; it must stop
    ├── HookFailed                  a hook did not succeed: consumers may not have learnt of a key        retryable
    ├── SendFailed                  a notification was not taken, or nobody knows; it is sent again       retryable
    ├── AnchorFailed                a head of the journal could not be written down elsewhere             retryable
    ├── HistoryUnreadable           an export or a file of anchors can't be read, or can't be written
    ├── RotationFailed              a rotation did not come through; the journal knows how far it got   retryable
    ├── HandoverRefused             what a person handed over is not what was asked for; nothing of it is kept
    ├── HandoverPostponed           a key can't be taken now: on hold, or a place can't be written       retryable
    ├── IllegalMove                 a lifecycle move that the table does not allow: a defect of ours
    ├── ListenFailed                the HTTP listener can't be opened (port taken, foreign address)       retryable
    ├── Deferred                    due, and left for a later run: the budget, or a canary                 retryable
    └── Stopping                    the process was told to end; the work is left where it is         retryable

``retryable`` says whether the same call may succeed later without a person doing anything.

Adapters translate at their edge, ``from`` the cause. A message never holds a secret: it names statuses,
codes and places, and repeats no text that came with a request or an answer body.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class RotatorError(Exception):
    """The root. Every message is fit for a log and for a person."""

    retryable: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of the configuration: where it is, what was found, what is allowed. Never shows a secret.

    :param line: counted from 1; 0 where the file as a whole is meant.
    :param field: as a person writes it: ``policies[3].grace``.
    """

    file: str
    line: int
    field: str
    found: str
    allowed: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        field = f"{self.field}: " if self.field else ""
        return f"{where}: {field}found {self.found}; {self.allowed}"


class ConfigError(RotatorError):
    """The configuration is wrong; nothing was started. The text has a line for each problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class MissingSecret(RotatorError):
    """A reference leads nowhere; the message names the variable or file, never a content."""


class ListenFailed(RotatorError):
    """The HTTP listener can't be opened; the message names the address."""

    retryable = True


class OutcomeUnknown(RotatorError):
    """A changing request was sent and its answer was lost: look before anything else is done."""


class ProviderError(RotatorError):
    """The provider of keys did not do what was asked."""


class ProviderUnavailable(ProviderError):
    """No answer or a passing one; for a changing request: it was certainly not carried out.

    :param retry_after: seconds that the provider asked to wait, where it said so.
    """

    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ProviderDenied(ProviderError):
    """The management key is refused, or lacks the right (401, 403 on a management request)."""


class ProviderRejected(ProviderError):
    """The request itself is refused (400, 404, 409, 422); nothing happened."""


class ProviderNonsense(ProviderError):
    """The answer breaks the contract (HTML, truncated JSON, another project); nothing of it is believed."""


class BackendError(RotatorError):
    """A place for secrets did not do what was asked."""


class BackendUnavailable(BackendError):
    """No answer or a passing one; for a write: it was certainly not carried out.

    :param retry_after: seconds that the backend asked to wait, where it said so.
    """

    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BackendDenied(BackendError):
    """The credential is refused, or lacks a right; the message names the right and the path."""


class WrongDestination(BackendError):
    """The place is not what the policy says: another engine, a binary secret, no JSON object."""


class VersionConflict(BackendError):
    """The destination is no longer at the version that was expected; nothing was written."""

    retryable = True


class JournalError(RotatorError):
    """The journal did not do what was asked."""


class JournalUnavailable(JournalError):
    """The journal can't be read or written now; no effect outside may follow."""

    retryable = True


class JournalUnusable(JournalUnavailable):
    """What is there is no journal, or one of a newer version, or a library for it is missing: a person has to look."""

    retryable = False


class JournalEmpty(JournalUnusable):
    """Nothing was ever recorded in it, or all was taken out: whoever needs its past can't use it."""


class LeaseHeld(JournalError):
    """Another holder is at work on this policy."""

    retryable = True


class LeaseLost(JournalError):
    """This holder's lease was taken over: it must stop at once, without another effect."""


class HookFailed(RotatorError):
    """A hook did not succeed; its key's predecessor stays until it does."""

    retryable = True


class SendFailed(RotatorError):
    """A notification was not taken, or nobody knows. The message names neither an address nor a token.

    :param retry_after: seconds that the other side asked to wait, where it said so.
    :param is_refusal: the other side has read it, and wants none of it: another message may well be taken.
    """

    retryable = True

    def __init__(self, message: str, *, retry_after: float | None = None, is_refusal: bool = False) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.is_refusal = is_refusal


class AnchorFailed(RotatorError):
    """A head of the journal's chain could not be written down elsewhere; the next one stands for it too."""

    retryable = True


class HistoryUnreadable(RotatorError):
    """An export, or a file of anchors, is not what it should be; or it can't be written."""


class RotationFailed(RotatorError):
    """A rotation did not come through; everything is journaled, and the message says why."""

    retryable = True


class HandoverRefused(RotatorError):
    """What a person handed over is not what was asked for; it is recorded, and nothing of it is kept.

    :param unneeded: the id of a good key that came too late: somebody has to revoke it.
    """

    def __init__(self, why: str, *, unneeded: str = "") -> None:
        super().__init__(why)
        self.unneeded = unneeded


class HandoverPostponed(RotatorError):
    """A key can't be taken now; nothing of it is kept. The message says what is in the way."""

    retryable = True


class Deferred(RotatorError):
    """A rotation that is due is left for a later run; nothing was begun, and nothing is wrong."""

    retryable = True


class IllegalMove(RotatorError):
    """A lifecycle move that the table in ``domain.lifecycle`` does not allow."""


class Overtaken(IllegalMove):
    """An operator asked for something else between a decision and its record; the next look decides anew."""


class Stopping(RotatorError):
    """The service, or the pass, was told to end; what is in flight is resumed by the next one."""

    retryable = True
