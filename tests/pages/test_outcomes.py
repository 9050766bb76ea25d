"""What a person reads who has sent the form: of their own key, whoever else was there, and however it went on."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import httpx
import pytest

from rotator.domain.links import PREFIX
from rotator.domain.record import KeyState
from rotator.errors import BackendUnavailable, JournalUnavailable, Stopping
from tests.pages.people import LINK, TOKEN, form, give_link, send, serving, words
from tests.parts.browser import DESKTOP, PHONE, Chromium
from tests.service.people import PEOPLE, AssistedStage


def meanwhile(stage: AssistedStage, happens: Callable[[], object]) -> SimpleNamespace:
    """A desk, before whose work something else happens: the lease was waited for."""

    def hand_over(policy: object, handed: object) -> object:
        stage.desk = real
        happens()
        return real.hand_over(policy, handed)

    real = stage.desk
    stage.desk = SimpleNamespace(hand_over=hand_over)
    return stage.desk


def again(address: str, path: str = LINK) -> str:
    return words(httpx.get(address + path))


def test_of_a_refused_key_is_not_said_that_it_will_be_put_in_place(stage: AssistedStage) -> None:
    wrong, good = stage.make_key("proj_other"), stage.make_key()
    with serving(stage) as address:
        assert "Refused" in words(send(address, wrong.secret.reveal()))
        stage.submit(good.secret)
        said = again(address)
    assert "The key was refused" in said
    assert "is a key of project proj_other" in said
    assert "finished by the service" not in said
    assert "Revoke" not in said  # it may be used where it belongs


def test_what_was_not_taken_before_the_link_ended_is_told_as_such(stage: AssistedStage) -> None:
    key = stage.make_key().secret.reveal()
    with serving(stage) as address:
        stage.backends["one"].fail("read", BackendUnavailable("sealed"))
        send(address, key)
        give_link(stage, "a-newer-one")
        said = again(address)
    assert "The key was not taken" in said
    assert "sealed" in said
    assert "this link takes no key any more" in said


def test_who_comes_second_is_told_which_key_to_revoke(stage: AssistedStage) -> None:
    first, second = stage.make_key(), stage.make_key()
    with serving(stage) as address:
        meanwhile(stage, lambda: stage.submit(first.secret))
        said = words(send(address, second.secret.reveal()))
    assert said.startswith(" Revoke the key that you made")
    assert f"Revoke {second.facts.key_id} Handed over by this link and not needed" in said
    assert stage.held() == [first.facts.key_id] * 2


def test_two_people_with_one_link_both_read_who_won_and_what_is_to_be_revoked(stage: AssistedStage) -> None:
    first, second = stage.make_key(), stage.make_key()
    with serving(stage) as address:
        meanwhile(stage, lambda: send(address, first.secret.reveal()))
        said = words(send(address, second.secret.reveal()))
        assert again(address) == said
    assert f"{first.facts.key_id} is accepted" in said
    assert f"Revoke {second.facts.key_id}" in said


def test_what_is_to_be_revoked_can_be_read_by_everybody(chromium: Chromium, stage: AssistedStage) -> None:
    first, second = stage.make_key(), stage.make_key()
    with serving(stage) as address:
        meanwhile(stage, lambda: stage.submit(first.secret))
        send(address, second.secret.reveal())
        for kind in ({"size": PHONE, "dark": True}, {"size": DESKTOP}):
            with chromium.visit(address + LINK, **kind) as visit:
                assert (visit.overflow(), visit.foreign, visit.complaints, visit.inaccessible()) == (0, [], [], [])
                assert visit.page.get_by_role("link").get_attribute("href") == PEOPLE.console_url


def test_what_the_service_finished_later_is_in_place(stage: AssistedStage) -> None:
    key = stage.make_key()
    stage.backends["two"].fail("write", BackendUnavailable("sealed"))
    with serving(stage) as address:
        asked = f"{stage.record.awaiting.expires_at:%Y-%m-%d}"
        said = words(send(address, key.secret.reveal(), expires="as-requested", asked=asked))
        assert "not in place everywhere yet" in said
        assert "finished by the service" in said
        stage.clock.advance(stage.policy.check_every)
        stage.look()
        said = again(address)
        assert f"{key.facts.key_id} is accepted" in said
        assert "not in place" not in said
        stage.clock.current = stage.record.current.expires_at - stage.policy.renew_before
        stage.look()
        assert "is accepted" in again(address)
        stage.submit(stage.make_key().secret)
        assert stage.record.current.key_id != key.facts.key_id
        assert "The key that is in place is another one by now" in again(address)


def test_what_a_stop_broke_off_half_way_is_taken(stage: AssistedStage) -> None:
    """Whatever was raised in its middle, the journal knows how far it got."""
    key = stage.make_key()
    stage.backends["two"].fail("write", Stopping("the service is shutting down"))
    with serving(stage) as address:
        said = words(send(address, key.secret.reveal()))
        assert "not in place everywhere yet" in said
        assert "the service is shutting down" in said
        assert "not certain" not in said
        stage.look()
        assert f"{key.facts.key_id} is accepted" in again(address)


def test_a_key_that_got_nowhere_can_be_handed_over_again_and_is_told_as_not_taken(stage: AssistedStage) -> None:
    key = stage.make_key()
    for name in ("one", "two"):
        stage.backends[name].fail("write", BackendUnavailable("sealed"))
    with serving(stage) as address:
        said = words(send(address, key.secret.reveal()))
        assert "Not taken yet" in said
        assert "hand the same one over again" in said
        stage.clock.advance(stage.policy.renew_before)
        assert "The key was not taken" in again(address)
        give_link(stage, "a-newer-one")
        assert "is accepted" in words(send(address, key.secret.reveal(), path=f"{PREFIX}chat/a-newer-one"))


def test_under_the_name_of_another_policy_nothing_is_told(stage: AssistedStage) -> None:
    with serving(stage) as address:
        send(address, stage.make_key().secret.reveal())
        other = httpx.get(f"{address}{PREFIX}other/{TOKEN}")
    assert (other.status_code, "opens nothing" in other.text) == (404, True)


def test_what_the_page_showed_is_recorded_although_another_date_is_asked_for_by_now(stage: AssistedStage) -> None:
    """The person gave the key the date that they had read: it ends then."""
    shown = stage.record.awaiting.expires_at
    short = shown - max(stage.policy.renew_before, stage.policy.lifetime / 2)
    stage.clock.current = short - stage.policy.lifetime / 100
    stage.look()
    give_link(stage, valid=stage.policy.lifetime)
    with serving(stage) as address:
        page = httpx.get(address + LINK).text
        assert f'name="asked" value="{shown:%Y-%m-%d}"' in page
        stage.clock.current = short + stage.policy.lifetime / 100
        stage.look()
        assert stage.record.awaiting.expires_at > shown
        said = words(send(address, stage.make_key().secret.reveal(), expires="as-requested", asked=f"{shown:%Y-%m-%d}"))
    assert "is accepted" in said
    assert stage.record.current.expires_at == shown


@pytest.mark.parametrize(
    "wrong",
    [
        {"expires": ""},
        {"expires": "ne"},
        {"expires": "as-requested"},
        {"expires": "as-requested", "asked": "soon"},
        {"expires": "never", "date": "2027-01-01"},
        {"expires": "other", "date": "2027-13-01"},
    ],
)
def test_an_answer_that_the_form_does_not_have_is_no_answer(stage: AssistedStage, wrong: dict[str, str]) -> None:
    with serving(stage) as address:
        said = words(send(address, stage.make_key().secret.reveal(), **wrong))
    assert "nothing was taken" in said
    assert stage.record.current is None


def test_a_link_that_a_newer_one_replaced_while_a_look_was_waited_for_takes_nothing(stage: AssistedStage) -> None:
    key = stage.make_key()
    with serving(stage) as address:
        meanwhile(stage, lambda: give_link(stage, "a-newer-one"))
        assert "a newer link was made" in words(send(address, key.secret.reveal()))
        assert [stage.record.current, stage.record.keys] == [None, ()]
        assert "is accepted" in words(send(address, key.secret.reveal(), path=f"{PREFIX}chat/a-newer-one"))


def test_where_the_provider_makes_the_keys_by_now_the_link_opens_nothing(stage: AssistedStage) -> None:
    with serving(stage) as address:
        stage.change(assistance=None)
        page = httpx.get(address + LINK)
        assert (page.status_code, "opens nothing" in page.text) == (404, True)
        assert send(address, stage.make_key().secret.reveal()).status_code == 404
    assert stage.record.keys == ()


def test_whatever_a_form_meets_the_browser_is_sent_on(stage: AssistedStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it keeps none to send again."""

    def fail(*_: object, **__: object) -> None:
        raise error

    key = stage.make_key().secret.reveal()
    with serving(stage) as address:
        error: Exception = RuntimeError("a defect of ours")
        monkeypatch.setattr(stage, "desk", SimpleNamespace(hand_over=fail))
        sent = httpx.post(address + LINK, data=form(key))
        assert (sent.status_code, sent.headers["Location"]) == (303, LINK)
        said = again(address)
        assert "a defect, the log has its traceback" in said
        assert "a defect of ours" not in said
        monkeypatch.undo()
        error = JournalUnavailable("gone")
        monkeypatch.setattr(stage, "journal", SimpleNamespace(load=fail))
        sent = httpx.post(address + LINK, data=form(key))
        assert (sent.status_code, sent.headers["Location"]) == (303, LINK)
        monkeypatch.undo()
        said = again(address, f"{LINK}?again")
        assert "too many keys are handed over at this moment: nothing was taken" in said
        assert "is accepted" in words(send(address, key, path=f"{LINK}?again"))
    assert [one.state for one in stage.record.keys] == [KeyState.CURRENT]
