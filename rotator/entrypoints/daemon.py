"""The service: APScheduler decides when a policy is looked at, and nothing else.

One date job a policy, at the next moment that matters; each look's outcome sets the next one. Each lane of policies
has an executor of its own, so that what hangs holds up only its like. Beside it the schedule is compared with the
journal every two seconds, by a clock that never steps: that notices what an operator asked for, and mends a job that
got lost, or that waits for a moment which a stepping clock has moved away. systemd's watchdog is fed by it alone.
"""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, JobExecutionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler

from rotator.bootstrap import Application
from rotator.domain.model import Policy
from rotator.entrypoints import exits
from rotator.entrypoints.front import Front
from rotator.entrypoints.keeper import Keeper
from rotator.entrypoints.reload import Changes, Reloader
from rotator.entrypoints.runtimes import Runtimes
from rotator.entrypoints.senders import Senders, begin
from rotator.entrypoints.served import Load
from rotator.entrypoints.signals import Signals
from rotator.entrypoints.supervisor import Progress, Supervisor
from rotator.errors import JournalError
from rotator.service.lanes import lane_of
from rotator.service.reconcile import Outcome, due_since, is_due
from rotator.telemetry import log_trouble, tell_of_lost_lines

SYNC_EVERY = timedelta(seconds=2)
"""How soon the service notices what another process wrote into the journal."""

_PULSE = "scheduler: pulse"
"""The job and the lane of ``Progress.pulse``; no policy can have this name."""

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


class Daemon:
    """Runs until a signal; see ``run``."""

    def __init__(self, application: Application, signals: Signals, supervisor: Supervisor, front: Front) -> None:
        """``signals``: heeded already."""
        self._runtimes = Runtimes(application)
        self._log = structlog.get_logger()
        self._signals = signals
        self._supervisor = supervisor
        self._reloader = Reloader(application, supervisor, signals.wake.set, trouble=front.refused)
        # What a listener of the scheduler is told waits here for the main thread: the scheduler's own thread may call
        # it, in the middle of its work and with its lock, so that it must wait for nobody.
        self._ended: queue.SimpleQueue[JobExecutionEvent] = queue.SimpleQueue()
        self._waiting: dict[str, datetime] = {}  # scheduled and not begun: its moment is to come, or its lane is full
        self._front = front
        self._senders = Senders(os.environ)
        self._keeper = Keeper(lambda: self._application)
        self._progress = Progress(
            patience=application.settings.service.patience,
            threads=lambda: [*self._reloader.threads, *self._keeper.threads, *self._senders.threads],
        )
        self._trouble = ""
        self._known: dict[str, datetime] = {}  # what the journal said of each policy when it was scheduled last
        self._anew: set[str] = set()  # looks of another configuration: after them comes one of the new one
        self._is_mended = False  # with another configuration, perhaps: what failed is to be tried at once
        self._lanes = set(map(lane_of, application.settings.policies))
        self._unused: set[str] = set()
        # A look takes its policy's lease, so that even a doubled job does no harm; a late one is still wanted.
        self._scheduler = BackgroundScheduler(
            executors={lane: self._new_executor() for lane in self._lanes} | {_PULSE: ThreadPoolExecutor(1)},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
            timezone=UTC,
        )
        # After the job is over: a job that sets itself anew while it runs counts as running twice, and is dropped.
        self._scheduler.add_listener(self._after, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR)

    @property
    def _application(self) -> Application:
        return self._runtimes.current.application

    @property
    def _policies(self) -> Mapping[str, Policy]:
        return self._runtimes.current.policies

    def run(self) -> int:
        """Serve in the foreground. SIGTERM and SIGINT finish what is in flight; a second signal ends at once.

        SIGHUP reads the configuration anew; see ``Reloader``.
        """
        self._front.serve(lambda: self._application, lambda: self._policies, self._runtimes.used, self._load)
        self._front.heart.beat("")
        begin(self._application)
        self._application.observer.know(self._policies)
        self._sync()
        self._scheduler.start()
        self._senders.start(self._application)
        self._log.info("service.started", policies=len(self._policies), instance=self._application.settings.instance)
        self._tell_supervisor()
        self._reloader.run(self._signals, SYNC_EVERY)
        self._keeper.start()
        every = SYNC_EVERY.total_seconds()
        next_round = time.monotonic() + every
        while not self._signals.stop.is_set():
            self._signals.wake.wait(max(0.0, next_round - time.monotonic()))
            self._signals.wake.clear()
            if self._signals.stop.is_set():
                break
            self._take_outcomes()
            if self._reload() or time.monotonic() >= next_round:
                self._sync()
                self._close_lanes()
                self._tell_supervisor()
                next_round = time.monotonic() + every
        return self._shut_down()

    def _load(self) -> Load:
        """Asked by other threads: each copy is made in one step."""
        now = self._application.clock.now()
        due = sum(at <= now for at in self._waiting.copy().values())
        return Load(running=self._progress.running, queued=due)

    def _reload(self) -> bool:
        """Put in force what the reloader has made ready; whether there was anything."""
        is_new = False
        while ready := self._reloader.take():
            application, changes = ready
            self._apply(application, changes)
            self._log.info("configuration.reloaded", policies=len(self._policies), **changes.told())
            self._supervisor.reloaded("the new configuration is in force")
            is_new = True
        return is_new

    def _apply(self, application: Application, changes: Changes) -> None:
        """Every job has its policy's lane and moment of the new configuration. What runs ends as it began."""
        concerned = {*changes.backends, *changes.providers}
        self._runtimes.swap(application)
        application.observer.know(self._policies)
        self._is_mended = True
        self._senders.start(application)
        self._progress.patience = application.settings.service.patience
        self._signals.within = application.settings.service.shutdown_timeout
        for name in changes.policies_removed:
            self._waiting.pop(name, None)
            self._known.pop(name, None)
            with suppress(JobLookupError):  # it runs, and its job is gone already
                self._scheduler.remove_job(name)
        for lane in set(map(lane_of, self._policies.values())) - self._lanes:
            self._scheduler.add_executor(self._new_executor(), lane)
            self._lanes.add(lane)
        now = application.clock.now()
        for name, policy in self._policies.items():
            is_concerned = not concerned.isdisjoint({policy.provider, *(d.backend for d in policy.destinations)})
            if is_concerned and self._progress.is_running(name):
                self._anew.add(name)
            elif is_concerned:
                self._schedule(policy, now)
            elif (at := self._waiting.get(name)) is not None:
                self._schedule(policy, at)

    def _new_executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self._application.settings.service.workers)

    def _close_lanes(self) -> None:
        """Give back the threads of lanes that no policy uses any more; what still runs there ends as it began.

        One comparison later: the scheduler may be about to give one of them a job that it took before.
        """
        unused = self._lanes - set(map(lane_of, self._policies.values()))
        for lane in unused & self._unused:
            self._lanes.discard(lane)
            executor = self._scheduler._executors[lane]  # noqa: SLF001 - removing one would wait for what runs there
            self._scheduler.remove_executor(lane, shutdown=False)
            executor.shutdown(wait=False)
        self._unused = unused & self._lanes

    def _shut_down(self) -> int:
        """Wait for what runs, and give everything back. What takes longer than ``Signals.within`` is left."""
        self._log.info("service.stopping", at_most_seconds=self._signals.within.total_seconds())
        self._supervisor.stopping()
        self._keeper.stop()
        self._signals.waits_for = "a look did not end in time; the next start resumes it"
        # Paused first: the scheduler is not made to be stopped while it starts a job.
        self._scheduler.pause()
        self._scheduler.get_jobs()  # returns when no job is being started any more
        self._scheduler.shutdown()
        self._senders.stop()
        self._runtimes.wait_idle()  # in a lane that was closed a look may still run, and somebody hands a key over
        self._front.wait_told()
        self._keeper.wait()
        self._signals.waits_for = "a backend did not take its leave in time"
        self._front.stop()  # its answers read the journal
        self._application.close()
        self._log.info("service.stopped")
        return exits.OK

    def _look(self, name: str) -> Outcome | None:
        """One look. What is still queued when the service stops is left for the next start."""
        with self._runtimes.used() as runtime:
            policy = runtime.policies.get(name)
            if policy is None or runtime.application.clock.stopping:
                return None
            self._progress.began(name)
            self._waiting.pop(name, None)
            began = time.monotonic()
            try:
                outcome = runtime.application.reconciler.reconcile(policy)
                runtime.application.observer.looked(name, outcome.result, time.monotonic() - began, outcome.cause)
                return outcome
            finally:
                self._progress.ended(name)

    def _after(self, event: JobExecutionEvent) -> None:
        self._ended.put(event)
        self._signals.wake.set()

    def _take_outcomes(self) -> None:
        """Each look that has ended sets its policy's next one."""
        while not self._ended.empty():
            event = self._ended.get()
            outcome = event.retval
            if not isinstance(outcome, Outcome):
                self._waiting.pop(event.job_id, None)  # it told nothing: the next comparison schedules it anew
            elif policy := self._policies.get(outcome.policy):
                self._known[outcome.policy] = outcome.next_at
                is_anew = outcome.policy in self._anew
                self._schedule(policy, self._application.clock.now() if is_anew else outcome.next_at)
            self._anew.discard(event.job_id)

    def _schedule(self, policy: Policy, at: datetime) -> None:
        if not self._application.clock.stopping:
            self._waiting[policy.name] = at
            self._scheduler.add_job(
                self._look,
                "date",
                [policy.name],
                id=policy.name,
                run_date=at,
                executor=lane_of(policy),
                replace_existing=True,
            )

    def _sync(self) -> None:
        """Schedule every policy whose moment another process moved, and every one that has no job.

        After another configuration, or the same one with credentials that were read anew, what failed is due too.
        """
        try:
            looks = self._application.journal.looks()
        except JournalError as error:
            self._log.error("journal.unreadable", reason=str(error))
            self._progress.compared(succeeded=False)
            return
        now = self._application.clock.now()
        for name, policy in self._policies.items():
            is_tried = self._is_mended and name in looks and looks[name].failures > 0
            if self._progress.is_running(name):
                if is_tried:
                    self._anew.add(name)
                continue  # its outcome sets the next look, and what was asked for meanwhile is seen then
            due = is_tried or is_due(policy, looks, now)
            journaled = due_since(policy, looks, now) if due else looks[name].next_at
            moved = name in looks and looks[name].next_at != self._known.get(name)
            is_at_hand = name in self._waiting and not (due and self._waiting[name] > now)
            if moved or not is_at_hand:
                if name in looks:
                    self._known[name] = looks[name].next_at
                self._schedule(policy, journaled)
        self._is_mended = False
        self._progress.compared(succeeded=True)

    def _tell_supervisor(self) -> None:
        """Feed the watchdog, if this round was progress; and try the scheduler for the next one."""
        tell_of_lost_lines()
        trouble = self._progress.trouble()
        self._front.heart.beat(trouble)
        self._front.refused = self._reloader.trouble
        if trouble != self._trouble:
            self._trouble = trouble
            self._log.warning("service.stuck", reason=trouble) if trouble else self._log.info("service.gets_on")
        status = self._progress.status(len(self._policies))
        told = (status, self._reloader.trouble, self._senders.trouble, log_trouble())
        status = trouble or "; ".join(filter(None, told))
        if self._progress.is_new:
            self._supervisor.starting(status)
        elif trouble:
            self._supervisor.in_trouble(status)
        else:
            self._supervisor.alive(status)
        self._progress.ask_pulse(self._give_pulse)

    def _give_pulse(self) -> None:
        """Due by every clock, however it steps."""
        self._scheduler.add_job(
            self._progress.pulse, "date", id=_PULSE, run_date=_LONG_AGO, executor=_PULSE, replace_existing=True
        )
