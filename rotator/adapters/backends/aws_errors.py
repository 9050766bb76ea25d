"""What AWS Secrets Manager and botocore say, as our errors. Decided by code and class, never by a message.

Source: Secrets Manager API Reference, the "Errors" of each action and "Common Error Types"; botocore/exceptions.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from rotator.errors import BackendDenied, BackendUnavailable, OutcomeUnknown, RotatorError, WrongDestination

_DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "NotAuthorized",
        "OptInRequired",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_THROTTLED = frozenset(
    {"ProvisionedThroughputExceededException", "RequestLimitExceeded", "Throttling", "ThrottlingException"}
    | {"ThrottledException", "TooManyRequestsException"}
)
_KEY_TROUBLE = frozenset({"DecryptionFailure", "EncryptionFailure"})
_WRONG = {
    "InvalidParameterException": "a parameter is refused",
    "InvalidRequestException": "it is scheduled for deletion, or managed by another service",
    "LimitExceededException": "a quota of the secret is used up",
    "ResourceNotFoundException": "it does not exist, or has no such version",
    "ValidationException": "a parameter is refused",
}
_NO_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.ProfileNotFound,
    exceptions.SSOError,
    exceptions.TokenRetrievalError,
)
_NEVER_SENT = (
    exceptions.EndpointConnectionError,
    exceptions.ConnectTimeoutError,
    exceptions.ProxyConnectionError,
)
_FIRST_SERVER_ERROR = 500
_FORM = (AttributeError, KeyError, TypeError, ValueError)


class Throttled(BackendUnavailable):
    """AWS asks for fewer requests: certainly not carried out, so that even a change may be sent again."""


def code_of(error: ClientError) -> str:
    """The error code; ``unknown`` where it does not look like one."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    return code if re.fullmatch(r"[A-Za-z]{1,64}", code) else "unknown"


@contextmanager
def translated(
    action: str,
    secret_id: str,
    *,
    changes: bool,
    keep: frozenset[str] = frozenset(),
    service: str = "secretsmanager",
) -> Iterator[None]:
    """Raise what the port promises; let a ``ClientError`` through whose code is in ``keep``.

    Always ``from None``: botocore quotes parameters, and AWS quotes what it refuses.
    """
    what = f"{service}:{action} on {secret_id}"
    try:
        yield
    except ClientError as error:
        if error.operation_name != action:  # the credentials were to be renewed first: the action was not sent
            raise _of_login(error, what) from None
        if code_of(error) in keep:
            raise
        raise _of_answer(error, what, changes=changes) from None
    except _NO_CREDENTIALS as error:
        raise BackendDenied(f"{what}: no usable AWS credentials ({type(error).__name__})") from None
    except exceptions.ParamValidationError:
        raise WrongDestination(f"{what}: a parameter is refused before it is sent") from None
    except BotoCoreError as error:
        if changes and not isinstance(error, _NEVER_SENT):
            raise OutcomeUnknown(f"{what}: the answer was lost ({type(error).__name__})") from None
        raise BackendUnavailable(f"{what}: no answer ({type(error).__name__})") from None
    except _FORM as error:  # botocore's parser and our callers trust the form of an answer
        kind = OutcomeUnknown if changes else BackendUnavailable
        raise kind(f"{what}: the answer makes no sense ({type(error).__name__})") from None


def text_in(answer: Mapping[str, object], name: str) -> str:
    """A text of an answer; for use within ``translated``: ``KeyError`` where there is none."""
    text = answer.get(name)
    if not isinstance(text, str) or not text:
        raise KeyError(name)
    return text


def _of_login(error: ClientError, what: str) -> RotatorError:
    code, status = code_of(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _THROTTLED or status >= _FIRST_SERVER_ERROR:
        return BackendUnavailable(f"{what}: not sent, sts:{error.operation_name} gave no answer ({code})")
    return BackendDenied(f"{what}: not sent, sts:{error.operation_name} is denied ({code})")


def _of_answer(error: ClientError, what: str, *, changes: bool) -> RotatorError:
    code = code_of(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _DENIED:
        return BackendDenied(f"{what}: denied ({code})")
    if code in _KEY_TROUBLE:
        return BackendDenied(f"{what}: its KMS key can't be used ({code})")
    if code in _THROTTLED:
        return Throttled(f"{what}: throttled ({code})")
    if status >= _FIRST_SERVER_ERROR or code == "InternalServiceError":
        kind = OutcomeUnknown if changes else BackendUnavailable
        return kind(f"{what}: the service failed ({code}, HTTP {status})")
    return WrongDestination(f"{what}: {_WRONG.get(code, 'refused')} ({code})")
