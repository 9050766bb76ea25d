"""The Vault backend against a real OpenBao server."""

from __future__ import annotations

from collections.abc import Iterator

import hvac
import pytest

from rotator.adapters.backends.vault import AppRoleAuth, TokenAuth, VaultBackend
from rotator.domain.model import Destination
from rotator.domain.secret import SecretValue
from rotator.errors import BackendDenied, WrongDestination
from tests.backends.conftest import LEAST_POLICY, a_destination, some_metadata
from tests.parts.openbao import OpenBao

FIELD = "TOGETHER_API_KEY"
NEW = SecretValue("tgp_v1_new")


def at(mount: str, path: str = "app", field: str = FIELD) -> Destination:
    return a_destination("vault", mount=mount, path=path, field=field)


def with_root(server: OpenBao) -> VaultBackend:
    return VaultBackend(url=server.url, auth=TokenAuth(token=server.token), timeout=2)


@pytest.fixture
def backend(openbao: OpenBao) -> Iterator[VaultBackend]:
    made = with_root(openbao)
    yield made
    made.close()


def test_the_least_policy_is_enough_for_a_whole_publish(openbao: OpenBao, kv_mount: str) -> None:
    role = openbao.approle(LEAST_POLICY.format(mount=kv_mount, path="team/app"))
    backend = VaultBackend(url=openbao.url, auth=AppRoleAuth(role_id=role.role_id, secret_id=role.secret_id))
    place = at(kv_mount, "team/app")
    backend.check_writable(place)
    backend.write(place, NEW, some_metadata(), backend.read(place).version)
    backend.write(place, SecretValue("tgp_v1_newer"), some_metadata(), backend.read(place).version)
    backend.close()
    assert openbao.get(kv_mount, "team/app") == {FIELD: "tgp_v1_newer"}


def test_reading_needs_only_the_right_to_read_and_sends_no_changing_request(openbao: OpenBao, kv_mount: str) -> None:
    """A dry run and an audit change no key, no secret and no journal (Promise 6)."""
    openbao.put(kv_mount, "app", {FIELD: "tgp_v1_old"})
    role = openbao.approle(f'path "{kv_mount}/data/app" {{ capabilities = ["read"] }}')
    before = openbao.changing_requests()
    backend = VaultBackend(url=openbao.url, auth=AppRoleAuth(role_id=role.role_id, secret_id=role.secret_id))
    value = backend.read(at(kv_mount)).value
    with pytest.raises(BackendDenied, match=r"lacks patch \(or update\) on .*/data/app; patch on .*/metadata/app"):
        backend.check_writable(at(kv_mount))
    backend.close()
    assert value is not None
    assert openbao.changing_requests() == before


@pytest.mark.parametrize(
    ("policy", "missing"),
    [
        ('path "{m}/data/app" {{ capabilities = ["create", "read", "update"] }}', "lacks patch on {m}/metadata/app"),
        (
            'path "{m}/data/app" {{ capabilities = ["read", "update"] }}',
            "lacks create on {m}/data/app",
        ),
    ],
)
def test_a_missing_right_is_named_with_its_path_before_anything_is_written(
    openbao: OpenBao, kv_mount: str, policy: str, missing: str
) -> None:
    role = openbao.approle(policy.format(m=kv_mount))
    backend = VaultBackend(url=openbao.url, auth=AppRoleAuth(role_id=role.role_id, secret_id=role.secret_id))
    with pytest.raises(BackendDenied, match=missing.format(m=kv_mount)):
        backend.check_writable(at(kv_mount))
    backend.close()


def test_a_path_outside_the_policy_is_denied_by_name(openbao: OpenBao, kv_mount: str) -> None:
    role = openbao.approle(LEAST_POLICY.format(mount=kv_mount, path="app"))
    backend = VaultBackend(url=openbao.url, auth=AppRoleAuth(role_id=role.role_id, secret_id=role.secret_id))
    with pytest.raises(BackendDenied, match=f"read on {kv_mount}/data/other: denied"):
        backend.read(at(kv_mount, "other"))
    backend.close()


def test_a_token_that_ends_in_the_middle_of_a_write_is_replaced_without_notice(openbao: OpenBao, kv_mount: str) -> None:
    """The token of this role is good for two requests: one read, then a write fails after its look."""
    role = openbao.approle(LEAST_POLICY.format(mount=kv_mount, path="app"), token_num_uses=2)
    backend = VaultBackend(url=openbao.url, auth=AppRoleAuth(role_id=role.role_id, secret_id=role.secret_id))
    held = backend.read(at(kv_mount))
    backend.write(at(kv_mount), NEW, some_metadata(), held.version)
    backend.close()
    assert openbao.get(kv_mount, "app") == {FIELD: "tgp_v1_new"}


def test_closing_gives_the_token_of_our_login_back(openbao: OpenBao, kv_mount: str) -> None:
    role = openbao.approle(LEAST_POLICY.format(mount=kv_mount, path="app"))
    backend = VaultBackend(url=openbao.url, auth=AppRoleAuth(role_id=role.role_id, secret_id=role.secret_id))
    backend.read(at(kv_mount))
    token = backend._session._tokens.adapter().token
    backend.close()
    with pytest.raises(hvac.exceptions.Forbidden):
        openbao.root.auth.token.lookup(token)


@pytest.mark.parametrize("wrong", ["role_id", "secret_id", "mount"])
def test_a_refused_login_is_denied_and_shows_no_credential(openbao: OpenBao, kv_mount: str, wrong: str) -> None:
    role = openbao.approle(LEAST_POLICY.format(mount=kv_mount, path="app"))
    bad = SecretValue("made-up-credential")
    auth = AppRoleAuth(
        role_id=bad if wrong == "role_id" else role.role_id,
        secret_id=bad if wrong == "secret_id" else role.secret_id,
        mount="nowhere" if wrong == "mount" else "approle",
    )
    backend = VaultBackend(url=openbao.url, auth=auth)
    with pytest.raises(BackendDenied, match="login at auth/") as denied:
        backend.read(at(kv_mount))
    backend.close()
    assert "made-up-credential" not in f"{denied.value!r} {denied.value.__cause__!r} {auth!r}"


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak"])
def test_a_token_that_no_header_carries_is_denied_and_not_shown(openbao: OpenBao, token: str) -> None:
    backend = VaultBackend(url=openbao.url, auth=TokenAuth(token=SecretValue(token)))
    with pytest.raises(BackendDenied) as denied:
        backend.read(at("secret"))
    backend.close()
    assert not token or token not in str(denied.value)


def test_a_mount_that_does_not_exist_is_a_wrong_destination(backend: VaultBackend) -> None:
    with pytest.raises(WrongDestination, match="nothing is mounted at nowhere/"):
        backend.read(at("nowhere"))


@pytest.mark.parametrize("holds_something", [False, True])
def test_a_version_1_engine_is_a_wrong_destination_where_version_2_is_configured(
    openbao: OpenBao, backend: VaultBackend, *, holds_something: bool
) -> None:
    mount = openbao.new_mount(version=1)
    if holds_something:
        openbao.root.secrets.kv.v1.create_or_update_secret("data/app", {FIELD: "x"}, mount_point=mount)
    with pytest.raises(WrongDestination, match="no KV version 2 engine"):
        backend.check_writable(a_destination("vault", mount=mount, path="app", field=FIELD, kv_version="2"))


@pytest.mark.parametrize(
    ("mount", "path", "field"),
    [
        ("", "app", FIELD),
        ("secret", "", FIELD),
        ("secret", "app", ""),
        ("secret", "../../sys/policy", FIELD),
        ("secret", "a//b", FIELD),
        ("secret", "app", "F" * 128),
    ],
)
def test_options_that_name_no_secret_are_refused(backend: VaultBackend, mount: str, path: str, field: str) -> None:
    with pytest.raises(WrongDestination):
        backend.read(at(mount, path, field))


def test_a_field_that_holds_no_text_is_a_wrong_destination(
    openbao: OpenBao, backend: VaultBackend, kv_mount: str
) -> None:
    openbao.put(kv_mount, "app", {FIELD: {"nested": "tgp_v1_x"}})
    with pytest.raises(WrongDestination, match="no text"):
        backend.read(at(kv_mount))


@pytest.mark.parametrize("destroyed", [False, True])
def test_a_deleted_latest_version_is_empty_and_can_be_written(
    openbao: OpenBao, backend: VaultBackend, kv_mount: str, *, destroyed: bool
) -> None:
    openbao.put(kv_mount, "app", {FIELD: "tgp_v1_old"})
    kv = openbao.root.secrets.kv.v2
    if destroyed:
        kv.destroy_secret_versions("app", [1], mount_point=kv_mount)
    else:
        kv.delete_latest_version_of_secret("app", mount_point=kv_mount)
    held = backend.read(at(kv_mount))
    assert (held.value, held.version) == (None, "1")
    backend.write(at(kv_mount), NEW, some_metadata(), held.version)
    assert openbao.get(kv_mount, "app") == {FIELD: "tgp_v1_new"}


def test_the_previous_value_is_found_behind_a_change_of_another_field(
    openbao: OpenBao, backend: VaultBackend, kv_mount: str
) -> None:
    openbao.put(kv_mount, "app", {FIELD: "tgp_v1_old"})
    openbao.put(kv_mount, "app", {FIELD: "tgp_v1_now"})
    openbao.put(kv_mount, "app", {FIELD: "tgp_v1_now", "OTHER": "x"})
    previous = backend.read_previous(at(kv_mount))
    assert previous is not None
    assert previous.reveal() == "tgp_v1_old"


def test_custom_metadata_of_others_is_kept_and_a_full_one_is_found_before(
    openbao: OpenBao, backend: VaultBackend, kv_mount: str
) -> None:
    openbao.put(kv_mount, "app", {"OTHER": "x"})
    kv = openbao.root.secrets.kv.v2
    kv.update_metadata("app", mount_point=kv_mount, custom_metadata={"owner": "team-a"})
    backend.write(at(kv_mount), NEW, some_metadata(), "1")
    custom = kv.read_secret_metadata("app", mount_point=kv_mount)["data"]["custom_metadata"]
    assert (custom["owner"], custom[f"rotator/{FIELD}/key_id"]) == ("team-a", "key_2")
    kv.update_metadata("app", mount_point=kv_mount, custom_metadata={f"pair-{number}": "x" for number in range(60)})
    with pytest.raises(WrongDestination, match="no room left"):
        backend.check_writable(at(kv_mount))


def test_a_namespace_is_sent_with_every_request(openbao: OpenBao) -> None:
    root = openbao.root
    root.adapter.post("/v1/sys/namespaces/team-n", json={})
    inside = hvac.Client(url=openbao.url, token=openbao.token.reveal(), namespace="team-n")
    inside.sys.enable_secrets_engine("kv", path="kv", options={"version": "2"})
    openbao._wait_for_kv2("team-n/kv")
    backend = VaultBackend(url=openbao.url, auth=TokenAuth(token=openbao.token), namespace="team-n")
    backend.check_writable(at("kv"))
    backend.write(at("kv"), NEW, some_metadata(), backend.read(at("kv")).version)
    backend.close()
    answer = inside.secrets.kv.v2.read_secret_version("app", mount_point="kv", raise_on_deleted_version=True)
    inside.adapter.close()
    assert answer["data"]["data"] == {FIELD: "tgp_v1_new"}
