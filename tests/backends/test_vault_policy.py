"""``rotator policy vault``: a whole life under exactly that policy on a real server, and not without any line of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
from click.testing import CliRunner

from rotator.adapters.backends.vault_policy import Rule, place_rules, token_rules
from rotator.config import Settings, load
from rotator.domain.secret import SecretValue
from rotator.entrypoints.cli import cli
from rotator.entrypoints.policy import uses_of
from tests.backends.vault_life import KV1, KV2, Life
from tests.parts.openbao import OpenBao

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
WITHOUT_VAULT = """
version: 1
instance: prod
providers: {together: {type: together, management_key: {env: NOT_SET}}}
policies: []
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
    is_patch_of_a_key = capability == "patch" and "/data/" in path
    trouble = life.trouble(life.whole())
    life.backend.close()
    assert trouble, f"{capability} on {path} is not needed"
    # Without "patch" a key is still written, but then what others keep in the secret is sent back: see the step.
    named = path if path.startswith("auth/") else f"{'update' if is_patch_of_a_key else capability} on {path}"
    assert named in trouble
    assert "tgp_v1_" not in trouble


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
    assert path in trouble, f"{capability} on {path} is not needed"


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
    assert "say --backend, one of: vault, spare" in answer.output
    assert "Invalid value" not in answer.output
    assert 'path "least/kv2/data/app"' in run(cli, ["policy", "vault", "-c", str(file), "--backend", "vault"]).output
    assert "least" not in run(cli, ["policy", "vault", "-c", str(file), "--backend", "spare"]).output.replace(
        "The least", ""
    )


def test_a_configuration_without_vault_is_told_as_such(tmp_path: Path) -> None:
    file = tmp_path / "rotator.yaml"
    file.write_text(WITHOUT_VAULT)
    for options in ([], ["--backend", "vault"]):
        answer = CliRunner().invoke(cli, ["policy", "vault", "--config", str(file), *options])
        assert answer.exit_code == 2
        assert "Error: no backend of type vault is configured" in answer.output


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
