"""Whether the key that the destinations hold can be made the current one because an operator says so. Pure.

Read ``ADOPTION_CHAIN`` at the end first. It is stricter than ``policy_checks``: where a look would issue a new key, an
adoption is refused with the reason, because nobody asked for a new key.
"""

from __future__ import annotations

from collections.abc import Callable

from rotator.domain import policy_checks as policy
from rotator.domain.model import Identity, KeyKind
from rotator.domain.record import KeyState
from rotator.domain.verdict import Context, Decision, Verdict


def legacy_key(context: Context) -> Verdict | None:
    """The legacy organisation key: it belongs to no project, and can't be revoked."""
    for view in context.world.destinations:
        identity = context.world.identity(view.fingerprint)
        if identity and identity.kind is KeyKind.LEGACY:
            why = "holds the legacy organisation key, which belongs to no project: ask for a new key instead"
            return _refused("LegacyKey", f"{view.destination.name}: {why}")
    return None


def destinations_differ(context: Context) -> Verdict | None:
    """The destinations hold different keys: which one is meant is not for us to guess."""
    if len(context.world.held) <= 1:
        return None
    held = []
    for view in context.world.destinations:
        identity = context.world.identities.get(view.fingerprint) if view.fingerprint else None
        held.append(f"{view.destination.name}: {identity.key_id if isinstance(identity, Identity) else 'refused'}")
    return _refused("DestinationsDiffer", f"the destinations hold different keys: {'; '.join(held)}")


def key_ends(context: Context) -> Verdict | None:
    """The key is known, and its end was decided: it has leaked, or its revocation may have been sent."""
    (held,) = context.world.held
    identity = context.world.identity(held)
    key = context.record.key(identity.key_id) if identity else None
    if key is None:
        return None
    if key.leaked:
        return _refused("Leaked", f"{key.key_id} was told to have leaked")
    if key.condemned or key.state is KeyState.REVOKED:
        return _refused("EndMayCome", f"the revocation of {key.key_id} was decided, and perhaps sent")
    return None


ADOPTION_CHAIN: tuple[Callable[[Context], Verdict | None], ...] = (
    policy.destination_unreadable,
    policy.provider_unreadable,
    policy.wrong_destination,
    policy.rotation_in_flight,
    policy.compromised,
    policy.rollback_requested,
    policy.destination_empty,
    legacy_key,
    policy.key_from_other_project,
    policy.rejection_contradicted,
    policy.key_rejected,
    destinations_differ,
    key_ends,
)
"""The first that finds something refuses."""


def refusal(context: Context) -> Verdict | None:
    """Why the key can't be adopted now; ``None`` where it can."""
    return next((verdict for check in ADOPTION_CHAIN if (verdict := check(context))), None)


def _refused(check: str, reason: str) -> Verdict:
    return Verdict(check=check, decision=Decision.REFUSED, reason=reason)
