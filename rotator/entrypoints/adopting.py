"""``rotator adopt``: a key that lies in the destinations becomes the current one; or an inventory of such keys."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rotator.entrypoints import exits
from rotator.entrypoints.holding import Moment
from rotator.entrypoints.shared import CONFIG, configured, failures, load_settings, log_from, one_of, operator, wired
from rotator.errors import LeaseHeld

if TYPE_CHECKING:  # see ``shared``
    from rotator.config import Settings
    from rotator.domain.model import Policy
    from rotator.service.adopt import Adopted

NEVER = "never"


class Ending(click.ParamType):  # type: ignore[type-arg]
    """``never``, a date (the start of that day, UTC), or an aware time."""

    name = "date"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime | str:
        """See ``click.ParamType``."""
        if isinstance(value, datetime) or value == NEVER:
            return value if isinstance(value, datetime) else NEVER
        try:
            return datetime.combine(date.fromisoformat(str(value)), time(), UTC)
        except ValueError:
            pass
        try:
            return Moment().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is no date; like 2026-12-24, 2026-12-24T18:00Z, or never", param, ctx)


_EXAMPLE = """\b
Like:
  rotator adopt --search 'vault:secret/apps/**' --search 'aws:prod/*' --output policies.d/adopted.yaml
"""


@click.command(epilog=_EXAMPLE)
@click.argument("policy", required=False)
@CONFIG
@click.option(
    "--expires",
    type=Ending(),
    metavar="DATE|never",
    help="The key's expiration, where the provider does not tell it: a date means its start, in UTC.",
)
@click.option("--search", "searches", multiple=True, metavar="BACKEND:PATTERN", help="Look for keys there; repeatable.")
@click.option("--field", "fields", multiple=True, metavar="NAME", help="Ask about this field, whatever its value.")
@click.option("--provider", metavar="NAME", help="Who is asked whose keys they are, where there are several.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write policies there.")
@click.option("--overwrite", is_flag=True, help="Although that file exists.")
@click.pass_context
def adopt(
    context: click.Context,
    /,
    policy: str | None,
    config: Path | None,
    expires: datetime | str | None,
    searches: tuple[str, ...],
    **more: Any,  # noqa: ANN401 - of --search alone
) -> None:
    """Record the key that all destinations of POLICY hold as its current one, now; or --search for keys.

    Without it the next look does so by itself, where the policy's "drift" allows it. Nothing is written but the
    journal. Refused, with the reason, where the destinations differ, or hold no key of this project that works.

    With --search, an inventory: it finds keys that lie in backends, asks the provider whose they are, and writes
    policies for review. Nothing else is changed, and no journal is needed.
    """
    if bool(policy) == bool(searches):
        raise click.UsageError("say one POLICY, or --search")
    if searches:
        if expires is not None:
            raise click.UsageError("--expires goes with a POLICY")
        context.exit(_search(config or context.obj, searches, **more))
    if any(more.values()):
        raise click.UsageError("--field, --provider, --output and --overwrite go with --search")
    assert policy is not None, "looked at above"
    _adopt(context, config or context.obj, policy, expires)


def _adopt(context: click.Context, config: Path | None, policy: str, expires: datetime | str | None) -> None:
    from rotator.service.adopt import Adopted, Told, adopt as adopt_now  # noqa: PLC0415, I001

    with failures():
        settings = load_settings(config)
        known = configured(settings, policy)
        by = operator()
        told = None if expires is None else Told(expires if isinstance(expires, datetime) else None, by)
        with wired(settings) as application:
            try:
                outcome = adopt_now(application.reconciler, known, told, by)
            except LeaseHeld as busy:
                click.echo(f"{policy}: not adopted: {busy}; try again", err=True)
                context.exit(exits.LOCKED)
            if not isinstance(outcome, Adopted):
                raise click.ClickException(f"{policy}: can't be adopted: {outcome.reason}")
            _tell(known, outcome)


def _search(
    config: Path | None,
    searches: tuple[str, ...],
    *,
    fields: tuple[str, ...],
    provider: str | None,
    output: Path | None,
    overwrite: bool,
) -> int:
    from rotator.entrypoints.inventory import search  # noqa: PLC0415 - see ``shared``

    if overwrite and output is None:
        raise click.UsageError("--overwrite goes with --output")
    with failures():
        settings = load_settings(config, secrets=False)
        asked = one_of(settings.providers, provider, option="--provider", what="provider")
        where = [_where(settings, one) for one in searches]
        log_from(settings, "error")
        return search(settings, where, provider=asked, named=fields, output=output, overwrite=overwrite)


def _where(settings: Settings, given: str) -> tuple[str, str]:
    backend, colon, pattern = given.partition(":")
    if not colon or not pattern or backend not in settings.backends:
        known = ", ".join(settings.backends)
        raise click.BadParameter(f"{given!r} is no BACKEND:PATTERN; backends: {known}", param_hint="--search")
    return backend, pattern


def _tell(policy: Policy, outcome: Adopted) -> None:
    from rotator.domain.renewal import renewal_at  # noqa: PLC0415
    from rotator.domain.text import text  # noqa: PLC0415

    key = outcome.key
    if key.expires_at:
        ends = f"it ends at {text(key.expires_at)}"
    else:
        ends = "it never ends" if key.expires_told_by else "when it ends is not known (tell it with --expires)"
    click.echo(f"{policy.name}: {key.key_id} is the current key{'' if outcome.is_new else ' already'}; {ends}")
    click.echo(f"{policy.name}: it is to be replaced at {text(renewal_at(policy, key))}")
    if outcome.others:
        click.echo(f"{policy.name}: the same key is known to {', '.join(outcome.others)}: each gets a key of its own")
