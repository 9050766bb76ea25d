"""The two parts of a soak: a storm around one service, and a crowd of rotators on one journal."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rotator.adapters.journal.sql import SqlJournal
from rotator.domain.record import KeyState
from rotator.domain.secret import SecretValue
from tests.parts.secret_search import files, search
from tests.soak import truth
from tests.soak.fleet import Consumers, Crew, consumers
from tests.soak.stage import CALM, FIELD, INSTANCE, RESTLESS, Stage, stage
from tests.soak.weather import Weather

LEASE = 3  # seconds, in the crowd
_SECONDS_A_ROTATION = 5
_PATIENCE = 300  # seconds: a busy machine is slow, and nothing here is about speed


@dataclass(kw_only=True)
class Report:
    """What a part came to. ``violations`` is empty when every promise was kept."""

    counts: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)


Say = Callable[[str], object]


def storm(folder: Path, *, seed: int, size: int, at_least: int, say: Say = lambda _: None) -> Report:
    """Rotate under faults of every kind, and kills, while consumers call; then calm down and look what is true."""
    report, rng = Report(), random.Random(seed)
    with ExitStack() as stack:
        made = stack.enter_context(stage(size, folder))
        users = stack.enter_context(consumers(made))
        crew = stack.enter_context(Crew(made))
        weather = stack.enter_context(Weather(made, random.Random(rng.random())))
        crew.restless(made.rotator(RESTLESS), random.Random(rng.random()))

        def enough() -> bool:
            _must_go_on(crew, weather.failure)
            done = truth.count(made.state, "GraceStarted")
            kills = crew.counts["kills"]
            say(f"{done} rotations, {weather.struck.total()} faults of {len(weather.struck)} kinds, {kills} kills")
            return done >= at_least and not weather.missing and kills > 1

        _until(enough, f"{at_least} rotations under every kind of fault", at_least * _SECONDS_A_ROTATION, weather)
        weather.clear_up()
        crew.stop()
        report.struck = weather.struck
        _finish(made, users, [crew], report, say)
    return report


def crowd(folder: Path, *, seed: int, size: int, at_least: int, say: Say = lambda _: None) -> Report:
    """Two services, passes by cron and a service that freezes, all on one journal; then look what is true."""
    report, rng = Report(), random.Random(seed)
    with ExitStack() as stack:
        made = stack.enter_context(stage(size, folder))
        users = stack.enter_context(consumers(made))
        crew = stack.enter_context(Crew(made))
        rotator = made.rotator(RESTLESS, lease=f"{LEASE}s")
        crew.frozen(rotator, random.Random(rng.random()), LEASE)
        crew.steady(rotator)
        crew.steady(rotator)
        crew.cron(rotator)

        def enough() -> bool:
            _must_go_on(crew)
            done, freezes = truth.count(made.state, "GraceStarted"), crew.counts["freezes"]
            taken_over = _taken_over(made)
            say(f"{done} rotations, {freezes} freezes, {taken_over} rotations taken over")
            return done >= at_least and freezes > 1 and taken_over > 0

        _until(enough, f"{at_least} rotations, one of them taken over", at_least * _SECONDS_A_ROTATION)
        crew.stop()
        _finish(made, users, [crew], report, say)
    return report


def _finish(made: Stage, users: Consumers, crews: list[Crew], report: Report, say: Say) -> None:
    say("calming down: one last rotation of each policy, then every old key is revoked")
    calm = Crew(made)
    with calm:
        calm.steady(made.rotator(CALM))

        def at_rest() -> bool:
            _must_go_on(calm)
            return not _restless(made)

        try:
            _until(at_rest, "a state without anything left to do", 0)
        except AssertionError as error:
            report.violations += [str(error), *_restless(made)]
    users.stop()
    say("looking what was true")
    crews = [*crews, calm]
    for crew in crews:
        report.counts += crew.counts
        report.violations += crew.failures
    report.counts += users.counts
    ends = {key["id"]: key for key in made.keys()}
    report.violations += [
        f"a call was refused: {json.dumps(one)}; {_end_of(ends.get(made.wire.key_ids.get(one['fingerprint'], '')))}"
        for one in users.refused
        if one["what"] == "refused"
    ]
    _judge(made, report)
    _look_for_secrets(made, crews, report)


def _end_of(key: dict[str, str] | None) -> str:
    """How a key ended that a consumer still had: an expiry that nobody prevented, or a revocation."""
    if key is None:
        return "a key that nobody made"
    return f"{key['name']} expires {key['expires_at']}, was revoked {key.get('revoked_at')}"


def _judge(made: Stage, report: Report) -> None:
    happened, keys, versions = truth.entries(made.state), made.keys(), truth.history(made)
    rotations = truth.rotations(happened)
    two, late_creations = truth.candidates(rotations, keys)
    stray, late_writes = truth.writes(versions, rotations)
    report.violations += [
        *truth.fencing(happened),
        *truth.one_rotation_at_a_time(happened),
        *two,
        *stray,
        *truth.graces(versions, keys, made.wire.key_ids),
        *_at_the_end(made),
    ]
    outcomes = Counter(rotation.outcome for rotation in rotations.values())
    report.counts.update(
        {
            "rotations": outcomes["GraceStarted"],
            "rotations given up": outcomes["RotationAbandoned"],
            "rotations taken over": sum(len(rotation.tokens) > 1 for rotation in rotations.values()),
            "keys created": sum(key["name"].startswith("rotator_") for key in keys),
            "created after all": late_creations,
            "written after all": late_writes,
            "orphans": sum(entry.kind == "OrphanFound" for entry in happened),
            "keys left": sum(key["state"] == "live" for key in keys),
            "policies": len(made.policies),
        }
    )


def _at_the_end(made: Stage) -> list[str]:
    """One live key of each policy, and all of its places hold it, beside what else lay there."""
    found = []
    live = {key["id"]: key for key in made.keys() if key["state"] == "live"}
    for policy in made.policies:
        ours = [id_ for id_, key in live.items() if key["name"].startswith(f"rotator_{INSTANCE}_{policy}_")]
        if len(ours) != 1:
            found.append(f"{policy}: {len(ours)} live keys at the end: {ours}")
        for place in (place for place in made.places if place.policy == policy):
            held = made.read(place)
            secret = SecretValue(held[FIELD])
            key_id = made.wire.key_ids.get(secret.fingerprint(), "a key that nobody made")
            if key_id not in ours:
                found.append(f"{place.name}: holds {key_id}, live are {ours}")
            if made.simulator.chat(secret) != 200:
                found.append(f"{place.name}: its key is refused")
            if not {"other": "kept", "MODEL": "demo"}.items() & held.items():
                found.append(f"{place.name}: what lay beside the key is gone")
    names = tuple(f"rotator_{INSTANCE}_{policy}_" for policy in made.policies)
    found += [f"{id_} is left, {key['name']}" for id_, key in live.items() if not key["name"].startswith(names)]
    left = [file for file in (made.folder / "places").rglob("*") if file.is_file() and file.name != ".env"]
    found += [f"a file with a key was left: {file.relative_to(made.folder)}" for file in left]
    return found


def _look_for_secrets(made: Stage, crews: list[Crew], report: Report) -> None:
    written = {name: text for crew in crews for name, text in crew.written.items()}
    for name, text in written.items():
        (made.folder / f"{name}.log").write_bytes(text)  # for whoever keeps the folder
    written |= files(made.state.parent, but=made.state.parent / "nothing")
    report.counts["secrets searched"] = len(made.wire.secrets)
    report.counts["bytes searched"] = sum(map(len, written.values()))
    report.violations += [f"a secret was written: {where}" for where in search(made.wire.secrets, written)]


def _restless(made: Stage) -> list[str]:
    """What is left to do, a sentence for each policy."""
    found = []
    journal = SqlJournal.open_read_only(f"sqlite:///{made.state}")
    try:
        for policy in made.policies:
            record = journal.load(policy)
            states = [key.state for key in record.keys]
            if states != [KeyState.CURRENT] or record.in_flight or record.open_intents:
                look = journal.look(policy)
                keys = ", ".join(f"{key.key_id} {key.state}" for key in record.keys)
                problem = look.problem if look else "never looked at"
                found.append(f"{policy} is not at rest: {keys}; in flight: {record.in_flight}; {problem}")
    finally:
        journal.close()
    young = {
        key["name"].rsplit("_", 2)[0].removeprefix(f"rotator_{INSTANCE}_")
        for key in made.keys()
        if key["state"] == "live" and key["name"].startswith("rotator_") and _lives_long(key)
    }
    return found + [f"{policy} has no key of the calm times yet" for policy in made.policies if policy not in young]


def _lives_long(key: dict[str, str]) -> bool:
    created, expires = (truth.datetime.fromisoformat(key[name]) for name in ("created_at", "expires_at"))
    return (expires - created).total_seconds() > 3600


def _taken_over(made: Stage) -> int:
    if not truth.count(made.state, "RotationIntended"):
        return 0
    return sum(len(rotation.tokens) > 1 for rotation in truth.rotations(truth.entries(made.state)).values())


def _must_go_on(crew: Crew, *more: str) -> None:
    failures = [*crew.failures, *filter(None, more)]
    if failures:
        raise AssertionError("; ".join(failures))


def _until(condition: Callable[[], bool], what: str, seconds: float, weather: Weather | None = None) -> None:
    deadline = time.monotonic() + _PATIENCE + seconds
    while not condition():
        missing = f"; never struck: {weather.missing}" if weather and weather.missing else ""
        assert time.monotonic() < deadline, f"did not come to {what}{missing}"
        time.sleep(1)
