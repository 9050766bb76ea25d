"""Which key a rollback puts back, and every reason not to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rotator.domain.record import KeyState, Phase, PolicyRecord
from rotator.domain.rollback import former_key
from tests.domain.build import DOTENV, VAULT, fingerprint, key, record, retiring, rotation

NEWER = key("new", rotation_id="r1")
FORMER = retiring("old")
FINE = record(NEWER, FORMER, rotations=(rotation(Phase.GRACE),))

CASES = {
    "no rotation yet": (replace(FINE, rotations=()), "no rotation to take back"),
    "no current key": (replace(FINE, keys=(FORMER,)), "no rotation to take back"),
    "a rotation in flight": (
        replace(FINE, rotations=(*FINE.rotations, rotation(Phase.ISSUED, rotation_id="r2"))),
        "rotation r2 is not finished",
    ),
    "the policy is compromised": (replace(FINE, compromised=True), "told to have leaked"),
    "the rotation answered a leak": (
        replace(FINE, rotations=(rotation(Phase.GRACE, compromised=True),)),
        "told to have leaked",
    ),
    "two keys were replaced": (replace(FINE, keys=(*FINE.keys, retiring("older"))), "different keys before"),
    "two keys were replaced, and one is gone": (
        replace(
            FINE,
            rotations=(
                rotation(Phase.GRACE, replaces={VAULT.name: fingerprint("old"), DOTENV.name: fingerprint("older")}),
            ),
        ),
        "different keys before",
    ),
    "it is gone": (replace(FINE, keys=(NEWER,)), "is gone"),
    "it is being revoked": (replace(FINE, rotations=(rotation(Phase.REVOKING),)), "its revocation was decided"),
    "its revocation was decided once": (
        replace(FINE, keys=(NEWER, replace(FORMER, condemned=True))),
        "its revocation was decided",
    ),
    "it was revoked": (replace(FINE, keys=(NEWER, replace(FORMER, state=KeyState.REVOKED))), "is gone"),
    "its value was never known": (replace(FINE, keys=(NEWER, replace(FORMER, fingerprint=None))), "is not known"),
}


def test_the_key_that_the_last_rotation_replaced_is_put_back() -> None:
    assert former_key(FINE) == FORMER


@pytest.mark.parametrize(("remembered", "why"), CASES.values(), ids=CASES.keys())
def test_no_other_key_is_put_back_and_the_reason_is_told(remembered: PolicyRecord, why: str) -> None:
    found = former_key(remembered)
    assert isinstance(found, str)
    assert why in found
