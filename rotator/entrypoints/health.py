"""``rotator health``: whether the running service is alive, for a container that has neither shell nor curl."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from rotator.entrypoints import exits
from rotator.entrypoints.shared import CONFIG, failures, load_settings, wired

if TYPE_CHECKING:  # see ``shared``
    from rotator.config import Settings

SECONDS = 10.0
"""For the whole answer; the service gives one in five, or none."""

_MOST = 64 * 1024  # bytes of an answer that are read
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared with, not listened at


@click.command()
@CONFIG
@click.option("--url", metavar="URL", help="http://HOST:PORT of the service; without it, as the configuration says.")
@click.option("--ready", is_flag=True, help="Whether it can work (/readyz), not only whether it is alive (/healthz).")
@click.pass_context
def health(context: click.Context, config: Path | None, url: str | None, *, ready: bool) -> None:
    """Ask the running service whether it is alive: exit code 0, or 1 and why not.

    A configuration without the section http has nothing to ask: then it is whether the journal can be read.
    """
    path = "/readyz" if ready else "/healthz"
    if url is not None:
        context.exit(_ask(*_place(url), path))
    with failures():
        settings = load_settings(config or context.obj, secrets=False)
        if settings.http is None:
            context.exit(_read_journal(settings))
        if not settings.http.port:
            raise click.UsageError("the configuration lets the service pick a free port: say which with --url")
        host = _EVERYWHERE.get(settings.http.host, settings.http.host)
        context.exit(_ask(host, settings.http.port, path))


def _place(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        if parts.scheme == "http" and parts.hostname and parts.port and parts.path in {"", "/"} and not parts.query:
            return parts.hostname, parts.port
    except ValueError:
        pass  # a port that is none
    raise click.BadParameter("a URL like http://127.0.0.1:9464 is needed", param_hint="--url")


def _ask(host: str, port: int, path: str) -> int:
    from http.client import HTTPConnection, HTTPException  # noqa: PLC0415 - start-up is measured, and few ask for it

    connection = HTTPConnection(host, port, timeout=SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        said = answer.read(_MOST).decode(errors="replace").strip()
    except (OSError, HTTPException) as error:
        click.echo(f"rotator: {host}, port {port}: no answer: {error or type(error).__name__}", err=True)
        return exits.FAILED
    finally:
        connection.close()
    is_well = answer.status == 200  # noqa: PLR2004 - see the table in docs/operations.md
    click.echo(said if is_well else f"rotator: {path} answers {answer.status}: {said}", err=not is_well)
    return exits.OK if is_well else exits.FAILED


def _read_journal(settings: Settings) -> int:
    with wired(settings, read_only=True) as application:
        application.journal.looks()
    click.echo("the journal can be read; without the section http nobody can ask the service itself")
    return exits.OK
