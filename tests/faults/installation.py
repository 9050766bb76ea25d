"""One installation, fresh for each run: three places that hold a key which is due, and things of other people."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from rotator.adapters.journal.sql import SqlJournal
from rotator.domain.naming import key_name
from rotator.domain.record import PolicyRecord
from rotator.ports import Look
from tests.faults.stage import Stage
from tests.parts.aws import REGION
from tests.parts.journals import new_journal
from tests.parts.simulator import DEFAULT_SEED, OTHER_PROJECT, PROJECT

FIELD, NEIGHBOUR = "TOGETHER_API_KEY", "DATABASE_PASSWORD"
PLACES = ("dotenv", "openbao", "aws")
INSTANCE, POLICY = "prod", "chat"
_TIMES = {"lifetime": "30d", "renew_before": "7d", "grace": "1h", "settle": "10m"}
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the one in C, where PyYAML has it
_BY_HAND = "made by hand"
_COMMENT = "# the chat service reads this"


class Installation:
    """Its folder, its keys, and its time: real time and ``offset`` seconds.

    :param first: which of ``PLACES`` is written first.
    """

    def __init__(self, stage: Stage, name: str, first: str) -> None:
        self.stage = stage
        self.folder, self.control = stage.folder / name, stage.folder / f"{name}-control"
        self.dotenv = self.folder / "chat" / ".env"
        for folder in (self.dotenv.parent, self.folder / "tmp", self.control):
            folder.mkdir(parents=True)
        self.offset = 0.0
        self.skip(0)
        self.by_hand = self._make_keys()
        self.neighbours = {place: f"neighbour-{secrets.token_urlsafe(24)}" for place in PLACES}
        self.path = f"apps/{name}"
        self._put(stage.gate.secrets[self.by_hand])
        self.environ = {"MANAGEMENT_KEY": stage.simulator.management_key.reveal(), **stage.role}
        self._configure(PLACES.index(first))
        new_journal(self.folder / "state.db")

    # --- what was there before ----------------------------------------------------------------------------

    def _make_keys(self) -> str:
        """All in one request, with the rest of the platform; returns the id of the key that the places hold."""
        simulator, now = self.stage.simulator, datetime.now(UTC)
        names = {
            PROJECT: (
                _BY_HAND,
                "someone's",
                key_name("other", POLICY, now, b"12345"),
                key_name(INSTANCE, "batch", now, b"12345"),
                key_name(f"{INSTANCE}2", POLICY, now, b"12345"),
            ),
            OTHER_PROJECT: (key_name(INSTANCE, POLICY, now, b"12345"),),
        }
        soon = (now + timedelta(days=6)).isoformat()
        seed: Any = copy.deepcopy(DEFAULT_SEED)
        for project in seed["organizations"][0]["projects"]:
            project["keys"] = [{"name": name, "expires_at": soon} for name in names[project["id"]]]
        made = simulator.reset(seed)
        keys = simulator.keys()
        by_hand = next(str(key["id"]) for key in keys if key["name"] == _BY_HAND)
        self.foreign = [key for key in keys if key["id"] != by_hand]
        self.stage.gate.secrets = {by_hand: made[by_hand].reveal()}
        self.stage.gate.tokens = set()
        return by_hand

    def _put(self, secret: str) -> None:
        self.dotenv.write_text(f"{_COMMENT}\n{NEIGHBOUR}={self.neighbours['dotenv']}\n{FIELD}={secret}\nMODEL=big\n")
        self.dotenv.chmod(0o600)
        self.stage.openbao.put("kv", self.path, {FIELD: secret, NEIGHBOUR: self.neighbours["openbao"]})
        self.secret_id = self.stage.new_aws_secret({FIELD: secret, NEIGHBOUR: self.neighbours["aws"]})

    def _configure(self, first: int) -> None:
        stage = self.stage
        auth = {"method": "approle", "role_id": {"env": "ROLE_ID"}, "secret_id": {"env": "SECRET_ID"}}
        together = {"type": "together", "base_url": stage.together_url, "management_key": {"env": "MANAGEMENT_KEY"}}
        destinations = [
            {"backend": "dotenv", "path": str(self.dotenv), "field": FIELD},
            {"backend": "openbao", "mount": "kv", "path": self.path, "field": FIELD},
            {"backend": "aws", "secret_id": self.secret_id, "field": FIELD},
        ]
        ordered = [*destinations[first:], *destinations[:first]]
        document = {
            "version": 1,
            "instance": INSTANCE,
            "state": {"url": f"sqlite:///{self.folder}/state.db"},
            "providers": {"together": together},
            "backends": {
                "openbao": {"type": "vault", "url": stage.openbao_url, "auth": auth},
                "aws": {"type": "aws-secrets-manager", "region": REGION, "endpoint_url": stage.aws.url},
            },
            "policies": [
                {"name": POLICY, "provider": "together", "project": PROJECT, **_TIMES, "destinations": ordered}
            ],
        }
        (self.folder / "rotator.yaml").write_text(yaml.dump(document, Dumper=_Dumper, sort_keys=False))

    # --- time ---------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The time of this run."""
        return datetime.now(UTC) + timedelta(seconds=self.offset)

    def skip(self, seconds: float) -> None:
        """Let time pass, here and on the platform."""
        self.offset += seconds
        if seconds:
            self.stage.simulator.advance(seconds)
        (self.control / "offset").write_text(repr(self.offset))

    def catch_up(self) -> None:
        """Take over what a pass has skipped."""
        self.offset = float((self.control / "offset").read_text())

    # --- what is there ----------------------------------------------------------------------------------

    def contents(self) -> dict[str, dict[str, Any]]:
        """Everything that each of the three holds."""
        lines = [line for line in self.dotenv.read_text().splitlines() if not line.startswith("# rotator: ")]
        return {
            "dotenv": dict(line.split("=", 1) if "=" in line else (line, "") for line in lines),
            "openbao": self.stage.openbao.get("kv", self.path),
            "aws": self.stage.aws_content(self.secret_id),
        }

    def expected(self) -> dict[str, dict[str, Any]]:
        """What they hold beside the key when everything is right."""
        return {
            "dotenv": {_COMMENT: "", NEIGHBOUR: self.neighbours["dotenv"], FIELD: "", "MODEL": "big"},
            "openbao": {FIELD: "", NEIGHBOUR: self.neighbours["openbao"]},
            "aws": {FIELD: "", NEIGHBOUR: self.neighbours["aws"]},
        }

    def held(self, contents: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, str]:
        """By place, the id of the key that it holds; the empty text for what is no key."""
        ids = {secret: key_id for key_id, secret in self.stage.gate.secrets.items()}
        contents = self.contents() if contents is None else contents
        return {place: ids.get(str(content.get(FIELD)), "") for place, content in contents.items()}

    def accepted(self, secret: str) -> bool:
        """Whether a consumer's call succeeds."""
        body = {"model": "demo/model", "messages": [{"role": "user", "content": "hello"}]}
        headers = {"Authorization": f"Bearer {secret}"}
        return self.stage.consumer.post("/v1/chat/completions", json=body, headers=headers).status_code == 200

    def journal(self) -> tuple[PolicyRecord, Look | None]:
        """What is remembered, and the schedule."""
        journal = SqlJournal.open_read_only(f"sqlite:///{self.folder}/state.db")
        try:
            return journal.load(POLICY), journal.look(POLICY)
        finally:
            journal.close()

    def ours(self, keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Of the platform's keys, those that this installation made."""
        prefix = f"rotator_{INSTANCE}_{POLICY}_"
        return [key for key in keys if key["name"].startswith(prefix) and key["project_id"] == PROJECT]
