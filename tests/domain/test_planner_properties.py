"""Whatever the world and the journal say, the planner answers, and never plans harm."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from rotator.domain.actions import ForwardExpiry, Issue, Resume, Revoke, RunHook
from rotator.domain.model import Identity, KeyKind
from rotator.domain.planner import plan
from rotator.domain.record import KeyState, OpenIntent, Origin, Phase
from rotator.domain.snapshot import DestinationView, Reach, World
from tests.domain.build import (
    DOTENV,
    HOUR,
    NOW,
    POLICY,
    PROJECT,
    REFUSED,
    VAULT,
    facts,
    fingerprint,
    key,
    record,
    rotation,
)

NAMES = ("a", "b", "c", "d")
times = st.one_of(st.none(), st.integers(-90 * 24, 90 * 24).map(lambda hours: NOW + hours * HOUR))
some_times = st.integers(-90 * 24, 90 * 24).map(lambda hours: NOW + hours * HOUR)


@st.composite
def records(draw):
    states = draw(st.permutations([KeyState.CURRENT, KeyState.RETIRING, KeyState.ORPHAN, KeyState.REVOKED]))
    keys = []
    for name, state in zip(NAMES, states, strict=True):
        if draw(st.booleans()):
            keys.append(
                key(
                    name,
                    state,
                    origin=draw(st.sampled_from(Origin)),
                    since=draw(some_times),
                    created_at=draw(times),
                    expires_at=draw(times),
                    jitter=draw(st.floats(0, 0.999)),
                    fingerprint=draw(st.sampled_from([fingerprint(name), None])),
                    grace_until=draw(times),
                    grace_limit=draw(times),
                    revoke_after=draw(times),
                    revoked_at=draw(times),
                    hooks_due=draw(st.sampled_from([(), (), ("reload",)])) if state is KeyState.CURRENT else (),
                    leaked=draw(st.booleans()) if state in {KeyState.RETIRING, KeyState.CURRENT} else False,
                    lands_on=draw(st.sampled_from([{}, {}, {VAULT.name: ""}, {DOTENV.name: fingerprint("a")}])),
                )
            )
    phase = draw(st.sampled_from([None, Phase.INTENDED, Phase.ISSUED, Phase.VERIFIED, Phase.PUBLISHING]))
    rotations = (rotation(phase, "new"),) if phase else ()
    if phase and phase is not Phase.INTENDED:
        keys.append(key("new", KeyState.CANDIDATE))
    intents = draw(st.lists(st.builds(OpenIntent, key_name=st.sampled_from(NAMES), revoke_after=some_times,
                                      settled_at=some_times), max_size=2))  # fmt: skip
    return record(
        *keys,
        rotations=rotations,
        open_intents=tuple(intents),
        hold=draw(st.sampled_from(["", "", "", "incident"])),
        requested=draw(st.sampled_from(["", "please"])),
        compromised=draw(st.booleans()),
    )


@st.composite
def worlds(draw):
    held = [draw(st.sampled_from([None, *NAMES, "new", "junk"])) for _ in range(2)]
    reach = [draw(st.sampled_from([Reach.OK, Reach.OK, Reach.OK, Reach.UNREADABLE, Reach.WRONG])) for _ in range(2)]
    views = tuple(
        DestinationView(
            destination=destination,
            reach=one,
            fingerprint=fingerprint(name) if name and one is Reach.OK else None,
            version="1",
        )
        for destination, name, one in zip((VAULT, DOTENV), held, reach, strict=True)
    )
    problem = draw(st.sampled_from(["", "", "", "503"]))
    answers = st.one_of(
        st.just(REFUSED),
        st.builds(
            Identity,
            kind=st.sampled_from(KeyKind),
            key_id=st.sampled_from([f"key_{name}" for name in (*NAMES, "new")]),
            project=st.sampled_from([PROJECT, PROJECT, "proj_b", None]),
        ),
    )
    identities = {view.fingerprint: draw(answers) for view in views if view.fingerprint}
    listed = draw(st.one_of(st.none(), st.lists(st.sampled_from((*NAMES, "new")), unique=True)))
    return World(
        destinations=views,
        identities={} if problem else identities,
        provider_problem=problem,
        listed=None if listed is None else tuple(facts(name, last_used_at=draw(times)) for name in listed),
        held_by_others=draw(
            st.one_of(
                st.none(),
                st.sets(st.sampled_from(NAMES), max_size=1).map(lambda s: {fingerprint(n): ("x",) for n in s}),
            )
        ),
        others_unknown=draw(st.sampled_from([(), (), ("elsewhere",)])),
    )


@given(worlds(), records())
def test_promise_2_no_key_is_revoked_that_somebody_may_need(seen, remembered):
    decided = plan(POLICY, seen.beside(remembered), NOW)
    for action in decided.actions:
        if not isinstance(action, Revoke):
            continue
        doomed = remembered.key(action.key_id)
        assert doomed.state in {KeyState.RETIRING, KeyState.ORPHAN}
        assert not remembered.hold
        if doomed.fingerprint:
            assert doomed.fingerprint not in seen.held
            assert seen.held_by_others is not None
            assert doomed.fingerprint not in seen.held_by_others
            assert not seen.others_unknown
            assert all(view.reach is Reach.OK for view in seen.destinations)
        if doomed.state is KeyState.ORPHAN:
            assert doomed.revoke_after is None or doomed.revoke_after <= NOW
            continue
        assert doomed.origin is not Origin.LEGACY
        assert doomed.grace_until is None or doomed.grace_until <= NOW
        for view in seen.destinations:
            answer = seen.identities[view.fingerprint]
            assert isinstance(answer, Identity)
            assert answer.project == POLICY.project
            assert answer.key_id != doomed.key_id
            assert remembered.by_fingerprint(view.fingerprint).state in {KeyState.CURRENT, KeyState.CANDIDATE}


@given(worlds(), records())
def test_promise_1_nothing_is_created_or_published_while_a_place_or_the_provider_is_unknown(seen, remembered):
    decided = plan(POLICY, seen.beside(remembered), NOW)
    if any(isinstance(action, Issue | Resume) for action in decided.actions):
        assert not remembered.hold
        assert not seen.provider_problem
        assert all(view.reach is Reach.OK for view in seen.destinations)


@given(worlds(), records())
def test_a_plan_always_says_when_to_look_again_and_is_the_same_for_the_same_input(seen, remembered):
    decided = plan(POLICY, seen.beside(remembered), NOW)
    assert NOW < decided.next_look <= NOW + POLICY.check_every
    assert decided == plan(POLICY, seen.beside(remembered), NOW)


@given(worlds(), records())
def test_at_most_one_rotation_is_begun_or_resumed_at_a_time(seen, remembered):
    actions = plan(POLICY, seen.beside(remembered), NOW).actions
    assert sum(isinstance(action, Issue | Resume) for action in actions) <= 1
    if remembered.in_flight:
        assert not [action for action in actions if isinstance(action, Issue)]


@given(records(), st.timedeltas(timedelta(0), timedelta(days=400)))
def test_every_key_is_renewed_in_time(remembered, later):
    current = remembered.current
    if current is None or current.expires_at is None or remembered.hold or remembered.in_flight:
        return
    now = max(NOW + later, current.since, current.expires_at - POLICY.renew_before)
    current = replace(current, fingerprint=fingerprint("a"), key_id="key_a")
    seen = World(
        destinations=tuple(DestinationView(destination=d, fingerprint=fingerprint("a")) for d in POLICY.destinations),
        identities={fingerprint("a"): Identity(kind=KeyKind.PROJECT, key_id="key_a", project=PROJECT)},
    )
    decided = plan(POLICY, seen.beside(record(current)), now)
    assert [type(action) for action in decided.actions] == [Issue]


@given(worlds(), records(), st.sampled_from([(), ("reload",), ("another",)]))
def test_promise_2_no_key_comes_to_its_end_before_consumers_were_told_of_its_replacement(seen, remembered, hooks):
    actions = plan(replace(POLICY, hooks=hooks), seen.beside(remembered), NOW).actions
    current = remembered.current
    due = [hook for hook in hooks if current and hook in current.hooks_due and not remembered.hold]
    assert [action.hook for action in actions if isinstance(action, RunHook)] == due
    for action in actions:
        if due and isinstance(action, Revoke | ForwardExpiry):
            doomed = remembered.key(action.key_id)
            assert doomed.state is KeyState.ORPHAN or doomed.leaked
