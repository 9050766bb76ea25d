"""What every command shares: the configuration, the wired application, and how a failure ends."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rotator.entrypoints import exits
from rotator.errors import ConfigError, RotatorError

if TYPE_CHECKING:  # start-up is measured: what a command needs is imported where it begins
    from rotator.bootstrap import Application
    from rotator.config import Settings
    from rotator.domain.model import Policy

CONFIG = click.option(
    "--config",
    "-c",
    "config",
    type=click.Path(path_type=Path),
    envvar="ROTATOR_CONFIG",
    show_envvar=True,
    metavar="FILE",
    help="The configuration.",
)


class Recorded(click.ParamType):  # type: ignore[type-arg]
    """Words that the journal keeps for ever, and shows: some, not too many, and nothing of a credential's shape."""

    name = "text"
    longest = 500
    """Characters: it is shown in a cell of a table, and in a line of the log."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See ``click.ParamType``. What was given is never repeated."""
        from rotator.config.secrets import holds_secret  # noqa: PLC0415 - see above

        words = str(value).strip()
        if not words:
            self.fail("it is recorded, and can't be blank", param, ctx)
        if len(words) > self.longest:
            self.fail(f"it has {len(words)} characters; {self.longest} at most are recorded", param, ctx)
        if holds_secret(words):
            self.fail("it is recorded, and takes no key; revoke the key, it was in the list of processes", param, ctx)
        return words


REASON = click.option("--reason", required=True, type=Recorded(), help="Why; it is recorded.")


@contextmanager
def failures() -> Iterator[None]:
    """Every error of ours ends as one clear line and an exit code; everything else is a defect, and crashes."""
    try:
        yield
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(exits.USAGE)
    except RotatorError as error:
        say(f"rotator: {error}", err=True)
        sys.exit(exits.FAILED)


def say(line: str, *, err: bool = False) -> None:
    """One line in which words of others are: redacted, and harmless to a terminal."""
    from rotator.telemetry import shown  # noqa: PLC0415 - structlog is slow to import

    click.echo(shown(line), err=err)


def operator() -> str:
    """Who gives an order: the login name, or the number where a container knows no name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def load_settings(config: Path | None, *, secrets: bool = True, forms: bool = False) -> Settings:
    """The configuration; ``ConfigError`` with every problem. For ``secrets`` and ``forms`` see ``config.load``."""
    if config is None:
        raise click.UsageError("say which configuration: --config FILE, or ROTATOR_CONFIG in the environment")
    from rotator.config import load  # noqa: PLC0415 - pydantic is slow to import

    return load(config, os.environ, secrets=secrets, forms=forms)


def one_of(known: Collection[str], wanted: str | None, *, option: str, what: str) -> str:
    """The one that an option names, or the only one there is; otherwise a usage error."""
    if wanted in known or (wanted is None and len(known) == 1):
        return wanted or next(iter(known))
    if not known:
        raise click.UsageError(f"no {what} is configured")
    if wanted is None:
        raise click.UsageError(f"say {option}, one of: {', '.join(known)}")
    raise click.BadParameter(f"allowed: {', '.join(known)}", param_hint=option)


@contextmanager
def wired(
    settings: Settings, *, read_only: bool = False, must_exist: bool = False, who: str = "", log_level: str = "error"
) -> Iterator[Application]:
    """The application, closed at the end, and before it the log: nothing that has a runtime goes without redaction.

    :param must_exist: see ``bootstrap.application``.
    :param who: on whose behalf it records; the operator's, where it is not said.
    :param log_level: ``error``, because a command tells the rest itself.
    """
    from rotator.bootstrap import application  # noqa: PLC0415 - SQLAlchemy is slow to import

    log_from(settings, log_level)
    who = who or f"operator {operator()}"
    with application(settings, read_only=read_only, must_exist=must_exist, who=who) as made:
        yield made


def log_from(settings: Settings, level: str) -> None:
    """Set up the log as the configuration says; for what does without ``wired``."""
    from rotator import telemetry  # noqa: PLC0415 - a command that fails early needs no logging

    telemetry.configure(level=level, style=settings.log.format)


def configured(settings: Settings, name: str, *, said_by: str = "POLICY") -> Policy:
    """The policy of that name, or a usage error.

    :param said_by: the argument or option in which it was given.
    """
    for policy in settings.policies:
        if policy.name == name:
            return policy
    raise click.BadParameter(f"no policy {name!r} in {settings.source}", param_hint=said_by)
