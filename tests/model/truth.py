"""The ground truth judges: each effect at the moment at which it happens, and each look at its end.

What a person did while a look was under way is no fault of that look.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from rotator.domain.events import Event, KeyIssued, OrphanFound
from rotator.domain.model import Destination, Drift, KeyFacts, Policy
from rotator.domain.naming import is_name_of
from rotator.domain.record import PolicyRecord
from rotator.domain.request_events import RevocationRequested
from rotator.domain.secret import Fingerprint
from rotator.service.desk import Handover, Taken
from rotator.service.gather import OBSERVATION_MAX_AGE
from rotator.service.reconcile import Outcome, Result
from tests.model.history import EMPTY, GARBAGE, History, Put, Turn

SECONDS = timedelta(seconds=10)
"""Of a grace, that nobody counts: a provider that lags lets a look believe in a key that a person has just revoked."""


class Truth(History):
    """Told of every effect of every holder."""

    def created(self, turn: Turn, facts: KeyFacts) -> None:
        self.maker[facts.key_id] = turn.policy.name
        now = self.policies.get(turn.policy.name)
        self.unseen |= {facts.key_id} if now and now.assisted else set()
        self.tell(f"{turn.holder} creates {facts.key_id} for {turn.policy.name}")
        self.listing_changed()
        self._may_act(turn, f"created {facts.key_id}")

    def about_to_revoke(self, turn: Turn, key_id: str) -> None:
        """Promises 2 and 7, at the moment of the revocation."""
        self.tell(f"{turn.holder} revokes {key_id} for {turn.policy.name}")
        if key_id not in self.ever_held and self.is_left_to_its_owner(key_id):
            self.blame("7: a key that was handed over in vain was revoked", f"{key_id} for {turn.policy.name}")
        self._may_end(turn, key_id)

    def recorded(self, turn: Turn, events: Sequence[Event]) -> None:
        """Where people make and revoke keys, an entry of the journal is what a person acts on."""
        for event in events:
            if isinstance(event, KeyIssued | OrphanFound):
                self.tell(f"{turn.holder} takes {event.key.key_id} for {turn.policy.name}")
                known = {key_id for key_id, name in self.maker.items() if name not in self.unlooked}
                if event.key.key_id in self.ever_held - known:
                    self.waived.add(event.key.key_id)  # a person hands over what others use: they are told to look
                self.maker[event.key.key_id] = turn.policy.name
                self.in_vain.discard(event.key.key_id)
                if turn.policy.assisted and isinstance(event, OrphanFound):
                    self.in_vain.add(event.key.key_id)
                if isinstance(event, KeyIssued):  # it may have lain there before: now it replaces what lies there
                    self.complete[turn.policy.name].discard(event.key.key_id)
                    for destination in turn.policy.destinations:
                        self.lay_at[destination.name].discard(event.key.key_id)
            elif isinstance(event, RevocationRequested):
                self.tell(f"{turn.holder} asks a person to revoke {event.key_id} for {turn.policy.name}")
                self.ever_asked[event.key_id] = self.tick
                if self.is_accepted(event.key_id):
                    self._may_end(turn, event.key_id)

    def answered(self, turn: Turn, answer: Handover, fingerprint: Fingerprint) -> None:
        """What a person is told of the key that they handed over."""
        self.tell(f"the person is told: {answer.taken} {answer.told}")
        key_id = self.provider._ids_by_fingerprint[fingerprint]
        is_judged = answer.taken is Taken.ACCEPTED and self.owner.get(turn.policy.name) is turn
        is_judged = is_judged and not self._person_acted(turn) and self._is_configured(turn)
        if is_judged and set(self.holds_of(turn.policy)) != {key_id}:
            self.blame("assisted: a key was said to be taken, and is not in place", f"{key_id} of {turn.policy.name}")

    def asks(self, turn: Turn, outcome: Outcome, record: PolicyRecord) -> None:
        """After a fine look a person may act on each request that stands.

        That every place had its replacement was so when it was opened; what people have done since is theirs.
        """
        if not turn.policy.assisted or outcome.result is not Result.OK or turn.policy.name in self.on_hold:
            return
        for key in record.keys:
            if key.revocation and not self._person_acted(turn) and self.is_accepted(key.key_id):
                self._is_free(turn, key.key_id)

    def manages(self, turn: Turn, call: str) -> None:
        """Where people make the keys, no endpoint is called that would."""
        if turn.policy.assisted:
            self.blame("assisted: an endpoint that manages keys was called", f"{call} for {turn.policy.name}")

    def is_left_to_its_owner(self, key_id: str) -> bool:
        """Handed over in vain, and the rotator makes the keys now: somebody may use it elsewhere."""
        policy = self.policies.get(self.maker.get(key_id, ""))
        is_api = policy is not None and not policy.assisted
        name = self.provider._keys[key_id].facts.name
        return key_id in self.in_vain and is_api and not is_name_of(name, policy.instance, policy.name)

    def _may_end(self, turn: Turn, key_id: str) -> None:
        policy = turn.policy
        if key_id not in self.maker or key_id in self.ever_held:
            self._may_act(turn, f"revoked {key_id}")  # what it made and never published, its maker may always end
        self._is_free(turn, key_id)
        if (key_id in self.maker and key_id not in self.lay_in[policy.name]) or key_id in self.waived:
            return
        if self._person_acted(turn) or not self._is_configured(turn):
            return
        held = set(self.holds_of(policy))
        # In the middle of the next rotation some places hold its key, and the others the one before: newer ones, both.
        ours = {one for one in held if self._is_made_for(one, policy) or one in self.ever_overwritten[policy.name]}
        # Of a key that lay somewhere for a moment it is enough that every place has a working one.
        differ = len(held) != 1 and held != ours and key_id in self.complete[policy.name]
        if differ or not all(self.is_accepted(one) for one in held):
            self.blame("2: revoked with no proven replacement", f"{key_id}; {policy.name} holds {sorted(held)}")

    def _is_free(self, turn: Turn, key_id: str) -> None:
        """It is ours, no place holds it, and its graces are over."""
        self._is_ours(turn, key_id, "revoked")
        for owner, destination in self.holders(key_id):
            if not self._is_excused(turn, owner, destination):
                self.blame("2: revoked while a destination holds it", f"{key_id} in {destination}")
        if (key_id in self.maker and key_id not in self.ever_held) or key_id in self.waived:
            return
        self._graces_over(turn, key_id, self.now(), "2: revoked in {} grace")

    def expiration_set(self, turn: Turn, key_id: str, before: datetime | None, expires_at: datetime | None) -> None:
        """An expiration that is brought forward is a revocation that comes later; one that is given back is none."""
        at = f"at {expires_at:%m-%d %H:%M:%S}" if expires_at else "never"
        self.tell(f"{turn.holder} lets {key_id} expire {at} for {turn.policy.name}")
        self._may_act(turn, f"set the expiration of {key_id}")
        self.listing_changed()
        self._is_ours(turn, key_id, "given an expiration")
        if expires_at is None or (before is not None and before <= expires_at):
            return
        for owner, destination in self.holders(key_id):
            if not self._is_excused(turn, owner, destination):
                self.blame("2: given an expiration while a destination holds it", f"{key_id} in {destination}")
        if key_id not in self.waived:
            self._graces_over(turn, key_id, expires_at, "2: expires in {} grace")

    def wrote(self, turn: Turn, destination: Destination, before: str, sent_at: datetime) -> None:
        """Promise 1, at the moment of the write.

        :param sent_at: when it was about to be sent; a process that was paused since can't call it back.
        """
        after, policy = self.holds(destination), turn.policy
        if after == before:
            return
        self.tell(f"{turn.holder} writes {after} over {before or 'nothing'} in {destination.name}")
        self._may_act(turn, f"wrote {destination}")
        is_again = policy.drift is Drift.RESTORE and after in self.lay_at[destination.name]
        self.ever_held.add(after)
        self.ever_written.add(after)
        self.lay_in[policy.name].add(after)
        self.lay_at[destination.name].add(after)
        if self.ever_asked.get(after, turn.tick) < turn.tick and after not in self.waived:
            self.blame("1: a key was written that a person was asked to revoke", f"{after} in {destination}")
        value = self.backends[destination.backend].read(destination).value
        self.secrets[after] = value.reveal() if value else ""
        last = self.puts.get(destination.name)
        # A person may put there what the look is about to put there itself: that is not theirs alone.
        is_news = before != self.saw[turn].get(destination.name) and before not in self.brought[turn]
        self.brought[turn].add(after)
        if last is not None and last.by_person and last.tick > turn.tick and is_news and before:
            self.blame("1: a person's value was overwritten", f"{destination}: {before} by {after}")
        ends, skew = self.expires_at(after), self.provider._now() - self.now()
        is_too_late = ends is not None and sent_at < ends - skew
        if not (self.is_accepted(after) or is_too_late) and self.person_killed.get(after, 0) <= turn.tick:
            self.blame("1: a refused key was published", f"{after} in {destination}")
        self._leaves(destination, before)
        self.ever_displaced[policy.name].add(before)
        self.puts[destination.name] = Put(by_person=False, tick=self.tick, at=self.now())
        self.pending[policy.name].discard(after)  # it may be put back
        self.replaced_at.pop((policy.name, after), None)
        self.overwritten[policy.name].discard(after)
        # Drift, undone: it is left to whom it belongs.
        is_theirs = self.maker.get(before) != policy.name and (is_again or after in self.complete[policy.name])
        # After a loss of the journal it may as well be what a rotation had not reached.
        is_unclear = is_theirs and policy.name in self.unlooked
        if before not in {EMPTY, GARBAGE} and (is_unclear or not is_theirs):
            self.pending[policy.name].add(before)
            self.replaced_at.pop((policy.name, before), None)
            if self.is_accepted(before) and self.project_of(before) == policy.project:
                self.overwritten[policy.name] |= set() if is_unclear else {before}
                self.ever_overwritten[policy.name].add(before)
        self.moved()

    def finished(self, turn: Turn, outcome: Outcome, *, undisturbed: bool) -> None:
        """What a look that ended says of itself has to be so.

        :param undisturbed: nothing failed in it, not even what it got over.
        """
        self.tell(f"{turn.holder} looked at {turn.policy.name}: {outcome.result} {outcome.check} {outcome.problems}")
        for problem in outcome.problems:
            if problem.startswith("unexpected"):
                self.blame("defect: unexpected error", problem)
        if outcome.result is not Result.OK or self._person_acted(turn) or not self._is_configured(turn):
            return
        if turn.policy.name in self.on_hold:
            return
        if turn.policy.assisted and outcome.check == "AwaitingKey":
            return  # all that can be done is to ask
        self.unlooked.discard(turn.policy.name)
        self.fine_looks[turn.policy.name] = self.tick
        if turn.policy.name in self.compromise_open:
            self._owes_no_grace_any_more(turn.policy.name)
        self._fine_places(turn, outcome)
        if undisturbed:
            self._leaked_keys_ended(turn)
        self._gives_back(turn)
        self.settled[turn.policy.name] |= set(self.holds_of(turn.policy))

    # --- inside ----------------------------------------------------------------------------------------------------

    def _fine_places(self, turn: Turn, outcome: Outcome) -> None:
        """Every place of the policy holds a key that is accepted until the next look."""
        for destination in turn.policy.destinations:
            key_id = self.holds(destination)
            if turn.policy.assisted and key_id not in self.maker and key_id not in {EMPTY, GARBAGE}:
                continue  # nobody has told when a person's key ends
            if not self.is_accepted(key_id):
                # One that ended while the look slept is replaced by the next look, which comes at once.
                if outcome.next_at > self.now():
                    self.blame("1: a fine look left a refused key", f"{key_id or 'nothing'} in {destination}")
                continue
            ends = self.expires_at(key_id)
            if ends is not None and ends <= outcome.next_at:
                self.blame("1: a fine look leaves a key that ends before the next", f"{key_id} in {destination}")

    def _may_act(self, turn: Turn, what: str) -> None:
        """Promise 5: what a former holder was about to send can't be called back; that is one effect, no more."""
        name = turn.policy.name
        held_since = self.on_hold.get(name)
        if held_since is not None and held_since <= turn.tick:
            self.blame("hold: something was done on hold", f"{turn.holder} {what} for {name}")
        if self.was_sent_before or self.owner.get(name) is turn:
            return
        if turn in self.overtaken:
            self.blame("5: a former holder went on", f"{turn.holder} {what} for {name}")
        self.overtaken.add(turn)

    def _leaked_keys_ended(self, turn: Turn) -> None:
        """Another policy that holds a key, or held it, has its own say on when it ends."""
        name = turn.policy.name
        for key_id in sorted(self.leaked.pop(name, set())):
            elsewhere = [other for other, key in (*self.left_at, *self.replaced_at) if key == key_id and other != name]
            elsewhere += [other for other in self.unlooked & self.policies.keys() if other != name]
            elsewhere += [other for other in self.policies if other != name and self.maker.get(key_id) == other]
            elsewhere += [other for other in self.policies if other != name and key_id in self.settled[other]]
            elsewhere += [other for other, keys in self.ever_displaced.items() if other != name and key_id in keys]
            # It has leaked there, too, and goes with the answer to that, which may wait for a person.
            elsewhere += [other for other in self.compromise_open if other != name and key_id in self.seen[other]]
            # Of places of other projects nobody knows more than what their own look saw there last.
            others = [place for other in self.policies.values() if other.name != name for place in other.destinations]
            elsewhere += [place.name for place in others if self.last_seen.get(place.name) == key_id]
            is_others = self.project_of(key_id) != turn.policy.project
            if turn.policy.assisted and key_id in self.ever_asked:
                continue
            if self.is_accepted(key_id) and not (elsewhere or is_others or self.lies_anywhere(key_id)):
                self.blame("2: a leaked key lives on", f"{key_id} of {name}")

    def _is_ours(self, turn: Turn, key_id: str, what: str) -> None:
        policy = turn.policy
        if self.project_of(key_id) != policy.project:
            self.blame("7: another project's key was touched", f"{key_id} was {what} for {policy.name}")
        if key_id in self.maker or self._is_made_for(key_id, policy):
            return
        if key_id not in self.seen[policy.name] | self.ever_overwritten[policy.name]:
            self.blame("7: a key that is not ours was touched", f"{key_id} was {what} for {policy.name}")

    def _is_made_for(self, key_id: str, policy: Policy) -> bool:
        """By us, or by a person with the name that they were asked to give it."""
        key = self.provider._keys.get(key_id)
        has_name = key is not None and is_name_of(key.facts.name, policy.instance, policy.name)
        return has_name or self.maker.get(key_id) == policy.name

    def _gives_back(self, turn: Turn) -> None:
        """A person's key that lies nowhere any more, and that we did not replace, is theirs, unless it has leaked."""
        name = turn.policy.name
        held = set(self.holds_of(turn.policy))
        ours = self.ever_overwritten[name] | self.ever_written | self.maker.keys() | self.waived
        theirs = self.seen[name] - held - ours
        self.seen[name] -= theirs
        self.given_back[name] |= theirs
        self.settled[name] -= theirs

    def _owes_no_grace_any_more(self, name: str) -> None:
        """A leak was answered: every key of the policy but the new one has lost its grace, for whomever asks."""
        self.compromise_open.discard(name)
        self.waived |= (self.seen[name] | self.ever_overwritten[name]) - set(self.holds_of(self.policies[name]))
        for graces in (self.replaced_at, self.left_at):
            for pair in [pair for pair in graces if pair[0] == name]:
                del graces[pair]

    def _graces_over(self, turn: Turn, key_id: str, at: datetime, form: str) -> None:
        for name, policy in self.policies.items():
            kind = form.format("its" if name == turn.policy.name else "another policy's")
            if name in self.compromise_open:
                continue  # every key but the new one goes at once, even one that was made meanwhile
            # What a person took out while the look was under way has no consumers that the look could lose.
            excused = name == turn.policy.name and self._person_acted(turn)
            if key_id in self.pending[name] and key_id not in self.holds_of(policy) and not excused:
                self.blame(kind, f"{key_id}: the destinations of {name} do not all hold its replacement yet")
            left = self.left_at.get((name, key_id))
            if left is not None and at < left + min(self.graces[name]) - SECONDS:
                self.blame(f"{kind} after it lay in a destination", f"{key_id}: left {name} at {left:%m-%d %H:%M:%S}")
            since = self.replaced_at.get((name, key_id))
            if since is not None and at < since + min(self.graces[name]) - SECONDS:
                self.blame(kind, f"{key_id}: {name} replaced it at {since:%m-%d %H:%M:%S}")

    def _is_excused(self, turn: Turn, owner: Policy, destination: Destination) -> bool:
        """A person put it there, or configured the place, too late for this look to see it."""
        if self.configured.get(destination.name, 0) > turn.tick:
            return True
        last = self.puts.get(destination.name)
        if last is None or not last.by_person:
            return False
        blind = OBSERVATION_MAX_AGE if owner.name != turn.policy.name else timedelta(0)
        return last.tick > turn.tick or last.at >= turn.began - blind

    def _person_acted(self, turn: Turn) -> bool:
        return self.tick > turn.tick

    def _is_configured(self, turn: Turn) -> bool:
        return self.policies.get(turn.policy.name) == turn.policy
