"""The journal's statements, built once: building one costs as much as running it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, case, func, insert, not_, or_, select, update

from rotator.adapters.journal.tables import event as event_table
from rotator.adapters.journal.tables import observation, policy_state
from rotator.domain.events import RotationIntended
from rotator.domain.policy_checks import ASKED_FOR
from rotator.domain.request_events import KeyRequested

OF_POLICY = policy_state.c.policy == bindparam("p")
HELD = and_(OF_POLICY, policy_state.c.lease_token == bindparam("t"), policy_state.c.lease_holder == bindparam("h"))
SET = update(policy_state).where(OF_POLICY)  # columns are set to what is given under their names
SET_HELD = update(policy_state).where(HELD)
SET_KNOWN = update(policy_state).where(HELD, policy_state.c.state == bindparam("s"))
MOVE_KNOWN = SET_KNOWN.where(policy_state.c.chain_length == bindparam("n"))
# FOR UPDATE is left out for SQLite by SQLAlchemy: there a writing transaction has the whole file for itself.
HELD_STATE = select(policy_state).where(HELD).with_for_update()
LOCKED = select(policy_state).where(OF_POLICY).with_for_update()
STATE = select(policy_state.c.state).where(policy_state.c.policy == bindparam("p"))
STATES = select(policy_state.c.policy, policy_state.c.state)
ADD_EVENT = insert(event_table)
OBSERVATIONS = select(observation).where(
    observation.c.scope == bindparam("scope"), observation.c.seen_at >= bindparam("since")
)
NAMING = select(policy_state.c.state).where(
    policy_state.c.state.contains(bindparam("key_id"), autoescape=False), policy_state.c.policy != bindparam("policy")
)
BEGUN = (
    select(
        func.count(event_table.c.policy.distinct()),
        func.count(case((policy_state.c.failures > 0, event_table.c.policy)).distinct()),
    )
    .join_from(event_table, policy_state, event_table.c.policy == policy_state.c.policy, isouter=True)
    .where(
        event_table.c.kind.in_([RotationIntended.__name__, KeyRequested.__name__]),
        event_table.c.at >= bindparam("since"),
    )
    .where(event_table.c.policy != bindparam("besides"))
    .where(*(not_(event_table.c.body.contains(f'"reason":"{check}:')) for check in ASKED_FOR))
)
HOLDING = select(observation).where(
    or_(
        observation.c.key_id.in_(bindparam("ids", expanding=True)),
        observation.c.fingerprint.in_(bindparam("fingerprints", expanding=True)),
    )
)
LOOKS = select(
    policy_state.c.policy,
    policy_state.c.next_at,
    policy_state.c.digest,
    policy_state.c.failures,
    policy_state.c.problem,
    policy_state.c.alerts,
    policy_state.c.ok_at,
).where(policy_state.c.next_at.is_not(None))
LOOK = LOOKS.where(OF_POLICY)
WORKS = select(
    policy_state.c.policy,
    policy_state.c.ok_at,
    policy_state.c.failed_at,
    policy_state.c.lease_holder,
    policy_state.c.lease_until,
)


def newest(insertion: Any) -> Any:  # noqa: ANN401 - each dialect's INSERT is a class of its own
    """Of two observations of a destination, the later one stays."""
    return insertion.on_conflict_do_update(
        index_elements=["destination"],
        set_={name: insertion.excluded[name] for name in ("scope", "fingerprint", "seen_at", "key_id")},
    )
