"""``rotator adopt --search`` on real parts: keys of several projects in three kinds of places become policies."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
import yaml

from tests.e2e.installation import FIELD, document, in_file, policy
from tests.parts.aws import CREDENTIALS, Aws
from tests.parts.here import here
from tests.parts.openbao import OpenBao
from tests.parts.rotator import Rotator
from tests.parts.simulator import ORGANIZATION, OTHER_PROJECT, PROJECT, Simulator

READ_ONLY = """
path "{mount}/metadata/*" {{ capabilities = ["list"] }}
path "{mount}/data/*" {{ capabilities = ["read"] }}
path "{mount}/metadata/apps/closed/*" {{ capabilities = ["deny"] }}
"""


class Land:
    """Keys of two projects, the legacy key and what is none, in Vault, AWS and files; a policy has one of them."""

    ODD = "0123456789abcdef" * 4

    def __init__(self, folder: Path, simulator: Simulator, openbao: OpenBao, mount: str, aws: Aws) -> None:
        self.folder, self.mount, self.prefix = folder, mount, f"prod-{uuid.uuid4().hex[:8]}"
        self.chat = simulator.create_key_by_hand(PROJECT, "chat")
        self.batch = simulator.create_key_by_hand(OTHER_PROJECT, "batch")
        self.known = simulator.create_key_by_hand(PROJECT, "known")
        self.gone = simulator.create_key_by_hand(PROJECT, "gone")
        simulator.revoke_by_hand(self.gone.key_id)
        legacy = simulator.regenerate_legacy_key(ORGANIZATION)
        chat, batch, known = (one.secret.reveal() for one in (self.chat, self.batch, self.known))
        self.secrets = [
            chat,
            batch,
            known,
            self.gone.secret.reveal(),
            legacy.secret.reveal(),
            "postgresql://a:b@db",
            self.ODD,
        ]
        openbao.put(mount, "apps/chat", {FIELD: chat, "DATABASE_URL": "postgresql://a:b@db"})
        openbao.put(mount, "apps/team/batch", {FIELD: batch})
        openbao.put(mount, "apps/old", {FIELD: legacy.secret.reveal()})
        openbao.put(mount, "apps/odd", {FIELD: self.ODD})
        openbao.put(mount, "apps/closed/x", {FIELD: "x"})
        aws.root.create_secret(Name=f"{self.prefix}/chat", SecretString=json.dumps({FIELD: chat}))
        aws.root.create_secret(Name=f"{self.prefix}/gone", SecretString=self.gone.secret.reveal())
        for name, text in (("known", known), ("chat", chat)):
            (folder / "srv" / name).mkdir(parents=True)
            (folder / "srv" / name / ".env").write_text(f"MODEL=big\n{FIELD}={text}\n")
        role = openbao.approle(READ_ONLY.format(mount=mount))
        auth = {"method": "approle", "role_id": {"env": "ROLE_ID"}, "secret_id": {"env": "SECRET_ID"}}
        made = document(
            folder,
            simulator.base_url,
            [policy(in_file(folder / "srv" / "known" / ".env"), name="known")],
            {
                "vault": {"type": "vault", "url": openbao.url, "auth": auth},
                "aws": {"type": "aws-secrets-manager", "region": aws.region, "endpoint_url": aws.url},
            },
            include=["policies.d/*.yaml"],
        )
        # No management key: the public endpoints are enough.
        environ = {"ROLE_ID": role.role_id.reveal(), "SECRET_ID": role.secret_id.reveal(), "COLUMNS": "220"}
        self.rotator = Rotator(folder, made, {**CREDENTIALS, **environ})
        self.output = folder / "policies.d" / "adopted.yaml"
        self.output.parent.mkdir()
        self.search = ["adopt", "--output", str(self.output)]
        for one in (f"vault:{mount}/apps/**", f"aws:{self.prefix}/*", f"dotenv:{folder}/srv/*/.env"):
            self.search += ["--search", one]


@pytest.fixture
def land(tmp_path: Path, simulator: Simulator, openbao: OpenBao, kv_mount: str, aws: Aws) -> Land:
    return Land(tmp_path, simulator, openbao, kv_mount, aws)


def test_keys_are_found_grouped_and_written_as_policies_that_load(
    land: Land, simulator: Simulator, openbao: OpenBao, aws: Aws
) -> None:
    """Promises 3 and 6: it reads and asks, and writes one file without a secret; no management path is called."""
    simulator.clear_requests()
    wrote, wrote_there = len(openbao.changing_requests()), len(aws.changing_requests())

    done = here(land.rotator, *land.search)

    assert done.exit_code == 1, "one folder could not be listed"
    shown = f"{done.stdout}{done.stderr}{land.output.read_text()}"
    assert not any(secret in shown for secret in land.secrets)
    assert {(step.method, step.template) for step in simulator.requests()} == {("GET", "/v3/whoami")}
    assert (len(openbao.changing_requests()), len(aws.changing_requests())) == (wrote, wrote_there)
    assert not (land.folder / "state.db").exists(), "it needs no journal"

    written = yaml.safe_load(land.output.read_text())["policies"]
    chat = written[0]
    assert [(one["name"], one["provider"], one["project"]) for one in written] == [
        ("chat", "together", PROJECT),
        ("batch", "together", OTHER_PROJECT),
    ]
    assert chat["destinations"] == [
        {"backend": "vault", "mount": land.mount, "path": "apps/chat", "field": FIELD},
        {"backend": "aws", "secret_id": f"{land.prefix}/chat", "field": FIELD},
        {"backend": "dotenv", "path": f"{land.folder}/srv/chat/.env", "field": FIELD},
    ]
    for words in (
        f"{land.batch.key_id} ",
        "proj_chat (Chat)",
        "is in policy known already",
        "refused ",
        "legacy organisation key ",
        f"not asked about: vault:{land.mount}/apps/odd#{FIELD}: its value has another form than a key's",
        f"unreadable: vault:{land.mount}/apps/closed: list on ",
        "it is included; look through it",
    ):
        assert words in done.stdout
    environ = land.rotator.environ
    environ["MANAGEMENT_KEY"] = simulator.management_key.reveal()
    assert here(land.rotator, "validate").exit_code == 0

    again = here(land.rotator, *land.search)
    assert again.exit_code == 1
    assert "exists; --overwrite replaces it" in again.stderr
    (land.output).unlink()
    named = here(land.rotator, *land.search, "--field", FIELD, "--overwrite")
    assert "not asked about: 0" in named.stdout
    assert named.stdout.count("401 invalid_api_key: ended, or never a key") == 2
    assert not any(secret in named.stdout for secret in land.secrets)


WRONG = {
    "both": (["chat", "--search", "dotenv:/x"], "say one POLICY, or --search"),
    "neither": ([], "say one POLICY, or --search"),
    "no backend": (["--search", "/srv/*/.env"], "is no BACKEND:PATTERN; backends: dotenv, vault, aws"),
    "an unknown backend": (["--search", "vualt:secret/*"], "'vualt:secret/*' is no BACKEND:PATTERN"),
    "an unknown provider": (["--search", "dotenv:/x", "--provider", "openai"], "allowed: together"),
    "one of several providers": (["--search", "dotenv:/x"], "Error: say --provider, one of: together, people"),
    "an end": (["--search", "dotenv:/x", "--expires", "never"], "--expires goes with a POLICY"),
    "an output of a policy": (["chat", "--output", "x.yaml"], "go with --search"),
    "an overwriting of nothing": (["--search", "dotenv:/x", "--overwrite"], "--overwrite goes with --output"),
}


@pytest.mark.parametrize(("arguments", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_search_is_a_usage_error(tmp_path: Path, arguments: list[str], said: str) -> None:
    backends = {
        "vault": {"type": "vault", "url": "http://127.0.0.1:9", "auth": {"method": "token", "token": {"env": "T"}}},
        "aws": {"type": "aws-secrets-manager", "region": "eu-central-1"},
    }
    configuration = document(tmp_path, "http://127.0.0.1:9", [], backends)
    if said.endswith("people"):
        configuration["providers"]["people"] = {"type": "together", "issuance": "assisted"}
    done = here(Rotator(tmp_path, configuration, {}), "adopt", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_the_help_has_an_example_as_one_types_it(tmp_path: Path) -> None:
    rotator = Rotator(tmp_path, document(tmp_path, "http://127.0.0.1:9", []), {})
    said = here(rotator, "adopt", "--help").stdout
    assert "\n    rotator adopt --search 'vault:secret/apps/**' --search 'aws:prod/*' --output" in said
    assert "\\b" not in said
