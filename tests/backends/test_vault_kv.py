"""KV versions 1 and 2 on a real OpenBao: what is kept, what is told, and who wins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import hvac
import pytest

from rotator.adapters.backends.vault import TokenAuth, VaultBackend
from rotator.domain.layout import Layout
from rotator.domain.secret import SecretValue
from rotator.errors import BackendDenied, OutcomeUnknown, VersionConflict, WrongDestination
from tests.backends.conftest import KV1_POLICY, LEAST_POLICY, PATCH_POLICY, some_metadata
from tests.backends.kv import FIELD, JSON, NEW, at, get1, put1, with_role
from tests.backends.proxy import Answer, Fault, Proxy, Request, Upstream
from tests.parts.openbao import OpenBao

TEMPLATE = Layout(template=json.dumps({"token": "Bearer {key}", "id": "{key_id}"}), beside=(("KEY_ID", "key_id"),))
BESIDE = Layout(beside=(("KEY_ENDS", "expires"), ("KEY_ID", "key_id")))


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


# --- KV version 2 ------------------------------------------------------------------------------------------


def test_check_and_set_that_is_required_is_sent_and_one_version_keeps_no_previous_value(
    openbao: OpenBao, backend: VaultBackend, kv_mount: str
) -> None:
    openbao.put(kv_mount, "app", {FIELD: "tgp_v1_old", "OTHER": "kept"})
    openbao.root.secrets.kv.v2.update_metadata("app", mount_point=kv_mount, cas_required=True, max_versions=1)
    place = at(kv_mount)
    backend.write(place, NEW, some_metadata(), backend.read(place).version)
    begun = openbao.requests()
    assert backend.read_previous(place) is None
    assert len(openbao.sent(begun)) == 2
    assert openbao.get(kv_mount, "app") == {FIELD: "tgp_v1_new", "OTHER": "kept"}


def test_a_previous_version_that_was_deleted_is_passed_over(
    openbao: OpenBao, backend: VaultBackend, kv_mount: str
) -> None:
    for text in ("tgp_v1_oldest", "tgp_v1_old", "tgp_v1_now"):
        openbao.put(kv_mount, "app", {FIELD: text})
    openbao.root.secrets.kv.v2.delete_secret_versions("app", [2], mount_point=kv_mount)
    previous = backend.read_previous(at(kv_mount))
    assert previous is not None
    assert previous.reveal() == "tgp_v1_oldest"


@pytest.mark.parametrize("policy", [PATCH_POLICY, LEAST_POLICY])
def test_a_writer_between_read_and_write_is_seen_and_not_overwritten(
    openbao: OpenBao, kv_mount: str, policy: str
) -> None:
    """The conflict arises at the server: our write is held back until theirs is done."""
    openbao.put(kv_mount, "app", {FIELD: "tgp_v1_old"})
    theirs = [{FIELD: "tgp_v1_theirs", "OTHER": "theirs"}]

    def intercept(request: Request, upstream: Upstream) -> Answer | None:
        if request.method in {"POST", "PATCH"} and "/data/" in request.path and theirs:
            openbao.put(kv_mount, "app", theirs.pop())
        return upstream(request.body)

    with Proxy(openbao.url, intercept) as between:
        backend = with_role(openbao, policy.format(mount=kv_mount, path="app"), between.url)
        seen = backend.read(at(kv_mount)).version
        with pytest.raises(VersionConflict):
            backend.write(at(kv_mount), NEW, some_metadata(), seen)
        backend.close()
    assert openbao.get(kv_mount, "app") == {FIELD: "tgp_v1_theirs", "OTHER": "theirs"}


def test_a_secret_that_is_deleted_between_read_and_write_is_a_conflict(
    openbao: OpenBao, backend: VaultBackend, kv_mount: str
) -> None:
    openbao.put(kv_mount, "app", {FIELD: "tgp_v1_old"})
    seen = backend.read(at(kv_mount)).version
    openbao.root.secrets.kv.v2.delete_metadata_and_all_versions("app", mount_point=kv_mount)
    with pytest.raises(VersionConflict):
        backend.write(at(kv_mount), NEW, some_metadata(), seen)
    assert backend.read(at(kv_mount)).value is None


def test_a_version_that_is_undeleted_between_read_and_write_keeps_its_other_fields(
    openbao: OpenBao, backend: VaultBackend, kv_mount: str
) -> None:
    """It has its number again, and its content: what was seen of it says nothing any more."""
    openbao.put(kv_mount, "app", {"OTHER": "theirs"})
    kv = openbao.root.secrets.kv.v2
    kv.delete_latest_version_of_secret("app", mount_point=kv_mount)
    seen = backend.read(at(kv_mount)).version
    kv.undelete_secret_versions("app", [1], mount_point=kv_mount)
    backend.write(at(kv_mount), NEW, some_metadata(), seen)
    assert openbao.get(kv_mount, "app") == {FIELD: "tgp_v1_new", "OTHER": "theirs"}


@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.LOST_REQUEST])
def test_a_lost_answer_to_a_patch_is_an_unknown_outcome_and_a_repeat_succeeds(
    openbao: OpenBao, through_proxy: VaultBackend, proxy: Proxy, kv_mount: str, fault: Fault
) -> None:
    openbao.put(kv_mount, "app", {FIELD: "tgp_v1_old", "OTHER": "kept"})
    place, metadata = at(kv_mount), some_metadata()
    seen = through_proxy.read(place).version
    proxy.break_once(lambda request: request.method == "PATCH" and "/data/" in request.path, fault)
    with pytest.raises(OutcomeUnknown):
        through_proxy.write(place, NEW, metadata, seen)
    through_proxy.write(place, NEW, metadata, seen)
    held = through_proxy.read(place)
    assert (held.version, dict(held.metadata)) == ("2", metadata.as_pairs())
    assert openbao.get(kv_mount, "app") == {FIELD: "tgp_v1_new", "OTHER": "kept"}


def test_a_right_that_is_taken_away_meanwhile_is_noticed_and_asked_for_anew(
    openbao: OpenBao, through_proxy: VaultBackend, proxy: Proxy, kv_mount: str
) -> None:
    openbao.put(kv_mount, "app", {FIELD: "tgp_v1_old"})
    place = at(kv_mount)
    seen = through_proxy.read(place).version
    through_proxy.check_writable(place)
    proxy.break_once(lambda request: request.method == "PATCH", Answer(403, b"{}", JSON))
    with pytest.raises(BackendDenied, match=f"patch on {kv_mount}/data/app"):
        through_proxy.write(place, NEW, some_metadata(), seen)
    begun = openbao.requests()
    through_proxy.write(place, NEW, some_metadata(), seen)
    assert "update sys/capabilities-self" in openbao.sent(begun)


@pytest.mark.parametrize("gone", ["deleted", "destroyed"])
def test_an_empty_destination_tells_its_number_and_when_it_was_changed(
    openbao: OpenBao, backend: VaultBackend, kv_mount: str, gone: str
) -> None:
    openbao.put(kv_mount, "app", {FIELD: "tgp_v1_old"})
    written = backend.read(at(kv_mount))
    assert written.changed_at is not None
    assert abs(written.changed_at - datetime.now(UTC)) < timedelta(minutes=1)
    kv = openbao.root.secrets.kv.v2
    if gone == "deleted":
        kv.delete_latest_version_of_secret("app", mount_point=kv_mount)
    else:
        kv.destroy_secret_versions("app", [1], mount_point=kv_mount)
    held = backend.read(at(kv_mount))
    assert (held.value, held.version, written.changed_by) == (None, "1", "")
    assert held.changed_at is not None
    assert (held.changed_at > written.changed_at) is (gone == "deleted")


def test_who_wrote_a_version_is_told_where_the_server_tells_it(
    through_proxy: VaultBackend, proxy: Proxy, kv_mount: str
) -> None:
    """Vault Enterprise does: https://developer.hashicorp.com/vault/docs/secrets/kv/kv-v2/cookbook/custom-metadata."""
    by = {"actor": "jo\x1b[31m", "client_id": "9e934226", "operation": "create"}
    metadata = {"version": 3, "created_time": "2026-11-15T03:10:26.749233814Z", "created_by": by}
    body = json.dumps({"data": {"data": {FIELD: "tgp_v1_x"}, "metadata": metadata}}).encode()
    proxy.break_once(lambda request: "/data/" in request.path, Answer(200, body, JSON))
    held = through_proxy.read(at(kv_mount))
    assert held.changed_by == "jo[31m 9e934226"
    assert held.changed_at == datetime(2026, 11, 15, 3, 10, 26, 749233, tzinfo=UTC)


def test_what_one_session_sends_with_its_requests_is_not_sent_by_another_one(openbao: OpenBao) -> None:
    """Promise 3: a token and a namespace are those of one backend, also where all else of a request is the same."""
    openbao.root.adapter.post("/v1/sys/namespaces/team-p", json={})
    inside = hvac.Client(url=openbao.url, token=openbao.token.reveal(), namespace="team-p")
    inside.sys.enable_secrets_engine("kv", path="kv", options={"version": "2"})
    inside.adapter.close()
    openbao._wait_for_kv2("team-p/kv")
    mount = openbao.new_mount()
    backends = [VaultBackend(url=openbao.url, auth=TokenAuth(token=openbao.token), namespace="team-p")]
    backends += [with_role(openbao, PATCH_POLICY.format(mount=mount, path=path)) for path in ("one", "two")]
    for _ in range(2):
        for backend, place in zip(backends, (at("kv"), at(mount, "one"), at(mount, "two")), strict=True):
            seen = backend.read(place)
            backend.check_writable(place)
            backend.write(place, SecretValue(f"tgp_v1_{seen.version}"), some_metadata(), seen.version)
            assert backend.read(place).metadata["key_id"] == "key_2"
    for backend in backends:
        backend.close()


# --- layouts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("layout", [TEMPLATE, BESIDE])
def test_a_key_lies_as_the_layout_says_and_is_found_again(
    openbao: OpenBao, backend: VaultBackend, version: int, layout: Layout
) -> None:
    mount = openbao.new_mount(version=version)
    place = at(mount, layout=layout)
    for key in ("tgp_v1_first", "tgp_v1_second"):
        metadata = some_metadata(key_id=f"id-of-{key}")
        backend.check_writable(place)
        backend.write(place, SecretValue(key), metadata, backend.read(place).version)
        held = backend.read(place)
        assert held.value is not None
        assert held.value.reveal() == key
        fields = openbao.get(mount, "app") if version == 2 else get1(openbao, mount)
        assert fields["KEY_ID"] == f"id-of-{key}"
        assert held.metadata["key_id"] == f"id-of-{key}"
        if layout is TEMPLATE:
            assert json.loads(fields[FIELD]) == {"token": f"Bearer {key}", "id": f"id-of-{key}"}
    if version == 2:
        previous = backend.read_previous(place)
        assert previous is not None
        assert previous.reveal() == "tgp_v1_first"
        assert held.version == "2"  # the value and what lies beside it, in one write each


@pytest.mark.parametrize("version", [1, 2])
def test_a_repeat_completes_the_fields_beside_the_key(
    openbao: OpenBao, backend: VaultBackend, kv_mount: str, kv1_mount: str, version: int
) -> None:
    mount = kv_mount if version == 2 else kv1_mount
    seen = backend.read(at(mount)).version
    backend.write(at(mount), NEW, some_metadata(), seen)
    backend.write(at(mount, layout=BESIDE), NEW, some_metadata(), seen)
    fields = openbao.get(kv_mount, "app") if version == 2 else get1(openbao, kv1_mount)
    assert fields == {FIELD: "tgp_v1_new", "KEY_ENDS": "2026-12-23T10:00:00+00:00", "KEY_ID": "key_2"}


@pytest.mark.parametrize("version", [1, 2])
def test_a_value_of_another_form_is_refused_by_name_and_not_shown(
    openbao: OpenBao, backend: VaultBackend, kv_mount: str, kv1_mount: str, version: int
) -> None:
    mount = kv_mount if version == 2 else kv1_mount
    fields = {FIELD: '{"other": "tgp_v1_of_theirs"}'}
    openbao.put(kv_mount, "app", fields)
    put1(openbao, kv1_mount, fields)
    place = at(mount, layout=TEMPLATE)
    for call in (lambda: backend.read(place), lambda: backend.write(place, NEW, some_metadata(), "1")):
        with pytest.raises(WrongDestination) as wrong:
            call()
        assert str(wrong.value) == f"{place}: what it holds does not have the form of the template"
        assert "tgp_v1_" not in f"{wrong.value!r} {wrong.value.__cause__!r} {wrong.value.__context__!r}"


# --- KV version 1 ------------------------------------------------------------------------------------------


def test_kv_1_tells_no_previous_value_no_time_and_no_hint_that_nobody_asked_for(
    openbao: OpenBao, backend: VaultBackend, kv1_mount: str
) -> None:
    put1(openbao, kv1_mount, {FIELD: "tgp_v1_old"})
    place = at(kv1_mount)
    backend.write(place, NEW, some_metadata(), backend.read(place).version)
    held = backend.read(place)
    assert (dict(held.metadata), held.changed_at, held.changed_by) == ({}, None, "")
    assert backend.read_previous(place) is None
    assert get1(openbao, kv1_mount) == {FIELD: "tgp_v1_new"}


def test_kv_1_sees_another_writer_before_its_own_look_and_says_nothing_of_one_after_it(
    openbao: OpenBao, kv1_mount: str
) -> None:
    """The race that version 1 can't close, shown: what comes between look and write is lost."""
    put1(openbao, kv1_mount, {FIELD: "tgp_v1_old"})
    theirs = [{FIELD: "tgp_v1_theirs"}]

    def intercept(request: Request, upstream: Upstream) -> Answer | None:
        if request.method == "POST" and request.path.endswith("/app") and theirs:
            put1(openbao, kv1_mount, theirs.pop())
        return upstream(request.body)

    with Proxy(openbao.url, intercept) as between:
        backend = with_role(openbao, KV1_POLICY.format(mount=kv1_mount, path="app"), between.url)
        place = at(kv1_mount)
        seen = backend.read(place).version
        put1(openbao, kv1_mount, {FIELD: "tgp_v1_of_somebody"})
        with pytest.raises(VersionConflict):
            backend.write(place, NEW, some_metadata(), seen)
        backend.write(place, NEW, some_metadata(), backend.read(place).version)
        backend.close()
    assert get1(openbao, kv1_mount) == {FIELD: "tgp_v1_new"}


def test_the_version_of_kv_1_tells_nothing_about_the_value_and_is_another_one_after_a_restart(
    openbao: OpenBao, kv1_mount: str
) -> None:
    """Promise 3: a word that a person typed could be guessed from a plain hash."""
    put1(openbao, kv1_mount, {FIELD: "guessable"})
    versions = set()
    for _ in range(2):
        backend = VaultBackend(url=openbao.url, auth=TokenAuth(token=openbao.token))
        versions |= {backend.read(at(kv1_mount)).version, backend.read(at(kv1_mount)).version}
        backend.close()
    assert len(versions) == 2


@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Answer(500), Answer(502)])
def test_a_write_to_kv_1_without_an_answer_is_an_unknown_outcome_and_a_repeat_succeeds(
    openbao: OpenBao, through_proxy: VaultBackend, proxy: Proxy, kv1_mount: str, fault: Fault | Answer
) -> None:
    place = at(kv1_mount)
    seen = through_proxy.read(place).version
    proxy.break_once(lambda request: request.method == "POST", fault)
    with pytest.raises(OutcomeUnknown):
        through_proxy.write(place, NEW, some_metadata(), seen)
    through_proxy.write(place, NEW, some_metadata(), seen)
    assert get1(openbao, kv1_mount) == {FIELD: "tgp_v1_new"}


def test_a_missing_right_in_kv_1_is_named_before_anything_is_written(openbao: OpenBao, kv1_mount: str) -> None:
    backend = with_role(openbao, f'path "{kv1_mount}/app" {{ capabilities = ["read"] }}')
    with pytest.raises(BackendDenied, match=f"lacks create on {kv1_mount}/app"):
        backend.check_writable(at(kv1_mount))
    put1(openbao, kv1_mount, {FIELD: "tgp_v1_old"})
    with pytest.raises(BackendDenied, match=f"lacks update on {kv1_mount}/app"):
        backend.check_writable(at(kv1_mount))
    backend.close()
