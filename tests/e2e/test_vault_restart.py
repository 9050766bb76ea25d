"""A Vault that is restarted, and sealed until a person comes, in the middle of a rotation; over TLS, by certificate."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from rotator.domain.record import KeyState
from tests.backends.vault_help import READING
from tests.e2e.installation import (
    FIELD,
    POLICY,
    at_rest,
    credentials,
    document,
    in_file,
    ours,
    policy,
    record,
    soon,
    until,
)
from tests.parts.certificates import Authority
from tests.parts.openbao_stored import StoredOpenBao
from tests.parts.rotator import Rotator, count
from tests.parts.simulator import PROJECT, Simulator


def a_server(folder: Path) -> tuple[StoredOpenBao, tuple[Path, Path]]:
    authority, clients = Authority(folder, "servers"), Authority(folder, "clients")
    server = StoredOpenBao(
        folder,
        certificate=authority.sign("vault.internal"),
        authority=authority.file,
        client_authority=clients.file,
        name="vault.internal",
    )
    client = clients.sign("rotator.internal", client=True)
    server.show(*client)
    return server, client


def allow(server: StoredOpenBao, clients: Path) -> None:
    server.root.sys.enable_auth_method("cert")
    server.root.sys.create_or_update_policy("app", READING.format(mount="secret"))
    role = {"certificate": clients.read_text(), "token_policies": ["app"], "token_ttl": "1h"}
    server.root.adapter.post("/v1/auth/cert/certs/rotator", json=role)


def look_now(rotator: Rotator) -> None:
    """Without the wait that the last failure brought: what an operator does is looked at within seconds."""
    assert rotator.command("hold", POLICY, "--reason", "the vault is being restarted").returncode == 0
    assert rotator.command("release", POLICY).returncode == 0


def test_a_rotation_waits_for_a_vault_that_is_restarted_and_sealed_and_then_goes_on(
    tmp_path: Path, simulator: Simulator
) -> None:
    """A crash, a restart, and the settle time: no unrecorded live key of ours, no lost key (Promise 4)."""
    server, client = a_server(tmp_path)
    with server:
        server.initialise()
        server.unseal()
        server.new_mount()
        allow(server, tmp_path / "clients.pem")
        by_hand = simulator.create_key_by_hand(PROJECT, "made by hand", expires_at=soon(4))
        server.put("secret", "app", {FIELD: by_hand.secret.reveal()})
        dotenv = tmp_path / ".env"
        dotenv.write_text(f"{FIELD}={by_hand.secret.reveal()}\n")
        vault = {
            "type": "vault",
            "url": f"https://127.0.0.1:{server.port}",
            "auth": {"method": "cert", "role": "rotator"},
            "ca_file": str(tmp_path / "servers.pem"),
            "client_cert": str(client[0]),
            "client_key": str(client[1]),
            "server_name": "vault.internal",
        }
        places = [*in_file(dotenv), {"backend": "bao", "mount": "secret", "path": "app", "field": FIELD}]
        configuration = document(tmp_path, simulator.base_url, [policy(places)], {"bao": vault})
        rotator = Rotator(tmp_path, configuration, credentials(simulator))
        restarted = threading.Event()

        def restart(line: str) -> None:
            """As soon as the new key is made: it has to be published in a Vault that is not there."""
            if not restarted.is_set() and json.loads(line).get("event") == "key.issued":
                server.stop()
                restarted.set()

        with rotator.service(restart) as service:
            assert restarted.wait(40)
            server.start()
            service.wait_for_event("problem")
            assert len(ours(simulator)) == 1
            look_now(rotator)
            service.wait_for(lambda _events: "the server is sealed" in "".join(service.lines))
            server.unseal()
            look_now(rotator)
            service.wait_for_event("key.closed", key_id=by_hand.key_id)
            until(lambda: at_rest(tmp_path))
            assert service.stop() == 0
        events = service.events()
        assert count(events, "key.issued") == 1
        held = server.get("secret", "app")[FIELD]
        assert dotenv.read_text().splitlines()[-1] == f"{FIELD}={held}"
        assert [key.state for key in record(tmp_path).keys] == [KeyState.CURRENT]
        assert ours(simulator) == [record(tmp_path).keys[0].key_id]
