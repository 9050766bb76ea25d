"""The official ``together`` SDK works against the simulator unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import together

from rotator.domain.secret import SecretValue
from tests.parts.simulator import ORGANIZATION, OTHER_PROJECT, PROJECT, Simulator

MODEL = "meta-llama/Llama-3.3-70B-Instruct-Turbo"

Connect = Callable[[SecretValue], together.Together]


@pytest.fixture
def connect(simulator: Simulator) -> Iterator[Connect]:
    clients: list[together.Together] = []

    def connect(secret: SecretValue) -> together.Together:
        client = together.Together(
            api_key=secret.reveal(), base_url=simulator.base_url, project_id=PROJECT, max_retries=0
        )
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client.close()


def ask(client: together.Together) -> str | None:
    answer = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "are you well"}])
    message = answer.choices[0].message
    assert message is not None
    return message.content


def test_a_chat_completion_answers_and_is_booked_on_the_key(simulator: Simulator, connect: Connect) -> None:
    key = simulator.create_key_by_hand()
    assert ask(connect(key.secret)) == "All well."
    assert simulator.key(key.key_id)["uses"] == 1
    assert simulator.counters()["chat_calls"] == 1


def test_a_refused_key_raises_the_authentication_error_of_the_sdk(simulator: Simulator, connect: Connect) -> None:
    key = simulator.create_key_by_hand()
    simulator.revoke_by_hand(key.key_id)
    with pytest.raises(together.AuthenticationError):
        ask(connect(key.secret))
    assert simulator.counters()["refused_chat_calls"] == 1


def test_whoami_of_a_project_key_names_its_project(simulator: Simulator, connect: Connect) -> None:
    key = simulator.create_key_by_hand()
    who = connect(key.secret).whoami()
    assert who.type == "project_api_key"
    assert (who.api_key.id, who.project.id, who.project.slug) == (key.key_id, PROJECT, "chat")
    assert who.organization.id == ORGANIZATION


def test_whoami_of_the_legacy_key_names_only_the_organisation(simulator: Simulator, connect: Connect) -> None:
    legacy = simulator.regenerate_legacy_key()
    who = connect(legacy.secret).whoami()
    assert who.type == "org_api_key"
    assert (who.api_key.id, who.organization.id) == (legacy.key_id, ORGANIZATION)


def test_whoami_of_a_session_names_only_the_person(simulator: Simulator, connect: Connect) -> None:
    who = connect(simulator.create_session("user_ada")).whoami()
    assert who.type == "user_jwt"
    assert who.user.id == "user_ada"


def test_a_project_key_sees_its_project_and_the_legacy_key_sees_all(simulator: Simulator, connect: Connect) -> None:
    own = connect(simulator.create_key_by_hand().secret).projects.list(limit=1)
    assert [project.id for project in own] == [PROJECT]
    every = connect(simulator.regenerate_legacy_key().secret).projects.list(limit=1)
    assert [project.id for project in every] == [PROJECT, OTHER_PROJECT]


def test_models_are_listed_in_the_own_project_only(simulator: Simulator, connect: Connect) -> None:
    client = connect(simulator.create_key_by_hand().secret)
    assert list(client.models.list()) == []
    with pytest.raises(together.PermissionDeniedError):
        client.models.list(project_id=OTHER_PROJECT)


def test_billing_usage_names_the_key_of_each_inference_an_hour_later(simulator: Simulator, connect: Connect) -> None:
    key = simulator.create_key_by_hand()
    client = connect(key.secret)
    month = simulator.advance(0).strftime("%Y-%m")
    ask(client)
    usage = client.organization.usage.costs
    assert list(usage.list(granularity="hour", month=month, organization_id=ORGANIZATION)) == []
    simulator.advance(3600)
    windows = list(usage.list(granularity="hour", month=month, organization_id=ORGANIZATION, limit=1))
    items = [item for window in windows for item in window.line_items]
    assert [(item.attributes["api_key_id"], item.quantity) for item in items] == [(key.key_id, "3"), (key.key_id, "2")]


def test_an_organisation_without_billing_usage_answers_404(simulator: Simulator, connect: Connect) -> None:
    stranger = simulator.create_key_by_hand("proj_globex")
    with pytest.raises(together.NotFoundError):
        connect(stranger.secret).organization.usage.costs.list()
