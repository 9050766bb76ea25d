"""What others have changed in the destinations of a policy, and how the current key is put back. Pure."""

from __future__ import annotations

from rotator.domain.actions import Restore
from rotator.domain.model import Drift
from rotator.domain.snapshot import DestinationView
from rotator.domain.verdict import Context


def changed_by_others(context: Context) -> tuple[DestinationView, ...]:
    """The destinations that do not hold the current key.

    One that is empty counts where the policy says to put the key back; otherwise it gets its first key like any other.
    """
    key = context.record.current
    if key is None:
        return ()
    counts_empty = context.policy.drift is Drift.RESTORE
    return tuple(
        view
        for view in context.world.destinations
        if view.fingerprint != key.fingerprint and (view.fingerprint is not None or counts_empty)
    )


def hints_of_others(context: Context) -> tuple[DestinationView, ...]:
    """The destinations that hold the current key, one of ours, and whose metadata is of another value or policy.

    None at all is no sign: not every place can carry it.
    """
    key = context.record.current
    if key is None or not key.rotation_id:
        return ()
    ours = {"fingerprint": key.fingerprint, "policy": context.policy.name}
    return tuple(
        view
        for view in context.world.destinations
        if view.fingerprint == key.fingerprint
        and any(view.hints.get(name) not in {None, value} for name, value in ours.items())
    )


def restore(context: Context) -> Restore:
    """Put the current key, and what is said of it, back where others have changed it."""
    key = context.record.current
    assert key is not None, "drift is from a current key"
    views = changed_by_others(context) or hints_of_others(context)
    return Restore(
        key_id=key.key_id,
        changed=tuple((view.destination, view.version, view.fingerprint, view.written) for view in views),
    )
