"""Every class of error that the vendors' libraries define ends as one of ours."""

from __future__ import annotations

import inspect

import botocore.exceptions
import pytest
import requests
import urllib3.exceptions

from rotator.adapters.backends.aws_errors import translated as aws_translated
from rotator.adapters.backends.vault_errors import translated as vault_translated
from rotator.errors import BackendUnavailable, OutcomeUnknown, RotatorError


def classes(module: object, root: type[Exception]) -> list[type[Exception]]:
    return [kind for _, kind in inspect.getmembers(module, inspect.isclass) if issubclass(kind, root)]


def bare(kind: type[Exception]) -> Exception:
    """An instance without its constructor's demands: only its class counts."""
    return kind.__new__(kind, "tgp_v1_secret")


@pytest.mark.parametrize("changes", [False, True])
@pytest.mark.parametrize("kind", classes(botocore.exceptions, botocore.exceptions.BotoCoreError))
def test_each_error_of_botocore_becomes_ours(kind: type[Exception], *, changes: bool) -> None:
    with pytest.raises(RotatorError) as ours, aws_translated("PutSecretValue", "app", changes=changes):
        raise bare(kind)
    assert "tgp_v1_" not in str(ours.value)


@pytest.mark.parametrize("changes", [False, True])
@pytest.mark.parametrize("kind", classes(requests.exceptions, requests.RequestException))
def test_each_error_of_requests_becomes_ours(kind: type[Exception], *, changes: bool) -> None:
    with pytest.raises(RotatorError) as ours, vault_translated("update on secret/data/app", changes=changes):
        raise bare(kind)
    assert "tgp_v1_" not in str(ours.value)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (urllib3.exceptions.NewConnectionError(None, "refused"), BackendUnavailable),  # type: ignore[arg-type]
        (urllib3.exceptions.ConnectTimeoutError("slow"), BackendUnavailable),
        (urllib3.exceptions.SSLError("handshake or later"), OutcomeUnknown),
        (urllib3.exceptions.ProtocolError("reset"), OutcomeUnknown),
        (urllib3.exceptions.ReadTimeoutError(None, "", "slow"), OutcomeUnknown),  # type: ignore[arg-type]
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_a_write_is_certainly_not_carried_out_only_when_no_connection_was_made(
    reason: Exception, expected: type[RotatorError]
) -> None:
    wrapped = requests.ConnectionError(urllib3.exceptions.MaxRetryError(None, "/v1/app", reason))  # type: ignore[arg-type]
    with pytest.raises(expected), vault_translated("update on secret/data/app", changes=True):
        raise wrapped
