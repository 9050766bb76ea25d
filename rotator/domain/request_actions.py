"""What a plan can ask for where people make and revoke keys; more actions, beside those of ``domain.actions``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rotator.domain.actions import Action
from rotator.domain.model import Destination
from rotator.domain.record import Level


@dataclass(frozen=True, slots=True, kw_only=True)
class AskForKey(Action):
    """Ask a person to make a key, and to hand it over. Journal only.

    :param expires_at: the expiration that it should be given: the beginning of a day, in UTC.
    :param pressing: nobody should wait with it.
    :param urgent: see ``Issue``.
    :param can_wait: see ``Issue``.
    """

    reason: str
    expires_at: datetime
    deadline: datetime
    pressing: bool = False
    urgent: bool = False
    can_wait: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRequest(Action):
    """The open request is for another moment or expiration from now on. Journal only."""

    rotation_id: str
    reason: str
    expires_at: datetime
    deadline: datetime
    pressing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Remind(Action):
    """Announce a request again: of a new key (``rotation_id``), or of a revocation (``key_id``). Journal only."""

    level: Level
    rotation_id: str = ""
    key_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawRequest(Action):
    """No new key is needed any more. Journal only."""

    rotation_id: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckInbox(Action):
    """Look whether a person has put a key there; take it, check it, publish it, destroy it there."""

    inbox: Destination


@dataclass(frozen=True, slots=True, kw_only=True)
class AskForRevocation(Action):
    """Ask a person to revoke a key, unless it is refused already."""

    key_id: str
    why: str
    deadline: datetime
    pressing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawRevocation(Action):
    """The key is needed after all, or for longer. Journal only."""

    key_id: str
    why: str
