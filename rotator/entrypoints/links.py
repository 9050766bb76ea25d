"""``rotator requests link``: a way to hand a key over for who has a browser, and no account on this host."""

from __future__ import annotations

import secrets
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rotator.entrypoints.holding import Length
from rotator.entrypoints.shared import CONFIG, Recorded, configured, failures, load_settings, operator, wired

if TYPE_CHECKING:  # see ``shared``
    from rotator.config import HttpSettings

_LONGEST = timedelta(days=1)
_LONGEST_NAME = 100


@click.command()
@click.argument("policy")
@CONFIG
@click.option(
    "--for", "name", type=Recorded(), metavar="NAME", help="Who hands the key over; it is recorded. Default: you."
)
@click.option("--valid", type=Length(), default="30m", show_default=True, help="For how long.")
def link(policy: str, config: Path | None, name: str | None, valid: timedelta) -> None:
    """Print a link to the page of the running service where the key that is asked for can be handed over.

    Whoever has the link can hand over one key for POLICY, and read nothing but what is asked for. A newer link ends it.
    """
    from rotator.domain.links import PREFIX, digest_of  # noqa: PLC0415 - see ``shared``
    from rotator.domain.record import HandoverLink  # noqa: PLC0415
    from rotator.domain.request_events import HandoverLinkMade  # noqa: PLC0415
    from rotator.domain.text import text  # noqa: PLC0415

    with failures():
        settings = load_settings(config or click.get_current_context().obj)
        configured(settings, policy)
        address = _address(settings.http)
        if valid > _LONGEST:
            raise click.UsageError("a link is valid for a day at most: --valid 1d")
        if name is not None and not (name.isprintable() and 0 < len(name.strip()) <= _LONGEST_NAME):
            raise click.UsageError("--for takes one name")
        with wired(settings) as application:
            rotation = application.journal.load(policy).awaiting
            if rotation is None:
                raise click.ClickException(f"{policy}: no key is asked for now; see 'rotator requests'")
            token = secrets.token_urlsafe(32)
            now = application.clock.now()
            made = HandoverLink(digest=digest_of(token), until=now + valid, name=name or operator())
            event = HandoverLinkMade(rotation_id=rotation.rotation_id, link=made, by=operator())
            application.journal.request(policy, event, now)
    click.echo(f"{address}{PREFIX}{policy}/{token}")
    click.echo(f"for {made.name}, until {text(made.until)}: it takes the key {rotation.key_name}", err=True)


def _address(http: HttpSettings | None) -> str:
    """Where people reach the service."""
    from rotator.config.hosts import EVERYWHERE  # noqa: PLC0415 - see ``shared``

    if http is None:
        raise click.ClickException("the configuration has no section http: the service has no page")
    if not http.takes_keys:
        raise click.ClickException(
            "keys are handed over by https, or on this machine: say http.tls, or listen at 127.0.0.1 behind a proxy"
        )
    if http.url is not None:
        return http.url
    if http.host in EVERYWHERE or not http.port:
        raise click.ClickException("say in the configuration by which address people reach the service: http.url")
    host = f"[{http.host}]" if ":" in http.host else http.host
    return f"{'https' if http.tls else 'http'}://{host}:{http.port}"
