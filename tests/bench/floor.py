"""The floor: the HTTP calls of a rotation with bare clients, and nothing else.

Usage: ``floor.py PLAN`` where the plan is JSON: ``{"workers", "provider", "vault", "mount", "tokens", "policies"}``,
and ``"journal"``, a path, for a second floor: as many durable transactions as a rotation makes, in bare SQLite.
For each policy it sends what the rotator sends, in the same order: look (read, whoami), rights, create, whoami,
patch with compare-and-set, hint, read back, the old key's expiration.
"""

import json
import sqlite3
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import requests
from requests.adapters import HTTPAdapter

FIELD = "TOGETHER_API_KEY"
MERGE = {"Content-Type": "application/merge-patch+json"}
RECORD = "x" * 900  # about what a policy's record is in JSON


class Floor:
    def __init__(self, plan):
        self.plan = plan
        self.manage = {"Authorization": f"Bearer {plan['management_key']}"}
        self.provider = httpx.Client(base_url=plan["provider"], limits=httpx.Limits(max_connections=plan["workers"]))
        self.vault = requests.Session()
        self.vault.mount("http://", HTTPAdapter(pool_maxsize=plan["workers"]))
        self.vault.headers["X-Vault-Token"] = plan["vault_token"]
        self.end = (datetime.now(UTC) + timedelta(days=30)).replace(microsecond=0).isoformat()
        self.journal = self.opened(plan["journal"]) if "journal" in plan else None
        self.writing = threading.Lock()

    @staticmethod
    def opened(path):
        journal = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for statement in (
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=FULL",
            "CREATE TABLE IF NOT EXISTS state (policy TEXT PRIMARY KEY, record TEXT)",
            "CREATE TABLE IF NOT EXISTS event (seq INTEGER PRIMARY KEY, policy TEXT, body TEXT)",
        ):
            journal.execute(statement)
        return journal

    def durable(self, policy):
        if self.journal is None:
            return
        name = policy["name"]
        with self.writing:
            self.journal.execute("BEGIN IMMEDIATE")
            self.journal.execute("SELECT record FROM state WHERE policy = ?", (name,)).fetchone()
            self.journal.execute("INSERT INTO event (policy, body) VALUES (?, ?)", (name, RECORD[:300]))
            self.journal.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (name, RECORD))
            self.journal.execute("COMMIT")

    def rotate(self, policy):
        keys = f"/v1/projects/{policy['project']}/api-keys"
        self.durable(policy)  # the lease
        old = self.read(policy)
        whoami = self.whoami(old["data"][FIELD])
        self.rights(policy)
        self.durable(policy)  # intended
        body = {"name": f"floor_{policy['name']}", "expires_at": self.end}
        made = self.sent(self.provider.post(keys, headers=self.manage, json=body))
        self.durable(policy)  # issued
        self.whoami(made["key"])
        self.durable(policy)  # verified
        self.write(policy, {FIELD: made["key"]}, old["metadata"]["version"])
        self.hint(policy, made["id"])
        assert self.read(policy)["data"][FIELD] == made["key"]
        self.durable(policy)  # published, and the grace
        old_id = whoami["api_key"]["id"]
        self.sent(self.provider.patch(f"{keys}/{old_id}", headers=self.manage, json={"expires_at": self.end}))
        self.durable(policy)  # expiry forwarded
        self.durable(policy)  # the look, and the lease given back

    def read(self, policy):
        return self.sent(self.vault.get(self.data(policy)))["data"]

    def data(self, policy):
        return f"{self.plan['vault']}/v1/{self.plan['mount']}/data/{policy['path']}"

    def rights(self, policy):
        paths = [f"{self.plan['mount']}/{kind}/{policy['path']}" for kind in ("data", "metadata")]
        self.sent(self.vault.post(f"{self.plan['vault']}/v1/sys/capabilities-self", json={"paths": paths}))

    def write(self, policy, fields, version):
        body = json.dumps({"data": fields, "options": {"cas": version}})
        self.sent(self.vault.patch(self.data(policy), data=body, headers=MERGE))

    def hint(self, policy, key_id):
        url = self.data(policy).replace("/data/", "/metadata/")
        hints = {f"rotator/{FIELD}/{name}": key_id for name in ("key_id", "policy", "project", "rotation_id")}
        answer = self.vault.patch(url, data=json.dumps({"custom_metadata": hints}), headers=MERGE)
        answer.raise_for_status()

    def whoami(self, key):
        return self.sent(self.provider.get("/v3/whoami", headers={"Authorization": f"Bearer {key}"}))

    @staticmethod
    def sent(answer):
        answer.raise_for_status()
        return answer.json()


if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text())
    floor = Floor(given)
    with ThreadPoolExecutor(given["workers"]) as pool:
        list(pool.map(floor.rotate, given["policies"]))
