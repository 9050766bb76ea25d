"""``--run-once``: one pass over all policies, for cron. A policy that is not due costs no remote call."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue
from types import FrameType

import structlog

from rotator.bootstrap import Application
from rotator.domain.model import Policy
from rotator.entrypoints import exits
from rotator.entrypoints.render import outcome_line, waiting_line
from rotator.entrypoints.senders import begin, flush
from rotator.service.lanes import lane_of
from rotator.service.reconcile import Outcome, Result, due_since, is_due

PRUNINGS = 50
"""So many prunings of the journal at the end of one pass; the next day goes on."""


@dataclass(slots=True)
class Summary:
    """What one pass came to."""

    not_due: int = 0
    outcomes: list[Outcome] = field(default_factory=list)

    def count(self, result: Result) -> int:
        """How many looks ended so."""
        return sum(outcome.result is result for outcome in self.outcomes)

    @property
    def exit_code(self) -> int:
        """See ``exits``."""
        if self.count(Result.FAILED) or self.count(Result.STOPPED):
            return exits.FAILED
        if self.outcomes and self.count(Result.BUSY) == len(self.outcomes):
            return exits.LOCKED
        return exits.OK

    def __str__(self) -> str:
        changed = sum(bool(outcome.done) for outcome in self.outcomes)
        parts = [
            f"{len(self.outcomes) + self.not_due} policies",
            f"{self.not_due} not due",
            f"{len(self.outcomes) - self.count(Result.STOPPED)} looked at",
            f"{changed} changed",
            f"{self.count(Result.FAILED)} failed",
        ]
        if self.count(Result.BUSY):
            parts.append(f"{self.count(Result.BUSY)} held by another process")
        if self.count(Result.STOPPED):
            parts.append(f"{self.count(Result.STOPPED)} left for the next run")
        return ", ".join(parts)


def run_once(application: Application) -> int:
    """Look at every policy that is due; returns the exit code.

    The first SIGTERM or SIGINT lets what is in flight finish, for ``service.shutdown_timeout``; a second one ends the
    process at once. A pass that was ended before its end has failed.
    """
    with _stopping_on_signals(application):
        return _pass(application)


def _pass(application: Application) -> int:
    begin(application)
    looks, now = application.journal.looks(), application.clock.now()
    due, summary = [], Summary()
    for policy in application.settings.policies:
        if is_due(policy, looks, now):
            due.append(policy)
        else:
            summary.not_due += 1
            sys.stdout.write(waiting_line(policy.name, looks[policy.name]))
    due.sort(key=lambda policy: due_since(policy, looks, now))
    if due:
        with _progress(len(due)) as advance:
            # Canaries first: the others begin no rotation before these have come through.
            for wave in ([p for p in due if p.canary], [p for p in due if not p.canary]):
                for outcome in _in_order_of_completion(application, wave):
                    summary.outcomes.append(outcome)
                    advance(outcome_line(outcome))
    if not application.clock.stopping:
        application.upkeep.run(application.clock.now(), stopping=lambda: application.clock.stopping, most=PRUNINGS)
    sys.stdout.write(f"{summary}\n")
    sys.stdout.flush()
    flush(application, os.environ)
    return summary.exit_code


def _in_order_of_completion(application: Application, due: list[Policy]) -> Iterator[Outcome]:
    """Each lane has its own threads, and goes through its policies in their order."""
    workers = application.settings.service.workers
    with ExitStack() as stack:
        pools = {
            lane: stack.enter_context(ThreadPoolExecutor(min(workers, policies), thread_name_prefix="look"))
            for lane, policies in Counter(map(lane_of, due)).items()
        }
        looks = [pools[lane_of(policy)].submit(_look, application, policy) for policy in due]
        for look in as_completed(looks):
            yield look.result()


def _look(application: Application, policy: Policy) -> Outcome:
    if application.clock.stopping:
        now, why = application.clock.now(), "not begun: the pass was told to end"
        return Outcome(policy=policy.name, result=Result.STOPPED, next_at=now, reason=why)
    return application.reconciler.reconcile(policy)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[str], object]]:
    """A progress bar on a terminal; elsewhere just the lines."""
    if not sys.stdout.isatty():
        yield sys.stdout.write
        return
    from rich.progress import MofNCompleteColumn, Progress  # noqa: PLC0415 - slow to import, and rarely needed

    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), transient=True) as bar:
        task = bar.add_task("policies", total=total)

        def advance(line: str) -> None:
            bar.console.print(line, end="", markup=False, highlight=False, soft_wrap=True)
            bar.advance(task)

        yield advance


@contextmanager
def _stopping_on_signals(application: Application) -> Iterator[None]:
    """See ``run_once``."""
    # A queue of this kind, because a handler may interrupt this thread in the middle of its own put.
    over, told_to_stop = threading.Event(), SimpleQueue[bool]()

    def stop(number: int, _frame: FrameType | None) -> None:
        if application.clock.stopping:
            exits.at_once(128 + number)
        application.clock.stop()
        told_to_stop.put(True)

    def leave() -> None:
        if told_to_stop.get() and not over.wait(application.settings.service.shutdown_timeout.total_seconds()):
            structlog.get_logger().warning("pass.left", reason="it did not end in time; the next pass resumes it")
            exits.at_once(exits.FAILED)

    # Not begun by the handler, which may interrupt this thread in a lock that it would need.
    deadline = threading.Thread(target=leave, name="deadline", daemon=True)
    deadline.start()
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        over.set()
        told_to_stop.put(False)
        deadline.join()
