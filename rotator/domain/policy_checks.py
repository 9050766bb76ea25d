"""The decision chain of a policy as a whole. Read ``POLICY_CHAIN`` at the end first: it is the documentation.

A check is a pure function, named by the fault it finds. It returns a ``Verdict`` with its reason, or ``None``
to let the next one look. The first verdict decides.
"""

from __future__ import annotations

from collections.abc import Callable

from rotator.domain.drift import changed_by_others, hints_of_others
from rotator.domain.key_checks import decide_key
from rotator.domain.model import Drift, Identity, KeyKind, Refused
from rotator.domain.record import KeyState
from rotator.domain.recovery import is_ours_and_lost, unfinished_publication
from rotator.domain.renewal import renewal_at, slack
from rotator.domain.snapshot import DestinationView, Reach
from rotator.domain.text import text
from rotator.domain.verdict import Context, Decision, Verdict
from rotator.domain.windows import in_window

ASKED_FOR = ("Compromised", "RotateRequested")
"""Checks that find what an operator asked for by the policy's name."""

UNRELIABLE = ("KeyRejected", "LeakedKeyIsBack", "EndMayCome", "Compromised")
"""Checks that find consumers without a key that they can rely on."""

ON_SCHEDULE = ("ExpiryNear", "TooOld", "LateWritePossible")
"""Checks whose rotation harms nobody if others go first."""


def is_without_key(context: Context, verdict: Verdict) -> bool:
    """Whether consumers have no key that they can rely on.

    An empty place of a policy that has a key may be a new one. Nobody can tell that from one that somebody has emptied,
    so it is taken for that: there are consumers.
    """
    has_key = context.record.current is not None
    return verdict.check in UNRELIABLE or (has_key and verdict.check == "DestinationEmpty")


def on_hold(context: Context) -> Verdict | None:
    """An operator said: hands off."""
    if not context.hold:
        return None
    until = context.record.hold_until
    end = f"on hold until {text(until)}" if until else "on hold"
    return Verdict(check="OnHold", decision=Decision.SKIP, reason=f"{end}: {context.hold}", until=until)


def wrong_destination(context: Context) -> Verdict | None:
    """A destination is not the place that the policy names."""
    for view in context.world.destinations:
        if view.reach is Reach.WRONG:
            reason = _problem_of(view)
            return Verdict(check="WrongDestination", decision=Decision.REFUSED, reason=reason, alert=True)
    return None


def destination_unreadable(context: Context) -> Verdict | None:
    """A destination can't be looked at now, so nobody knows which key it holds."""
    for view in context.world.destinations:
        if view.reach is Reach.UNREADABLE:
            reason = _problem_of(view)
            return Verdict(check="DestinationUnreadable", decision=Decision.BLOCKED, reason=reason, alert=True)
    return None


def provider_unreadable(context: Context) -> Verdict | None:
    """The provider can't be asked now, so nobody knows what a key is worth."""
    if not context.world.provider_problem:
        return None
    reason = context.world.provider_problem
    return Verdict(check="ProviderUnreadable", decision=Decision.BLOCKED, reason=reason, alert=True)


def rotation_in_flight(context: Context) -> Verdict | None:
    """A rotation was begun and did not reach its grace."""
    rotation = context.record.in_flight
    if rotation is None:
        return None
    places = f", published to {len(rotation.published)} of {len(context.policy.destinations)}"
    how_far = f"phase {rotation.phase}{places if rotation.published else ''}"
    reason = f"rotation {rotation.rotation_id} was left in {how_far}"
    late = context.now - rotation.started_at > context.policy.settle
    return Verdict(check="RotationInFlight", decision=Decision.RESUME, reason=reason, alert=late)


def compromised(context: Context) -> Verdict | None:
    """An operator said that the key has leaked."""
    if not context.record.compromised:
        return None
    reason = f"compromised: {context.record.requested}"
    return Verdict(check="Compromised", decision=Decision.ISSUE, reason=reason, alert=True)


def rollback_requested(context: Context) -> Verdict | None:
    """An operator asked to put the key back that the last rotation had replaced."""
    rollback = context.record.rollback
    if rollback is None:
        return None
    reason = f"roll back: {rollback.reason}"
    return Verdict(check="RollbackRequested", decision=Decision.ROLL_BACK, reason=reason)


def publication_unfinished(context: Context) -> Verdict | None:
    """Some destinations hold a key of ours that the journal does not know, all others older ones: finish it.

    So a lost journal, or one restored from an older copy, causes no second rotation.
    """
    found = unfinished_publication(context)
    if found is None:
        return None
    reason = f"{found.key_id} is a key of ours that the journal has lost, and not everywhere yet"
    return Verdict(check="PublicationUnfinished", decision=Decision.REBUILD, reason=reason, alert=True)


def drifted(context: Context) -> Verdict | None:
    """Somebody else has changed a destination, and the policy does not say to adopt what they put there."""
    policy, key = context.policy, context.record.current
    views = changed_by_others(context)
    if policy.drift is Drift.ADOPT or key is None or not views or context.record.requested:
        return None
    if isinstance(context.world.identities.get(key.fingerprint) if key.fingerprint else None, Refused):
        return None  # not worth putting back
    if any(is_ours_and_lost(context, view) for view in views):
        return None  # no change by others: the journal is an older copy, or a holder that was given up came late
    told = "; ".join(_change(view) for view in views)
    if policy.drift is Drift.RESTORE:
        if key.condemned:
            return None  # its revocation may have been sent, and come late
        reason = f"{told}: put {key.key_id} back"
        return Verdict(check="Drifted", decision=Decision.RESTORE, reason=reason, alert=True)
    ends = f", which ends at {text(key.expires_at)}" if key.expires_at else ""
    known = [found for view in views if view.fingerprint and (found := context.record.by_fingerprint(view.fingerprint))]
    ends += "".join(f"; {one.key_id} ends at {text(one.expires_at)}" for one in known if one.expires_at)
    reason = f"{told}, instead of {key.key_id}{ends}: left alone, as the policy says"
    return Verdict(check="Drifted", decision=Decision.BLOCKED, reason=reason, alert=True)


def destination_empty(context: Context) -> Verdict | None:
    """A destination holds nothing yet."""
    empty = [view.destination.name for view in context.world.destinations if view.fingerprint is None]
    if not empty:
        return None
    return Verdict(check="DestinationEmpty", decision=Decision.ISSUE, reason=f"{', '.join(empty)}: holds no key yet")


def key_from_other_project(context: Context) -> Verdict | None:
    """A destination holds a working key that this policy must not replace: of another project, or no API key."""
    for view, identity in _held_identities(context):
        if not isinstance(identity, Identity) or identity.kind is KeyKind.LEGACY:
            continue
        if identity.kind is KeyKind.OTHER:
            reason = f"{view}: holds a credential that is no API key of a project"
        elif identity.project != context.policy.project:
            reason = f"{view}: holds {identity.key_id} of project {identity.project}, not of {context.policy.project}"
        else:
            continue
        return Verdict(check="KeyFromOtherProject", decision=Decision.REFUSED, reason=reason, alert=True)
    return None


def rejection_contradicted(context: Context) -> Verdict | None:
    """The provider refuses a key that its own list shows alive: believe neither yet."""
    for view in context.world.destinations:
        key = context.record.by_fingerprint(view.fingerprint) if view.fingerprint else None
        identity = context.world.identities.get(view.fingerprint) if view.fingerprint else None
        if not isinstance(identity, Refused) or key is None or key.state is KeyState.REVOKED:
            continue
        facts = context.world.facts(key.key_id)
        if facts and (facts.expires_at is None or facts.expires_at > context.now):
            name = view.destination
            reason = f"{name}: the provider refuses {key.key_id} ({identity.evidence}), yet lists it as alive"
            return Verdict(check="RejectionContradicted", decision=Decision.BLOCKED, reason=reason, alert=True)
    return None


def key_rejected(context: Context) -> Verdict | None:
    """A destination holds a value that the provider refuses: revoked or expired out of band, or never a key."""
    for view, identity in _held_identities(context):
        if isinstance(identity, Refused):
            reason = f"{view}: the provider refuses the value it holds ({identity.evidence})"
            return Verdict(check="KeyRejected", decision=Decision.ISSUE, reason=reason, alert=True)
    return None


def destinations_differ(context: Context) -> Verdict | None:
    """The destinations hold different keys, and no rotation of ours explains it."""
    if len(context.world.held) <= 1:
        return None
    told = [_change(view) for view in changed_by_others(context)]
    reason = "; ".join([f"the destinations hold {len(context.world.held)} different keys", *told])
    return Verdict(check="DestinationsDiffer", decision=Decision.ISSUE, reason=reason, alert=True)


def key_unmanaged(context: Context) -> Verdict | None:
    """All destinations hold a key that is not the recorded current one: somebody put it there.

    Or the provider once named another key for the same value, and does not any more: what it says now counts.
    """
    current = context.record.current
    (held,) = context.world.held
    identity = context.world.identity(held)
    if current and current.fingerprint == held and identity and identity.key_id == current.key_id:
        return None
    what = identity.key_id if identity else "a key"
    written = next((f" ({view.written})" for view in context.world.destinations if current and view.written), "")
    reason = f"adopt {what}, which was put there by others{written}"
    return Verdict(check="KeyUnmanaged", decision=Decision.ADOPT, reason=reason)


def leaked_key_is_back(context: Context) -> Verdict | None:
    """The current key was told to have leaked and was replaced, and somebody has put it back."""
    key = context.record.current
    if key is None or not key.leaked:
        return None
    reason = f"{key.key_id} was told to have leaked, and was put back"
    return Verdict(check="LeakedKeyIsBack", decision=Decision.ISSUE, reason=reason, alert=True)


def end_may_come(context: Context) -> Verdict | None:
    """The current key was condemned before somebody put it back: its revocation may have been sent, and come late."""
    key = context.record.current
    if key is None or not key.condemned:
        return None
    reason = f"{key.key_id} was put back after its revocation was decided"
    return Verdict(check="EndMayCome", decision=Decision.ISSUE, reason=reason, alert=True)


def rotate_requested(context: Context) -> Verdict | None:
    """An operator asked for a new key."""
    if not context.record.requested:
        return None
    reason = f"requested: {context.record.requested}"
    return in_window(context, Verdict(check="RotateRequested", decision=Decision.ISSUE, reason=reason))


def expiry_near(context: Context) -> Verdict | None:
    """The provider ends the key soon."""
    key, policy = context.record.current, context.policy
    if key is None or key.expires_at is None or renewal_at(policy, key) > context.now:
        return None
    if key.expires_at > context.now + policy.renew_before + slack(policy):
        return None
    reason = f"{key.key_id} expires at {text(key.expires_at)}"
    return in_window(context, Verdict(check="ExpiryNear", decision=Decision.ISSUE, reason=reason))


def too_old(context: Context) -> Verdict | None:
    """The key reaches the lifetime that the policy allows, whatever its own expiry."""
    key = context.record.current
    if key is None or renewal_at(context.policy, key) > context.now:
        return None
    reason = f"{key.key_id} was created at {text(key.created_at or key.since)}, too long ago for the policy"
    return in_window(context, Verdict(check="TooOld", decision=Decision.ISSUE, reason=reason))


def late_write_possible(context: Context) -> Verdict | None:
    """A key is over, and kept only because a paused holder may still publish it: a new key in every place ends that.

    Usually the rotation that has failed is tried again and does so; not where an operator called it off, or where the
    policy was changed so that it is not due any more.
    """
    for key in context.record.in_state(KeyState.ORPHAN, KeyState.RETIRING):
        if decide_key(context, key).check == "MayStillLand":
            reason = f"{key.key_id} was given up, and may be published late until another key lies everywhere"
            return in_window(context, Verdict(check="LateWritePossible", decision=Decision.ISSUE, reason=reason))
    return None


def hints_differ(context: Context) -> Verdict | None:
    """A destination holds the current key, and says of it what we did not write."""
    key, views = context.record.current, hints_of_others(context)
    if key is None or not views:
        return None
    names = ", ".join(view.destination.name for view in views)
    reason = f"{names}: the metadata beside {key.key_id} was changed by others"
    due = renewal_at(context.policy, key)
    restores = context.policy.drift is Drift.RESTORE
    decision = Decision.RESTORE if restores else Decision.WAIT
    return Verdict(check="MetadataDrifted", decision=decision, reason=reason, until=due, alert=True)


def nothing_due(context: Context) -> Verdict | None:
    """Wait until the next moment that matters."""
    key = context.record.current
    if key is None:
        return None
    due = renewal_at(context.policy, key)
    return Verdict(
        check="NothingDue", decision=Decision.WAIT, reason=f"{key.key_id} is renewed at {text(due)}", until=due
    )


POLICY_CHAIN: tuple[Callable[[Context], Verdict | None], ...] = (
    on_hold,
    destination_unreadable,
    provider_unreadable,
    wrong_destination,
    rotation_in_flight,
    key_from_other_project,
    compromised,
    rollback_requested,
    publication_unfinished,
    drifted,
    destination_empty,
    rejection_contradicted,
    key_rejected,
    destinations_differ,
    key_unmanaged,
    leaked_key_is_back,
    end_may_come,
    rotate_requested,
    expiry_near,
    too_old,
    late_write_possible,
    hints_differ,
    nothing_due,
)
"""For the policy as a whole and its current key."""


def _problem_of(view: DestinationView) -> str:
    """The adapter's own words, which may begin with the destination's name already."""
    name = view.destination.name
    return view.problem if view.problem.startswith(name) else f"{name}: {view.problem}"


def _change(view: DestinationView) -> str:
    what = "holds another value" if view.fingerprint else "holds no key"
    return f"{view.destination.name}: {what}" + (f" ({view.written})" if view.written else "")


def _held_identities(context: Context) -> list[tuple[str, Identity | Refused]]:
    identities = context.world.identities
    return [
        (view.destination.name, identities[view.fingerprint])
        for view in context.world.destinations
        if view.fingerprint is not None and view.fingerprint in identities
    ]
