"""What is asked, and what is not: each thing once, nothing that changes, and no key in its grace."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest

from rotator.domain.audit.checks import examine
from rotator.domain.model import Destination
from rotator.errors import BackendUnavailable, ProviderDenied
from rotator.service.audit import Auditor, Scope
from tests.service.conftest import Stage
from tests.service.people import PEOPLE

EVERY = Scope()


@pytest.fixture
def stage(tmp_path):
    made = Stage(f"sqlite:///{tmp_path}/state.db")
    yield made
    made.journal.close()


def auditor(stage, *, journal=True, **changes):
    base = Auditor(
        providers=lambda _name: stage.provider,
        backends=stage.backends.__getitem__,
        journal=stage.journal if journal else None,
        policies=stage.policies,
        workers=4,
        now=stage.clock.now,
    )
    return replace(base, **changes)


def counted(stage, look):
    """What a look asks of the provider, and of each backend."""
    stage.provider.calls.clear()
    for backend in stage.backends.values():
        backend.calls.clear()
    look()
    reads = {name: dict(backend.calls) for name, backend in stage.backends.items() if backend.calls}
    return sorted(stage.provider.calls), reads


def in_grace(stage):
    """One rotation later: the first key is in its grace, a second one lies in the destinations."""
    stage.put_key_by_hand()
    stage.look()
    stage.clock.advance(timedelta(days=24))
    stage.look()
    assert [key.state for key in stage.journal.load("chat").keys] == ["retiring", "current"]


def ids(seen):
    return [one.rule.id for one in examine(seen)]


def test_with_a_journal_a_project_is_listed_once_and_each_destination_read_once_and_nothing_more(stage):
    in_grace(stage)
    for name in ("batch", "search"):
        other = stage.another_policy(name)
        stage.put(other, stage.provider.create_by_hand(other.project, name).secret.reveal())
        stage.reconciler.reconcile(other)

    asked, reads = counted(stage, lambda: auditor(stage).look(EVERY))

    assert asked == ["list_keys"]
    assert reads == {"one": {"read": 1}, "two": {"read": 1}, "other": {"read": 2}}


def test_promise_6_an_audit_of_a_grace_does_not_make_the_old_key_look_used(stage):
    """The value of a key in its grace was put back by a person: it is told, and the provider is not asked about it."""
    in_grace(stage)
    old, current = stage.journal.load("chat").keys
    previous = stage.backends["one"].read_previous(stage.policy.destinations[0])
    stage.backends["one"].put_by_hand(stage.policy.destinations[0], previous.reveal())
    used = {facts.key_id: facts.last_used_at for facts in stage.provider.list_keys(stage.policy.project)}

    asked, _ = counted(stage, lambda: auditor(stage).look(EVERY))
    gathered = auditor(stage).look(EVERY)

    assert "identify" not in asked
    assert [place.key_id for place in gathered.seen.places] == [old.key_id, current.key_id]
    assert any("counts as use" in gap or "would count as use" in gap for gap in gathered.seen.unknown)
    assert "ROT-D05" in ids(gathered.seen), "drift"
    assert {facts.key_id: facts.last_used_at for facts in stage.provider.list_keys(stage.policy.project)} == used


def test_since_when_a_key_is_in_its_grace_is_what_the_journal_says_and_not_what_the_policy_says_today(stage):
    """Used before it was replaced, and never since; then used once. The policy's limit has changed meanwhile."""
    in_grace(stage)
    old, _ = stage.journal.load("chat").keys
    assert old.retired_at == stage.clock.now()
    for limit in (timedelta(days=1), timedelta(days=4), timedelta(days=30)):
        policies = [replace(stage.policy, grace_limit=limit)]
        assert "ROT-K12" not in ids(auditor(stage, policies=policies).look(EVERY).seen)
    stage.clock.advance(timedelta(hours=2))
    row = stage.provider._keys[old.key_id]
    row.facts = replace(row.facts, last_used_at=stage.clock.now())
    for limit in (timedelta(days=1), timedelta(days=4), timedelta(days=30)):
        policies = [replace(stage.policy, grace_limit=limit)]
        assert "ROT-K12" in ids(auditor(stage, policies=policies).look(EVERY).seen)


def test_what_a_journal_of_before_does_not_tell_is_named(stage):
    in_grace(stage)
    record = stage.journal.load("chat")
    keys = tuple(replace(key, retired_at=None) for key in record.keys)
    journal = SimpleNamespace(records=lambda: {"chat": replace(record, keys=keys)}, looks=dict)

    seen = auditor(stage, journal=False)
    seen = replace(seen, journal=journal).look(EVERY).seen

    assert "ROT-K12" not in ids(seen)
    assert [one for one in seen.unknown if f"whether {keys[0].key_id} is used since" in one]


def test_where_people_make_keys_an_end_that_nobody_told_is_named(stage):
    stage.put_key_by_hand(expires_at=None)
    stage.policies[0] = replace(stage.policy, assistance=PEOPLE)
    stage.reconciler.reconcile(stage.policies[0])
    current = stage.journal.load("chat").current

    seen = auditor(stage).look(EVERY).seen

    assert (current.expires_at, current.expires_told_by) == (None, "")
    assert [one for one in seen.unknown if f"when {current.key_id} ends" in one]


def test_without_a_journal_a_key_that_may_be_in_its_grace_is_not_asked_about(stage):
    in_grace(stage)
    _old, current = stage.journal.load("chat").keys
    place = stage.policy.destinations[0]
    stage.backends["one"].read(place)
    hints = stage.backends["one"].read(place).metadata
    assert hints["key_id"] == current.key_id
    # A third key of ours is listed as younger, so the current one may be in its grace for all that is known.
    stage.provider._make(stage.policy.project, current.name[:-8] + "zzzzzzz2", None, created_by="rotator")
    stage.provider._keys[list(stage.provider._keys)[-1]].facts = replace(
        stage.provider._keys[list(stage.provider._keys)[-1]].facts,
        created_at=stage.clock.now() + timedelta(seconds=1),
    )

    asked, _ = counted(stage, lambda: auditor(stage, journal=False).look(EVERY))

    assert asked == ["list_keys"]


def test_without_a_journal_every_other_value_is_asked_about_once(stage):
    stage.put_key_by_hand()

    asked, reads = counted(stage, lambda: auditor(stage, journal=False).look(EVERY))

    assert asked == ["identify", "list_keys"], "both destinations hold the same"
    assert reads == {"one": {"read": 1}, "two": {"read": 1}}


def test_a_backend_that_is_away_is_a_finding_and_the_rest_is_judged(stage):
    stage.put_key_by_hand()
    stage.backends["one"].fail("read", BackendUnavailable("sealed"))

    seen = auditor(stage, journal=False).look(EVERY).seen

    assert {"ROT-A01", "ROT-K01"} <= set(ids(seen))


def sealed(stage):
    for name in ("one", "two"):
        stage.backends[name].fail("read", BackendUnavailable("sealed"))


def unasked(stage):
    stage.provider.fail("identify", ProviderDenied("403"))


@pytest.mark.parametrize("trouble", [sealed, unasked])
@pytest.mark.parametrize("journal", [True, False])
def test_a_key_that_may_lie_where_nobody_could_look_is_no_shadow_key_and_that_is_told(stage, trouble, journal):
    stage.put_key_by_hand()
    trouble(stage)

    seen = auditor(stage, journal=journal).look(EVERY).seen

    assert {"ROT-A01", "ROT-A02"} & set(ids(seen))
    assert "ROT-K05" not in ids(seen)
    (gap,) = [one for one in seen.unknown if "shadow" in one]
    assert gap.startswith(f"{stage.policy.project}: ")
    assert "one:app#KEY" in gap


def test_a_key_with_a_name_of_ours_that_may_lie_where_nobody_could_look_is_no_orphan(stage):
    stage.put_key_by_hand()
    name = "rotator_prod_chat_20261101_abcdefg2"
    stray = stage.provider.create_by_hand(stage.policy.project, name).facts.key_id
    assert [one.subject for one in examine(auditor(stage).look(EVERY).seen) if one.rule.id == "ROT-K07"] == [stray]

    sealed(stage)

    assert "ROT-K07" not in ids(auditor(stage).look(EVERY).seen)


def test_a_list_that_is_denied_is_a_finding_and_no_key_is_called_a_shadow(stage):
    stage.put_key_by_hand()
    stage.provider.create_by_hand(stage.policy.project, "shadow")
    stage.provider.fail("list_keys", ProviderDenied("403"))

    seen = auditor(stage).look(EVERY).seen

    assert "ROT-A02" in ids(seen)
    assert "ROT-K05" not in ids(seen)


def test_usage_figures_are_asked_for_keys_whose_list_tells_no_use(stage):
    stage.put_key_by_hand()
    shadow = stage.provider.create_by_hand(stage.policy.project, "shadow").facts.key_id
    stage.clock.advance(timedelta(days=50))
    stage.provider.billed[shadow] = stage.clock.now() - timedelta(hours=2)

    seen = auditor(stage, journal=False).look(EVERY).seen

    assert seen.used_until[shadow] == stage.provider.billed[shadow]
    assert "ROT-K05" in ids(seen)
    assert shadow not in [one.subject for one in examine(seen) if one.rule.id == "ROT-K11"]


@pytest.mark.parametrize("trouble", ["denied", "no key to ask with"])
def test_where_usage_figures_are_not_to_be_had_no_key_is_called_unused_and_that_is_told(stage, trouble):
    if trouble == "denied":
        stage.put_key_by_hand()
        stage.provider.fail("used_until", ProviderDenied("403"))
    shadow = stage.provider.create_by_hand(stage.policy.project, "shadow").facts.key_id
    stage.clock.advance(timedelta(days=50))

    seen = auditor(stage, journal=False).look(EVERY).seen

    assert shadow in seen.use_unknown
    assert "ROT-K11" not in ids(seen)
    assert [one for one in seen.unknown if "were used last is not known" in one]


def test_one_policy_is_judged_beside_the_others_of_its_project(stage):
    stage.put_key_by_hand()
    other = stage.another_policy("batch")
    held = stage.backends["one"].read(stage.policy.destinations[0]).value.reveal()
    stage.put(other, held)

    seen = auditor(stage, journal=False).look(Scope(policies=frozenset({"chat"}))).seen

    assert [policy.name for policy in seen.policies] == ["chat"]
    assert [one.subject for one in examine(seen) if one.rule.id == "ROT-D08"] == ["one:app#KEY"]


def test_a_destination_that_proves_to_be_another_one_is_not_read(stage):
    stage.put_key_by_hand()
    wrong = Destination(
        backend="one", name="one:app#KEY", options=stage.policy.destinations[0].options, expect=(("place", "there"),)
    )
    stage.policies[0] = replace(stage.policy, destinations=(wrong,))

    seen = auditor(stage, journal=False).look(EVERY).seen

    assert "ROT-A01" in ids(seen)
    assert "read" not in stage.backends["one"].calls


def test_what_the_chain_of_the_journal_says_is_a_finding(stage):
    stage.put_key_by_hand()
    seen = auditor(stage, verify=lambda: ["event 3 was changed"]).look(EVERY).seen
    assert [one.seen for one in examine(seen) if one.rule.id == "ROT-J01"] == ["event 3 was changed"]
