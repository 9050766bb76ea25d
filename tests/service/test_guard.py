"""What a guard lets through, what it refuses at once, and what it makes wait."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta

import pytest
import structlog.testing

from rotator.clock import SystemClock
from rotator.domain.model import Destination, Refused
from rotator.domain.secret import SecretValue
from rotator.errors import (
    BackendDenied,
    BackendUnavailable,
    OutcomeUnknown,
    ProviderDenied,
    ProviderNonsense,
    ProviderRejected,
    ProviderUnavailable,
    RotatorError,
    Stopping,
    VersionConflict,
    WrongDestination,
)
from rotator.service.guard import NEVER, GuardedBackend, GuardedProvider, Limits, Wishes
from tests.backends.conftest import some_metadata
from tests.fakes.backend import FakeBackend
from tests.fakes.provider import FakeProvider
from tests.service.conftest import DrivenClock

PROJECT = "proj_abc"
PLACE = Destination("fake", "fake:place", (("path", "place"), ("field", "KEY")))
NOT_NOW = ProviderUnavailable("GET keys: 503")
WIDE = Limits(concurrency=8)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


class Guarded:
    """A guarded provider, and what a test does with it."""

    def __init__(self, limits: Limits = WIDE) -> None:
        self.clock = DrivenClock()
        self.inner = FakeProvider(self.clock.now)
        self.provider = GuardedProvider(self.inner, name="together", clock=self.clock, limits=limits)

    def list(self) -> None:
        self.provider.list_keys(PROJECT)

    def revoke(self) -> None:
        self.provider.revoke_key(PROJECT, "key_1")

    def fail(self, times: int, error: Exception = NOT_NOW) -> None:
        """So many calls in a row fail."""
        for _ in range(times):
            self.inner.fail("list_keys", error)
            with pytest.raises(type(error)):
                self.list()

    def sent(self) -> int:
        return len(self.inner.calls)

    def refused(self) -> str:
        """Why a call is refused, without anything sent."""
        before = self.sent()
        with pytest.raises(ProviderUnavailable) as caught:
            self.list()
        assert self.sent() == before
        return str(caught.value)


@pytest.fixture
def guarded() -> Guarded:
    return Guarded()


# --- the circuit -----------------------------------------------------------------------------------------


def test_revocations_wait_after_three_failures_and_creations_go_on(guarded: Guarded) -> None:
    guarded.fail(3)
    with pytest.raises(ProviderUnavailable, match="provider together is not called: it is in trouble, revocations wai"):
        guarded.revoke()
    assert "revoke_key" not in guarded.inner.calls
    assert guarded.provider.create_key(PROJECT, "name", guarded.clock.now() + seconds(60)).facts.name == "name"


def test_revocations_go_on_after_two_failures(guarded: Guarded) -> None:
    guarded.fail(2)
    guarded.revoke()
    assert guarded.inner.calls[-1] == "revoke_key"


def test_a_success_ends_the_wait_of_revocations(guarded: Guarded) -> None:
    guarded.fail(7)
    guarded.list()
    guarded.revoke()
    guarded.fail(7)
    guarded.list()
    assert guarded.provider.trouble() == ""


def test_nothing_is_sent_after_eight_failures_until_the_cool_down_is_over(guarded: Guarded) -> None:
    guarded.fail(8)
    assert guarded.refused() == (
        "provider together is not called: 8 failures in a row, the last: GET keys: 503; the next try is in 30 s"
    )
    guarded.clock.advance(seconds(29))
    assert guarded.refused().endswith("the next try is in 1 s")
    guarded.clock.advance(seconds(1))
    guarded.list()
    guarded.revoke()


def test_a_refused_call_tells_how_long_to_wait(guarded: Guarded) -> None:
    guarded.fail(8)
    with pytest.raises(ProviderUnavailable) as caught:
        guarded.list()
    assert caught.value.retry_after == 30
    assert caught.value.retryable


def test_each_try_that_fails_doubles_the_cool_down_up_to_five_minutes(guarded: Guarded) -> None:
    guarded.fail(8)
    for cool_down in (30, 60, 120, 240, 300, 300):
        guarded.clock.advance(seconds(cool_down - 1))
        guarded.refused()
        guarded.clock.advance(seconds(1))
        guarded.fail(1)
    guarded.clock.advance(seconds(300))
    guarded.list()
    guarded.fail(8)
    assert guarded.refused().endswith("in 30 s"), "a success begins anew"


def test_a_revocation_is_never_the_call_that_tries(guarded: Guarded) -> None:
    guarded.fail(8)
    guarded.clock.advance(seconds(30))
    with pytest.raises(ProviderUnavailable, match="revocations wait"):
        guarded.revoke()
    guarded.list()
    guarded.revoke()


class Gate(FakeProvider):
    """Lists only when the test says so."""

    def __init__(self, clock: DrivenClock) -> None:
        super().__init__(clock.now)
        self.open, self.inside = threading.Event(), threading.Semaphore(0)

    def list_keys(self, project: str):
        self.inside.release()
        assert self.open.wait(20)
        return super().list_keys(project)


def test_only_one_call_tries_whether_it_works_again() -> None:
    guarded = Guarded()
    guarded.fail(8)
    guarded.clock.advance(seconds(30))
    gate = guarded.provider._inner = Gate(guarded.clock)
    with ThreadPoolExecutor(1) as pool:
        trying = pool.submit(guarded.list)
        assert gate.inside.acquire(timeout=20)
        assert guarded.refused().endswith("one call is trying it now")
        gate.open.set()
        trying.result(20)
    guarded.list()


@pytest.mark.parametrize(
    "error", [ProviderNonsense("a page"), Stopping("shutting down"), ZeroDivisionError("a defect")]
)
def test_what_tells_nothing_about_the_provider_neither_opens_nor_closes(guarded: Guarded, error: Exception) -> None:
    guarded.fail(20, error)
    guarded.list()
    guarded.fail(7)
    guarded.fail(1, error)
    guarded.fail(1)
    assert guarded.refused()
    guarded.clock.advance(seconds(30))
    guarded.fail(1, error)
    guarded.list()


@pytest.mark.parametrize("error", [ProviderDenied("401"), ProviderRejected("422")])
def test_a_refusal_is_an_answer(guarded: Guarded, error: Exception) -> None:
    for _ in range(3):
        guarded.fail(7)
        guarded.fail(1, error)
    guarded.revoke()


def test_a_refused_key_is_an_answer_and_one_that_is_never_sent_is_none(guarded: Guarded) -> None:
    guarded.fail(7)
    assert guarded.provider.identify(SecretValue("nobody's")) == Refused("401 invalid_api_key")
    guarded.fail(7)
    assert guarded.provider.identify(SecretValue("two words")) == Refused("malformed: never sent")
    guarded.fail(1)
    guarded.refused()
    assert guarded.provider.identify(SecretValue("two words")) == Refused("malformed: never sent")


def test_a_lost_answer_counts_as_a_failure(guarded: Guarded) -> None:
    guarded.fail(8, OutcomeUnknown("the answer was lost"))
    assert "the answer was lost" in guarded.refused()


def test_a_failure_that_began_before_the_circuit_opened_prolongs_nothing() -> None:
    guarded = Guarded()
    gate = guarded.provider._inner = Gate(guarded.clock)
    gate.fail("list_keys", NOT_NOW)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(guarded.list)
        assert gate.inside.acquire(timeout=20)
        guarded.provider._inner = guarded.inner
        guarded.fail(8)
        gate.open.set()
        assert isinstance(late.exception(20), ProviderUnavailable)
    guarded.clock.advance(seconds(30))
    guarded.list()


def test_a_clock_that_is_set_back_keeps_it_open_for_no_more_than_the_cool_down(guarded: Guarded) -> None:
    guarded.fail(8)
    guarded.clock.advance(timedelta(hours=-5))
    guarded.refused()
    guarded.clock.advance(seconds(30))
    guarded.list()


def test_its_state_is_in_the_log_and_in_its_trouble(guarded: Guarded) -> None:
    with structlog.testing.capture_logs() as logged:
        guarded.fail(3)
        assert guarded.provider.trouble() == "3 failures in a row, the last: GET keys: 503; revocations wait"
        guarded.fail(5)
        assert guarded.provider.trouble().endswith(
            "8 failures in a row, the last: GET keys: 503; the next try is in 30 s"
        )
        guarded.clock.advance(seconds(30))
        assert guarded.provider.trouble().endswith("the next call tries it")
        guarded.list()
        assert guarded.provider.trouble() == ""
    where = {"endpoint": "provider together"}
    failed = {"reason": "GET keys: 503", **where}
    assert logged == [
        {"event": "circuit.revocations_wait", "log_level": "warning", "failures": 3, **failed},
        {"event": "circuit.opened", "log_level": "error", "failures": 8, "seconds": 30.0, **failed},
        {"event": "circuit.half_open", "log_level": "info", **where},
        {"event": "circuit.closed", "log_level": "info", "after_failures": 8, **where},
    ]


def test_many_threads_see_one_circuit() -> None:
    """Whatever the order, the ninth failure in a row is never sent."""
    guarded = Guarded()
    guarded.inner.list_keys = failing = Failing()  # type: ignore[method-assign]

    def call(_number: int) -> None:
        with suppress(ProviderUnavailable):
            guarded.list()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(400)))
    assert 8 <= failing.calls <= 8 + 7, "seven may be under way when the eighth fails"


class Failing:
    def __init__(self) -> None:
        self.calls = 0
        self._lock = threading.Lock()

    def __call__(self, _project: str) -> None:
        with self._lock:
            self.calls += 1
        raise NOT_NOW


# --- what the provider asks for ------------------------------------------------------------------------------


def test_a_provider_that_asks_to_wait_is_not_called_for_that_time(guarded: Guarded) -> None:
    guarded.fail(1, ProviderUnavailable("429", retry_after=60))
    assert guarded.refused() == "provider together is not called: it asked to be left alone for 60 s more"
    assert guarded.provider.trouble() == "it asked to be left alone for 60 s more"
    guarded.clock.advance(seconds(40))
    assert guarded.refused().endswith("for 20 s more")
    guarded.clock.advance(seconds(20))
    guarded.list()
    assert guarded.provider.trouble() == ""


def test_a_wish_of_a_few_seconds_is_waited_for(guarded: Guarded) -> None:
    guarded.fail(1, ProviderUnavailable("429", retry_after=2))
    before = guarded.clock.now()
    guarded.list()
    assert guarded.clock.now() - before == seconds(2)


def test_a_wish_to_wait_for_ever_is_not_believed(guarded: Guarded) -> None:
    guarded.fail(1, ProviderUnavailable("429", retry_after=86_400))
    guarded.clock.advance(seconds(300))
    guarded.list()


def test_a_wish_outlives_a_guard_that_is_made_anew_unless_it_is_of_another_address(guarded: Guarded) -> None:
    wishes = Wishes(guarded.clock)

    def made(url: str) -> GuardedProvider:
        wish = wishes.of("provider together", {"url": url})
        return GuardedProvider(guarded.inner, name="together", clock=guarded.clock, limits=WIDE, wish=wish)

    guarded.provider = made("https://one")
    guarded.fail(1, ProviderUnavailable("429", retry_after=60))
    guarded.clock.advance(seconds(20))
    guarded.provider = made("https://one")
    assert guarded.refused().endswith("it asked to be left alone for 40 s more")
    guarded.provider = made("https://two")
    guarded.list()


def test_a_guard_that_is_made_anew_tries_what_failed_before(guarded: Guarded) -> None:
    wish = Wishes(guarded.clock).of("provider together", "as before")
    guarded.provider = GuardedProvider(guarded.inner, name="together", clock=guarded.clock, limits=WIDE, wish=wish)
    guarded.fail(8)
    assert guarded.refused()
    guarded.provider = GuardedProvider(guarded.inner, name="together", clock=guarded.clock, limits=WIDE, wish=wish)
    guarded.list()


# --- rate and concurrency ----------------------------------------------------------------------------------------


def test_a_burst_of_one_second_passes_at_once_and_the_rest_evenly() -> None:
    guarded = Guarded(Limits(concurrency=8, rate=20))
    moments = []
    for _ in range(41):
        guarded.list()
        moments.append((guarded.clock.now() - moments[0]).total_seconds() if moments else guarded.clock.now())
    assert moments[1:20] == [0] * 19
    assert moments[20:] == pytest.approx([number / 20 for number in range(1, 22)], abs=0.001)


def test_an_idle_time_earns_one_burst_and_no_more() -> None:
    guarded = Guarded(Limits(concurrency=8, rate=2))
    guarded.clock.advance(timedelta(hours=1))
    before = guarded.clock.now()
    for _ in range(4):
        guarded.list()
    assert (guarded.clock.now() - before).total_seconds() == pytest.approx(1, abs=0.001)


def test_less_than_one_call_in_a_second_is_a_rate_too() -> None:
    guarded = Guarded(Limits(concurrency=8, rate=0.1))
    before = guarded.clock.now()
    guarded.list()
    guarded.list()
    assert guarded.clock.now() - before == seconds(10)


class Standstill(DrivenClock):
    """Nobody's sleep makes time pass: as if all callers came at the same moment."""

    def sleep(self, duration: timedelta) -> None:
        if self.stopping:
            raise Stopping("the service is shutting down")


def test_who_would_wait_too_long_for_the_rate_is_refused_and_takes_no_turn() -> None:
    guarded = Guarded()
    clock = Standstill()
    guarded.provider = GuardedProvider(guarded.inner, name="p", clock=clock, limits=Limits(concurrency=8, rate=1))
    for _ in range(31):  # one at once, thirty within thirty seconds
        guarded.list()
    for _ in range(5):
        assert guarded.refused() == "provider p is not called: too many calls wait for the limit of 1 a second"
    clock.advance(seconds(1))
    guarded.list()
    guarded.refused()
    assert guarded.provider.trouble() == "", "a full endpoint is in no trouble"


def test_a_shutdown_ends_the_wait_for_the_rate() -> None:
    guarded = Guarded(Limits(concurrency=8, rate=1))
    guarded.list()
    guarded.clock.stopping = True
    with pytest.raises(Stopping):
        guarded.list()
    assert guarded.sent() == 1


def test_no_more_calls_than_allowed_are_under_way_and_all_are_made() -> None:
    guarded = Guarded(Limits(concurrency=2))
    gate = guarded.provider._inner = Gate(guarded.clock)
    with ThreadPoolExecutor(5) as pool:
        calls = [pool.submit(guarded.list) for _ in range(5)]
        assert gate.inside.acquire(timeout=20)
        assert gate.inside.acquire(timeout=20)
        assert not gate.inside.acquire(timeout=0.2), "the third is not let in"
        gate.open.set()
        for call in calls:
            call.result(20)
    assert len(gate.calls) == 5


def test_who_would_wait_too_long_for_a_slot_is_refused() -> None:
    guarded = Guarded(Limits(concurrency=1))
    gate = guarded.provider._inner = Gate(guarded.clock)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(guarded.list)
        assert gate.inside.acquire(timeout=20)
        second = pool.submit(guarded.list)
        while not second.done():
            guarded.clock.advance(seconds(10))
        assert str(second.exception()) == (
            "provider together is not called: as many calls as may be at a time (1) are under way, and none ends"
        )
        gate.open.set()
        first.result(20)


def test_a_shutdown_ends_the_wait_for_a_slot() -> None:
    clock = SystemClock()
    gate = Gate(DrivenClock())
    provider = GuardedProvider(gate, name="p", clock=clock, limits=Limits(concurrency=1))
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(provider.list_keys, PROJECT)
        assert gate.inside.acquire(timeout=20)
        second = pool.submit(provider.list_keys, PROJECT)
        clock.stop()
        assert isinstance(second.exception(20), Stopping)
        gate.open.set()
        first.result(20)


# --- backends ----------------------------------------------------------------------------------------------------


def backend_of(inner: FakeBackend, clock: DrivenClock, **more: object) -> GuardedBackend:
    return GuardedBackend(inner, name="vault", clock=clock, limits=WIDE, **more)


def read(backend: GuardedBackend, inner: FakeBackend, error: RotatorError) -> None:
    inner.fail("read", error)
    with pytest.raises(type(error)):
        backend.read(PLACE)


def test_a_sealed_backend_is_left_alone_for_a_while() -> None:
    inner, clock = FakeBackend(), DrivenClock()
    backend = backend_of(inner, clock)
    for _ in range(8):
        read(backend, inner, BackendUnavailable("HTTP 503"))
    told = "backend vault is not called: 8 failures in a row, the last: HTTP 503; the next try is in 30 s"
    for call in (
        lambda: backend.read(PLACE),
        lambda: backend.read_previous(PLACE),
        lambda: backend.check_writable(PLACE),
        lambda: backend.write(PLACE, SecretValue("new"), some_metadata(), "0"),
    ):
        with pytest.raises(BackendUnavailable) as caught:
            call()
        assert str(caught.value) == told
    assert inner.calls == {"read": 8}
    assert backend.trouble() == told.partition(": ")[2]
    clock.advance(seconds(30))
    assert backend.read(PLACE).value is None
    assert backend.trouble() == ""


@pytest.mark.parametrize("error", [BackendDenied("403"), WrongDestination("no JSON"), VersionConflict("changed")])
def test_what_one_place_refuses_closes_no_backend(error: RotatorError) -> None:
    inner, clock = FakeBackend(), DrivenClock()
    backend = backend_of(inner, clock)
    for _ in range(2):
        for _ in range(7):
            read(backend, inner, BackendUnavailable("HTTP 503"))
        read(backend, inner, error)
    assert backend.trouble() == ""


def test_a_backend_of_many_endpoints_is_never_left_alone_as_a_whole() -> None:
    inner, clock = FakeBackend(), DrivenClock()
    backend = backend_of(inner, clock, thresholds=NEVER)
    for _ in range(50):
        read(backend, inner, BackendUnavailable("the file is locked"))
    assert backend.read(PLACE).value is None
    assert backend.trouble() == ""


def test_closing_a_guard_closes_what_it_guards() -> None:
    inner, guarded = FakeBackend(), Guarded()
    backend_of(inner, guarded.clock).close()
    guarded.provider.close()
    assert (inner.closed, guarded.inner.closed) == (True, True)
