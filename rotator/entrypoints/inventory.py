"""``rotator adopt --search``: which keys lie in the backends, as a table, and policies for them in a file for review.

It needs no journal, and credentials that can list and read. Nothing is changed but the file, which has no secret.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import click
import yaml

from rotator.bootstrap import endpoints
from rotator.config import Settings, load
from rotator.config.check import Faults
from rotator.config.places import place
from rotator.domain.model import Identity, KeyKind, Refused
from rotator.domain.text import text
from rotator.entrypoints import exits
from rotator.entrypoints.render import print_table
from rotator.errors import ConfigError
from rotator.ports import Listing
from rotator.service.inventory import Found, Inventory, Place, take_inventory
from rotator.telemetry import redact_text, shown

_HEADING = """\
# Written by 'rotator adopt --search' at {now}, for review. It has no secret.
# In force once the configuration includes it: each key is adopted at the first look, and replaced when it is due.
# When a key expires is not told by the provider's public endpoints: rotator adopt POLICY --expires DATE|never
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One value that was found, and what becomes of it.

    :param policy: the one that is written for it, or has it already; empty where there is none.
    :param destinations: as a configuration writes them: those of the new policy.
    :param note: for people.
    """

    found: Found
    what: str
    project: str = ""
    policy: str = ""
    destinations: tuple[Mapping[str, str], ...] = ()
    note: str = ""


@dataclass(slots=True)
class _Namer:
    """Names for policies: short, of the place's own words, each once."""

    taken: set[str] = field(default_factory=set)

    def name(self, first: Place) -> str:
        words = [word for word in re.split(r"[^A-Za-z0-9.-]+", first.spot.name) if word.strip(".-")]
        words = [word.strip(".-") for word in words]
        if "path" in dict(first.spot.options) and first.spot.name.startswith("/"):
            words = words[:-1] or words  # of a file, the folder says whose it is
        words = words or ["key"]
        candidates = [words[-1], "-".join(words[-2:]), *(f"{words[-1]}-{number}" for number in range(2, 10_000))]
        chosen = next(name for one in candidates if (name := one[:63]) not in self.taken)
        self.taken.add(chosen)
        return chosen


def search(
    settings: Settings,
    searches: Sequence[tuple[str, str]],
    *,
    provider: str,
    named: Sequence[str],
    output: Path | None,
    overwrite: bool,
) -> int:
    """Look, print, and write the file where one is wanted; returns the exit code."""
    if output is not None and output.exists() and not overwrite:
        raise click.ClickException(f"{output} exists; --overwrite replaces it")
    with endpoints(settings) as (providers, backends):
        inventory = take_inventory(
            searches,
            listings=lambda name: cast("Listing", backends(name)),
            provider=lambda: providers(provider),
            named=named,
            workers=settings.service.workers,
        )
    rows = list(_rows(settings, inventory))
    _print(rows, inventory)
    if output is not None:
        _write(output, _document(rows, inventory, provider))
        _tell_how_to_go_on(settings, rows)
    return exits.FAILED if inventory.problems or any(isinstance(row.found.answer, str) for row in rows) else exits.OK


def _rows(settings: Settings, inventory: Inventory) -> Iterator[Row]:
    configured = {d.name: policy.name for policy in settings.policies for d in policy.destinations}
    namer = _Namer({policy.name for policy in settings.policies})
    for found in inventory.found:
        answer = found.answer
        if isinstance(answer, str):
            yield Row(found=found, what="could not be asked about", note=answer)
        elif isinstance(answer, Refused):
            yield Row(found=found, what="refused", note=f"{answer.evidence}: ended, or never a key")
        elif answer.kind is KeyKind.LEGACY:
            note = "belongs to no project: name a project in a policy for these places, and it is replaced"
            yield Row(found=found, what="legacy organisation key", project=answer.organization or "", note=note)
        elif answer.kind is KeyKind.OTHER:
            yield Row(found=found, what="no API key of a project", note="a person's session, perhaps: not for services")
        else:
            yield _of_key(settings, found, answer, configured, namer)


def _of_key(settings: Settings, found: Found, identity: Identity, configured: Mapping[str, str], namer: _Namer) -> Row:
    new, problems, owners = [], [], []
    for one in found.places:
        given = {"backend": one.backend, **dict(one.spot.options)} | ({"field": one.field} if one.field else {})
        faults = Faults()
        placed = place(given, (), settings.backends, settings.source.parent.absolute(), faults)
        if placed is None:
            problems.append(f"{one.name} can't be written into a configuration: {faults.found[0][1]}")
        elif placed.destination.name in configured:
            owners.append(configured[placed.destination.name])
        else:
            new.append(given)
    named = f" ({identity.project_name})" if identity.project_name else ""
    row = Row(found=found, what=identity.key_id, project=f"{identity.project}{named}", note="; ".join(problems))
    if owners:
        more = f"is in policy {owners[0]} already" + ("; add the other places there" if new else "")
        return Row(found=found, what=row.what, project=row.project, policy=owners[0], note=more)
    if not new:
        return row
    name = namer.name(found.places[0])
    return Row(found=found, what=row.what, project=row.project, policy=name, destinations=tuple(new), note=row.note)


def _print(rows: Sequence[Row], inventory: Inventory) -> None:
    from rich.table import Table  # noqa: PLC0415 - slow to import
    from rich.text import Text  # noqa: PLC0415

    if rows:
        table = Table("key", "project", "lies in", "policy", "note", show_lines=True)
        for row in rows:
            names = "\n".join(place.name for place in row.found.places)
            table.add_row(*(Text(cell) for cell in (row.what, row.project, names, row.policy, row.note)))
        print_table(table)
    for heading, lines in (("not asked about", inventory.aside), ("unreadable", inventory.problems)):
        for name, why in lines:
            sys.stdout.write(shown(f"{heading}: {name}: {why}") + "\n")
    new = sum(bool(row.destinations) for row in rows)
    sys.stdout.write(
        f"places looked at: {inventory.looked_at}, values asked about: {len(rows)}, for new policies: {new}, "
        f"not asked about: {len(inventory.aside)}, unreadable: {len(inventory.problems)}; nothing was changed\n"
    )


def _document(rows: Sequence[Row], inventory: Inventory, provider: str) -> str:
    lines = [_HEADING.format(now=text(datetime.now(UTC)))]
    new = [row for row in rows if row.destinations]
    lines.append("policies:" if new else "policies: []")
    for row in new:
        lines.append(_comment(f"{row.what} of project {row.project}", "  "))
        lines.append(f"  - name: {_scalar(row.policy)}\n    provider: {_scalar(provider)}")
        assert isinstance(row.found.answer, Identity), "only a key of a project gets a policy"
        lines.append(f"    project: {_scalar(row.found.answer.project or '')}\n    destinations:")
        lines += [f"      - {_flow(dict(one))}" for one in row.destinations]
    others = [
        f"{', '.join(p.name for p in row.found.places)}: {row.what}: {row.note}" for row in rows if row not in new
    ]
    others += [f"{name}: {why}" for name, why in (*inventory.aside, *inventory.problems)]
    if others:
        lines.append("\n# Left for you:")
        lines += [_comment(one, "") for one in others]
    return redact_text("\n".join(lines)) + "\n"


def _comment(line: str, indent: str) -> str:
    return f"{indent}# {''.join(c if c.isprintable() else ' ' for c in line)}"


def _flow(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True).strip()


def _scalar(value: str) -> str:
    return _flow([value])[1:-1]


def _write(output: Path, document: str) -> None:
    try:
        output.write_text(document, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{output}: {error.strerror}") from error
    sys.stdout.write(f"written: {output}\n")


def _tell_how_to_go_on(settings: Settings, rows: Sequence[Row]) -> None:
    """Whether the file is part of the configuration, and is right."""
    wanted = {row.policy for row in rows if row.destinations}
    try:
        read = {policy.name for policy in load(settings.source, os.environ, secrets=False).policies}
    except ConfigError as error:
        sys.stdout.write(f"the configuration with it is not right yet:\n{error}\n")
        return
    if wanted <= read:
        sys.stdout.write("it is included; look through it, then: rotator validate, rotator --dry-run\n")
    else:
        sys.stdout.write(f"look through it, then add it to 'include' in {settings.source}: rotator validate\n")
