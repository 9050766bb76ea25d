"""``rotator policy``: the least rights for a configuration, as the backend's own kind of policy. Asks nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from rotator.entrypoints.shared import CONFIG, failures, load_settings, one_of

if TYPE_CHECKING:  # start-up is measured: what a command needs is imported where it begins
    from rotator.adapters.backends.vault_policy import Use
    from rotator.config import BackendSettings, Settings

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
@click.pass_context
def vault(context: click.Context, config: Path | None, backend: str | None, *, read_only: bool) -> None:
    """Print an ACL policy for HashiCorp Vault or OpenBao (HCL)."""
    from rotator.adapters.backends.vault_policy import as_hcl, place_rules, token_rules  # noqa: PLC0415
    from rotator.config import VaultSettings  # noqa: PLC0415 - pydantic is slow to import

    with failures():
        settings = load_settings(config or context.obj, secrets=False)
    name, chosen = one_backend(settings, VaultSettings, "vault", backend)
    in_namespace = f" in namespace {chosen.namespace}" if chosen.namespace else ""
    heading = [
        f"What rotator needs of '{name}' ({chosen.url}){in_namespace}, by {settings.source.name}",
        f"Made by: rotator policy vault --backend {name}{' --read-only' if read_only else ''}",
        f"Give it with: vault policy write rotator FILE (or bao policy write){in_namespace}",
    ]
    rules = place_rules(uses_of(settings, name), read_only=read_only)
    click.echo(as_hcl(heading, rules, token_rules(read_only=read_only)), nl=False)


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
        settings = load_settings(config or context.obj, secrets=False)
    name, chosen = one_backend(settings, AwsSettings, "aws-secrets-manager", backend)
    if caller:
        if chosen.assume_role is None:
            raise click.UsageError(f"backend {name!r} takes on no role")
        document = policy_to_assume(chosen.assume_role.arn)
    else:
        uses = [Use(destination=use.destination, writes=use.writes, takes=use.takes) for use in uses_of(settings, name)]
        document = policy_for(uses, region=chosen.region, account=chosen.account, read_only=read_only)
    click.echo(json.dumps(document, indent=2))


def uses_of(settings: Settings, backend: str) -> Iterator[Use]:
    """Every place of a backend that the configuration names: destinations, and management keys that lie there."""
    from rotator.adapters.backends.vault_policy import Use  # noqa: PLC0415
    from rotator.config import BackendRef, TogetherSettings  # noqa: PLC0415

    for one in settings.policies:
        for destination in one.destinations:
            if destination.backend == backend:
                yield Use(destination=destination, who=f"policy {one.name}", writes=True)
        inbox = one.assistance.inbox if one.assistance else None
        if inbox and inbox.backend == backend:
            yield Use(destination=inbox, who=f"inbox of {one.name}", writes=False, takes=True)
    for name, provider in settings.providers.items():
        ref = provider.management_key if isinstance(provider, TogetherSettings) else None
        if isinstance(ref, BackendRef) and ref.destination.backend == backend:
            yield Use(destination=ref.destination, who=f"management key of provider {name}", writes=False)


def one_backend(settings: Settings, kind: type[_Kind], type_: str, wanted: str | None) -> tuple[str, _Kind]:
    """The backend of that kind, by its name where there are several.

    :param type_: the kind as the configuration calls it.
    """
    of_kind = {name: one for name, one in settings.backends.items() if isinstance(one, kind)}
    name = one_of(of_kind, wanted, option="--backend", what=f"backend of type {type_}")
    return name, of_kind[name]
