"""What becomes of a configuration that is read while the service runs, step by step. Promise 10."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from apscheduler.events import EVENT_JOB_EXECUTED, JobExecutionEvent
from structlog.testing import capture_logs

from rotator.bootstrap import Application, application
from rotator.clock import SystemClock
from rotator.config import Settings, Watched, load
from rotator.domain.record import PolicyRecord
from rotator.entrypoints.daemon import _PULSE, Daemon
from rotator.entrypoints.front import Front
from rotator.entrypoints.reload import Reloader, changes, need_a_restart, refused
from rotator.entrypoints.runtimes import Runtimes
from rotator.entrypoints.serve import AGAIN_LAST, Opener
from rotator.entrypoints.signals import Signals
from rotator.entrypoints.supervisor import Supervisor
from rotator.errors import BackendDenied, BackendUnavailable, ConfigError, JournalUnavailable, ProviderUnavailable
from rotator.metrics.counted import Counted
from rotator.ports import Look
from rotator.service.guard import GuardedProvider
from rotator.service.reconcile import Outcome, Result
from tests.e2e.installation import document, in_file, policy
from tests.parts.postgres import Postgres
from tests.systemd.manager import Manager, manager, status_of

ENVIRON = {"MANAGEMENT_KEY": "x"}


class Desk:
    """A configuration in a folder, and the application that was made of it first."""

    def __init__(self, folder: Path, stack: ExitStack, systemd: Manager, **rest: Any) -> None:
        self.folder = folder
        self.path = folder / "rotator.yaml"
        self.document = document(folder, "http://127.0.0.1:1", [self.policy("chat")], **rest)
        self.write()
        self.application = stack.enter_context(application(self.load(), ENVIRON, service=True))
        self.systemd = systemd
        supervisor = Supervisor(systemd.environ())
        supervisor.alive("")
        self.called = 0
        self.reloader = Reloader(self.application, supervisor, self._call, environ=ENVIRON)

    def _call(self) -> None:
        self.called += 1

    def policy(self, name: str, **times: str) -> dict[str, Any]:
        return policy(in_file(self.folder / f"{name}.env"), name=name, **times)

    def write(self, **changed: Any) -> None:
        self.document |= changed
        self.path.write_text(yaml.safe_dump(self.document))

    def load(self) -> Settings:
        return load(self.path, ENVIRON)

    def names(self) -> list[str] | None:
        """The policies of the next configuration that is to be put in force."""
        ready = self.reloader.take()
        return [one.name for one in ready[0].settings.policies] if ready else None


@pytest.fixture
def new_desk(tmp_path: Path) -> Iterator[Callable[..., Desk]]:
    with ExitStack() as stack, manager() as systemd:
        yield lambda **rest: Desk(tmp_path, stack, systemd, **rest)


ON_CHANGE = {"service": {"reload": "on-change"}}


def test_files_are_not_looked_at_unless_that_was_asked_for(new_desk: Callable[..., Desk]) -> None:
    desk = new_desk()
    desk.write(policies=[])
    desk.reloader.look(asked=False)
    assert desk.names() is None
    desk.reloader.look(asked=True)
    assert desk.names() == []
    assert desk.called == 1


def test_two_signals_in_a_row_give_two_configurations_in_their_order(new_desk: Callable[..., Desk]) -> None:
    desk = new_desk()
    desk.write(policies=[desk.policy("a")])
    desk.reloader.look(asked=True)
    desk.write(policies=[desk.policy("b")])
    desk.reloader.look(asked=True)
    first, second = desk.reloader.take(), desk.reloader.take()
    assert first is not None
    assert second is not None
    assert (first[1].policies_added, first[1].policies_removed) == (("a",), ("chat",))
    assert (second[1].policies_added, second[1].policies_removed) == (("b",), ("a",))
    assert desk.names() is None


def test_a_signal_without_a_change_reads_the_credentials_anew_and_a_touched_file_does_nothing(
    new_desk: Callable[..., Desk],
) -> None:
    desk = new_desk(**ON_CHANGE)
    desk.reloader.look(asked=False)
    desk.path.write_text(desk.path.read_text() + "# a comment\n")
    desk.reloader.look(asked=False)
    assert desk.names() is None
    desk.reloader.look(asked=True)
    ready = desk.reloader.take()
    assert ready is not None
    assert ready[0] is not desk.application
    assert ready[1].told() == {}


def test_a_change_that_is_wrong_is_told_once_and_the_next_change_is_looked_at(new_desk: Callable[..., Desk]) -> None:
    desk = new_desk(include=["more/*.yaml"], **ON_CHANGE)
    (desk.folder / "more").mkdir()
    desk.reloader.look(asked=False)
    included = desk.folder / "more" / "one.yaml"
    included.write_text("policies: [{")
    for _ in range(3):
        desk.reloader.look(asked=False)
    desk.systemd.drain()
    assert sum(status_of(said).startswith("the new configuration is wrong") for said in desk.systemd.said) == 1
    assert desk.reloader.trouble
    included.write_text(yaml.safe_dump({"policies": [desk.policy("batch")]}))
    desk.reloader.look(asked=False)
    assert desk.names() == ["chat", "batch"]
    assert desk.reloader.trouble == ""
    included.unlink()
    desk.reloader.look(asked=False)
    assert desk.names() == ["chat"]


def test_included_files_are_watched_while_the_main_file_is_half_written(tmp_path: Path) -> None:
    main, more = tmp_path / "rotator.yaml", tmp_path / "more.yaml"
    main.write_text("include: [more.yaml]\n")
    watched = Watched(main)
    seen = [watched.digest()]
    for change in (
        lambda: more.write_text("policies: []"),
        lambda: main.write_text("include: [more"),
        lambda: more.write_text("policies: [{}]"),
        more.unlink,
        main.unlink,
    ):
        change()
        seen.append(watched.digest())
        assert watched.digest() == seen[-1]
    assert len(set(seen)) == len(seen)


def test_a_file_that_can_not_be_read_keeps_the_last_good_configuration(new_desk: Callable[..., Desk]) -> None:
    desk = new_desk(**ON_CHANGE)
    desk.reloader.look(asked=False)
    for spoil in (desk.path.unlink, lambda: desk.path.write_bytes(b"\xff\xfe"), lambda: desk.path.write_text("")):
        spoil()
        desk.reloader.look(asked=False)
        assert desk.names() is None
        assert desk.reloader.trouble
    desk.write(policies=[])
    desk.reloader.look(asked=False)
    assert desk.names() == []


def test_a_fault_says_once_what_is_allowed(tmp_path: Path) -> None:
    file = tmp_path / "rotator.yaml"
    file.write_text("a: [")
    with pytest.raises(ConfigError) as wrong:
        load(file, {})
    with capture_logs() as logs:
        refused(wrong.value, file)
    assert [(one["event"], one.get("allowed")) for one in logs] == [
        ("configuration.fault", "a readable YAML file"),
        ("configuration.kept", None),
    ]


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("instance", {"instance": "other"}),
        ("state.url", {"state": {"url": "sqlite:////elsewhere/state.db"}}),
        ("service.workers", {"service": {"workers": 3}}),
        ("log", {"log": {"level": "debug"}}),
    ],
)
def test_what_is_read_at_the_start_alone_refuses_the_whole_and_is_named(
    field: str, changed: dict[str, Any], new_desk: Callable[..., Desk]
) -> None:
    desk = new_desk()
    before = desk.load()
    desk.write(policies=[], **changed)
    desk.reloader.look(asked=True)
    assert desk.names() is None
    assert [problem.field for problem in need_a_restart(before, desk.load())] == [field]


@pytest.mark.parametrize("error", [BackendDenied("no right"), ValueError("a defect of a library")])
def test_an_adapter_that_can_not_be_made_refuses_the_whole_and_what_may_pass_does_not(
    error: Exception, new_desk: Callable[..., Desk]
) -> None:
    class Rewiring(Application):
        """Its adapters can't be made."""

        __slots__ = ()

        def rewired(self, settings: Settings) -> Application:
            return Rewiring(**parts | {"settings": settings})

        def adapters(self) -> Iterator[tuple[str, Callable[[], object]]]:
            yield "backend one", raising

    def raising() -> object:
        raise raised[0]

    desk = new_desk()
    parts = {slot: getattr(desk.application, slot) for slot in Application.__slots__}
    raised: list[Exception] = [error]
    reloader = Reloader(Rewiring(**parts), Supervisor({}), lambda: None, environ=ENVIRON)
    reloader.look(asked=True)
    assert reloader.take() is None
    assert reloader.trouble
    raised[0] = BackendUnavailable("away for now")
    reloader.look(asked=True)
    assert reloader.take() is not None
    assert reloader.trouble == ""


def test_what_changed_is_told_by_name_alone(new_desk: Callable[..., Desk]) -> None:
    desk = new_desk()
    before = desk.load()
    desk.document["providers"]["together"]["timeout"] = "7s"
    desk.write(
        policies=[desk.policy("chat", grace="10m", lifetime="9h")],
        backends={"files": {"type": "dotenv"}},
        service={"lease": "1m", "reload": "on-change"},
    )
    assert changes(before, desk.load()).told() == {
        "policies_changed": ["chat"],
        "backends": ["files"],
        "providers": ["together"],
        "service": ["lease", "reload"],
    }


# --- looks in flight ---------------------------------------------------------------------------------------


def test_old_adapters_are_closed_when_the_last_look_that_uses_them_is_over(new_desk: Callable[..., Desk]) -> None:
    desk = new_desk()
    closed: list[str] = []

    class Named(Application):
        __slots__ = ()

        def close_adapters(self) -> None:
            closed.append(self.settings.instance)

    def named(name: str) -> Application:
        parts = {slot: getattr(desk.application, slot) for slot in Application.__slots__}
        return Named(**parts | {"settings": replace(desk.application.settings, instance=name)})

    runtimes = Runtimes(named("first"))
    with runtimes.used() as one:
        with runtimes.used():
            runtimes.swap(named("second"))
            assert runtimes.current.application.settings.instance == "second"
        runtimes.wait_closed()
        assert closed == []
        with runtimes.used() as two:
            assert two.application.settings.instance == "second"
        assert one.application.settings.instance == "first"
    runtimes.wait_idle()
    assert closed == ["first"]
    runtimes.swap(named("third"))
    runtimes.wait_idle()
    assert closed == ["first", "second"]


def test_lanes_come_and_go_with_the_policies_and_jobs_move_with_them(new_desk: Callable[..., Desk]) -> None:
    desk = new_desk()
    daemon = Daemon(desk.application, Signals(SystemClock()), Supervisor({}), Front(SystemClock()))
    daemon._scheduler.start(paused=True)
    daemon._sync()
    moved, gone = desk.policy("chat"), desk.policy("gone")
    for policies, lanes in (
        ([moved, gone], {"together > dotenv"}),
        ([moved | {"destinations": [in_file(desk.folder / "x")[0] | {"backend": "local"}]}], {"together > local"}),
        ([], set()),
        ([moved], {"together > dotenv"}),
    ):
        desk.write(policies=policies, backends={"local": {"type": "dotenv"}})
        desk.reloader.look(asked=True)
        ready = desk.reloader.take()
        assert ready is not None
        daemon._apply(*ready)
        daemon._sync()
        for _ in range(2):
            daemon._close_lanes()
        assert daemon._lanes == lanes
        assert set(daemon._scheduler._executors) - {_PULSE, "default"} == lanes
        assert {job.executor for job in daemon._scheduler.get_jobs()} == lanes
        assert {job.id for job in daemon._scheduler.get_jobs()} == {one["name"] for one in policies}
    daemon._scheduler.shutdown()
    daemon._application.close_adapters()


def extensions(desk: Desk, policy: str) -> float | None:
    assert isinstance(desk.application.observer, Counted)
    registry = desk.application.observer.registry
    return registry.get_sample_value("rotator_grace_extensions_total", {"policy": policy})


def test_each_counter_of_a_policy_begins_at_zero_when_the_service_starts(new_desk: Callable[..., Desk]) -> None:
    desk, signals = new_desk(http={"listen": "127.0.0.1:0"}), Signals(SystemClock())
    signals.stop.set()
    assert extensions(desk, "chat") is None
    assert Daemon(desk.application, signals, Supervisor({}), Front(SystemClock())).run() == 0
    assert extensions(desk, "chat") == 0


def test_each_counter_of_a_policy_begins_at_zero_when_it_is_added(new_desk: Callable[..., Desk]) -> None:
    desk = new_desk(http={"listen": "127.0.0.1:0"})
    daemon = Daemon(desk.application, Signals(SystemClock()), Supervisor({}), Front(SystemClock()))
    desk.write(policies=[desk.policy("chat"), desk.policy("batch")])
    desk.reloader.look(asked=True)
    ready = desk.reloader.take()
    assert ready is not None
    assert extensions(desk, "batch") is None
    daemon._apply(*ready)
    assert extensions(desk, "batch") == 0
    daemon._application.close_adapters()


def test_the_metrics_tell_that_a_configuration_was_refused_until_a_good_one_comes(
    new_desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANAGEMENT_KEY", "x")
    desk, front = new_desk(), Front(SystemClock())
    daemon = Daemon(desk.application, Signals(SystemClock()), Supervisor({}), front)
    told = []
    for good in (True, False, False, True):
        desk.path.write_text(yaml.safe_dump(desk.document if good else {"version": 1}))
        daemon._reloader.look(asked=True)
        daemon._tell_supervisor()
        told.append(front._load_now().refused)
        while ready := daemon._reloader.take():
            ready[0].close_adapters()
    assert told == [False, True, True, False]
    daemon._application.close_adapters()


def test_a_reload_looks_at_once_at_what_failed_and_at_nothing_else(new_desk: Callable[..., Desk]) -> None:
    desk = new_desk()
    desk.write(policies=[desk.policy("chat"), desk.policy("fine")])
    desk.reloader.look(asked=True)
    ready = desk.reloader.take()
    assert ready is not None
    daemon = Daemon(ready[0], Signals(SystemClock()), Supervisor({}), Front(SystemClock()))
    now = daemon._application.clock.now()
    later, failures = now + timedelta(minutes=50), {"chat": 9, "fine": 0}
    for name, one in daemon._policies.items():
        lease = daemon._application.journal.acquire(name, "test", now, timedelta(minutes=5))
        look = Look(next_at=later, digest=one.digest, failures=failures[name])
        daemon._application.journal.note_look(lease, look, (), known=PolicyRecord(policy=name), now=now)
    daemon._scheduler.start(paused=True)

    def due() -> dict[str, bool]:
        daemon._sync()
        return {job.id: job.next_run_time < later for job in daemon._scheduler.get_jobs()}

    assert due() == {"chat": False, "fine": False}
    desk.reloader.look(asked=True)  # nothing has changed but, perhaps, a credential
    again = desk.reloader.take()
    assert again is not None
    daemon._apply(*again)
    assert due() == {"chat": True, "fine": False}
    daemon._waiting.pop("chat")  # as when its look begins and ends
    daemon._progress.began("chat")
    assert due()["fine"] is False
    daemon._apply(*again)
    daemon._sync()
    assert daemon._anew == {"chat"}, "a look that began with the old credential is followed by another"
    daemon._scheduler.shutdown()
    daemon._application.close_adapters()


def test_what_a_provider_asked_for_is_heeded_after_a_reload_too(new_desk: Callable[..., Desk]) -> None:
    desk = new_desk()
    first = desk.application.endpoints[0]("together")
    assert isinstance(first, GuardedProvider)
    with pytest.raises(ProviderUnavailable), first._guard.call("list_keys"):
        raise ProviderUnavailable("429", retry_after=100)
    desk.reloader.look(asked=True)
    ready = desk.reloader.take()
    assert ready is not None
    assert ready[0].troubles()["provider together"].startswith("it asked to be left alone for ")
    ready[0].close_adapters()


def test_the_end_of_a_look_waits_for_nothing_that_the_scheduler_holds(new_desk: Callable[..., Desk]) -> None:
    """The scheduler's thread tells it with its lock held, while another thread may want that lock to set a job."""
    desk = new_desk()
    daemon = Daemon(desk.application, Signals(SystemClock()), Supervisor({}), Front(SystemClock()))
    outcome = Outcome(policy="chat", result=Result.OK, next_at=datetime(2999, 1, 1, tzinfo=UTC))
    event = JobExecutionEvent(EVENT_JOB_EXECUTED, "chat", "default", None, retval=outcome)
    told = threading.Thread(target=daemon._after, args=(event,), daemon=True)
    with daemon._scheduler._jobstores_lock:
        told.start()
        told.join(10)
        assert not told.is_alive()
    daemon._scheduler.start(paused=True)
    daemon._take_outcomes()
    (job,) = daemon._scheduler.get_jobs()
    assert (job.id, job.next_run_time) == ("chat", outcome.next_at)
    daemon._scheduler.shutdown()
    daemon._application.close_adapters()


# --- a journal that can't be opened -------------------------------------------------------------------------


class Waits:
    """In place of an event: notes how long it was waited for."""

    def __init__(self, then: Callable[[int], None] = lambda _: None) -> None:
        self.seconds: list[float] = []
        self._then = then

    def wait(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self._then(len(self.seconds))

    def clear(self) -> None:
        pass


def opener(desk: Desk, wire: Callable[[Settings], Application], waits: Waits, signals: Signals) -> Opener:
    signals.wake = waits  # type: ignore[assignment]
    return Opener(wire, signals, Supervisor(desk.systemd.environ()), Front(SystemClock()), environ=ENVIRON)


def test_a_journal_is_tried_again_less_and_less_often_and_systemd_is_asked_for_more_time(
    new_desk: Callable[..., Desk],
) -> None:
    desk, waits, tries = new_desk(), Waits(), []

    def wire(settings: Settings) -> Application:
        tries.append(settings)
        if len(tries) < 10:
            raise JournalUnavailable("the disk is away")
        return desk.application

    assert opener(desk, wire, waits, Signals(SystemClock())).open(desk.load()) is desk.application
    assert waits.seconds == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    desk.systemd.drain()
    said = [message for message in desk.systemd.said if status_of(message).startswith("waits for the journal")]
    assert len(said) == 9
    for message in said:
        assert int(message[1].removeprefix("EXTEND_TIMEOUT_USEC=")) > 2 * AGAIN_LAST.total_seconds() * 1_000_000


def test_a_wait_for_the_journal_takes_up_another_configuration_keeps_it_when_that_is_wrong_and_ends_at_sigterm(
    new_desk: Callable[..., Desk],
) -> None:
    desk, signals, tried = new_desk(), Signals(SystemClock()), []

    def wire(settings: Settings) -> Application:
        tried.append(settings.instance)
        raise JournalUnavailable("the disk is away")

    def then(number: int) -> None:
        if number == 3:
            signals.stop.set()
        else:
            desk.write(instance="other") if number == 1 else desk.path.write_text("version: 2\n")
            signals.reload.set()

    waiting = opener(desk, wire, Waits(then), signals)
    assert waiting.open(desk.load()) is None
    assert tried == ["e2e", "other", "other"]
    front = waiting._front
    assert front._load_now().refused
    daemon = Daemon(desk.application, Signals(SystemClock()), Supervisor({}), front)
    daemon._tell_supervisor()
    assert front._load_now().refused, "it began with an older one"


def test_a_postgresql_that_lets_nobody_in_is_waited_for(tmp_path: Path, postgres: Postgres) -> None:
    with ExitStack() as stack, manager() as systemd, postgres.connect() as admin:
        database, desk = postgres.new_database(), Desk(tmp_path, stack, systemd)
        admin.autocommit = True
        admin.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
        desk.write(state={"url": database.url, "password": {"env": "DATABASE_PASSWORD"}})
        environ = {**ENVIRON, "DATABASE_PASSWORD": database.password.reveal()}

        def then(number: int) -> None:
            if number == 2:
                admin.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")

        def wire(settings: Settings) -> Application:
            return stack.enter_context(application(settings, environ, service=True))

        waits = Waits(then)
        opened = opener(desk, wire, waits, Signals(SystemClock())).open(load(desk.path, environ))
        assert opened is not None
        assert opened.journal.looks() == {}
        assert waits.seconds == [1, 2]
