"""Whether a history is whole: nothing in it was changed, taken out, put in, moved or cut off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rotator.domain.chain import OWN, ChainBegun, Entry, Head, Pruned, Sealed

MOST_TOLD = 50
"""So many faults are told in full."""


_NOTHING = Head()


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What a journal knows of its chains beside their entries, at the same moment.

    :param heads: where each ends.
    :param sealed: so much of each is named by a seal; 0 as well where it is not there.
    :param can_seal: it has a place for the head of its own chain; without one nothing is sealed any more.
    """

    heads: Mapping[str, Head]
    sealed: Mapping[str, int] = field(default_factory=dict)
    can_seal: bool = True

    def of(self, policy: str) -> Remembered:
        """What concerns one policy, and the journal's own chain."""
        names = {policy, OWN}
        heads = {name: head for name, head in self.heads.items() if name in names}
        sealed = {name: number for name, number in self.sealed.items() if name in names}
        return replace(self, heads=heads, sealed=sealed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A head of the journal's own chain, as it was written down elsewhere."""

    at: str
    head: Head


@dataclass(slots=True, kw_only=True)
class Report:
    """What a verification found.

    :param faults: a sentence each, at most ``MOST_TOLD``; empty where all is well.
    :param more: how many faults there are beside these.
    :param notes: what a reader must know besides, a sentence each.
    """

    chains: int = 0
    events: int = 0
    seals: int = 0
    anchors: int = 0
    faults: list[str] = field(default_factory=list)
    more: int = 0
    notes: list[str] = field(default_factory=list)

    def blame(self, policy: str, sentence: str) -> None:
        """One more fault."""
        if len(self.faults) < MOST_TOLD:
            self.faults.append(f"{_named(policy)}: {sentence}")
        else:
            self.more += 1


@dataclass(slots=True)
class _Chain:
    """What is known of one chain so far."""

    first: Entry | None = None
    last: Head = _NOTHING
    older: int = 0
    begun_at: str = ""
    pruned: dict[Head, str] = field(default_factory=dict)


class Verification:
    """Is fed every entry in the order of the chains, the journal's own first; then ``report`` judges.

    :param anchors: heads that were written down elsewhere.
    """

    def __init__(self, anchors: Sequence[Anchor] = ()) -> None:
        self._report = Report(anchors=len(anchors))
        self._chains: dict[str, _Chain] = {}
        # What others say that an event's hash is: by chain and number, who says so.
        self._told: dict[str, dict[int, list[tuple[str, str]]]] = {}
        self._sealed: dict[str, int] = {}
        for anchor in anchors:
            self._expect(OWN, anchor.head, f"the anchor of {anchor.at}")

    def feed(self, entries: Iterable[Entry]) -> None:
        """Look at some more of them."""
        for entry in entries:
            self._look(entry)

    def report(self, known: Remembered, *, whole: bool = True) -> Report:
        """The judgement.

        :param known: what the journal told beside the entries, in the same transaction or the same export.
        :param whole: these are all chains there are.
        """
        report = self._report
        report.chains = len(self._chains.keys() - {OWN})
        names = self._chains.keys() | known.heads.keys() | known.sealed.keys() | (self._told.keys() if whole else set())
        for policy in sorted(names, key=str):
            chain = self._chains.get(policy, _Chain())
            self._begins_well(policy, chain)
            self._ends_well(policy, chain, known.heads.get(policy, _NOTHING))
            self._was_compared(policy, chain, known.sealed.get(policy, 0))
        if not known.can_seal:
            report.blame(OWN, "the place of its head is gone, so that nothing is sealed any more")
        if whole and not report.events and not report.faults:
            report.faults.append("there is nothing: no event was ever recorded, or all of them were taken out")
        self._note_unsealed()
        return report

    def _look(self, entry: Entry) -> None:
        report, chain = self._report, self._chains.setdefault(entry.policy, _Chain())
        report.events += 1
        if type(entry.number) is not int or entry.number < 1:
            report.blame(entry.policy, f"an event of {entry.at} has a number that none can have: {entry.number!r:.40}")
            return
        if entry.policy == OWN and chain.first is None and len(self._chains) > 1:
            report.blame(OWN, "it comes after others: what its seals name could not be compared with these")
        body = self._read(entry)
        self._follows(entry, chain)
        told = self._told.get(entry.policy, {}).pop(entry.number, ())
        for hash_, who in told:
            if hash_ != entry.hash:
                report.blame(entry.policy, f"event {entry.number} of {entry.at} is not the one that {who} names")
        chain.first = chain.first or entry
        chain.last = entry.head
        if body is not None:
            self._take(entry, body, chain)

    def _read(self, entry: Entry) -> Mapping[str, Any] | None:
        """Its body; ``None`` where that can't be read."""
        try:
            entry.check()
            digest, body = entry.digest(), entry.fields()
        except ValueError as error:
            self._report.blame(entry.policy, f"event {entry.number} can't be read: {error}")
            return None
        if digest != entry.hash:
            self._report.blame(entry.policy, f"event {entry.number} of {entry.at} was changed: {entry.kind}")
        return body

    def _follows(self, entry: Entry, chain: _Chain) -> None:
        if chain.first is None:
            return
        number, due = entry.number, chain.last.number + 1
        if number > due:
            span = f"event {due} is" if number == due + 1 else f"events {due} to {number - 1} are"
            self._report.blame(entry.policy, f"{span} missing")
            told = self._told.get(entry.policy, {})
            for missing in [one for one in told if due <= one < number]:
                del told[missing]  # it is one fault
        elif number < due:
            self._report.blame(entry.policy, f"event {number} comes after event {chain.last.number}")
        elif entry.previous != chain.last.hash:
            sentence = f"event {number} of {entry.at} does not follow event {number - 1}: one of them was exchanged"
            self._report.blame(entry.policy, sentence)

    def _take(self, entry: Entry, body: Mapping[str, Any], chain: _Chain) -> None:
        """What an entry says of others."""
        try:
            match entry.kind:
                case ChainBegun.__name__:
                    chain.older, chain.begun_at = int(body["older"]), entry.at
                case Pruned.__name__:
                    told = f"the last ones ({body['since']} to {body['until']}) on {entry.at}"
                    chain.pruned[Head(int(body["last"]), str(body["hash"]))] = told
                case Sealed.__name__ if entry.policy == OWN:
                    self._report.seals += 1
                    heads = {policy: _head(given) for policy, given in body["heads"].items()}
                    for policy, head in heads.items():
                        self._expect(policy, head, f"the seal of {entry.at}")
                        self._sealed[policy] = head.number
        except (AttributeError, KeyError, TypeError, ValueError):
            self._report.blame(entry.policy, f"event {entry.number} of {entry.at} lacks what a {entry.kind} has")

    def _expect(self, policy: str, head: Head, who: str) -> None:
        if head.number:
            self._told.setdefault(policy, {}).setdefault(head.number, []).append((head.hash, who))

    def _begins_well(self, policy: str, chain: _Chain) -> None:
        first = chain.first
        if first is None:
            return
        if first.number == 1:
            if first.previous:
                self._report.blame(policy, "event 1 has one before it")
        elif told := chain.pruned.get(Head(first.number - 1, first.previous)):
            self._report.notes.append(f"{_named(policy)}: events 1 to {first.number - 1} were pruned, {told}")
        else:
            self._report.blame(policy, f"events 1 to {first.number - 1} are missing, and no pruning says so")
        if chain.older and first.number <= chain.older:
            sentence = f"events {first.number} to {chain.older} are older than the chain: protected since"
            self._report.notes.append(f"{_named(policy)}: {sentence} {chain.begun_at}")

    def _ends_well(self, policy: str, chain: _Chain, head: Head) -> None:
        try:
            head = _head(head)
        except (TypeError, ValueError):
            self._report.blame(policy, "what is recorded of its end can't be read")
            return
        last, told = chain.last, self._told.get(policy, {})
        beyond = sorted(number for number in told if number > last.number)
        if last.number < head.number:
            self._report.blame(policy, f"it is cut: it ends with event {last.number}, and there were {head.number}")
        elif beyond:
            who = told[beyond[-1]][0][1]
            sentence = f"it is cut: it ends with event {last.number}, and {who} names event {beyond[-1]}"
            self._report.blame(policy, sentence)
        elif last.number > head.number:
            self._report.blame(policy, f"event {head.number + 1} was never recorded as part of it")
        elif last.hash != head.hash:
            self._report.blame(policy, f"event {last.number} is not the last one that was recorded")

    def _was_compared(self, policy: str, chain: _Chain, sealed: int) -> None:
        """Whether every head that a seal or an anchor names was met."""
        told, first = self._told.get(policy, {}), chain.first.number if chain.first else 1
        for number in sorted(told):
            if first <= number <= chain.last.number:
                self._report.blame(policy, f"event {number} was not compared: {told[number][0][1]} comes after it")
        if type(sealed) is not int or sealed > self._sealed.get(policy, 0):
            self._report.blame(policy, f"the seal that names its event {sealed!r:.20} is missing")
        if policy == OWN and (forgotten := sum(number < first for number in told)):
            self._report.notes.append(f"{forgotten} anchors are older than what is kept: nothing can be said of them")

    def _note_unsealed(self) -> None:
        loose = sum(
            max(0, chain.last.number - self._sealed.get(policy, 0))
            for policy, chain in self._chains.items()
            if policy != OWN
        )
        if loose:
            self._report.notes.append(f"events that no seal names: {loose}; a cut among these can stay unseen")


def _head(given: Sequence[Any]) -> Head:
    """Raises ``TypeError``, ``ValueError``."""
    number, hash_ = given
    if type(number) is not int or not isinstance(hash_, str):
        raise TypeError
    return Head(number, hash_)


def _named(policy: object) -> str:
    if not isinstance(policy, str):
        return f"{policy!r:.40}"
    return policy or "the journal's own chain"
