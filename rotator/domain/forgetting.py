"""What is lost when a policy, or one of its keys, is no longer remembered. Pure.

To forget revokes nothing: a key that was to be revoked stays alive until somebody else ends it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rotator.domain.record import KeyRecord, KeyState, PolicyRecord
from rotator.domain.text import text

Holders = Mapping[str, Collection[str]]
"""Key id to the names of the destinations that held it when they were last looked at."""


def lost_with(record: PolicyRecord, holders: Holders) -> list[str]:
    """What the policy would lose, a sentence each; empty where nothing."""
    lost = []
    if rotation := record.in_flight:
        lost.append(f"rotation {rotation.rotation_id} is under way, in phase {rotation.phase}")
    lost += [
        f"whether {intent.key_name} was created is not known; it is looked for until {text(intent.settled_at)}"
        for intent in record.open_intents
    ]
    if record.compromised:
        lost.append(f"its key was told to have leaked, and was not replaced yet: {record.requested}")
    if record.rollback:
        lost.append(f"a rollback was asked for: {record.rollback.reason}")
    for key in record.keys:
        lost += lost_with_key(key, holders)
    return lost


def lost_with_key(key: KeyRecord, holders: Holders) -> list[str]:
    """What is still to be done with the key, a sentence each; empty where nothing."""
    match key.state:
        case KeyState.RETIRING:
            until = f" until {text(key.grace_until)}" if key.grace_until else ""
            return [f"{key.key_id} is in its grace{until}, and would not be revoked after it"]
        case KeyState.ORPHAN:
            return [f"{key.key_id} is an orphan, and would not be revoked"]
        case KeyState.REVOKED:
            return [f"{key.key_id} was revoked, and was not seen refused yet"]
        case KeyState.CANDIDATE:
            return [f"{key.key_id} is not published everywhere yet"]
        case KeyState.CURRENT:
            held = ", ".join(sorted(holders.get(key.key_id, ())))
            return [f"{key.key_id} is the current key, and is held by {held}"] if held else []


def not_to_be_forgotten(record: PolicyRecord, key: KeyRecord, *, is_configured: bool) -> str:
    """Why the key of a policy can't be forgotten, whatever an operator says; empty where it can."""
    if key.state is KeyState.CANDIDATE and record.in_flight:
        return f"it belongs to rotation {record.in_flight.rotation_id}, which is under way"
    if key.state is KeyState.CURRENT and is_configured:
        return "it is the current key, which the next look would adopt again; ask for a new key first"
    return ""
