"""``rotator health``: whether the running service is alive, for a container that has neither shell nor curl."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from rotator.entrypoints import exits
from rotator.entrypoints.shared import CONFIG, failures, load_settings, wired
from rotator.errors import JournalEmpty

if TYPE_CHECKING:  # see ``shared``
    from ssl import SSLContext

    from rotator.config import Settings

SECONDS = 10.0
"""For the whole answer; the service gives one in five, or none."""

_MOST = 64 * 1024  # bytes of an answer that are read


@click.command()
@CONFIG
@click.option("--url", metavar="URL", help="http(s)://HOST:PORT of the service; without it, as the configuration says.")
@click.option("--ready", is_flag=True, help="Whether it can work (/readyz), not only whether it is alive (/healthz).")
@click.pass_context
def health(context: click.Context, config: Path | None, url: str | None, *, ready: bool) -> None:
    """Ask the running service whether it is alive: exit code 0, or 1 and why not.

    Without the section http there is nobody to ask: then it is whether the journal is there and can be read.
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
        from rotator.config.hosts import EVERYWHERE  # noqa: PLC0415 - see ``shared``

        host = EVERYWHERE.get(settings.http.host, settings.http.host)
        context.exit(_ask(host, settings.http.port, _trusting(settings.http.tls), path))


def _place(url: str) -> tuple[str, int, SSLContext | None]:
    try:
        parts = urlsplit(url)
        is_plain = not parts.query and parts.path in {"", "/"}
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port and is_plain:
            return parts.hostname, parts.port, _trusting_authorities() if parts.scheme == "https" else None
    except ValueError:
        pass  # a port that is none
    raise click.BadParameter("a URL like http://127.0.0.1:9464 is needed", param_hint="--url")


def _trusting_authorities() -> SSLContext:
    import ssl  # noqa: PLC0415 - see ``_ask``

    return ssl.create_default_context()


def _trusting(files: tuple[Path, Path] | None) -> SSLContext | None:
    """The certificate that this service shows, and no other; it names the host for people, which is not asked here."""
    if files is None:
        return None
    import ssl  # noqa: PLC0415 - see ``_ask``

    try:
        context = ssl.create_default_context(cafile=files[0])
    except OSError as error:
        raise click.ClickException(f"http.tls: its certificate can't be read: {error}") from error
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _ask(host: str, port: int, trusted: SSLContext | None, path: str) -> int:
    from http.client import HTTPConnection, HTTPException, HTTPSConnection  # noqa: PLC0415 - few ask for it

    if trusted:
        connection: HTTPConnection = HTTPSConnection(host, port, timeout=SECONDS, context=trusted)
    else:
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
    try:
        with wired(settings, read_only=True, must_exist=True) as application:
            application.journal.looks()
    except JournalEmpty:  # as a service that has no policy yet has made it
        pass
    click.echo("the journal can be read; without the section http nobody can ask the service itself")
    return exits.OK
