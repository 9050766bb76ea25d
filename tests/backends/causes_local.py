"""How each fault is brought about at the backends without a server: the fake, and files."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rotator.adapters.backends.dotenv import DotenvBackend
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
from rotator.testing.faults import Call, Cause, DoesNotApply
from tests.fakes.backend import FakeBackend

NOBODY = 65534
ROOT = os.geteuid() == 0
During = Callable[[Any], AbstractContextManager[SecretBackend]]


@contextmanager
def somebody_else_writes(case: BackendCase) -> Iterator[SecretBackend]:
    case.put(FIELD, "tgp_v1_theirs")
    yield case.backend


# --- the fake ---------------------------------------------------------------------------------------------------------


def _told(call: Call, error: RotatorError, when: Any = "before") -> During:
    @contextmanager
    def during(case: BackendCase) -> Iterator[SecretBackend]:
        assert isinstance(case.backend, FakeBackend)
        case.backend.fail(call, error, when=when)
        yield case.backend

    return during


@contextmanager
def _nothing_is_there(case: BackendCase) -> Iterator[SecretBackend]:
    yield FakeBackend()


def _fake_causes() -> Iterator[Cause | DoesNotApply]:
    errors: dict[str, RotatorError] = {
        "missing permission": BackendDenied("told to"),
        "unreachable": BackendUnavailable("told to"),
        "slow": BackendUnavailable("told to"),
        "malformed": WrongDestination("told to"),
        "expired credential": BackendDenied("told to"),
    }
    calls: Sequence[Call] = ("read", "check_writable", "write")
    for fault, error in errors.items():
        for call in calls:
            during = _told(call, error)
            yield Cause(fault=fault, what="a test says so", call=call, ends_in=type(error), during=during)
    for when in ("before", "after"):
        during = _told("write", OutcomeUnknown("told to"), when)
        yield Cause(fault="lost answer", what=f"{when} the effect", call="write", ends_in=OutcomeUnknown, during=during)
    yield Cause(
        fault="conflict", what="a person writes", call="write", ends_in=VersionConflict, during=somebody_else_writes
    )
    yield Cause(fault="not found", what="an empty place", call="read", ends_in=None, during=_nothing_is_there)


FAKE = tuple(_fake_causes())


# --- files ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FileCase(BackendCase):
    """:param path: the file, in a folder that every user can reach."""

    path: Path = field(kw_only=True)


@contextmanager
def _unprivileged() -> Iterator[None]:
    """As root, go on as nobody; anybody else is unprivileged already."""
    if not ROOT:
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


def _with_mode(of: Callable[[Path], Path], mode: int) -> During:
    @contextmanager
    def during(case: FileCase) -> Iterator[SecretBackend]:
        target = of(case.path)
        before = stat.S_IMODE(target.stat().st_mode)
        target.chmod(mode)
        try:
            with _unprivileged():
                yield case.backend
        finally:
            target.chmod(before)

    return during


@contextmanager
def _of_another_owner(case: FileCase) -> Iterator[SecretBackend]:
    case.path.chmod(0o644)
    os.chown(case.path, 0, 0)
    with _unprivileged():
        yield case.backend
    os.chown(case.path, NOBODY, NOBODY)


def _with_limit(which: int, most: int) -> During:
    @contextmanager
    def during(case: FileCase) -> Iterator[SecretBackend]:
        limits = resource.getrlimit(which)
        resource.setrlimit(which, (most, limits[1]))
        try:
            yield case.backend
        finally:
            resource.setrlimit(which, limits)

    return during


@contextmanager
def _locked(case: FileCase) -> Iterator[SecretBackend]:
    holder = os.open(case.path.parent, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        backend = DotenvBackend(lock_timeout=0.02)
        backend._salt = case.backend._salt  # the version that was seen
        yield backend
    finally:
        os.close(holder)


@contextmanager
def _a_directory_that_can_not_be_made_durable(case: FileCase) -> Iterator[SecretBackend]:
    fsync = os.fsync

    def failing(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        yield case.backend


def _holding(content: bytes) -> During:
    @contextmanager
    def during(case: FileCase) -> Iterator[SecretBackend]:
        before = case.path.read_bytes()
        case.path.write_bytes(content)
        yield case.backend
        case.path.write_bytes(before)

    return during


@contextmanager
def _without_file(case: FileCase) -> Iterator[SecretBackend]:
    case.path.unlink()
    yield case.backend


@contextmanager
def _without_directory(case: FileCase) -> Iterator[SecretBackend]:
    folder, aside = case.path.parent, case.path.parent.with_name("aside")
    folder.rename(aside)
    try:
        yield case.backend
    finally:
        aside.rename(folder)


def _file_causes() -> Iterator[Cause | DoesNotApply]:
    def cause(fault: str, what: str, during: During, **ends: type[RotatorError] | None) -> Iterator[Cause]:
        for call, ends_in in ends.items():
            yield Cause(fault=fault, what=what, call=call, ends_in=ends_in, during=during)

    denied, down, wrong = BackendDenied, BackendUnavailable, WrongDestination
    everywhere = {"read": denied, "check_writable": denied, "write": denied}
    permission = "missing permission"
    yield from cause(
        "lost answer", "fsync of the directory", _a_directory_that_can_not_be_made_durable, write=OutcomeUnknown
    )
    yield from cause("conflict", "a person writes", somebody_else_writes, write=VersionConflict)
    yield from cause(permission, "read the file", _with_mode(lambda path: path, 0), **everywhere)
    yield from cause(permission, "search its directory", _with_mode(lambda path: path.parent, 0), **everywhere)
    readable = _with_mode(lambda path: path.parent, 0o555)
    yield from cause(permission, "write in its directory", readable, check_writable=denied, write=denied)
    writable = _with_mode(lambda path: path.parent, 0o333)
    yield from cause(permission, "list its directory", writable, check_writable=denied, write=denied)
    if ROOT:
        yield from cause(permission, "keep its owner", _of_another_owner, check_writable=denied, write=denied)
    yield from cause("not found", "the file", _without_file, read=None, check_writable=None)
    yield from cause("not found", "its directory", _without_directory, read=None, check_writable=wrong, write=wrong)
    yield from cause(
        "unreachable", "no file handle left", _with_limit(resource.RLIMIT_NOFILE, 0), read=down, write=down
    )
    yield from cause("unreachable", "the disk is full", _with_limit(resource.RLIMIT_FSIZE, 8), write=down)
    yield from cause("slow", "another process holds the lock", _locked, read=None, check_writable=None, write=down)
    refused = {"read": wrong, "check_writable": wrong, "write": wrong}
    yield from cause("malformed", "quotes that do not end", _holding(f"{FIELD}='tgp_v1_old".encode()), **refused)
    yield from cause("malformed", "another variable in it", _holding(f"{FIELD}=tgp_v1_${{A}}".encode()), **refused)
    yield from cause("malformed", "too large to be one", _holding(b"#" * (1 << 19)), **refused)
    yield DoesNotApply("expired credential", "files are opened as the process's own user: there is no credential")


FILES = tuple(_file_causes())
