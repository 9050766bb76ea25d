"""Whatever a plug-in's code does, the service sees an error of the port, without a secret."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from rotator.adapters.plugged import PluggedBackend, PluggedProvider
from rotator.domain.model import Held, KeyFacts
from rotator.domain.secret import SecretValue
from rotator.errors import (
    BackendDenied,
    BackendUnavailable,
    LeaseLost,
    OutcomeUnknown,
    ProviderNonsense,
    ProviderUnavailable,
    RotatorError,
    VersionConflict,
    WrongDestination,
)
from rotator.testing.backends import BackendContract, some_metadata
from rotator.testing.providers import ProviderContract
from tests.backends.conftest import BackendCase, a_destination, fake_case
from tests.fakes.provider import FakeProvider
from tests.providers.test_contract import FakeWorld

SECRET = SecretValue("tgp_v1_in_an_error")
AT, NOW = a_destination("store", path="p"), datetime(2026, 1, 1, tzinfo=UTC)
Call = Callable[[Any], Any]
BACKEND: dict[str, tuple[Call, type[RotatorError]]] = {
    "read": (lambda port: port.read(AT), BackendUnavailable),
    "read_previous": (lambda port: port.read_previous(AT), BackendUnavailable),
    "whereabouts": (lambda port: port.whereabouts(AT), BackendUnavailable),
    "check_writable": (lambda port: port.check_writable(AT), BackendUnavailable),
    "write": (lambda port: port.write(AT, SECRET, some_metadata(), ""), OutcomeUnknown),
}
PROVIDER: dict[str, tuple[Call, type[RotatorError]]] = {
    "create_key": (lambda port: port.create_key("p", "n", NOW), OutcomeUnknown),
    "list_keys": (lambda port: port.list_keys("p"), ProviderUnavailable),
    "set_expiration": (lambda port: port.set_expiration("p", "k", NOW), OutcomeUnknown),
    "revoke_key": (lambda port: port.revoke_key("p", "k"), OutcomeUnknown),
    "identify": (lambda port: port.identify(SECRET), ProviderUnavailable),
    "used_until": (lambda port: port.used_until(["k"], NOW, SECRET, None), ProviderUnavailable),
    "skew": (lambda port: port.skew(), ProviderUnavailable),
}


class Doing:
    """A port all of whose calls do the same."""

    def __init__(self, what: Callable[[], Any]) -> None:
        self._what = what

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *_given: self._what()


def plugged(name: str, what: Callable[[], Any]) -> PluggedBackend | PluggedProvider:
    kind = PluggedBackend if name in BACKEND else PluggedProvider
    return kind("store", lambda: Doing(what))


def raising(error: BaseException) -> Callable[[], Any]:
    def fail() -> None:
        raise error

    return fail


@pytest.mark.parametrize("error", [KeyError(SECRET.reveal()), LeaseLost(SECRET.reveal()), RecursionError()], ids=repr)
@pytest.mark.parametrize("name", [*BACKEND, *PROVIDER])
def test_what_is_no_error_of_the_port_becomes_one_that_says_class_and_line(name: str, error: Exception) -> None:
    call, otherwise = {**BACKEND, **PROVIDER}[name]
    with pytest.raises(
        otherwise, match=f"the plug-in store: {name} failed .{type(error).__name__} at test_contained.py:"
    ) as failure:
        call(plugged(name, raising(error)))
    assert SECRET.reveal() not in str(failure.value)
    assert failure.value.__suppress_context__


@pytest.mark.parametrize(
    ("name", "error"), [("read", BackendDenied), ("write", VersionConflict), ("list_keys", ProviderUnavailable)]
)
def test_an_error_of_the_port_passes_unless_it_shows_a_secret(name: str, error: type[RotatorError]) -> None:
    """No secret leaves memory except to its destinations (Promise 3)."""
    call, _ = {**BACKEND, **PROVIDER}[name]
    with pytest.raises(error, match=r"^fine$"):
        call(plugged(name, raising(error("fine"))))
    with pytest.raises(error, match="what it says has a secret in it") as failure:
        call(plugged(name, raising(error(f"refused: {SECRET.reveal()}"))))
    assert failure.value.__suppress_context__


class Explained(BackendDenied):
    """An adapter's own kind, made in its own way."""

    def __init__(self, *, status: int, body: str) -> None:
        super().__init__(f"refused with {status}: {body}")


def test_a_plug_ins_own_kind_of_error_that_shows_a_secret_becomes_the_ports() -> None:
    """Promise 3: it can't be made anew with another text, and what that raises would carry the secret along."""
    with pytest.raises(BackendDenied, match="what it says has a secret in it") as failure:
        plugged("read", raising(Explained(status=403, body=SECRET.reveal()))).read(AT)
    assert type(failure.value) is BackendDenied
    assert failure.value.__suppress_context__


NONSENSE: list[tuple[str, Any, type[RotatorError]]] = [
    ("read", None, WrongDestination),
    ("read", Held(value="text", version=""), WrongDestination),
    ("read_previous", "text", WrongDestination),
    ("whereabouts", [], WrongDestination),
    ("create_key", None, OutcomeUnknown),
    ("list_keys", [None], ProviderNonsense),
    ("list_keys", None, ProviderUnavailable),
    ("list_keys", [KeyFacts(key_id="k", name=None, project="p")], ProviderNonsense),  # type: ignore[arg-type]
    ("identify", None, ProviderNonsense),
    ("used_until", None, ProviderNonsense),
    ("skew", 3, ProviderNonsense),
]


@pytest.mark.parametrize(("name", "answer", "error"), NONSENSE)
def test_an_answer_of_another_type_is_not_believed(name: str, answer: Any, error: type[RotatorError]) -> None:
    call, _ = {**BACKEND, **PROVIDER}[name]
    with pytest.raises(error, match=f"the plug-in store: {name}"):
        call(plugged(name, lambda: answer))


@pytest.mark.parametrize("kind", [PluggedBackend, PluggedProvider])
def test_a_close_that_fails_keeps_nothing_else_from_being_closed(kind: Any) -> None:
    kind("store", lambda: Doing(raising(KeyError()))).close()


class TestABackendInside(BackendContract):
    @pytest.fixture
    def case(self) -> BackendCase:
        made = fake_case()
        return BackendCase(PluggedBackend("fake", lambda: made.backend), made.at, made.put, made.other)


class PluggedWorld(FakeWorld):
    @property
    def provider(self) -> PluggedProvider:
        return PluggedProvider("fake", lambda: self._inner)

    @provider.setter
    def provider(self, inner: FakeProvider) -> None:
        self._inner = inner


class TestAProviderInside(ProviderContract):
    @pytest.fixture
    def world(self) -> PluggedWorld:
        return PluggedWorld()


def test_the_names_of_a_plug_in_can_be_written_anywhere() -> None:
    facts = KeyFacts(key_id="k", name="a\ud800\x1b[2J", project="p", created_by="\x07ada")
    provider = PluggedProvider("mine", lambda: Doing(lambda: [facts]))  # type: ignore[arg-type, return-value]
    (listed,) = provider.list_keys("p")
    assert (listed.name, listed.created_by) == ("a\ufffd\ufffd[2J", "\ufffdada")
