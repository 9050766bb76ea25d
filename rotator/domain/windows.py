"""When a rotation may begin, and when it can't wait for that. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from rotator.domain.model import Policy
from rotator.domain.record import KeyRecord
from rotator.domain.text import text
from rotator.domain.verdict import Context, Decision, Verdict


def margin(renew_before: timedelta, grace: timedelta) -> timedelta:
    """What a key must have left when its window opens: its grace, and time to repair what fails."""
    return max(grace, renew_before / 4)


def in_window(context: Context, verdict: Verdict) -> Verdict:
    """The verdict, put off until a window opens; or at once where the key would not outlive the wait."""
    policy, key = context.policy, context.record.current
    if policy.windows is None:
        return verdict
    opens = policy.windows.opens(context.now)
    if opens is not None and opens <= context.now:
        return verdict
    if opens is None or (key is not None and not _outlives(policy, key, opens)):
        when = f"opens at {text(opens)}" if opens else "never opens again"
        reason = f"{verdict.reason}; its window {when}, too late to wait for"
        return Verdict(check=verdict.check, decision=verdict.decision, reason=reason, alert=True)
    reason = f"{verdict.reason}; waits for its window, which opens at {text(opens)}"
    return Verdict(check=verdict.check, decision=Decision.WAIT, reason=reason, until=opens)


def _outlives(policy: Policy, key: KeyRecord, opens: datetime) -> bool:
    return key.expires_at is None or key.expires_at - margin(policy.renew_before, policy.grace) >= opens
