"""Answers that are well-formed and wrong, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import httpx
import pytest

from rotator.domain.secret import SecretValue
from tests.parts.simulator import OTHER_PROJECT, PROJECT, Simulator

KEYS = f"/v1/projects/{PROJECT}/api-keys"

Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(simulator: Simulator) -> Ask:
    def ask(method: str, path: str, body: object = None, *, secret: SecretValue | None = None) -> httpx.Response:
        headers = {"Authorization": f"Bearer {(secret or simulator.management_key).reveal()}"}
        return httpx.request(method, simulator.base_url + path, headers=headers, json=body, trust_env=False)

    return ask


def rows(ask: Ask, query: str = "") -> list[dict[str, Any]]:
    answer = ask("GET", KEYS + query)
    assert answer.status_code == 200
    return list(answer.json()["data"])


def test_a_list_names_another_project_in_its_rows(simulator: Simulator, ask: Ask) -> None:
    simulator.create_key_by_hand()
    simulator.fault("wrong_project")
    assert [row["project_id"] for row in rows(ask)] == [OTHER_PROJECT]
    assert [row["project_id"] for row in rows(ask)] == [PROJECT]


def test_a_creation_names_another_project(simulator: Simulator, ask: Ask) -> None:
    simulator.fault("wrong_project")
    made = ask("POST", KEYS, {"name": "n"}).json()
    assert made["project_id"] == OTHER_PROJECT
    assert simulator.key(made["id"])["project_id"] == PROJECT


def test_whoami_names_another_project(simulator: Simulator, ask: Ask) -> None:
    key = simulator.create_key_by_hand()
    simulator.fault("wrong_project", times=2)
    nested, flat = (ask("GET", path, secret=key.secret).json() for path in ("/v3/whoami", "/v1/whoami"))
    assert nested["project"] == {"id": OTHER_PROJECT, "name": "Batch", "slug": "batch"}
    assert (flat["project_id"], flat["project_slug"]) == (OTHER_PROJECT, "batch")
    assert nested["api_key"]["id"] == flat["api_key_id"] == key.key_id


def test_whoami_of_a_key_without_a_project_can_name_no_wrong_one(simulator: Simulator, ask: Ask) -> None:
    legacy = simulator.regenerate_legacy_key()
    simulator.fault("wrong_project", times=2)
    assert "project" not in ask("GET", "/v3/whoami", secret=legacy.secret).json()
    assert ask("GET", "/v1/whoami", secret=legacy.secret).json()["project_id"] is None


def test_a_creation_names_the_id_of_another_key(simulator: Simulator, ask: Ask) -> None:
    current = simulator.create_key_by_hand()
    simulator.fault("other_key_id")
    made = ask("POST", KEYS, {"name": "n"}).json()
    assert made["id"] == current.key_id
    true = ask("GET", "/v1/whoami", secret=SecretValue(made["key"])).json()["api_key_id"]
    assert true != current.key_id
    assert simulator.key(true)["name"] == "n"


def test_a_creation_names_the_id_of_a_key_that_is_not_there_where_there_is_no_other(
    simulator: Simulator, ask: Ask
) -> None:
    simulator.fault("other_key_id")
    assert ask("POST", KEYS, {"name": "n"}).json()["id"] == "key_of_nobody"


def test_whoami_and_a_change_name_the_id_of_another_key(simulator: Simulator, ask: Ask) -> None:
    first, second = simulator.create_key_by_hand(), simulator.create_key_by_hand()
    simulator.fault("other_key_id", times=3)
    assert ask("GET", "/v3/whoami", secret=second.secret).json()["api_key"]["id"] == first.key_id
    assert ask("GET", "/v1/whoami", secret=first.secret).json()["api_key_id"] == second.key_id
    changed = ask("PATCH", f"{KEYS}/{first.key_id}", {"expires_at": "2099-01-01T00:00:00Z"}).json()
    assert changed["id"] == second.key_id
    assert simulator.key(first.key_id)["expires_at"] == "2099-01-01T00:00:00Z"


def test_a_creation_names_another_name(simulator: Simulator, ask: Ask) -> None:
    simulator.fault("other_name", name="rotator_else")
    made = ask("POST", KEYS, {"name": "n"}).json()
    assert made["name"] == "rotator_else"
    assert simulator.key(made["id"])["name"] == "n"


def test_a_new_key_is_expired_already_and_really_refused(simulator: Simulator, ask: Ask) -> None:
    simulator.fault("born_expired")
    made = ask("POST", KEYS, {"name": "n", "expires_at": "2099-01-01T00:00:00Z"}).json()
    assert datetime.fromisoformat(made["expires_at"]) < simulator.advance(0)
    refused = ask("GET", "/v3/whoami", secret=SecretValue(made["key"]))
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")
    assert simulator.key(made["id"])["state"] == "expired"


def test_a_list_is_empty(simulator: Simulator, ask: Ask) -> None:
    simulator.create_key_by_hand()
    simulator.fault("empty_list")
    assert ask("GET", KEYS).json() == {"object": "list", "data": [], "next_cursor": None}
    assert len(rows(ask)) == 1


@pytest.mark.parametrize(("there", "shown"), [(1, []), (2, [0]), (5, [1, 3])])
def test_a_list_lacks_every_second_row_and_always_the_newest(
    simulator: Simulator, ask: Ask, there: int, shown: list[int]
) -> None:
    ids = [simulator.create_key_by_hand().key_id for _ in range(there)]
    simulator.fault("partial_list")
    assert [row["id"] for row in rows(ask)] == [ids[number] for number in shown]


def test_a_list_is_as_old_as_the_rule_says(simulator: Simulator, ask: Ask) -> None:
    kept, revoked = simulator.create_key_by_hand(), simulator.create_key_by_hand()
    simulator.advance(30)
    simulator.revoke_by_hand(revoked.key_id)
    young = simulator.create_key_by_hand()
    simulator.advance(5)
    simulator.fault("stale_list", age=10, times=2)
    assert [row["id"] for row in rows(ask)] == [kept.key_id, revoked.key_id]
    assert [row["id"] for row in rows(ask, "?limit=1")] == [kept.key_id]
    assert [row["id"] for row in rows(ask)] == [kept.key_id, young.key_id]


def test_a_list_has_a_row_for_a_key_that_is_not_there(simulator: Simulator, ask: Ask) -> None:
    key = simulator.create_key_by_hand(name="rotator_prod_chat")
    simulator.fault("phantom_row")
    true, phantom = rows(ask)
    assert true["id"] == key.key_id
    assert phantom == true | {"id": "key_of_nobody"}
    assert ask("DELETE", f"{KEYS}/{phantom['id']}").status_code == 404


def test_a_phantom_stands_in_an_empty_list_too(simulator: Simulator, ask: Ask) -> None:
    simulator.fault("phantom_row", name="rotator_prod_gone")
    (phantom,) = rows(ask)
    assert (phantom["name"], phantom["project_id"]) == ("rotator_prod_gone", PROJECT)


def test_a_lie_waits_for_a_request_of_which_it_can_be_told(simulator: Simulator, ask: Ask) -> None:
    simulator.fault("empty_list")
    made = ask("POST", KEYS, {"name": "n"})
    assert ask("GET", "/v3/whoami", secret=SecretValue(made.json()["key"])).status_code == 200
    assert simulator.fault_report() == [{"effect": "empty_list", "matched": 0, "fired": 0}]
    assert rows(ask) == []


def test_no_lie_is_told_where_the_truth_is_an_error(simulator: Simulator, ask: Ask) -> None:
    simulator.fault("other_key_id", times=None)
    assert ask("POST", KEYS, {}).status_code == 422
    assert ask("GET", "/v1/whoami", secret=SecretValue("nobody")).status_code == 401
