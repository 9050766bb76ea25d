"""The whole life of two policies on a real OpenBao, step by step, under a role with certain rights and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import hvac

from rotator.adapters.backends.vault import AppRoleAuth, VaultBackend
from rotator.adapters.backends.vault_policy import Rule, as_hcl
from rotator.config import BackendRef, Settings
from rotator.domain.events import RollbackRequested, RotationRequested
from rotator.domain.model import Policy
from rotator.domain.verdict import Decision
from rotator.errors import RotatorError
from rotator.service.reconcile import Result
from tests.domain.build import POLICY
from tests.parts.openbao import AppRole, OpenBao
from tests.service.conftest import Stage

KV2, KV1 = "least/kv2", "least-kv1"


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
