"""What is sent to a real OpenBao, by its own audit log; which engine a mount is; which rights are missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rotator.adapters.backends.vault import AppRoleAuth, TokenAuth, VaultBackend
from rotator.domain.events import RotationRequested
from rotator.domain.secret import SecretValue
from rotator.errors import BackendDenied, WrongDestination
from rotator.service.reconcile import Result
from tests.backends.conftest import KV1_POLICY, LEAST_POLICY, PATCH_POLICY, some_metadata
from tests.backends.kv import FIELD, JSON, NEW, at, get1, put1, with_role
from tests.backends.proxy import Answer, Proxy
from tests.domain.build import POLICY
from tests.parts.openbao import OpenBao
from tests.service.conftest import Stage


@pytest.fixture
def backend(openbao: OpenBao) -> Iterator[VaultBackend]:
    made = VaultBackend(url=openbao.url, auth=TokenAuth(token=openbao.token), timeout=2)
    yield made
    made.close()


@pytest.fixture
def proxy(openbao: OpenBao) -> Iterator[Proxy]:
    with Proxy(openbao.url) as made:
        yield made


@pytest.fixture
def through_proxy(openbao: OpenBao, proxy: Proxy) -> Iterator[VaultBackend]:
    made = VaultBackend(url=proxy.url, auth=TokenAuth(token=openbao.token), timeout=2)
    yield made
    made.close()


# --- what is sent ------------------------------------------------------------------------------------------


def requests_of_a_rotation(server: OpenBao, backend: VaultBackend, mount: str, folder: Path, put: Any) -> list[str]:
    """By the audit log: one policy, one destination, a key by hand that was adopted before."""
    stage = Stage(f"sqlite:///{folder}/state.db")
    stage.policy = replace(POLICY, destinations=(at(mount),))
    stage.policies[:] = [stage.policy]
    stage.backends = {"vault": backend}  # type: ignore[dict-item] # the same port
    stage.restart()
    put({FIELD: stage.provider.create_by_hand(POLICY.project, "by hand").secret.reveal(), "OTHER": "kept"})
    assert stage.look().result is Result.OK
    stage.journal.request(POLICY.name, RotationRequested(reason="test"), stage.clock.now())
    begun = server.requests()
    assert stage.look().result is Result.OK
    stage.journal.close()
    backend.close()
    own = "auth/token/"
    return [sent.replace(mount, "kv") for sent in server.sent(begun) if own not in sent]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (
            PATCH_POLICY,
            [
                "read kv/data/app",
                "update sys/capabilities-self",
                "patch kv/data/app",
                "patch kv/metadata/app",
                "read kv/data/app",
            ],
        ),
        (
            LEAST_POLICY,
            [
                "read kv/data/app",
                "update sys/capabilities-self",
                "read kv/data/app",
                "update kv/data/app",
                "patch kv/metadata/app",
                "read kv/data/app",
            ],
        ),
    ],
)
def test_a_rotation_in_kv_2_takes_five_requests_and_without_patch_six(
    openbao: OpenBao, kv_mount: str, tmp_path: Path, policy: str, expected: list[str]
) -> None:
    backend = with_role(openbao, policy.format(mount=kv_mount, path="app"))
    sent = requests_of_a_rotation(
        openbao, backend, kv_mount, tmp_path, lambda fields: openbao.put(kv_mount, "app", fields)
    )
    assert sent == expected
    assert openbao.get(kv_mount, "app")["OTHER"] == "kept"


def test_a_rotation_in_kv_1_takes_five_requests(openbao: OpenBao, kv1_mount: str, tmp_path: Path) -> None:
    backend = with_role(openbao, KV1_POLICY.format(mount=kv1_mount, path="app"))
    sent = requests_of_a_rotation(
        openbao, backend, kv1_mount, tmp_path, lambda fields: put1(openbao, kv1_mount, fields)
    )
    assert sent == [
        "read kv/app",
        "update sys/capabilities-self",
        "read kv/app",
        "update kv/app",
        "read kv/app",
    ]
    assert get1(openbao, kv1_mount)["OTHER"] == "kept"


@pytest.mark.parametrize("version", [1, 2])
def test_the_engine_is_asked_for_once_a_mount_and_never_where_its_version_is_said(
    openbao: OpenBao, kv_mount: str, kv1_mount: str, version: int
) -> None:
    mount = kv_mount if version == 2 else kv1_mount
    openbao.put(kv_mount, "app", {FIELD: "tgp_v1_old"})
    put1(openbao, kv1_mount, {FIELD: "tgp_v1_old"})
    question = f"read sys/internal/ui/mounts/{mount}"
    for said, asked in (("", 1), (str(version), 0)):
        backend = VaultBackend(url=openbao.url, auth=TokenAuth(token=openbao.token))
        begun = openbao.requests()
        for _ in range(3):
            assert backend.read(at(mount, **({"kv_version": said} if said else {}))).value is not None
        backend.close()
        assert openbao.sent(begun).count(question) == asked


@pytest.mark.parametrize("version", [1, 2])
def test_reads_and_checks_send_nothing_that_changes_anything(
    openbao: OpenBao, backend: VaultBackend, kv_mount: str, kv1_mount: str, version: int
) -> None:
    """Promise 6, by the server's own log."""
    mount = kv_mount if version == 2 else kv1_mount
    openbao.put(kv_mount, "app", {FIELD: "tgp_v1_old"})
    put1(openbao, kv1_mount, {FIELD: "tgp_v1_old"})
    before = openbao.changing_requests()
    for path in ("app", "nothing-there"):
        backend.read(at(mount, path))
        backend.read_previous(at(mount, path))
        backend.whereabouts(at(mount, path))
        backend.check_writable(at(mount, path))
        backend.check_writable(at(mount, path))
    assert openbao.changing_requests() == before


# --- which engine ------------------------------------------------------------------------------------------


def test_a_mount_with_slashes_is_found_and_its_beginning_is_not_taken_for_it(
    openbao: OpenBao, backend: VaultBackend
) -> None:
    openbao.root.sys.enable_secrets_engine("kv", path="deep/team-a/kv", options={"version": "2"})
    openbao._wait_for_kv2("deep/team-a/kv")
    backend.write(at("deep/team-a/kv"), NEW, some_metadata(), backend.read(at("deep/team-a/kv")).version)
    assert openbao.get("deep/team-a/kv", "app") == {FIELD: "tgp_v1_new"}
    with pytest.raises(WrongDestination, match="mounted at deep/team-a/kv/, not at deep/team-a/kv/more/"):
        backend.read(at("deep/team-a/kv/more"))
    openbao.root.sys.disable_secrets_engine("deep/team-a/kv")


def test_a_path_with_signs_of_urls_is_one_secret(openbao: OpenBao, backend: VaultBackend, kv_mount: str) -> None:
    place = at(kv_mount, "a?b#c%d e")
    backend.write(place, SecretValue("tgp_v1_first"), some_metadata(), backend.read(place).version)
    backend.write(place, NEW, some_metadata(), backend.read(place).version)
    held = backend.read(place)
    assert held.value is not None
    assert (held.value.reveal(), held.metadata["key_id"]) == ("tgp_v1_new", "key_2")
    assert openbao.root.list(f"{kv_mount}/metadata")["data"]["keys"] == ["a?b#c%d e"]


def test_an_engine_that_is_no_kv_is_a_wrong_destination(openbao: OpenBao, backend: VaultBackend) -> None:
    with pytest.raises(WrongDestination, match="cubbyhole/ is no KV engine"):
        backend.read(at("cubbyhole"))


def test_version_1_that_is_configured_for_a_version_2_engine_is_refused(backend: VaultBackend, kv_mount: str) -> None:
    with pytest.raises(WrongDestination, match="no KV version 1 engine, but version 2"):
        backend.read(at(kv_mount, kv_version="1"))


def test_where_nobody_tells_the_version_the_error_says_what_to_configure(
    openbao: OpenBao, kv1_mount: str, proxy: Proxy
) -> None:
    for _ in range(2):  # an AppRole logs in anew, and asks again
        proxy.break_once(lambda request: "internal/ui/mounts" in request.path, Answer(403, b"{}", JSON))
    put1(openbao, kv1_mount, {FIELD: "tgp_v1_old"})
    backend = with_role(openbao, KV1_POLICY.format(mount=kv1_mount, path="app"), proxy.url)
    with pytest.raises(BackendDenied, match="say kv_version: 1 or kv_version: 2"):
        backend.read(at(kv1_mount))
    assert backend.read(at(kv1_mount, kv_version="1")).value is not None
    backend.close()


def test_where_the_mount_is_not_told_a_secret_of_version_2_tells_it(
    openbao: OpenBao, through_proxy: VaultBackend, proxy: Proxy, kv_mount: str
) -> None:
    openbao.put(kv_mount, "app", {FIELD: "tgp_v1_old"})
    proxy.break_once(lambda request: "internal/ui/mounts" in request.path, Answer(403, b"{}", JSON))
    assert through_proxy.read(at(kv_mount)).version == "1"


def test_a_server_that_denies_the_question_for_rights_is_told(openbao: OpenBao, kv_mount: str) -> None:
    role = openbao.approle(PATCH_POLICY.format(mount=kv_mount, path="app"), token_no_default_policy=True)
    backend = VaultBackend(url=openbao.url, auth=AppRoleAuth(role_id=role.role_id, secret_id=role.secret_id))
    with pytest.raises(BackendDenied, match="grant update on sys/capabilities-self, as the 'default' policy does"):
        backend.check_writable(at(kv_mount))
    # What can't be known is not needed: the secret is sent back as a whole.
    backend.write(at(kv_mount), NEW, some_metadata(), backend.read(at(kv_mount)).version)
    backend.write(at(kv_mount), SecretValue("tgp_v1_newer"), some_metadata(), backend.read(at(kv_mount)).version)
    backend.close()
    assert openbao.get(kv_mount, "app") == {FIELD: "tgp_v1_newer"}


@pytest.mark.parametrize("version", [1, 2])
def test_all_that_is_missing_is_told_in_one_message(
    openbao: OpenBao, kv_mount: str, kv1_mount: str, version: int
) -> None:
    mount = kv_mount if version == 2 else kv1_mount
    backend = with_role(openbao, f'path "{mount}/something/else" {{ capabilities = ["read"] }}')
    with pytest.raises(BackendDenied) as denied:
        backend.check_writable(at(mount))
    backend.close()
    of_both = {
        1: f"read, create, update on {mount}/app",
        2: f"read, create, patch (or update), update on {mount}/data/app; patch on {mount}/metadata/app",
    }
    assert str(denied.value) == f"{at(mount)}: the credential lacks {of_both[version]}"
