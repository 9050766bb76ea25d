"""The contract of ``rotator.ports.Listing``, kept by every backend that can be searched; and what each adds to it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from rotator.adapters.backends.aws_secrets_manager import AwsSecretsManagerBackend
from rotator.adapters.backends.dotenv import DotenvBackend
from rotator.adapters.backends.patterns import Pattern
from rotator.adapters.backends.vault import AppRoleAuth, VaultBackend
from rotator.clock import SystemClock
from rotator.errors import BackendDenied, WrongDestination
from rotator.service.guard import GuardedBackend, Limits
from rotator.testing.listings import ListingContract, Shelf
from tests.fakes.backend import FakeBackend
from tests.parts.aws import Aws
from tests.parts.openbao import OpenBao

# What an inventory needs: to list and to read. One folder is closed to it.
LISTING = """
path "{mount}/metadata/*" {{ capabilities = ["list"] }}
path "{mount}/data/*" {{ capabilities = ["read"] }}
path "{mount}/metadata/apps/closed/*" {{ capabilities = ["deny"] }}
"""
LISTING_1 = """
path "{mount}/*" {{ capabilities = ["list", "read"] }}
path "{mount}/apps/closed/*" {{ capabilities = ["deny"] }}
"""


def _dotenv(folder: Path) -> Shelf:
    def put(path: str, fields: Mapping[str, str]) -> None:
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("# a comment\n" + "".join(f"{name}='{text}'\n" for name, text in fields.items()))

    return Shelf(DotenvBackend(), lambda pattern: f"{folder}/{pattern}", put)


def _vault(server: OpenBao, mount: str, version: int) -> Shelf:
    role = server.approle((LISTING if version == 2 else LISTING_1).format(mount=mount))
    backend = VaultBackend(url=server.url, auth=AppRoleAuth(role_id=role.role_id, secret_id=role.secret_id))

    def put(path: str, fields: Mapping[str, str]) -> None:
        if version == 2:
            server.put(mount, path, {**fields, "number": 7, "object": {"key": "tgp_v1_within"}})
        else:
            server.root.secrets.kv.v1.create_or_update_secret(path, dict(fields), mount_point=mount)

    return Shelf(backend, lambda pattern: f"{mount}/{pattern}", put)


def _aws(endpoint: Aws) -> Shelf:
    folder = f"list-{uuid.uuid4().hex[:8]}"
    backend = AwsSecretsManagerBackend(region=endpoint.region, endpoint_url=endpoint.url)

    def put(path: str, fields: Mapping[str, str]) -> None:
        content = json.dumps({**fields, "number": 7})
        endpoint.root.create_secret(Name=f"{folder}/{path}", SecretString=content)

    return Shelf(backend, lambda pattern: f"{folder}/{pattern}", put)


@pytest.fixture(params=["dotenv", "guarded dotenv", "openbao", "openbao kv 1", "aws"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shelf]:
    match request.param:
        case "dotenv":
            made = _dotenv(tmp_path)
        case "guarded dotenv":
            bare = _dotenv(tmp_path)
            limits = Limits(concurrency=2, rate=1000)
            guarded = GuardedBackend(DotenvBackend(), name="guarded", clock=SystemClock(), limits=limits)
            made = Shelf(guarded, bare.within, bare.put)
        case "openbao":
            made = _vault(request.getfixturevalue("openbao"), request.getfixturevalue("kv_mount"), 2)
        case "openbao kv 1":
            made = _vault(request.getfixturevalue("openbao"), request.getfixturevalue("kv1_mount"), 1)
        case _:
            made = _aws(request.getfixturevalue("aws"))
    yield made
    made.listing.close()  # type: ignore[attr-defined]


class TestEveryListing(ListingContract):
    """With the fixture ``shelf``."""


def test_a_link_to_a_folder_is_followed_where_it_is_named_and_its_file_is_one_place(tmp_path: Path) -> None:
    (tmp_path / "releases" / "7").mkdir(parents=True)
    (tmp_path / "releases" / "7" / ".env").write_text("KEY=tgp_v1_x\n")
    (tmp_path / "current").symlink_to(tmp_path / "releases" / "7")
    (tmp_path / "releases" / "7" / "round").symlink_to(tmp_path)
    backend = DotenvBackend()
    names = [spot.name for spot in backend.places(f"{tmp_path}/*/.env").spots]
    assert names == [f"{tmp_path}/current/.env"]
    assert len(backend.places(f"{tmp_path}/**/.env").spots) == 1


def test_variables_of_a_file_are_read_as_their_readers_do(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("export A=1\nB='two words'\nA=3\nC=${A}\nD=\n'odd\nE=\"x\\ny\"\n")
    backend = DotenvBackend()
    (spot,) = backend.places(f"{tmp_path}/.env").spots
    assert {name: value.reveal() for name, value in backend.fields(spot).items()} == {
        "A": "3",
        "B": "two words",
        "E": "x\ny",
    }


def test_all_pages_of_aws_are_read_and_a_text_without_fields_has_no_name(aws: Aws) -> None:
    folder = f"many-{uuid.uuid4().hex[:8]}"
    for number in range(103):
        aws.root.create_secret(Name=f"{folder}/{number:03d}", SecretString="tgp_v1_x")
    backend = AwsSecretsManagerBackend(region=aws.region, endpoint_url=aws.url)
    spots = backend.places(f"{folder}/*").spots
    assert len(spots) == 103
    assert [*backend.fields(spots[0])] == [""]
    aws.root.create_secret(Name=f"{folder}/binary", SecretBinary=b"tgp_v1_x")
    (binary,) = backend.places(f"{folder}/binary").spots
    with pytest.raises(WrongDestination, match="binary"):
        backend.fields(binary)


def test_a_credential_that_may_not_list_is_told_which_right_it_lacks(openbao: OpenBao, kv_mount: str) -> None:
    role = openbao.approle(f'path "{kv_mount}/data/*" {{ capabilities = ["read"] }}')
    backend = VaultBackend(url=openbao.url, auth=AppRoleAuth(role_id=role.role_id, secret_id=role.secret_id))
    with pytest.raises(BackendDenied, match=f"list on {kv_mount}/metadata/apps/"):
        backend.places(f"{kv_mount}/apps/*")
    openbao.put(kv_mount, "apps/chat", {"KEY": "tgp_v1_x"})
    (spot,) = backend.places(f"{kv_mount}/apps/chat").spots
    assert [*backend.fields(spot)] == ["KEY"], "one place needs no right to list"
    backend.close()


@pytest.mark.parametrize("version", [1, 2])
def test_a_folder_that_may_not_be_listed_is_a_problem_and_the_others_are_found(openbao: OpenBao, version: int) -> None:
    shelf = _vault(openbao, openbao.new_mount(version=version), version)
    for path in ("apps/chat/env", "apps/closed/env"):
        shelf.put(path, {"KEY": "tgp_v1_x"})
    listed = shelf.listing.places(shelf.within("apps/*/env"))
    assert [spot.name for spot in listed.spots] == [shelf.within("apps/chat/env")]
    ((name, why),) = listed.problems
    assert name == shelf.within("apps/closed")
    assert "list on " in why


@pytest.mark.parametrize("pattern", ["*", "*/x", "kv", "/", "kv//x", "kv/../x"])
def test_a_pattern_of_vault_without_a_mount_and_a_path_is_refused(openbao: OpenBao, pattern: str) -> None:
    backend = VaultBackend(url=openbao.url, auth=AppRoleAuth(role_id=openbao.token, secret_id=openbao.token))
    with pytest.raises(WrongDestination):
        backend.places(pattern)


def test_a_backend_that_can_not_be_searched_says_so() -> None:
    guarded = GuardedBackend(FakeBackend(), name="fake", clock=SystemClock(), limits=Limits(concurrency=1))
    with pytest.raises(WrongDestination, match="can't be searched"):
        guarded.places("a/*")


def test_a_pattern_knows_what_lies_before_its_first_wildcard() -> None:
    assert [(Pattern(text).beginning, Pattern(text).folder) for text in ("a/b*/c", "a/b/c", "**/x", "/srv/*/.env")] == [
        ("a/b", "a"),
        ("a/b/c", "a/b"),
        ("", ""),
        ("/srv/", "/srv"),
    ]
    assert Pattern("a/**/x").matches("a/x")
    assert not Pattern("a/*").matches("a/b/c")
