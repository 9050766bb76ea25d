"""``rotator policy``: the least rights for a configuration, as the backend's own kind of policy. Asks nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from rotator.entrypoints.shared import CONFIG, failures, load_settings

if TYPE_CHECKING:  # start-up is measured: what a command needs is imported where it begins
    from rotator.config import BackendSettings, Settings
    from rotator.domain.model import Destination

_Kind = TypeVar("_Kind", bound="BackendSettings")

BACKEND = click.option("--backend", metavar="NAME", help="Which one, where several of that kind are configured.")
READ_ONLY = click.option("--read-only", is_flag=True, help="What --dry-run and an audit need.")


@click.group()
def policy() -> None:
    """Print the least rights that a configuration needs, ready to be given."""


@policy.command()
@CONFIG
@BACKEND
@READ_ONLY
@click.option("--caller", is_flag=True, help="Of the credentials that take on the role, instead of the role's.")
@click.pass_context
def aws(context: click.Context, config: Path | None, backend: str | None, *, read_only: bool, caller: bool) -> None:
    """Print an IAM policy for AWS Secrets Manager (JSON)."""
    from rotator.adapters.backends.aws_policy import Use, policy_for, policy_to_assume  # noqa: PLC0415
    from rotator.config import AwsSettings  # noqa: PLC0415 - pydantic is slow to import

    with failures():
        settings = load_settings(config or context.obj)
    name, chosen = one_backend(settings, AwsSettings, backend)
    if caller:
        if chosen.assume_role is None:
            raise click.UsageError(f"backend {name!r} takes on no role")
        document = policy_to_assume(chosen.assume_role.arn)
    else:
        uses = [Use(destination=place, writes=writes) for place, writes in places_of(settings, name)]
        document = policy_for(uses, region=chosen.region, account=chosen.account, read_only=read_only)
    click.echo(json.dumps(document, indent=2))


def places_of(settings: Settings, backend: str) -> Iterator[tuple[Destination, bool]]:
    """Every place of a backend that the configuration names, and whether it is written."""
    from rotator.config import BackendRef  # noqa: PLC0415

    for one in settings.policies:
        yield from ((destination, True) for destination in one.destinations if destination.backend == backend)
    for provider in settings.providers.values():
        ref = provider.management_key
        if isinstance(ref, BackendRef) and ref.destination.backend == backend:
            yield ref.destination, False


def one_backend(settings: Settings, kind: type[_Kind], wanted: str | None) -> tuple[str, _Kind]:
    """The backend of that kind, by its name where there are several."""
    of_kind = {name: one for name, one in settings.backends.items() if isinstance(one, kind)}
    if wanted is None and len(of_kind) == 1:
        return next(iter(of_kind.items()))
    if wanted is not None and wanted in of_kind:
        return wanted, of_kind[wanted]
    known = ", ".join(of_kind) or "none is configured"
    raise click.BadParameter(f"allowed: {known}", param_hint="--backend")
