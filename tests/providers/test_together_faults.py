"""What each fault means for each call of the Together adapter: which error, how many requests, what end state."""

from __future__ import annotations

import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from rotator.adapters.providers.together import TogetherProvider
from rotator.domain.model import Identity, Refused
from rotator.domain.secret import SecretValue
from rotator.errors import (
    OutcomeUnknown,
    ProviderDenied,
    ProviderNonsense,
    ProviderRejected,
    ProviderUnavailable,
    RotatorError,
)
from tests.parts.simulator import PROJECT, HandMadeKey, Simulator

ATTEMPTS = 2
EXPIRES = datetime(2099, 1, 1, tzinfo=UTC)

Call = Callable[[TogetherProvider, HandMadeKey], object]

CALLS: dict[str, tuple[str, str, Call]] = {
    "create_key": ("POST", r"/api-keys$", lambda provider, _: provider.create_key(PROJECT, "new", EXPIRES)),
    "list_keys": ("GET", r"/api-keys$", lambda provider, _: provider.list_keys(PROJECT)),
    "set_expiration": (
        "PATCH",
        r"/api-keys/",
        lambda provider, key: provider.set_expiration(PROJECT, key.key_id, EXPIRES),
    ),
    "revoke_key": ("DELETE", r"/api-keys/", lambda provider, key: provider.revoke_key(PROJECT, key.key_id)),
    "identify": ("GET", r"/whoami$", lambda provider, key: provider.identify(key.secret)),
}

# For each fault: what create_key, list_keys, set_expiration, revoke_key and identify raise.
UNKNOWN, UNAVAILABLE, NONSENSE = OutcomeUnknown, ProviderUnavailable, ProviderNonsense
DENIED, REJECTED = ProviderDenied, ProviderRejected
LOST = (UNKNOWN, UNAVAILABLE, UNKNOWN, UNKNOWN, UNAVAILABLE)
STRANGE = (UNKNOWN, NONSENSE, UNKNOWN, UNKNOWN, NONSENSE)
TABLE: dict[str, tuple[dict[str, Any], tuple[type[RotatorError], ...]]] = {
    "a server error before the effect": ({"effect": "error_before"}, LOST),
    "a server error after the effect": ({"effect": "error_after"}, LOST),
    "a gateway's time-out": ({"effect": "error_after", "status": 504}, LOST),
    "an overload": ({"effect": "status", "status": 503}, LOST),
    "a request time-out": ({"effect": "status", "status": 408}, LOST),
    "no answer, no effect": ({"effect": "hang"}, LOST),
    "no answer after the effect": ({"effect": "hang_after"}, LOST),
    "a reset before the effect": ({"effect": "reset_before"}, LOST),
    "a reset after the effect": ({"effect": "reset_after"}, LOST),
    "half an answer": ({"effect": "truncated"}, LOST),
    "a rate limit": ({"effect": "status", "status": 429}, (UNAVAILABLE,) * 5),
    "a rate limit of a proxy": ({"effect": "html", "status": 429}, (UNAVAILABLE,) * 5),
    "a page instead of an answer": ({"effect": "html"}, STRANGE),
    "a page that says not found": ({"effect": "html", "status": 404}, STRANGE),
    "a page that says forbidden": ({"effect": "html", "status": 403}, (UNKNOWN, DENIED, UNKNOWN, UNKNOWN, DENIED)),
    "a page that says bad gateway": ({"effect": "html", "status": 502}, LOST),
    "a redirect": ({"effect": "html", "status": 307}, STRANGE),
    "a 401 of something in between": ({"effect": "html", "status": 401}, (DENIED,) * 4 + (NONSENSE,)),
    "a 401 with another code": ({"effect": "status", "status": 401}, (DENIED,) * 4 + (NONSENSE,)),
    "a 403 of the platform": ({"effect": "status", "status": 403}, (DENIED,) * 5),
    "a conflict": ({"effect": "status", "status": 409}, (REJECTED,) * 5),
    "bad input": ({"effect": "status", "status": 422}, (REJECTED,) * 5),
}
CASES = [(fault, call) for fault in TABLE for call in CALLS]


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def provider(simulator: Simulator, waits: list[float]) -> Iterator[TogetherProvider]:
    provider = TogetherProvider(
        base_url=simulator.base_url,
        management_key=simulator.management_key,
        timeout=0.3,
        attempts=ATTEMPTS,
        sleep=waits.append,
    )
    yield provider
    provider.close()


@pytest.fixture
def key(simulator: Simulator) -> HandMadeKey:
    return simulator.create_key_by_hand()


def shows(error: BaseException, *secrets: SecretValue) -> bool:
    """Whether the text, the repr, or the traceback with every local variable of every frame has a secret."""
    frames = traceback.TracebackException.from_exception(error, capture_locals=True)
    shown = f"{error!s} {error!r} {error.args!r} " + "".join(frames.format())
    return "tgp_v1_" in shown or any(secret.reveal() in shown for secret in secrets)


@pytest.mark.parametrize(("fault", "call"), CASES)
def test_each_fault_of_each_call_is_the_error_that_the_contract_names(
    simulator: Simulator,
    provider: TogetherProvider,
    key: HandMadeKey,
    fault: str,
    call: str,
) -> None:
    """Promise 3 besides: no such error shows a secret, not even with the locals of its frames."""
    method, path, do = CALLS[call]
    rule, errors = TABLE[fault]
    wanted = dict(zip(CALLS, errors, strict=True))[call]
    simulator.fault(method=method, path=path, times=None, **rule)
    with pytest.raises(RotatorError) as caught:
        do(provider, key)
    assert type(caught.value) is wanted
    assert not shows(caught.value, key.secret, simulator.management_key)
    requests = sum(simulator.counters()["requests"].values())
    assert requests == 1 or (call != "create_key" and requests == ATTEMPTS)


@pytest.mark.parametrize("call", CALLS)
def test_a_provider_that_is_not_there_is_unavailable_and_nothing_happened(
    simulator: Simulator, key: HandMadeKey, call: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = f"http://127.0.0.1:{listener.getsockname()[1]}"
    provider = TogetherProvider(base_url=nobody, management_key=simulator.management_key, sleep=lambda _: None)
    with pytest.raises(ProviderUnavailable, match="ConnectError"):
        CALLS[call][2](provider, key)
    provider.close()


@pytest.mark.parametrize("effect", ["error_before", "error_after", "reset_before", "reset_after", "truncated", "hang"])
@pytest.mark.parametrize("call", ["list_keys", "set_expiration", "revoke_key", "identify"])
def test_where_a_repeat_is_harmless_one_lost_answer_does_no_harm(
    simulator: Simulator, provider: TogetherProvider, key: HandMadeKey, effect: str, call: str
) -> None:
    method, path, do = CALLS[call]
    simulator.fault(effect, method=method, path=path)
    do(provider, key)
    state = simulator.key(key.key_id)
    assert state["state"] == ("revoked" if call == "revoke_key" else "live")
    assert (state["expires_at"] is not None) == (call == "set_expiration")


def test_a_key_whose_creation_got_lost_is_never_created_twice(simulator: Simulator, provider: TogetherProvider) -> None:
    """Promise 4: creating is never retried, so at most one key of that name exists."""
    simulator.fault("reset_after", method="POST")
    with pytest.raises(OutcomeUnknown):
        provider.create_key(PROJECT, "lost", EXPIRES)
    assert [facts.name for facts in provider.list_keys(PROJECT)] == ["lost"]


def test_a_creation_that_hangs_may_still_happen_later(simulator: Simulator, provider: TogetherProvider) -> None:
    simulator.fault("hang", method="POST", delay=0.6)
    with pytest.raises(OutcomeUnknown):
        provider.create_key(PROJECT, "late", EXPIRES)
    assert provider.list_keys(PROJECT) == ()
    deadline = time.monotonic() + 10
    while not simulator.keys(project=PROJECT) and time.monotonic() < deadline:
        threading.Event().wait(0.02)
    assert [facts.name for facts in provider.list_keys(PROJECT)] == ["late"]


@pytest.mark.parametrize("then", [403, 409, 429])
@pytest.mark.parametrize("call", ["set_expiration", "revoke_key"])
def test_a_definite_answer_does_not_clear_up_what_became_of_the_attempt_before(
    simulator: Simulator, provider: TogetherProvider, key: HandMadeKey, call: str, then: int
) -> None:
    method, path, do = CALLS[call]
    simulator.fault("reset_before", method=method, path=path)
    simulator.fault("status", method=method, path=path, status=then)
    with pytest.raises(OutcomeUnknown, match=str(then)):
        do(provider, key)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "2"}, 2.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"retry-after-ms": "2500", "Retry-After": "2"}, 2.5),
        ({"x-ratelimit-reset": "4"}, 4.0),
    ],
)
def test_a_wish_to_wait_is_honoured_in_every_form(
    simulator: Simulator, provider: TogetherProvider, waits: list[float], headers: dict[str, str], seconds: float
) -> None:
    simulator.fault("status", status=429, headers=headers)
    provider.list_keys(PROJECT)
    assert waits == [seconds]


@pytest.mark.parametrize("skew", [0, 86400])
def test_a_date_to_wait_for_is_read_by_the_clock_of_the_provider(
    simulator: Simulator, provider: TogetherProvider, waits: list[float], skew: float
) -> None:
    until = simulator.advance(skew) + timedelta(seconds=6)
    simulator.fault("status", status=429, headers={"Retry-After": format_datetime(until, usegmt=True)})
    provider.list_keys(PROJECT)
    assert len(waits) == 1
    assert 3 <= waits[0] <= 6


@pytest.mark.parametrize("nonsense", ["soon", "nan", "inf", "-5", "Thu, 99 Foo 2026 00:00:00 GMT"])
def test_a_wish_that_makes_no_sense_is_answered_with_a_short_wait(
    simulator: Simulator, provider: TogetherProvider, waits: list[float], nonsense: str
) -> None:
    simulator.fault("status", status=429, headers={"Retry-After": nonsense})
    provider.list_keys(PROJECT)
    assert len(waits) == 1
    assert 0.1 <= waits[0] <= 0.25


def test_a_wish_to_wait_for_long_is_passed_on_instead_of_waited_for(
    simulator: Simulator, provider: TogetherProvider, waits: list[float]
) -> None:
    simulator.fault("status", status=429, retry_after="90")
    with pytest.raises(ProviderUnavailable) as caught:
        provider.list_keys(PROJECT)
    assert (caught.value.retry_after, waits) == (90.0, [])


def test_a_creation_under_a_rate_limit_hands_the_wish_on(simulator: Simulator, provider: TogetherProvider) -> None:
    simulator.fault("status", method="POST", status=429, retry_after="2")
    with pytest.raises(ProviderUnavailable) as caught:
        provider.create_key(PROJECT, "limited", EXPIRES)
    assert caught.value.retry_after == 2.0
    assert provider.list_keys(PROJECT) == ()


def test_a_credential_that_may_only_read_lists_and_is_denied_the_rest(simulator: Simulator, key: HandMadeKey) -> None:
    auditor = TogetherProvider(base_url=simulator.base_url, management_key=simulator.secret("key_auditor"))
    assert [facts.key_id for facts in auditor.list_keys(PROJECT)] == [key.key_id]
    for call in ("create_key", "set_expiration", "revoke_key"):
        with pytest.raises(ProviderDenied, match="403 permission_denied"):
            CALLS[call][2](auditor, key)
    auditor.close()


def test_a_management_key_that_is_refused_says_so_and_is_not_shown(simulator: Simulator) -> None:
    wrong = SecretValue("a-key-that-nobody-issued")
    provider = TogetherProvider(base_url=simulator.base_url, management_key=wrong, name="gateway")
    calls: dict[str, Callable[[], object]] = {
        "GET": lambda: provider.list_keys(PROJECT),
        "POST": lambda: provider.create_key(PROJECT, "new", EXPIRES),
        "PATCH": lambda: provider.set_expiration(PROJECT, "key_x", EXPIRES),
        "DELETE": lambda: provider.revoke_key(PROJECT, "key_x"),
    }
    told = "the provider refuses the management key (field management_key of provider gateway): 401 invalid_api_key"
    for method, call in calls.items():
        with pytest.raises(ProviderDenied) as caught:
            call()
        assert str(caught.value).startswith(f"{method} /v1/projects/")
        assert str(caught.value).endswith(f": {told}")
        assert not shows(caught.value, wrong)
    provider.close()


def test_a_key_that_the_platform_refuses_is_refused(
    simulator: Simulator, provider: TogetherProvider, key: HandMadeKey
) -> None:
    assert isinstance(provider.identify(key.secret), Identity)
    simulator.revoke_by_hand(key.key_id)
    assert provider.identify(key.secret) == Refused("401 invalid_api_key")


def test_a_project_that_is_not_there_is_rejected(provider: TogetherProvider) -> None:
    with pytest.raises(ProviderRejected, match="404 project_not_found"):
        provider.list_keys("proj_nowhere")
