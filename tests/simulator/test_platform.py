"""The platform's rules, over HTTP as a client or a person in the console meets them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from rotator.domain.secret import SecretValue
from tests.parts.simulator import FOREIGN_PROJECT, ORGANIZATION, OTHER_PROJECT, PROJECT, Simulator

KEYS = f"/v1/projects/{PROJECT}/api-keys"

Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(simulator: Simulator) -> Ask:
    def ask(method: str, path: str, secret: SecretValue | None = None, body: object = None) -> httpx.Response:
        headers = {} if secret is None else {"Authorization": f"Bearer {secret.reveal()}"}
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        return httpx.request(method, simulator.base_url + path, headers=headers, content=content, trust_env=False)

    return ask


def code(answer: httpx.Response) -> tuple[int, str]:
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return answer.status_code, error["code"]


def make(ask: Ask, simulator: Simulator, **more: object) -> dict[str, Any]:
    answer = ask("POST", KEYS, simulator.management_key, {"name": "made", **more})
    assert answer.status_code == 201
    return dict(answer.json())


def test_a_secret_has_the_form_of_the_platform_and_is_shown_once(simulator: Simulator, ask: Ask) -> None:
    made = make(ask, simulator)
    assert re.fullmatch(r"tgp_v1_[A-Za-z0-9_-]{43}", made["key"])
    assert made["id"].startswith("key_")
    for shown in (ask("GET", KEYS, simulator.management_key).text, json.dumps(simulator.state())):
        assert made["id"] in shown
        assert made["key"] not in shown


def test_a_project_key_manages_no_keys(simulator: Simulator, ask: Ask) -> None:
    secret = simulator.create_key_by_hand().secret
    assert code(ask("GET", KEYS, secret)) == (403, "permission_denied")
    assert code(ask("POST", KEYS, secret, {"name": "x"})) == (403, "permission_denied")


def test_a_management_key_is_for_key_management_in_its_own_organisation(simulator: Simulator, ask: Ask) -> None:
    manager = simulator.management_key
    assert code(ask("GET", "/v3/whoami", manager)) == (403, "permission_denied")
    assert code(ask("GET", f"/v1/projects/{FOREIGN_PROJECT}/api-keys", manager)) == (404, "project_not_found")
    assert [key["id"] for key in ask("GET", KEYS, manager).json()["data"]] == []


def test_a_project_key_does_not_reach_the_endpoint_of_another_project(simulator: Simulator, ask: Ask) -> None:
    secret = simulator.create_key_by_hand(PROJECT).secret
    for model, status in (("chat/mine", 200), ("batch/theirs", 404), ("some/public-model", 200)):
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
        assert ask("POST", "/v1/chat/completions", secret, body).status_code == status


def test_a_key_of_one_project_is_not_there_in_another(simulator: Simulator, ask: Ask) -> None:
    made = make(ask, simulator)
    elsewhere = f"/v1/projects/{OTHER_PROJECT}/api-keys/{made['id']}"
    assert code(ask("DELETE", elsewhere, simulator.management_key)) == (404, "key_not_found")
    assert simulator.key(made["id"])["state"] == "live"


def test_a_key_from_before_there_were_projects_belongs_to_the_default_project(simulator: Simulator, ask: Ask) -> None:
    old = simulator.create_default_project_key()
    assert ask("GET", "/v1/whoami", old.secret).json()["project_id"] == PROJECT


def test_the_flat_whoami_has_six_fields(simulator: Simulator, ask: Ask) -> None:
    key = simulator.create_key_by_hand()
    assert ask("GET", "/v1/whoami", key.secret).json() == {
        "api_key_id": key.key_id,
        "project_id": PROJECT,
        "project_name": "Chat",
        "project_slug": "chat",
        "organization_id": ORGANIZATION,
        "organization_name": "Acme",
    }


def test_the_legacy_key_is_in_no_list_and_can_only_be_regenerated(simulator: Simulator, ask: Ask) -> None:
    old = simulator.regenerate_legacy_key()
    assert ask("GET", KEYS, simulator.management_key).json()["data"] == []
    assert code(ask("DELETE", f"{KEYS}/{old.key_id}", simulator.management_key)) == (409, "conflict")
    with pytest.raises(RuntimeError, match="409"):
        simulator.revoke_by_hand(old.key_id)
    new = simulator.regenerate_legacy_key()
    assert new.key_id == old.key_id
    assert code(ask("GET", "/v3/whoami", old.secret)) == (401, "invalid_api_key")
    assert ask("GET", "/v3/whoami", new.secret).json()["type"] == "org_api_key"


def test_a_key_outlives_the_person_who_made_it(simulator: Simulator, ask: Ask) -> None:
    key = simulator.create_key_by_hand(created_by="user_ada")
    session = simulator.create_session("user_ada")
    simulator.remove_user("user_ada")
    assert code(ask("GET", "/v3/whoami", session)) == (401, "invalid_api_key")
    assert ask("GET", "/v3/whoami", key.secret).status_code == 200
    assert ask("GET", KEYS, simulator.management_key).json()["data"][0]["created_by"] == "user_ada"


def test_a_key_is_refused_once_its_expiration_date_has_come(simulator: Simulator, ask: Ask) -> None:
    key = simulator.create_key_by_hand()
    simulator.expire(key.key_id)
    assert code(ask("GET", "/v1/models", key.secret)) == (401, "invalid_api_key")
    assert simulator.key(key.key_id)["state"] == "expired"


def test_a_stale_list_does_not_show_a_new_key_yet(simulator: Simulator, ask: Ask) -> None:
    simulator.settings(list_after=5)
    make(ask, simulator)
    assert ask("GET", KEYS, simulator.management_key).json()["data"] == []
    simulator.advance(5)
    assert len(ask("GET", KEYS, simulator.management_key).json()["data"]) == 1


def test_a_page_goes_on_where_it_ended_although_keys_were_revoked_meanwhile(simulator: Simulator, ask: Ask) -> None:
    ids = [make(ask, simulator)["id"] for _ in range(3)]
    first = ask("GET", f"{KEYS}?limit=1", simulator.management_key).json()
    simulator.revoke_by_hand(ids[0])
    rest = ask("GET", f"{KEYS}?limit=2&after={first['next_cursor']}", simulator.management_key).json()
    assert [row["id"] for row in rest["data"]] == ids[1:]
    assert rest["next_cursor"] is None


def test_an_expiration_can_be_taken_away(simulator: Simulator, ask: Ask) -> None:
    made = make(ask, simulator, expires_at="2099-01-01T01:00:00+01:00")
    assert made["expires_at"] == "2099-01-01T00:00:00Z"
    answer = ask("PATCH", f"{KEYS}/{made['id']}", simulator.management_key, {"expires_at": None})
    assert (answer.status_code, answer.json()["expires_at"]) == (200, None)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        [],
        {},
        {"name": ""},
        {"name": 7},
        {"name": "n" * 257},
        {"name": "n", "expires_at": "2020-01-01T00:00:00Z"},
        {"name": "n", "expires_at": "2099-01-01T00:00:00"},
        {"name": "n", "expires_at": "soon"},
    ],
)
def test_bad_input_is_answered_with_422_and_makes_no_key(simulator: Simulator, ask: Ask, body: object) -> None:
    assert code(ask("POST", KEYS, simulator.management_key, body)) == (422, "invalid_parameter")
    assert simulator.keys(project=PROJECT) == []


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=1001", "after=x", "after=%FF"])
def test_a_bad_page_is_answered_with_422(simulator: Simulator, ask: Ask, query: str) -> None:
    assert code(ask("GET", f"{KEYS}?{query}", simulator.management_key)) == (422, "invalid_parameter")


@pytest.mark.parametrize("header", ["", "Bearer", "Basic abc", "Bearer nobody", "nobody"])
def test_every_other_authorization_is_a_401(simulator: Simulator, header: str) -> None:
    answer = httpx.get(simulator.base_url + "/v3/whoami", headers={"Authorization": header}, trust_env=False)
    assert code(answer) == (401, "invalid_api_key")


def test_every_answer_has_the_date_of_the_platform(simulator: Simulator, ask: Ask) -> None:
    now = simulator.advance(10 * 86400)
    simulator.fault("html", path="/v1/models")
    for path in ("/v3/whoami", "/v1/models", "/nowhere", "/_simulator/state"):
        assert abs(parsedate_to_datetime(ask("GET", path).headers["Date"]) - now) < timedelta(seconds=5)


def test_an_unknown_path_or_method_is_answered_in_the_envelope(simulator: Simulator, ask: Ask) -> None:
    assert code(ask("GET", "/v9/nothing")) == (404, "not_found")
    assert code(ask("PUT", KEYS)) == (405, "method_not_allowed")
    assert code(ask("OPTIONS", "/v9/nothing"))[0] in (404, 405)


def test_usage_that_is_no_inference_names_no_key(simulator: Simulator, ask: Ask) -> None:
    key = simulator.create_key_by_hand()
    month = simulator.advance(0).strftime("%Y-%m")
    body = {"organization_id": ORGANIZATION, "product": "Dedicated GPU", "quantity": 1.5}
    assert ask("POST", "/_simulator/usage", None, body).status_code == 204
    simulator.advance(86400)
    report = ask("GET", f"/v1/billing/usage?month={month}", key.secret).json()
    items = [item for window in report["data"] for item in window["line_items"]]
    assert [(item["product_name"], item["attributes"], item["quantity"]) for item in items] == [
        ("Dedicated GPU", {}, "1.5")
    ]
    assert (report["organization_id"], report["currency"]) == (ORGANIZATION, "USD")


def test_usage_of_another_organisation_is_forbidden(simulator: Simulator, ask: Ask) -> None:
    secret = simulator.create_key_by_hand().secret
    assert code(ask("GET", "/v1/billing/usage?organization_id=org_globex", secret)) == (403, "permission_denied")
