"""How each fault is brought about at the AWS endpoint: moto checks no permission, so its proxy answers as AWS would.

Codes: Secrets Manager API Reference, the "Errors" of each action and "Common Error Types".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from rotator.adapters.backends.aws_secrets_manager import AwsSecretsManagerBackend
from rotator.domain.model import Destination
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
from tests.backends.proxy import Answer, Fault, Matches
from tests.parts.aws import Aws

During = Callable[[Any], AbstractContextManager[SecretBackend]]
Ends = type[RotatorError] | None
AMZ_JSON = (("Content-Type", "application/x-amz-json-1.1"),)
GET, DESCRIBE, PUT, MOVE, TAG = (
    "GetSecretValue",
    "DescribeSecret",
    "PutSecretValue",
    "UpdateSecretVersionStage",
    "TagResource",
)


@dataclass(frozen=True)
class AwsCase(BackendCase):
    """:param secret_id: of the secret that ``at`` means."""

    endpoint: Aws = field(kw_only=True)
    secret_id: str = field(kw_only=True)


def is_call(action: str) -> Matches:
    return lambda request: request.target == action


def refusal(code: str, status: int = 400) -> Answer:
    return Answer(status, json.dumps({"__type": code, "message": "tgp_v1_in_an_answer"}).encode(), AMZ_JSON)


def _while(matches: Matches, fault: Fault | Answer, timeout: float | None = None) -> During:
    @contextmanager
    def during(case: AwsCase) -> Iterator[SecretBackend]:
        with case.endpoint.proxy.break_while(matches, fault):
            if timeout is None:
                yield case.backend
                return
            with _backend(case, case.endpoint.url, timeout) as impatient:
                yield impatient

    return during


def _once(matches: Matches, fault: Fault | Answer) -> During:
    @contextmanager
    def during(case: AwsCase) -> Iterator[SecretBackend]:
        case.endpoint.proxy.break_once(matches, fault)
        yield case.backend

    return during


@contextmanager
def _backend(case: AwsCase, url: str, timeout: float) -> Iterator[SecretBackend]:
    backend = AwsSecretsManagerBackend(region=case.endpoint.region, endpoint_url=url, timeout=timeout)
    try:
        yield backend
    finally:
        backend.close()


@contextmanager
def _no_endpoint(case: AwsCase) -> Iterator[SecretBackend]:
    with _backend(case, "http://127.0.0.1:9", 1) as backend:
        yield backend


@contextmanager
def _no_credentials(case: AwsCase) -> Iterator[SecretBackend]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        with _backend(case, case.endpoint.url, 5) as backend:
            yield backend


def _somebody_writes_before(action: str) -> During:
    @contextmanager
    def during(case: AwsCase) -> Iterator[SecretBackend]:
        case.endpoint.proxy.break_once(is_call(action), lambda: case.put(FIELD, "tgp_v1_theirs"))
        yield case.backend

    return during


@contextmanager
def _scheduled_for_deletion(case: AwsCase) -> Iterator[SecretBackend]:
    case.endpoint.root.delete_secret(SecretId=case.secret_id)
    yield case.backend
    case.endpoint.root.restore_secret(SecretId=case.secret_id)


@contextmanager
def _as_it_is(case: AwsCase) -> Iterator[SecretBackend]:
    yield case.backend


def _missing(_case: AwsCase) -> Destination:
    return a_destination("aws", secret_id="test/never-created", field=FIELD)


def _cause(fault: str, what: str, during: During, **ends: Ends) -> Iterator[Cause]:
    for call, ends_in in ends.items():
        yield Cause(fault=fault, what=what, call=call, ends_in=ends_in, during=during)


def _permissions() -> Iterator[Cause]:
    fault, denied, code = "missing permission", BackendDenied, refusal("AccessDeniedException")
    yield from _cause(fault, GET, _while(is_call(GET), code), read=denied, check_writable=denied, write=denied)
    yield from _cause(fault, DESCRIBE, _while(is_call(DESCRIBE), code), read=denied, check_writable=denied)
    yield from _cause(fault, PUT, _while(is_call(PUT), code), write=denied)
    yield from _cause(fault, MOVE, _while(is_call(MOVE), code), write=denied)
    yield from _cause(fault, TAG, _while(is_call(TAG), code), write=OutcomeUnknown)
    decrypt, encrypt = refusal("DecryptionFailure"), refusal("EncryptionFailure")
    yield from _cause(fault, "kms:Decrypt", _while(is_call(GET), decrypt), read=denied, write=denied)
    yield from _cause(fault, "kms:GenerateDataKey", _while(is_call(PUT), encrypt), write=denied)


def _answers() -> Iterator[Cause]:
    down, unknown = BackendUnavailable, OutcomeUnknown
    for fault in (Fault.LOST_REQUEST, Fault.LOST_ANSWER):
        name = "request" if fault is Fault.LOST_REQUEST else "answer"
        yield from _cause("lost answer", f"the {name} of one {GET}", _once(is_call(GET), fault), read=None)
        yield from _cause("lost answer", f"the {name} of every {GET}", _while(is_call(GET), fault), read=down)
        for action in (PUT, MOVE):
            during = _once(is_call(action), fault)
            yield from _cause("lost answer", f"the {name} of {action}", during, write=unknown)
        yield from _cause("lost answer", f"the {name} of one {TAG}", _once(is_call(TAG), fault), write=None)
        yield from _cause("lost answer", f"the {name} of every {TAG}", _while(is_call(TAG), fault), write=unknown)
    for fault in (Fault.HUNG_REQUEST, Fault.HUNG_ANSWER):
        name = "nothing is done" if fault is Fault.HUNG_REQUEST else "it is done"
        yield from _cause("slow", f"{GET}, {name}", _while(is_call(GET), fault, 0.5), read=down, check_writable=down)
        for action in (PUT, MOVE):
            yield from _cause("slow", f"{action}, {name}", _while(is_call(action), fault, 0.5), write=unknown)
    wrong: dict[str, Ends] = dict.fromkeys(("read", "check_writable", "write"), BackendUnavailable)
    for body in (b"<html>", b"{}"):
        yield from _cause("malformed", f"{GET} answers {body.decode()}", _while(is_call(GET), _json(body)), **wrong)


def _json(body: bytes) -> Answer:
    return Answer(200, body, AMZ_JSON)


def _without_sense() -> Iterator[Cause]:
    """botocore's parser takes these answers for right."""
    ends: dict[str, Ends] = dict.fromkeys(("read", "check_writable", "write"), BackendUnavailable)
    yield from _cause("malformed", f"{GET} answers []", _while(is_call(GET), _json(b"[]")), **ends)
    for body in (b"<html>", b"[]", b"{}"):
        answer = _while(is_call(PUT), _json(body))
        yield from _cause("malformed", f"{PUT} answers {body.decode()}", answer, write=OutcomeUnknown)


def _causes() -> Iterator[Cause | DoesNotApply]:
    down = BackendUnavailable
    yield from _permissions()
    yield from _answers()
    yield from _cause("conflict", "before its look", somebody_else_writes, write=VersionConflict)
    for action in (PUT, MOVE):
        during = _somebody_writes_before(action)
        yield from _cause("conflict", f"before {action}", during, write=VersionConflict)
    for call, ends in (("read", None), ("check_writable", WrongDestination), ("write", WrongDestination)):
        yield Cause(fault="not found", what="the secret", call=call, ends_in=ends, during=_as_it_is, at=_missing)
    gone = WrongDestination
    deleted = "scheduled for deletion"
    yield from _cause("not found", deleted, _scheduled_for_deletion, check_writable=gone, write=gone)
    yield from _cause("unreachable", "no endpoint", _no_endpoint, read=down, check_writable=down, write=down)
    throttled, failing = refusal("ThrottlingException"), refusal("InternalServiceError", 500)
    for name, answer in (("throttled", throttled), ("a failing service (500)", failing)):
        every = _while(lambda _: True, answer)
        yield from _cause("unreachable", name, every, read=down, check_writable=down, write=down)
    yield from _cause("unreachable", f"{PUT} throttled", _while(is_call(PUT), throttled), write=down)
    yield from _cause("unreachable", f"{PUT} fails (500)", _while(is_call(PUT), failing), write=OutcomeUnknown)
    everywhere: dict[str, Ends] = dict.fromkeys(("read", "check_writable", "write"), BackendDenied)
    for code in ("ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException"):
        expired = _while(lambda _: True, refusal(code))
        yield from _cause("expired credential", code, expired, **everywhere)
    yield from _cause("expired credential", "no credentials any more", _no_credentials, **everywhere)


AWS = (*_causes(), *_without_sense())
