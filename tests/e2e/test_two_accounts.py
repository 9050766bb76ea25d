"""One policy with secrets in two accounts of AWS, under exactly the rights that ``rotator policy aws`` prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rotator.domain.model import Phase
from rotator.domain.secret import SecretValue
from tests.e2e.installation import FIELD, POLICY, credentials, document, ours, policy, record, soon
from tests.parts.rotator import Rotator
from tests.parts.simulator import PROJECT, Simulator
from tests.parts.strict_aws import ACCOUNT, OTHER_ACCOUNT, StrictAws

SECRET = "apps/chat"


class Installation:
    """A key of a person in both accounts, due to be replaced, and a rotator that takes on a role in each."""

    def __init__(self, folder: Path, simulator: Simulator, aws: StrictAws, **there: Any) -> None:
        self.folder, self.simulator, self.aws = folder, simulator, aws
        self.key = simulator.create_key_by_hand(PROJECT, "by hand", expires_at=soon(-60))
        self.roles = {"here": aws.new_role(ACCOUNT), "there": aws.new_role(OTHER_ACCOUNT, external_id="of-team-a")}
        content = json.dumps({FIELD: self.key.secret.reveal(), "other": "kept"})
        for account in (ACCOUNT, OTHER_ACCOUNT):
            aws.service.call(account, aws.region, "CreateSecret", {"Name": SECRET, "SecretString": content})
        common = {
            "type": "aws-secrets-manager",
            "region": aws.region,
            "endpoint_url": aws.url,
            "sts_endpoint_url": aws.url,
        }
        backends = {
            name: {**common, "assume_role": {"arn": role.arn, "session_name": "rotator-e2e"}}
            for name, role in self.roles.items()
        }
        backends["there"]["assume_role"]["external_id"] = {"env": "EXTERNAL_ID"}
        destinations = [
            {"backend": "here", "secret_id": SECRET, "field": FIELD, "expect": {"account": ACCOUNT}},
            {"backend": "there", "secret_id": SECRET, "field": FIELD, "expect": {"account": OTHER_ACCOUNT}, **there},
        ]
        configuration = document(folder, simulator.base_url, [policy(destinations, grace="20m")], backends)
        self.rotator = Rotator(folder, configuration, {**credentials(simulator), "EXTERNAL_ID": "of-team-a"})
        for name, role in self.roles.items():
            role.policy = self.printed(name)

    def printed(self, backend: str, *options: str) -> dict[str, Any]:
        done = self.rotator.command("policy", "aws", "--backend", backend, *options)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    def held(self) -> list[str]:
        """What the two secrets hold."""
        versions = []
        for account in (ACCOUNT, OTHER_ACCOUNT):
            secret = self.aws.secret(SECRET, account)
            content = json.loads(secret.versions[secret.holder("AWSCURRENT")].content or "{}")
            assert content.get("other") in {"kept", None}
            versions.append(str(content[FIELD]))
        return versions

    def hold_the_new_key(self) -> list[bool]:
        """Whether each of the two holds the one key that was issued."""
        assert len(ours(self.simulator)) == 1
        issued = record(self.folder).key(ours(self.simulator)[0])
        assert issued is not None
        return [SecretValue(text).fingerprint() == issued.fingerprint for text in self.held()]

    def look_now(self) -> None:
        """Another look without waiting for its time, which a failure has put off."""
        for order in (("hold", POLICY, "--reason", "repaired"), ("release", POLICY)):
            assert self.rotator.command(*order).returncode == 0

    def run(self, passes: int = 1) -> list[int]:
        return [self.rotator.run_once().returncode for _ in range(passes)]


def test_both_accounts_get_the_new_key_under_the_printed_policies(
    tmp_path: Path, simulator: Simulator, strict_aws: StrictAws
) -> None:
    installation = Installation(tmp_path, simulator, strict_aws)
    assert set(installation.run(2)) == {0}
    assert installation.hold_the_new_key() == [True, True]


def test_one_account_that_fails_keeps_its_key_and_both_keys_stay_valid_until_it_is_repaired(
    tmp_path: Path, simulator: Simulator, strict_aws: StrictAws
) -> None:
    """Nothing that we do makes a destination hold a key that the provider refuses (Promise 1)."""
    installation = Installation(tmp_path, simulator, strict_aws)
    old, enough = installation.key.secret.reveal(), installation.roles["there"].policy
    installation.roles["there"].policy = installation.printed("there", "--read-only")
    assert 1 in installation.run(2)
    new = ours(simulator)
    assert installation.hold_the_new_key() == [True, False]
    assert installation.held()[1] == old
    assert simulator.key(installation.key.key_id)["state"] == "live"
    installation.roles["there"].policy = enough
    installation.look_now()
    assert installation.run() == [0]
    assert ours(simulator) == new
    assert installation.hold_the_new_key() == [True, True]
    assert [one.phase for one in record(tmp_path, POLICY).rotations] == [Phase.GRACE]


def test_a_secret_in_the_wrong_account_refuses_before_a_key_is_created(
    tmp_path: Path, simulator: Simulator, strict_aws: StrictAws
) -> None:
    installation = Installation(tmp_path, simulator, strict_aws, expect={"account": "333333333333"})
    installation.roles["there"].policy = None
    done = installation.rotator.run_once()
    assert done.returncode == 1
    assert f"account should be 333333333333, and the backend says {OTHER_ACCOUNT}" in done.stdout + done.stderr
    assert ours(simulator) == []
    assert installation.held() == [installation.key.secret.reveal()] * 2
    assert installation.aws.changing_requests() == []


def test_a_secret_that_is_missing_in_one_account_is_created_there(
    tmp_path: Path, simulator: Simulator, strict_aws: StrictAws
) -> None:
    installation = Installation(tmp_path, simulator, strict_aws, create={"tags": {"owner": "team-a"}})
    del strict_aws.service.secrets[OTHER_ACCOUNT, strict_aws.region, SECRET]
    assert installation.run(2)[-1] == 0
    secret = strict_aws.secret(SECRET, OTHER_ACCOUNT)
    assert installation.hold_the_new_key() == [True, True]
    assert secret.versions.keys() == {secret.holder("AWSCURRENT")}
    assert (secret.tags["owner"], secret.tags[f"rotator:{FIELD}:policy"]) == ("team-a", POLICY)
