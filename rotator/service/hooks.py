"""Let the consumers of a new key learn of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from rotator.domain import events as ev
from rotator.domain.actions import RunHook
from rotator.domain.model import Policy
from rotator.domain.record import KeyState
from rotator.errors import HookFailed
from rotator.ports import Clock, HookRunner, News
from rotator.service.session import Session

_NO_TIME = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Teller:
    """Runs the hooks that are due. At least once: a crash between a hook and its record runs it again."""

    runner: HookRunner

    def run(self, session: Session, action: RunHook) -> None:
        """Run one hook, unless its key was replaced meanwhile. Raises ``HookFailed``: the next look tries again."""
        key = session.record.current
        if key is None or key.key_id != action.key_id or action.hook not in key.hooks_due:
            return

        def pulse() -> None:
            session.clock.sleep(_NO_TIME)  # raises when the service is shutting down
            session.still_ours()

        pulse()
        old = tuple(one.key_id for one in session.record.in_state(KeyState.RETIRING))
        self.runner.run(action.hook, _news(session.policy, key.key_id, old), pulse)
        session.happened(
            ev.HookRan(key_id=key.key_id, hook=action.hook, grace_until=session.later() + session.policy.quiet)
        )
        session.done.append(f"ran hook {action.hook} for {key.key_id}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How one hook of one policy did alone. ``problem``: empty where it succeeded."""

    policy: str
    hook: str
    problem: str


def tried(policies: Sequence[Policy], runner: HookRunner, clock: Clock) -> Iterator[Trial]:
    """Every hook of these policies once, as a test, one after the other. Nothing else is asked or changed."""

    def one(policy: Policy, hook: str) -> Trial:
        try:
            runner.run(hook, _news(policy, "test", (), test=True), lambda: clock.sleep(_NO_TIME))
        except HookFailed as error:
            return Trial(policy=policy.name, hook=hook, problem=str(error))
        return Trial(policy=policy.name, hook=hook, problem="")

    return (one(policy, hook) for policy in policies for hook in policy.hooks)


def _news(policy: Policy, key_id: str, old: tuple[str, ...], *, test: bool = False) -> News:
    return News(
        instance=policy.instance,
        policy=policy.name,
        project=policy.project,
        key_id=key_id,
        old_key_ids=old,
        destinations=tuple(destination.name for destination in policy.destinations),
        test=test,
    )
