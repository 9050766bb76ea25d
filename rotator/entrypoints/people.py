"""``rotator submit`` and ``rotator requests``: where people make and revoke keys."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from rotator.entrypoints import exits
from rotator.entrypoints.links import link
from rotator.entrypoints.shared import CONFIG, configured, failures, load_settings, operator, say, wired

if TYPE_CHECKING:  # see ``shared``
    from rotator.bootstrap import Application
    from rotator.domain.model import Policy
    from rotator.domain.record import Expiration, PersonRequest, RotationRecord
    from rotator.domain.requests import Task
    from rotator.domain.secret import SecretValue
    from rotator.service.desk import Handover

AS_REQUESTED, NEVER = "as-requested", "never"
_LARGEST = 64 * 1024
_EXPIRES = "DATE|never|as-requested"


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    options_metavar="[OPTIONS]",
)
@click.argument("words", metavar="POLICY", nargs=-1, type=click.UNPROCESSED)
@CONFIG
@click.option("--expires", metavar=_EXPIRES, help="The expiration that the key was given. Default: the one asked for.")
@click.pass_context
def submit(context: click.Context, words: tuple[str, ...], config: Path | None, expires: str | None) -> None:
    """Hand over a new key for POLICY, which was made in the provider's console.

    The key is asked for without echo, or read from standard input; never give it as an argument. It is checked,
    published to every destination, and read back, before this ends. Blanks and line ends around it are taken away.
    """
    if len(words) != 1:
        _refuse_words(words)
    with failures():
        settings = load_settings(config or context.obj)
        policy = next((one for one in settings.policies if one.name == words[0]), None)
        if policy is None:  # not repeated: it may be the key
            known = ", ".join(one.name for one in settings.policies if one.assisted) or "none whose keys people make"
            _usage(f"there is no such policy; allowed: {known}. {_NEVER_AN_ARGUMENT}")
        told = _expiration(expires) if expires is not None else None
        with wired(settings) as application:
            code = _submit(application, policy, told, is_told=expires is not None)
        context.exit(code)


_NEVER_AN_ARGUMENT = (
    "A key is never an argument: others see it in the list of processes, and the shell keeps it. If you gave one, "
    "revoke it and make another; then give it at the prompt, or by standard input"
)


def _refuse_words(words: tuple[str, ...]) -> NoReturn:
    if not words:
        _usage("say for which policy")
    _usage(f"one policy is allowed, and nothing else. {_NEVER_AN_ARGUMENT}")


def _usage(message: str) -> NoReturn:
    raise click.UsageError(message)


def _expiration(text: str) -> Expiration | None:
    """``None`` for the one that was asked for. What is given is never repeated: it may be the key."""
    from rotator.domain.record import Expiration  # noqa: PLC0415

    if text == AS_REQUESTED:
        return None
    if text == NEVER:
        return Expiration(None)
    try:
        return Expiration.on(text)
    except ValueError:
        _usage(f"--expires is one of {_EXPIRES}, such as 2026-12-24")


def _submit(application: Application, policy: Policy, told: Expiration | None, *, is_told: bool) -> int:
    from rotator.domain.handover import seen  # noqa: PLC0415
    from rotator.service.handover import Handed  # noqa: PLC0415

    record = application.journal.load(policy.name)
    if not policy.assisted:
        raise click.ClickException(f"{policy.name}: its provider makes keys by itself: use 'rotator rotate'")
    began, by = seen(record), operator()
    if sys.stdin.isatty():
        secret, told = _ask(policy, record.awaiting, told, is_told=is_told)
    else:
        secret = _read()
    if secret is None:
        raise click.ClickException("nothing was handed over")
    handed = Handed(secret=secret, expires=told, by=by, via="submit", began=began)
    return _tell(policy, application.desk.hand_over(policy, handed))


def _ask(
    policy: Policy, request: RotationRecord | None, told: Expiration | None, *, is_told: bool
) -> tuple[SecretValue | None, Expiration | None]:
    """On a terminal: what is asked for, then the key without echo, then its expiration."""
    from rotator.domain.record import Expiration  # noqa: PLC0415
    from rotator.domain.secret import SecretValue  # noqa: PLC0415

    console = policy.assistance.console_url if policy.assistance else ""
    if request:
        click.echo(f"{policy.name}: a key named {request.key_name} that expires {request.expires_at:%Y-%m-%d}")
    else:
        click.echo(f"{policy.name}: no key is asked for now; you hand one over early")
    click.echo(f"made in project {policy.project}: {console}")
    text: str = click.prompt("Key (not shown)", hide_input=True, default="", show_default=False)
    if not text.strip():
        return None, None
    secret = SecretValue(text)
    while not is_told:
        default = f"{request.expires_at:%Y-%m-%d}" if request else None
        answer: str = click.prompt("Which expiration did you give it? (YYYY-MM-DD, or never)", default=default)
        try:
            told = _expiration(answer.strip())
        except click.UsageError as error:
            click.echo(error.message, err=True)
            continue
        if told is None and request is not None:
            told = Expiration(request.expires_at)
        is_told = told is not None
    return secret, told


def _read() -> SecretValue | None:
    from rotator.domain.secret import SecretValue  # noqa: PLC0415

    text = sys.stdin.read(_LARGEST)
    return SecretValue(text) if text.strip() else None


def _tell(policy: Policy, handover: Handover) -> int:
    from rotator.domain.text import text  # noqa: PLC0415
    from rotator.service.desk import Taken  # noqa: PLC0415

    outcome = handover.outcome
    for sentence in outcome.done if outcome else ():
        say(f"{policy.name}: {sentence}")
    match handover.taken:
        case Taken.ACCEPTED:
            say(f"{policy.name}: {handover.key_id} is accepted, and in every destination")
        case _:
            say(f"rotator: {policy.name}: {handover.taken}: {handover.told}", err=True)
    for problem in outcome.problems if outcome and handover.taken is Taken.ACCEPTED else ():
        say(f"rotator: {policy.name}: {problem}", err=True)
    if outcome and handover.taken is Taken.ACCEPTED:
        say(f"{policy.name}: {outcome.check}: {outcome.reason} (next look {text(outcome.next_at)})")
    codes = {Taken.ACCEPTED: exits.OK, Taken.BUSY: exits.LOCKED}
    return codes.get(handover.taken, exits.FAILED)


@click.group(invoke_without_command=True)
@CONFIG
@click.option("--json", "as_document", is_flag=True, help="For programs.")
@click.pass_context
def requests(context: click.Context, config: Path | None, *, as_document: bool) -> None:
    """Print all that waits for a person: keys to be made, keys to be revoked; with what to do exactly, and by when."""
    context.obj = config or context.obj
    if context.invoked_subcommand is not None:
        return
    with failures():
        settings = load_settings(context.obj)
        with wired(settings, read_only=True) as application:
            tasks = _tasks(application)
            now = application.clock.now()
        if as_document:
            click.echo(_as_json(tasks, now))
        else:
            _print(tasks)


@requests.command()
@click.argument("policy")
@click.argument("key_id")
@CONFIG
@click.pass_context
def done(context: click.Context, policy: str, key_id: str, config: Path | None) -> None:
    """Say that KEY_ID of POLICY is revoked, where that can't be observed: your word is recorded as such.

    It counts five minutes later: a process that has the key's secret yet tries it first.
    """
    from rotator.domain.request_events import RevocationTold  # noqa: PLC0415

    with failures():
        settings = load_settings(config or context.obj)
        known = configured(settings, policy)
        with wired(settings) as application:
            key = application.journal.load(policy).key(key_id)
            if key is None or key.revocation is None:
                raise click.ClickException(f"{policy}: nobody is asked to revoke that key; see 'rotator requests'")
            now = application.clock.now()
            application.journal.request(policy, RevocationTold(key_id=key_id, by=operator(), at=now), now)
            from rotator.entrypoints.steering import look_now  # noqa: PLC0415

            code = look_now(application, known)
            left = application.journal.load(policy).key(key_id)
            if left and left.revocation:
                say(f"{policy}: {_worth_of_the_word(key_id, left.revocation)}")
            context.exit(code)


def _worth_of_the_word(key_id: str, request: PersonRequest) -> str:
    from rotator.domain.assisted import word_counts_at  # noqa: PLC0415
    from rotator.domain.text import text  # noqa: PLC0415

    counts_at = word_counts_at(request)
    if counts_at is None:  # it was taken back meanwhile
        return f"the provider accepts {key_id}: your word does not count"
    return f"noted; it counts from {text(counts_at)} on, unless {key_id} is seen to be accepted"


requests.add_command(link)


def _tasks(application: Application) -> list[Task]:
    from rotator.domain.record import PolicyRecord  # noqa: PLC0415
    from rotator.domain.requests import tasks_of  # noqa: PLC0415

    records, now = application.journal.records(), application.clock.now()
    found = [
        task
        for policy in application.settings.policies
        for task in tasks_of(policy, records.get(policy.name, PolicyRecord(policy=policy.name)), now)
    ]
    return sorted(found, key=lambda task: (task.deadline is None, task.deadline or now))


def _as_json(tasks: list[Task], now: datetime) -> str:
    """``{"version": 1, "at", "requests": [...]}``."""
    from rotator.domain.text import text  # noqa: PLC0415
    from rotator.entrypoints.render import task_as_dict  # noqa: PLC0415
    from rotator.telemetry import redact_text  # noqa: PLC0415

    document = {"version": 1, "at": text(now), "requests": [task_as_dict(task) for task in tasks]}
    return redact_text(json.dumps(document, indent=2))


def _print(tasks: list[Task]) -> None:
    """One paragraph each: what is to be copied must stay on one line, however narrow the terminal is."""
    from rotator.domain.text import text  # noqa: PLC0415

    if not tasks:
        say("nothing waits for a person")
    for task in tasks:
        by = f", by {text(task.deadline)}" if task.deadline else ""
        say(f"{task.policy}: {task.kind} ({task.level}){by}")
        for sentence in task.what:
            say(f"  - {sentence}")
        say(f"  {task.link}")
        if task.owners:
            say(f"  asked: {', '.join(task.owners)}")
