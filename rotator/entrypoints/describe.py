"""Actions in a person's words."""

from __future__ import annotations

from functools import singledispatch

from rotator.domain import actions as act
from rotator.domain import request_actions as ask
from rotator.domain.text import duration, text


@singledispatch
def describe(action: act.Action) -> str:
    """What an action does, as a sentence."""
    return type(action).__name__


@describe.register
def _(action: act.Adopt) -> str:
    return f"adopt {action.key.identity.key_id} as the current key"


@describe.register
def _(action: act.Issue) -> str:
    places = ", ".join(action.expected)
    grace = f"; the old one stays valid for {duration(action.grace)}" if action.replaces else ""
    made = f"create a key that expires {text(action.expires_at)}, verify it, publish it to {places}{grace}"
    return made + _then(action.hooks)


@describe.register
def _(action: act.Resume) -> str:
    missing = ", ".join(destination.name for destination in action.missing) or "nothing more"
    return f"finish rotation {action.rotation_id}: publish to {missing}, start the grace{_then(action.hooks)}"


@describe.register
def _(action: act.Abandon) -> str:
    return f"abandon rotation {action.rotation_id}: {action.why}"


@describe.register
def _(action: act.RecordOrphan) -> str:
    return f"record {action.facts.key_id} as an orphan"


@describe.register
def _(action: act.RecordStray) -> str:
    return f"retire {action.facts.key_id}, which has a name of ours and is not in the journal, after a full grace"


@describe.register
def _(action: act.Rebuild) -> str:
    held = ", ".join(action.published)
    return f"record {action.key.identity.key_id}, which {held} holds, as a rotation to be finished"


@describe.register
def _(action: act.Settle) -> str:
    return f"stop looking for a key named {action.key_name}"


@describe.register
def _(action: act.ForwardExpiry) -> str:
    if action.expires_at is None:
        return f"note that {action.key_id} ends by itself soon after its grace"
    return f"let {action.key_id} end by itself at {text(action.expires_at)}"


@describe.register
def _(action: act.GiveExpirationBack) -> str:
    return f"give {action.key_id} its own expiration back: it lies in a place again"


@describe.register
def _(action: act.ExtendGrace) -> str:
    return f"extend the grace of {action.key_id} until {text(action.until)}"


@describe.register
def _(action: act.Revoke) -> str:
    return f"revoke {action.key_id} and see it refused"


@describe.register
def _(action: act.ConfirmRefusal) -> str:
    return f"see {action.key_id} refused"


@describe.register
def _(action: act.Close) -> str:
    return f"close {action.key_id}: {action.evidence}"


@describe.register
def _(action: act.BelieveExpiration) -> str:
    return f"note that {action.key_id} ends at {text(action.expires_at)}"


@describe.register
def _(action: act.RollBack) -> str:
    places = ", ".join(destination.name for destination, _ in action.missing) or "nothing more"
    return f"put {action.key_id} back: write {places}, give it its expiration back, retire the newer key" + _then(
        action.hooks
    )


@describe.register
def _(action: act.RunHook) -> str:
    return f"run hook {action.hook} for {action.key_id}"


def _then(hooks: tuple[str, ...]) -> str:
    return f"; then run hooks: {', '.join(hooks)}" if hooks else ""


@describe.register
def _(action: act.DropRollback) -> str:
    return f"do not roll back: {action.why}"


@describe.register
def _(action: act.Restore) -> str:
    places = ", ".join(destination.name for destination, *_ in action.changed)
    return f"put {action.key_id} back into {places}"


@describe.register
def _(action: ask.AskForKey) -> str:
    return (
        f"ask for a key that expires {action.expires_at:%Y-%m-%d}, by {text(action.deadline)}: a person makes it and "
        "hands it over"
    )


@describe.register
def _(action: ask.ChangeRequest) -> str:
    return f"ask for the key by {text(action.deadline)}, with the expiration {action.expires_at:%Y-%m-%d}"


@describe.register
def _(action: ask.Remind) -> str:
    return f"remind ({action.level}): " + (f"revoke {action.key_id}" if action.key_id else "a key is asked for")


@describe.register
def _(action: ask.WithdrawRequest) -> str:
    return f"ask for no key any more: {action.why}"


@describe.register
def _(action: ask.CheckInbox) -> str:
    return f"look into the inbox {action.inbox.name}; take, publish and destroy what a person has put there"


@describe.register
def _(action: ask.AskForRevocation) -> str:
    return f"ask a person to revoke {action.key_id}, by {text(action.deadline)}"


@describe.register
def _(action: ask.WithdrawRevocation) -> str:
    return f"take back that {action.key_id} is to be revoked: {action.why}"
