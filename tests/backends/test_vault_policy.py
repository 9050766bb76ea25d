"""``rotator policy vault``: a whole life under exactly that policy on a real server, and not without any line of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import hvac
import pytest
from click.testing import CliRunner

from rotator.adapters.backends.vault import AppRoleAuth, VaultBackend
from rotator.adapters.backends.vault_policy import Rule, as_hcl, place_rules, token_rules
from rotator.config import BackendRef, Settings, load
from rotator.domain.events import RollbackRequested, RotationRequested
from rotator.domain.model import Policy
from rotator.domain.secret import SecretValue
from rotator.domain.verdict import Decision
from rotator.entrypoints.cli import cli
from rotator.entrypoints.policy import uses_of
from rotator.errors import RotatorError
from rotator.service.reconcile import Result
from tests.domain.build import POLICY
from tests.parts.openbao import AppRole, OpenBao
from tests.service.conftest import Stage

KV2, KV1 = "least/kv2", "least-kv1"
CONFIGURATION = f"""
version: 1
instance: prod
state: {{url: "sqlite:///state.db"}}
providers:
  together:
    type: together
    base_url: https://keys.example.internal
    management_key: {{backend: vault, mount: {KV2}, path: rotator, field: management_key}}
backends:
  vault:
    type: vault
    url: https://vault.example.internal:8200
    auth: {{method: approle, role_id: {{env: NOT_SET}}, secret_id: {{file: not-there}}}}
policies:
  - name: chat
    provider: together
    project: proj_a
    destinations:
      - {{backend: vault, mount: {KV2}, path: app, field: KEY, kv_version: 2}}
      - {{backend: vault, mount: {KV1}, path: app, field: KEY, kv_version: 1}}
  - name: fresh
    provider: together
    project: proj_a
    destinations:
      - {{backend: vault, mount: {KV2}, path: fresh, field: KEY, kv_version: 2}}
      - {{backend: vault, mount: {KV1}, path: fresh, field: KEY, kv_version: 1, beside: {{KEY_ID: key_id}}}}
"""


def configured(folder: Path) -> Settings:
    file = folder / "rotator.yaml"
    file.write_text(CONFIGURATION)
    return load(file, {}, secrets=False)


def rules_for(settings: Settings, *, read_only: bool = False) -> list[Rule]:
    return [*place_rules(uses_of(settings, "vault"), read_only=read_only), *token_rules(read_only=read_only)]


def lines_of(*, read_only: bool) -> list[tuple[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        rules = rules_for(configured(Path(folder)), read_only=read_only)
    return [(rule.path, capability) for rule in rules for capability in rule.capabilities]


def without(rules: list[Rule], path: str, capability: str) -> list[Rule]:
    rest = deepcopy(rules)
    for rule in rest:
        if rule.path == path:
            del rule.reasons[capability]
    return [rule for rule in rest if rule.reasons]


class Life:
    """Two policies under a role that has these rules and nothing else, not even the ``default`` policy.

    Each has a place in an engine of either version. A step fails where a right is missing.
    """

    def __init__(self, server: OpenBao, settings: Settings, rules: list[Rule], folder: Path) -> None:
        self.server, self.settings = server, settings
        self.role: AppRole = server.approle(as_hcl([], rules, []), token_no_default_policy=True)
        self.backend = VaultBackend(
            url=server.url, auth=AppRoleAuth(role_id=self.role.role_id, secret_id=self.role.secret_id)
        )
        self.tokens = self.accessors()
        self.begun = server.requests()
        self.policies = [replace(POLICY, name=one.name, destinations=one.destinations) for one in settings.policies]
        self.stage = Stage(f"sqlite:///{folder}/state.db")
        self.stage.policies[:] = self.policies
        self.stage.backends = {"vault": self.backend}  # type: ignore[dict-item] # the same port
        self.stage.restart()
        server.put(KV2, "rotator", {"management_key": "m"})
        self.by_hand = ""

    def trouble(self, steps: list[Callable[[], None]]) -> str:
        """What the first step that fails says; empty when none does."""
        try:
            for step in steps:
                try:
                    step()
                except (AssertionError, RotatorError, hvac.exceptions.VaultError) as error:
                    return f"{step.__name__}: {error}"
            return ""
        finally:
            self.stage.journal.close()

    def a_credential_is_read(self) -> None:
        ref = self.settings.providers["together"].management_key
        assert isinstance(ref, BackendRef)
        assert self.backend.read(ref.destination).value is not None

    def a_plan_is_made(self) -> None:
        for policy in self.policies:
            verdict = self.stage.reconciler.preview(policy).verdict
            assert verdict.decision not in {Decision.BLOCKED, Decision.REFUSED}, verdict.reason

    def empty_places_get_their_first_key(self) -> None:
        for _ in self.each():
            self.look()
            assert all(self.stage.held())
        assert self._get_kv1("fresh")["KEY_ID"] == self.stage.held()[0]

    def a_key_by_hand_is_adopted(self) -> None:
        self.stage.lose_the_journal()
        made = self.stage.provider.create_by_hand(self.policies[0].project, "my own key")
        fields = {"KEY": made.secret.reveal(), "OTHER": "kept"}
        self.server.put(KV2, "app", fields)
        self.server.root.secrets.kv.v1.create_or_update_secret("app", fields, mount_point=KV1)
        self.by_hand = made.facts.key_id
        for _ in self.each():
            self.look()
        self.stage.policy = self.policies[0]
        assert self.stage.held() == [self.by_hand, self.by_hand]

    def keys_are_rotated(self) -> None:
        for policy in self.each():
            before = self.stage.held()
            self.stage.journal.request(policy.name, RotationRequested(reason="test"), self.stage.clock.now())
            self.look()
            assert not set(before) & set(self.stage.held())
        assert [self.server.get(KV2, "app")["OTHER"], self._get_kv1("app")["OTHER"]] == ["kept", "kept"]

    def other_fields_are_not_sent_back(self) -> None:
        """A living secret is patched: ``update`` would send all that others keep there."""
        role = [sent for sent in self.server.sent(self.begun) if sent.startswith(("update", "patch"))]
        assert f"patch {KV2}/data/app" in role, "update on least/kv2/data/app"
        assert f"patch {KV2}/data/fresh" in role, "update on least/kv2/data/fresh"

    def a_rotation_is_rolled_back(self) -> None:
        self.stage.restart()  # nothing is in memory: the former value is read from its version
        self.stage.policy = self.policies[0]
        self.stage.journal.request("chat", RollbackRequested(reason="test"), self.stage.clock.now())
        self.look()
        assert self.stage.held() == [self.by_hand, self.by_hand]

    def deleted_places_get_another_key(self) -> None:
        for policy, path in zip(self.each(), ("app", "fresh"), strict=True):
            assert policy.destinations[0].option("path") == path
            self.server.root.secrets.kv.v2.delete_latest_version_of_secret(path, mount_point=KV2)
            self.look()
            assert all(self.stage.held())

    def the_hints_are_there(self) -> None:
        for policy in self.each():
            assert self.backend.read(policy.destinations[0]).metadata["key_id"] == self.stage.held()[0]

    def the_token_is_looked_after(self) -> None:
        """What a session does for its token, asked here by itself: a denial would only be noticed when it ends."""
        client = hvac.Client(url=self.server.url)
        client.auth.approle.login(self.role.role_id.reveal(), self.role.secret_id.reveal())
        try:
            client.auth.token.lookup_self()
            client.auth.token.renew_self()
            client.auth.token.revoke_self()
        finally:
            client.adapter.close()

    def no_token_is_left(self) -> None:
        self.backend.close()
        assert self.accessors() == self.tokens

    def each(self) -> Iterator[Policy]:
        """Every policy, on the stage."""
        for policy in self.policies:
            self.stage.policy = policy
            yield policy

    def look(self) -> None:
        outcome = self.stage.look()
        assert outcome.result is Result.OK, "; ".join(outcome.problems)

    def accessors(self) -> set[str]:
        return set(self.server.root.list("auth/token/accessors")["data"]["keys"])

    def _get_kv1(self, path: str) -> dict[str, str]:
        return dict(self.server.root.secrets.kv.v1.read_secret(path, mount_point=KV1)["data"])

    def whole(self) -> list[Callable[[], None]]:
        return [
            self.a_credential_is_read,
            self.empty_places_get_their_first_key,
            self.a_key_by_hand_is_adopted,
            self.keys_are_rotated,
            self.other_fields_are_not_sent_back,
            self.a_rotation_is_rolled_back,
            self.deleted_places_get_another_key,
            self.the_hints_are_there,
            self.the_token_is_looked_after,
            self.no_token_is_left,
        ]

    def reading(self) -> list[Callable[[], None]]:
        return [self.a_credential_is_read, self.a_plan_is_made, self.the_token_is_looked_after, self.no_token_is_left]


@pytest.fixture
def server(openbao: OpenBao) -> Iterator[OpenBao]:
    for path, version in ((KV2, 2), (KV1, 1)):
        openbao.root.sys.enable_secrets_engine("kv", path=path, options={"version": str(version)})
    openbao._wait_for_kv2(KV2)
    yield openbao
    for path in (KV2, KV1):
        openbao.root.sys.disable_secrets_engine(path)


def test_a_rotation_an_adoption_and_a_rollback_go_well_under_exactly_the_policy(
    server: OpenBao, tmp_path: Path
) -> None:
    settings = configured(tmp_path)
    life = Life(server, settings, rules_for(settings), tmp_path)
    assert life.trouble(life.whole()) == ""


@pytest.mark.parametrize(("path", "capability"), lines_of(read_only=False))
def test_without_any_line_of_the_policy_something_fails(
    server: OpenBao, tmp_path: Path, path: str, capability: str
) -> None:
    settings = configured(tmp_path)
    life = Life(server, settings, without(rules_for(settings), path, capability), tmp_path)
    trouble = life.trouble(life.whole())
    life.backend.close()
    assert trouble, f"{capability} on {path} is not needed"
    assert "tgp_v1_" not in trouble


@pytest.mark.parametrize(
    ("path", "capability"), [line for line in lines_of(read_only=False) if "least" in line[0] and line[1] != "patch"]
)
def test_a_missing_capability_is_named_with_its_path(
    server: OpenBao, tmp_path: Path, path: str, capability: str
) -> None:
    settings = configured(tmp_path)
    life = Life(server, settings, without(rules_for(settings), path, capability), tmp_path)
    trouble = life.trouble(life.whole())
    life.backend.close()
    assert f"{capability} on {path}" in trouble


def test_a_plan_is_made_under_exactly_the_policy_for_reading_and_changes_nothing(
    server: OpenBao, tmp_path: Path
) -> None:
    """Promise 6."""
    settings = configured(tmp_path)
    life = Life(server, settings, rules_for(settings, read_only=True), tmp_path)
    before = server.changing_requests()
    trouble = life.trouble(life.reading())
    assert trouble == ""
    assert [sent for sent in server.changing_requests()[len(before) :] if "auth/token/renew-self" not in sent] == []


@pytest.mark.parametrize(("path", "capability"), lines_of(read_only=True))
def test_without_any_line_of_the_policy_for_reading_something_fails(
    server: OpenBao, tmp_path: Path, path: str, capability: str
) -> None:
    settings = configured(tmp_path)
    life = Life(server, settings, without(rules_for(settings, read_only=True), path, capability), tmp_path)
    trouble = life.trouble(life.reading())
    life.backend.close()
    assert trouble, f"{capability} on {path} is not needed"


@pytest.mark.parametrize("options", [[], ["--read-only"]])
def test_the_command_prints_the_policy_without_any_secret_in_place(tmp_path: Path, options: list[str]) -> None:
    rules = rules_for(configured(tmp_path), read_only=bool(options))
    answer = CliRunner().invoke(cli, ["policy", "vault", "--config", str(tmp_path / "rotator.yaml"), *options])
    assert answer.exit_code == 0
    for rule in rules:
        capabilities = ", ".join(f'"{capability}"' for capability in rule.capabilities)
        assert f'path "{rule.path}" {{\n  capabilities = [{capabilities}]\n}}' in answer.output
    assert answer.output.count('path "') == len(rules)
    assert "# management key of provider together, field management_key" in answer.output
    assert "# policy chat, field KEY" in answer.output
    assert "default" in answer.output


def test_of_several_backends_one_must_be_named(tmp_path: Path) -> None:
    file = tmp_path / "rotator.yaml"
    other = "  spare: {type: vault, url: 'https://spare', auth: {method: token, token: {env: NOT_SET}}}\npolicies:"
    file.write_text(CONFIGURATION.replace("policies:", other))
    run = CliRunner().invoke
    answer = run(cli, ["policy", "vault", "--config", str(file)])
    assert answer.exit_code == 2
    assert "allowed: dotenv" not in answer.output
    assert "vault, spare" in answer.output
    assert 'path "least/kv2/data/app"' in run(cli, ["policy", "vault", "-c", str(file), "--backend", "vault"]).output
    assert "least" not in run(cli, ["policy", "vault", "-c", str(file), "--backend", "spare"]).output.replace(
        "The least", ""
    )


def test_where_the_version_is_not_said_the_policy_says_what_it_takes_it_for(tmp_path: Path) -> None:
    file = tmp_path / "rotator.yaml"
    file.write_text(CONFIGURATION.replace(", kv_version: 2", ""))
    answer = CliRunner().invoke(cli, ["policy", "vault", "--config", str(file)])
    assert "NOTE: taken for KV version 2; for version 1 say 'kv_version: 1'" in answer.output


def test_a_path_that_a_policy_would_take_for_a_pattern_is_told(tmp_path: Path) -> None:
    file = tmp_path / "rotator.yaml"
    file.write_text(CONFIGURATION.replace("path: app,", "path: team/+/app,", 1))
    answer = CliRunner().invoke(cli, ["policy", "vault", "--config", str(file)])
    assert answer.output.count("wildcards here") == 2


def test_no_secret_of_the_configuration_is_in_the_policy(tmp_path: Path) -> None:
    """Promise 3: nothing that could hold one is asked for."""
    configured(tmp_path)
    kept = SecretValue("tgp_v1_somewhere")
    answer = CliRunner().invoke(
        cli, ["policy", "vault", "--config", str(tmp_path / "rotator.yaml")], env={"NOT_SET": kept.reveal()}
    )
    assert kept.reveal() not in answer.output
