"""What whoami may say, in both of its shapes, and what never counts as a refusal of a key."""

from __future__ import annotations

import pytest

from rotator.adapters.providers.together import TogetherProvider
from rotator.domain.model import Identity, KeyKind
from rotator.domain.secret import SecretValue
from rotator.errors import (
    ProviderNonsense,
    RotatorError,
)
from tests.providers.tiny import EXPIRES, FLAT, KEY, KEYS, NO_JSON, SECRET, TYPED, TinyServer, shown


def test_the_newer_whoami_is_asked_first(tiny: TinyServer, provider: TogetherProvider) -> None:
    tiny.say("/v3/whoami", 200, TYPED)
    wanted = Identity(kind=KeyKind.PROJECT, key_id="key_1", project="p", organization="o")
    assert provider.identify(SecretValue(SECRET)) == wanted
    assert [request for request, _ in tiny.seen] == ["GET /v3/whoami"]


def test_a_platform_without_the_newer_whoami_is_asked_the_flat_one_from_then_on(
    tiny: TinyServer, provider: TogetherProvider
) -> None:
    tiny.say("/v1/whoami", 200, FLAT)
    wanted = Identity(kind=KeyKind.PROJECT, key_id="key_1", project="p", organization="o")
    assert [provider.identify(SecretValue(SECRET)) for _ in range(2)] == [wanted, wanted]
    assert [request for request, _ in tiny.seen] == ["GET /v3/whoami", "GET /v1/whoami", "GET /v1/whoami"]


def test_a_flat_whoami_without_a_project_is_the_legacy_key(tiny: TinyServer, provider: TogetherProvider) -> None:
    tiny.say("/v1/whoami", 200, {**FLAT, "project_id": None})
    identity = provider.identify(SecretValue(SECRET))
    assert isinstance(identity, Identity)
    assert (identity.kind, identity.project) == (KeyKind.LEGACY, None)


def test_a_provider_without_any_whoami_is_nonsense_and_no_refusal(tiny: TinyServer, provider: TogetherProvider) -> None:
    with pytest.raises(ProviderNonsense, match="both"):
        provider.identify(SecretValue(SECRET))


@pytest.mark.parametrize("kind", ["user_jwt", "user_org_jwt", "something_new"])
def test_a_credential_that_is_no_key_is_of_another_kind(
    tiny: TinyServer, provider: TogetherProvider, kind: str
) -> None:
    tiny.say("/v3/whoami", 200, {"type": kind, "user": {"id": "u"}})
    assert provider.identify(SecretValue(SECRET)) == Identity(kind=KeyKind.OTHER, key_id="", project=None)


@pytest.mark.parametrize(
    "body",
    [
        *NO_JSON.values(),
        {},
        {**TYPED, "api_key": None},
        {**TYPED, "api_key": {"id": ""}},
        {**TYPED, "project": {}},
        {k: v for k, v in TYPED.items() if k != "organization"},
        {**TYPED, "type": "org_api_key", "api_key": []},
    ],
)
def test_a_whoami_that_breaks_the_contract_is_neither_an_identity_nor_a_refusal(
    tiny: TinyServer, provider: TogetherProvider, body: object
) -> None:
    tiny.say("/v3/whoami", 200, body)
    with pytest.raises(ProviderNonsense):
        provider.identify(SecretValue(SECRET))


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", {"error": "invalid_api_key"}, {"error": {"code": "invalid_api_key"}}, {"code": "invalid_api_key"}]
    + [
        {"error": {"message": "invalid_api_key", "type": "invalid_request_error", "code": code}} for code in (None, "x")
    ],
)
def test_a_401_without_the_code_of_the_platform_refuses_no_key(
    tiny: TinyServer, provider: TogetherProvider, body: object
) -> None:
    tiny.say("/v3/whoami", 401, body)
    with pytest.raises(ProviderNonsense):
        provider.identify(SecretValue(SECRET))


def test_no_text_of_an_answer_gets_into_an_error(tiny: TinyServer, provider: TogetherProvider) -> None:
    """Promise 3: a provider that echoes a key does not make us write it down."""
    echo = {"error": {"message": f"bad {SECRET}", "type": SECRET, "param": SECRET, "code": SECRET}}
    for path, status in ((KEYS, 422), (KEY, 403), ("/v3/whoami", 418)):
        tiny.say(path, status, echo)
    for call in (
        lambda: provider.create_key("p", "n", EXPIRES),
        lambda: provider.list_keys("p"),
        lambda: provider.revoke_key("p", "key_1"),
        lambda: provider.identify(SecretValue(SECRET)),
    ):
        with pytest.raises(RotatorError) as caught:
            call()
        assert SECRET not in shown(caught.value)
