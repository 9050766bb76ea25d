"""What each fault ends in at each backend, and each missing permission, as tables."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from rich.table import Table

from rotator.testing.faults import FAULTS, Cause, DoesNotApply
from tests.backends.causes_aws import AWS
from tests.backends.causes_local import FAKE, FILES
from tests.backends.causes_openbao import OPENBAO

Passed = Mapping[str, Counter[str]]
"""By test class and fault, how many causes ended as promised."""

BACKENDS: dict[str, tuple[str, Sequence[Cause | DoesNotApply]]] = {
    "TestDotenv": ("dotenv", FILES),
    "TestOpenBao": ("OpenBao", OPENBAO),
    "TestAws": ("AWS", AWS),
    "TestFake": ("the fake", FAKE),
}


def of_faults(passed: Passed) -> Table:
    table = Table("fault", *(name for name, _ in BACKENDS.values()), title="Faults: causes that ended as promised")
    for fault in FAULTS:
        table.add_row(fault, *(_counted(passed[key][fault], causes, fault) for key, (_, causes) in BACKENDS.items()))
    whole = [(sum(passed[key].values()), len(_of(causes))) for key, (_, causes) in BACKENDS.items()]
    table.add_section()
    table.add_row("all", *(f"{came_through} of {count}" for came_through, count in whole))
    return table


def _of(causes: Sequence[Cause | DoesNotApply], fault: str = "") -> list[Cause]:
    return [cause for cause in causes if isinstance(cause, Cause) and cause.fault == (fault or cause.fault)]


def _counted(passed: int, causes: Sequence[Cause | DoesNotApply], fault: str) -> str:
    for cause in causes:
        if isinstance(cause, DoesNotApply) and cause.fault == fault:
            return f"does not apply: {cause.reason}"
    ends = sorted({cause.ends_in.__name__ if cause.ends_in else "not noticed" for cause in _of(causes, fault)})
    return f"{passed} of {len(_of(causes, fault))}: {', '.join(ends)}"


def of_permissions() -> Table:
    table = Table("backend", "missing", "read", "check_writable", "write", title="Permissions: each one missing")
    for name, causes in BACKENDS.values():
        rights: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for cause in _of(causes, "missing permission"):
            rights[cause.what][cause.call] = cause.ends_in.__name__ if cause.ends_in else "not noticed"
        for right, ends in rights.items():
            table.add_row(name, right, *(ends.get(call, "-") for call in ("read", "check_writable", "write")))
    return table
