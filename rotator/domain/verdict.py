"""What a check gets and what it returns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from rotator.domain.model import Policy
from rotator.domain.record import PolicyRecord
from rotator.domain.snapshot import Snapshot, World


class Decision(StrEnum):
    """What a verdict asks for."""

    SKIP = "skip"
    BLOCKED = "blocked"  # retry with backoff
    REFUSED = "refused"  # a person must change something
    RESUME = "resume"
    ISSUE = "issue"
    ADOPT = "adopt"
    REBUILD = "rebuild"  # record what the world shows and the journal has lost
    ROLL_BACK = "roll back"
    RESTORE = "restore"  # put the current key back where somebody else took it out
    AWAIT = "await"  # a person is asked to make a key
    WAIT = "wait"
    # for one key
    KEEP = "keep"
    EXTEND = "extend"
    REVOKE = "revoke"
    CONFIRM = "confirm"  # see it refused, soon
    WATCH = "watch"  # the same at every look, without hurry
    CLOSE = "close"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One decision with its reason.

    :param check: the name of the check that decided.
    :param until: nothing changes by itself before; ``None`` where time does not help.
    :param alert: a person should hear of it.
    """

    check: str
    decision: Decision
    reason: str
    until: datetime | None = None
    alert: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """All that a check may look at."""

    policy: Policy
    snapshot: Snapshot
    now: datetime

    @property
    def world(self) -> World:
        """What was seen outside."""
        return self.snapshot.world

    @property
    def record(self) -> PolicyRecord:
        """What the journal remembers."""
        return self.snapshot.record

    @property
    def hooks_due(self) -> tuple[str, ...]:
        """The hooks of the current key that are still to be run, as far as the policy has them still."""
        due = self.record.current.hooks_due if self.record.current else ()
        return tuple(hook for hook in due if hook in self.policy.hooks)

    @property
    def hold(self) -> str:
        """Why the policy is on hold now; empty where it is not."""
        return self.record.held(self.now)
