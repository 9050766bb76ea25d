"""How each fault is brought about at a real OpenBao, directly or by a proxy in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from rotator.adapters.backends.vault import AppRoleAuth, TokenAuth, VaultBackend
from rotator.domain.model import Destination
from rotator.domain.secret import SecretValue
from rotator.errors import (
    BackendDenied,
    BackendUnavailable,
    OutcomeUnknown,
    RotatorError,
    VersionConflict,
    WrongDestination,
)
from rotator.ports import SecretBackend
from rotator.testing.backends import FIELD, BackendCase
from rotator.testing.faults import Cause, DoesNotApply
from tests.backends.causes_local import somebody_else_writes
from tests.backends.conftest import a_destination
from tests.backends.proxy import Answer, Fault, Matches, Proxy, Request
from tests.parts.openbao import OpenBao

During = Callable[[Any], AbstractContextManager[SecretBackend]]
JSON = (("Content-Type", "application/json"),)
RIGHTS = {
    "data": ("create", "read", "update"),
    "metadata": ("patch",),
    "sys/capabilities-self": ("update",),
}
"""What is granted, by path; the last one is in ``default``."""


@dataclass(frozen=True)
class VaultCase(BackendCase):
    """:param proxy: in front of the server; the backend speaks through it."""

    proxy: Proxy = field(kw_only=True)
    server: OpenBao = field(kw_only=True)
    mount: str = field(kw_only=True)


def with_rights(server: OpenBao, mount: str, without: tuple[str, str] = ("", "")) -> AppRoleAuth:
    """A login that may do what is needed at the secrets ``app`` and ``fresh``, but for one right."""
    lines = []
    for path, rights in RIGHTS.items():
        kept = ", ".join(f'"{right}"' for right in rights if (path, right) != without)
        paths = [path] if path.startswith("sys/") else [f"{mount}/{path}/{name}" for name in ("app", "fresh")]
        lines += [f'path "{each}" {{ capabilities = [{kept}] }}' for each in paths if kept]
    lines.append('path "auth/token/revoke-self" { capabilities = ["update"] }')
    role = server.approle("\n".join(lines), token_no_default_policy=True)
    return AppRoleAuth(role_id=role.role_id, secret_id=role.secret_id)


@contextmanager
def _backend(url: str, auth: AppRoleAuth | TokenAuth, timeout: float = 10) -> Iterator[VaultBackend]:
    backend = VaultBackend(url=url, auth=auth, timeout=timeout)
    try:
        yield backend
    finally:
        backend.close()


def _without(path: str, right: str) -> During:
    @contextmanager
    def during(case: VaultCase) -> Iterator[SecretBackend]:
        with _backend(case.server.url, with_rights(case.server, case.mount, (path, right))) as backend:
            yield backend

    return during


def is_value_write(request: Request) -> bool:
    return request.method == "POST" and "/data/" in request.path


def is_value_read(request: Request) -> bool:
    return request.method == "GET" and "/data/" in request.path


def is_hint(request: Request) -> bool:
    return "/metadata/" in request.path and request.method != "GET"


def is_preflight(request: Request) -> bool:
    return "/sys/capabilities-self" in request.path


def _while(matches: Matches, fault: Fault | Answer, timeout: float | None = None) -> During:
    @contextmanager
    def during(case: VaultCase) -> Iterator[SecretBackend]:
        with case.proxy.break_while(matches, fault):
            if timeout is None:
                yield case.backend
                return
            with _backend(case.proxy.url, with_rights(case.server, case.mount), timeout) as impatient:
                yield impatient

    return during


def _once(matches: Matches, fault: Fault | Answer) -> During:
    @contextmanager
    def during(case: VaultCase) -> Iterator[SecretBackend]:
        case.proxy.break_once(matches, fault)
        yield case.backend

    return during


@contextmanager
def _somebody_writes_in_between(case: VaultCase) -> Iterator[SecretBackend]:
    case.proxy.break_once(is_value_write, lambda: case.put(FIELD, "tgp_v1_theirs"))
    yield case.backend


@contextmanager
def _no_server(case: VaultCase) -> Iterator[SecretBackend]:
    with _backend("http://127.0.0.1:9", TokenAuth(token=SecretValue("t")), timeout=1) as backend:
        yield backend


@contextmanager
def _the_token_is_revoked(case: VaultCase) -> Iterator[SecretBackend]:
    case.server.root.sys.revoke_prefix("auth/approle/login")
    yield case.backend


@contextmanager
def _the_secret_id_is_refused_too(case: VaultCase) -> Iterator[SecretBackend]:
    auth = with_rights(case.server, case.mount)
    gone = AppRoleAuth(role_id=auth.role_id, secret_id=SecretValue("00000000-0000-0000-0000-000000000000"))
    with _backend(case.server.url, gone) as backend:
        yield backend


def _fresh(case: VaultCase) -> Destination:
    return a_destination("vault", mount=case.mount, path="fresh", field=FIELD)


def _nowhere(case: VaultCase) -> Destination:
    return a_destination("vault", mount="nowhere", path="app", field=FIELD)


@contextmanager
def _as_root(case: VaultCase) -> Iterator[SecretBackend]:
    with _backend(case.server.url, TokenAuth(token=case.server.token)) as backend:
        yield backend


@contextmanager
def _as_it_is(case: VaultCase) -> Iterator[SecretBackend]:
    yield case.backend


def _cause(fault: str, what: str, during: During, **ends: type[RotatorError] | None) -> Iterator[Cause]:
    for call, ends_in in ends.items():
        yield Cause(fault=fault, what=what, call=call, ends_in=ends_in, during=during)


def _permissions() -> Iterator[Cause]:
    denied = BackendDenied

    def missing(path: str, right: str, at: Callable[[Any], Destination], **ends: type[RotatorError] | None) -> Any:
        for call, ends_in in ends.items():
            what = f"{right} on {path}"
            during = _without(path, right)
            yield Cause(fault="missing permission", what=what, call=call, ends_in=ends_in, during=during, at=at)

    def app(case: VaultCase) -> Destination:
        return case.at(FIELD)

    yield from missing("data", "read", app, read=denied, check_writable=denied, write=denied)
    yield from missing("data", "update", app, check_writable=denied, write=denied)
    yield from missing("data", "create", _fresh, check_writable=denied, write=denied)
    yield from missing("metadata", "patch", app, check_writable=denied, write=OutcomeUnknown)
    yield from missing("sys/capabilities-self", "update", app, check_writable=denied)


def _causes() -> Iterator[Cause | DoesNotApply]:
    down, unknown = BackendUnavailable, OutcomeUnknown
    yield from _permissions()
    for fault in (Fault.LOST_REQUEST, Fault.LOST_ANSWER):
        name = "request" if fault is Fault.LOST_REQUEST else "answer"
        yield from _cause("lost answer", f"the {name} of one read", _once(is_value_read, fault), read=None)
        yield from _cause("lost answer", f"the {name} of every read", _while(is_value_read, fault), read=down)
        yield from _cause(
            "lost answer", f"the {name} of the check-and-set", _once(is_value_write, fault), write=unknown
        )
        yield from _cause("lost answer", f"the {name} of one metadata", _once(is_hint, fault), write=None)
        yield from _cause("lost answer", f"the {name} of every metadata", _while(is_hint, fault), write=unknown)
    yield from _cause("conflict", "before its look", somebody_else_writes, write=VersionConflict)
    yield from _cause("conflict", "after its look", _somebody_writes_in_between, write=VersionConflict)
    for at, ends in ((_fresh, None), (_nowhere, WrongDestination)):
        what = "the secret" if at is _fresh else "the mount"
        during = _as_it_is if at is _fresh else _as_root
        yield Cause(fault="not found", what=what, call="read", ends_in=ends, during=during, at=at)
    yield Cause(fault="not found", what="the secret", call="write", ends_in=None, during=_as_it_is, at=_fresh)
    yield from _cause("unreachable", "no server", _no_server, read=down, check_writable=down, write=down)
    for status, state in ((503, "sealed"), (429, "rate limit"), (473, "standby")):
        every = _while(lambda _: True, Answer(status, b'{"errors":[]}', JSON))
        yield from _cause("unreachable", f"{state} ({status})", every, read=down, check_writable=down, write=down)
    failing = _while(is_value_write, Answer(502, b"<html>"))
    yield from _cause("unreachable", "a gateway that fails (502)", failing, write=unknown)
    for fault in (Fault.HUNG_REQUEST, Fault.HUNG_ANSWER):
        name = "nothing is done" if fault is Fault.HUNG_REQUEST else "it is done"
        yield from _cause("slow", f"a read, {name}", _while(is_value_read, fault, 0.5), read=down, check_writable=down)
        yield from _cause("slow", f"the check-and-set, {name}", _while(is_value_write, fault, 0.5), write=unknown)
    for body in (b"<html>", b"[]", b'{"data":1}'):
        answer, what = Answer(200, body, JSON), body.decode()
        yield from _cause("malformed", f"reads answer {what}", _while(is_value_read, answer), read=down, write=down)
        yield from _cause("malformed", f"preflight answers {what}", _while(is_preflight, answer), check_writable=down)
    yield from _cause(
        "malformed", "the check-and-set answers <html>", _while(is_value_write, Answer(200, b"<html>")), write=unknown
    )
    login = {"read": None, "check_writable": None, "write": None}
    yield from _cause("expired credential", "the token is revoked", _the_token_is_revoked, **login)
    refused: dict[str, type[RotatorError] | None] = dict.fromkeys(login, BackendDenied)
    yield from _cause("expired credential", "the secret id too", _the_secret_id_is_refused_too, **refused)


OPENBAO = tuple(_causes())
