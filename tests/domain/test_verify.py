"""Whatever is done to a history shows; and the report says what and where."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain as joined

import pytest

from rotator.domain.chain import OWN, Entry, Head, canonical, entry_of, read_object
from rotator.domain.verify import MOST_TOLD, Anchor, Remembered, Verification

AT = "2026-11-23T12:00:00.000000+00:00"


def grown(policy, *bodies, after=()):
    """A chain of these, each a (kind, body)."""
    entries = list(after)
    for kind, body in bodies:
        head = entries[-1].head if entries else Head()
        entry = Entry(
            policy=policy, number=head.number + 1, at=AT, who="service@here", token=1, kind=kind, body=canonical(body),
            previous=head.hash,
        )  # fmt: skip
        entries.append(replace(entry, hash=entry.digest()))
    return entries


def held(number):
    return ("Held", {"reason": f"{number}"})


CHAT = grown("chat", *map(held, range(6)))
SEAL = ("Sealed", {"heads": {"chat": [4, CHAT[3].hash]}})
SEALED = grown(OWN, SEAL)
HEADS = {OWN: SEALED[-1].head, "chat": CHAT[-1].head}


def judge(*chains, heads=HEADS, anchors=(), **known):
    verification = Verification(anchors)
    verification.feed(joined(*chains))
    return verification.report(Remembered(heads=heads, **known))


def changed(number, /, **fields):
    return [replace(entry, **fields) if entry.number == number else entry for entry in CHAT]


def rehashed(number, **fields):
    entry = replace(CHAT[number - 1], **fields)
    return [*CHAT[: number - 1], replace(entry, hash=entry.digest()), *CHAT[number:]]


def anew(number, **fields):
    """Everything from there on is computed anew."""
    kept = rehashed(number, **fields)[:number]
    return grown("chat", *((entry.kind, entry.fields()) for entry in CHAT[number:]), after=kept)


TAMPERED = {
    "a text": (changed(3, body='{"reason":"9"}'), f"event 3 of {AT} was changed: Held"),
    "a time": (changed(3, at="2026-11-23T13:00:00.000000+00:00"), "was changed"),
    "a name": (changed(3, who="operator eve@here"), "was changed"),
    "a kind": (changed(3, kind="Heldd"), "was changed"),
    "a lease": (changed(3, token=2), "was changed"),
    "the chain it is in": (changed(3, previous="0" * 64), "was changed"),
    "a field named twice": (changed(3, body='{"reason":"9","reason":"2"}'), "event 3 can't be read: a field is named"),
    "no JSON": (changed(3, body="{"), "event 3 can't be read"),
    "a text with its hash": (rehashed(3, body='{"reason":"9"}'), "event 4 of " + AT + " does not follow event 3"),
    "a text with all hashes": (anew(3, body='{"reason":"9"}'), "event 4 of " + AT + " is not the one that the seal of"),
    "the last text with its hash": (rehashed(6, body='{"reason":"9"}'), "event 6 is not the last one that was"),
    "a gap of one": ([*CHAT[:2], *CHAT[3:]], "event 3 is missing"),
    "a gap": ([*CHAT[:2], *CHAT[4:]], "events 3 to 4 are missing"),
    "the beginning": (CHAT[2:], "events 1 to 2 are missing, and no pruning says so"),
    "an exchange": ([*CHAT[:2], CHAT[3], CHAT[2], *CHAT[4:]], "event 3 comes after event 4"),
    "an event told twice": ([*CHAT[:3], *CHAT[2:]], "event 3 comes after event 3"),
    "a cut": (CHAT[:5], "it is cut: it ends with event 5, and there were 6"),
    "everything": ([], "it is cut: it ends with event 0, and there were 6"),
    "one more": (grown("chat", held(6), after=CHAT), "event 7 was never recorded as part of it"),
    "a forged pruning": (
        grown("chat", ("Pruned", {"first": 1, "last": 2, "hash": "0" * 64, "since": AT, "until": AT}), after=CHAT)[2:],
        "events 1 to 2 are missing, and no pruning says so",
    ),
    "a pruning without its times": (
        grown("chat", ("Pruned", {"first": 1, "last": 2, "hash": CHAT[1].hash}), after=CHAT)[2:],
        "lacks what a Pruned has",
    ),
    "a number below the first": ([replace(CHAT[0], number=-1), *CHAT], f"an event of {AT} has a number that none can"),
    "the number nought": ([replace(CHAT[0], number=0), *CHAT], "has a number that none can have: 0"),
    "a number that is a text": (changed(3, number="x"), "has a number that none can have: 'x'"),
    "a text that is none": (changed(3, body=b"\x00"), "event 3 can't be read: a field of another kind"),
    "a hash that is none": (changed(3, hash=b"\x00"), "event 3 can't be read: a field of another kind"),
    "a lease that is none": (changed(3, token="1"), "event 3 can't be read: a field of another kind"),
    "a text of great depth": (changed(3, body='{"a":' + "[" * 100_000), "event 3 can't be read: it is nested too deep"),
    "a pruning without its fields": (grown("chat", ("Pruned", {}), after=CHAT), "lacks what a Pruned has"),
}  # fmt: skip


@pytest.mark.parametrize(("entries", "told"), TAMPERED.values(), ids=TAMPERED.keys())
def test_what_is_done_to_a_chain_shows(entries, told):
    faults = judge(SEALED, entries).faults
    assert any(fault.startswith("chat: ") and told in fault for fault in faults), faults


def test_a_history_that_nobody_touched_is_whole():
    report = judge(SEALED, CHAT)
    assert (report.faults, report.events, report.chains, report.seals) == ([], 7, 1, 1)
    assert report.notes == ["events that no seal names: 2; a cut among these can stay unseen"]


def test_one_change_is_one_fault():
    assert len(judge(SEALED, changed(3, body='{"reason":"9"}')).faults) == 1


def test_a_cut_of_which_the_journal_was_told_shows_by_the_seal_and_before_it_by_the_anchor():
    short = {OWN: SEALED[-1].head, "chat": CHAT[2].head}
    (fault,) = judge(SEALED, CHAT[:3], heads=short).faults
    assert fault == f"chat: it is cut: it ends with event 3, and the seal of {AT} names event 4"
    anchor = Anchor(at="yesterday", head=SEALED[-1].head)
    (fault,) = judge(CHAT[:3], heads={"chat": CHAT[2].head}, anchors=[anchor]).faults
    assert (
        fault == "the journal's own chain: it is cut: it ends with event 0, and the anchor of yesterday names event 1"
    )


FORGED = anew(3, who="operator eve@here")


def test_the_seals_come_first_for_what_they_name_is_compared_with_what_comes_after_them():
    heads = {**HEADS, "chat": FORGED[-1].head}
    anchor = Anchor(at="yesterday", head=SEALED[-1].head)
    faults = judge(FORGED, SEALED, heads=heads, anchors=[anchor]).faults
    assert faults == [
        "the journal's own chain: it comes after others: what its seals name could not be compared with these",
        f"chat: event 4 was not compared: the seal of {AT} comes after it",
    ]


@pytest.mark.parametrize("body", [{"heads": []}, {"heads": {"chat": ["4", ""]}}, {"heads": {"chat": [4]}}, {}])
def test_a_seal_of_another_form_is_a_fault(body):
    sealed = grown(OWN, ("Sealed", body))
    (fault,) = judge(sealed, CHAT, heads={**HEADS, OWN: sealed[-1].head}).faults
    assert fault == f"the journal's own chain: event 1 of {AT} lacks what a Sealed has"


@pytest.mark.parametrize("head", [Head("x", ""), Head(6, None), Head(6.0, CHAT[5].hash)])
def test_an_end_that_is_recorded_in_another_form_is_a_fault(head):
    (fault,) = judge(SEALED, CHAT, heads={**HEADS, "chat": head}).faults
    assert fault == "chat: what is recorded of its end can't be read"


def test_a_name_that_is_no_text_is_told_as_it_is():
    faults = judge(SEALED, CHAT, [replace(CHAT[0], policy=b"chat")]).faults
    assert "b'chat': event 1 can't be read: a field of another kind" in faults


def test_seals_that_were_taken_out_as_a_whole_are_missed():
    heads = {"chat": CHAT[-1].head}
    report = judge(CHAT, heads=heads, sealed={"chat": 4})
    assert report.faults == ["chat: the seal that names its event 4 is missing"]
    assert report.notes == ["events that no seal names: 6; a cut among these can stay unseen"]
    assert judge(SEALED, CHAT, sealed={"chat": "x"}).faults == ["chat: the seal that names its event 'x' is missing"]
    (fault,) = judge(CHAT, heads=heads, can_seal=False).faults
    assert fault == "the journal's own chain: the place of its head is gone, so that nothing is sealed any more"


def test_a_history_without_any_event_is_not_whole():
    (fault,) = judge(heads={}).faults
    assert fault == "there is nothing: no event was ever recorded, or all of them were taken out"


def test_many_faults_are_counted_and_the_first_are_told():
    report = judge(*([] for _ in range(3)), heads={f"policy {n:03}": Head(1, "x") for n in range(MOST_TOLD + 7)})
    assert (len(report.faults), report.more) == (MOST_TOLD, 7)


def test_a_line_of_an_export_is_read_back_as_the_same_entry():
    assert [entry_of(read_object(entry.line())) for entry in CHAT] == CHAT


def test_a_text_of_great_depth_is_no_line():
    with pytest.raises(ValueError, match="nested too deeply"):
        read_object('{"a":' + "[" * 100_000)


@pytest.mark.parametrize("spoil", [{"format": 2}, {"number": "3"}, {"at": None}, {"more": 1}])
def test_a_line_of_another_form_is_refused(spoil):
    with pytest.raises((TypeError, ValueError)):
        entry_of(read_object(CHAT[0].line()) | spoil)
