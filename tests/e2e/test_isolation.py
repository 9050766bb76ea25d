"""Promise 9: one policy that hangs, fails or has a sealed backend delays no other policy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rotator.domain.secret import SecretValue
from tests.e2e.installation import FIELD, credentials, document, in_file, policy, soon, until
from tests.e2e.silent import Silent
from tests.parts.openbao import OpenBao
from tests.parts.rotator import Rotator, Service
from tests.parts.simulator import PROJECT, Simulator

HANGING = [f"hanging-{number:02}" for number in range(30)]
HEALTHY = [f"healthy-{number}" for number in range(5)]
TWO = {"workers": 2}


@pytest.fixture
def silent() -> Iterator[Silent]:
    with Silent() as server:
        yield server


def vault(url: str, **more: Any) -> dict[str, Any]:
    return {"type": "vault", "url": url, "auth": {"method": "token", "token": {"env": "VAULT_SECRET"}}, **more}


def in_vault(name: str, mount: str = "secret") -> dict[str, str]:
    return {"backend": "vault", "mount": mount, "path": name, "field": FIELD}


class Installation:
    """Policies whose keys in files are due, among others whose backend does not work."""

    def __init__(self, folder: Path, simulator: Simulator) -> None:
        self.folder, self.simulator = folder, simulator
        self.project = simulator.create_project("of those that do not work")
        self.secrets: dict[str, str] = {}

    def healthy(self, name: str, **more: Any) -> dict[str, Any]:
        key = self.simulator.create_key_by_hand(PROJECT, name, expires_at=soon(-60))
        self.secrets[name] = key.secret.reveal()
        file = self.folder / name
        file.write_text(f"{FIELD}={self.secrets[name]}\n")
        return {**policy(in_file(file), name=name), **more}

    def broken(self, name: str, destinations: list[dict[str, str]]) -> dict[str, Any]:
        return {**policy(destinations, name=name), "project": self.project}

    def rotator(self, policies: list[dict[str, Any]], *, token: SecretValue | None = None, **sections: Any) -> Rotator:
        configuration = document(self.folder, self.simulator.base_url, policies, service=TWO, **sections)
        environ = {
            **credentials(self.simulator),
            "VAULT_SECRET": token.reveal() if token else "any",
            "PYTHONUNBUFFERED": "1",
        }
        return Rotator(self.folder, configuration, environ)

    def renewed(self) -> list[str]:
        """The policies whose file holds another key than the one made by hand."""
        return [name for name in HEALTHY if self.secrets[name] not in (self.folder / name).read_text()]


@pytest.fixture
def installation(tmp_path: Path, simulator: Simulator) -> Installation:
    return Installation(tmp_path, simulator)


def outcomes(service: Service) -> list[str]:
    """The policies in the order in which their looks ended, in one pass."""
    return [line.partition(": ")[0] for line in service.output if ": " in line]


def until_done(service: Service, number: int) -> None:
    """Until so many looks of one pass have ended."""

    def are_done() -> bool:
        return len(outcomes(service)) >= number

    until(are_done)


def test_a_hanging_backend_delays_no_policy_of_another_one_in_one_pass(
    installation: Installation, silent: Silent
) -> None:
    """The calls hang until the healthy ones are done: were they held up, it would never end."""
    policies = [installation.broken(name, [in_vault(name)]) for name in HANGING]
    policies += [installation.healthy(name) for name in HEALTHY]
    rotator = installation.rotator(policies, backends={"vault": vault(silent.url, timeout="5m")})
    with rotator.service(arguments=["--run-once"]) as service:
        silent.wait_for_callers(2)
        until_done(service, len(HEALTHY))
        assert silent.callers() == 2, "no more looks than workers wait for the backend"
        silent.let_go()
        assert service.wait() == 1

    assert sorted(outcomes(service)[:5]) == HEALTHY
    assert sorted(outcomes(service)[5:]) == HANGING
    assert sorted(installation.renewed()) == HEALTHY


def test_a_policy_that_shares_one_backend_with_a_hanging_one_is_not_delayed(
    installation: Installation, silent: Silent
) -> None:
    """Those that hang have a healthy backend too, the one that all others use."""
    policies = [
        installation.broken(name, [*in_file(installation.folder / "of" / name), in_vault(name)]) for name in HANGING
    ]
    (installation.folder / "of").mkdir()
    policies += [installation.healthy(name) for name in HEALTHY]
    rotator = installation.rotator(policies, backends={"vault": vault(silent.url, timeout="5m")})
    with rotator.service(arguments=["--run-once"]) as service:
        silent.wait_for_callers(2)
        until_done(service, len(HEALTHY))
        silent.let_go()
        assert service.wait() == 1
    assert sorted(outcomes(service)[:5]) == HEALTHY


def test_a_hanging_provider_delays_no_policy_of_another_one(installation: Installation, silent: Silent) -> None:
    """Both keep their keys in the same backend. The management key of the hanging one is in a hanging backend, too."""
    policies = [{**installation.healthy(name), "provider": "silent"} for name in HANGING]
    policies += [installation.healthy(name) for name in HEALTHY]
    rotator = installation.rotator(policies, backends={"vault": vault(silent.url, timeout="5m")})
    text = rotator.config.read_text()
    rotator.config.write_text(
        text.replace(
            "providers:\n",
            "providers:\n  silent: {type: together, base_url: 'https://127.0.0.1:1', management_key:"
            " {backend: vault, mount: secret, path: rotator, field: key}}\n",
        )
    )
    with rotator.service(arguments=["--run-once"]) as service:
        silent.wait_for_callers(1)
        until_done(service, len(HEALTHY))
        silent.let_go()
        assert service.wait() == 1
    assert sorted(outcomes(service)[:5]) == HEALTHY


def test_a_hanging_backend_delays_no_policy_of_another_one_in_the_service(
    installation: Installation, silent: Silent
) -> None:
    policies = [installation.broken(name, [in_vault(name)]) for name in HANGING]
    policies += [installation.healthy(name) for name in HEALTHY]
    rotator = installation.rotator(policies, backends={"vault": vault(silent.url, timeout="5m")})
    with rotator.service() as service:
        silent.wait_for_callers(2)
        for name in HEALTHY:
            service.wait_for_event("grace.started", policy=name)
        assert silent.callers() == 2
        assert not any(event.get("policy") in HANGING for event in service.events()), "none was given up"
        silent.let_go()
        for name in HANGING:
            service.wait_for_event("problem", policy=name)
        assert service.stop() == 0
    assert "skipped" not in "".join(service.lines), "who waits for a place in its lane is scheduled once"


def test_after_a_few_failures_a_dead_backend_is_left_alone(installation: Installation, silent: Silent) -> None:
    """Timeouts of one second, three tries a call: thirty policies would cost a minute and a half of two workers."""
    silent.let_go()
    policies = [installation.broken(name, [in_vault(name)]) for name in HANGING]
    rotator = installation.rotator(policies, backends={"vault": vault(silent.url, timeout="1s")})
    done = rotator.run_once()
    assert done.returncode == 1
    # One may be under way when the eighth fails.
    assert done.stdout.count("backend vault is not called: 8 failures in a row, the last: ") >= len(HANGING) - 8 - 1
    assert '"circuit.opened"' in done.stderr


def test_a_sealed_backend_delays_no_policy_of_another_one(installation: Installation) -> None:
    """A real OpenBao that is sealed, a healthy file beside it."""
    with OpenBao() as openbao:
        names = HANGING[:10]
        policies = [installation.broken(name, [in_vault(name)]) for name in names]
        policies += [installation.healthy(name) for name in HEALTHY]
        rotator = installation.rotator(policies, token=openbao.token, backends={"vault": vault(openbao.url)})
        openbao.root.sys.seal()

        done = rotator.run_once()

    assert done.returncode == 1
    lines = {line.partition(": ")[0]: line for line in done.stdout.splitlines()}
    assert all("HTTP 503" in lines[name] for name in names)
    assert not any("failed" in lines[name] for name in HEALTHY)
    assert sorted(installation.renewed()) == HEALTHY
    assert "15 looked at, 5 changed, 10 failed" in done.stdout
