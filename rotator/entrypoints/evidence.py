"""Verification and export of the journal's history.

An export is JSON lines: a first one that says what it is, the entries chain by chain (the journal's own first), and a
last one with the heads as the journal had them. So the same verification judges it elsewhere, without the journal.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rotator.bootstrap import Application
from rotator.domain.chain import FORMAT, OWN, Entry, Head, canonical, entry_of, read_object
from rotator.domain.text import text
from rotator.domain.verify import Anchor, Remembered, Report, Verification
from rotator.errors import HistoryUnreadable
from rotator.ledger import History
from rotator.service.upkeep import ANCHOR

_KIND = "rotator history"


def verify_journal(history: History, instance: str, policy: str | None, anchors: Path | None) -> Report:
    """Judge the journal as it is at one moment; what others add or prune meanwhile is not looked at.

    :param policy: only that one's chain, beside the journal's own.
    :raises HistoryUnreadable: where the anchors can't be read.
    """
    verification = Verification(_anchors(anchors, instance) if anchors else ())
    with history.at_one_moment() as chains:
        known = chains.remembered()
        # The journal's own first: its name is empty. Others may have any name, if somebody wrote into the table.
        for chain in sorted(chains.names(), key=str) if policy is None else (OWN, policy):
            verification.feed(chains.entries(chain))
    return verification.report(known if policy is None else known.of(policy), whole=policy is None)


def verify_export(source: Path, anchors: Path | None) -> Report:
    """Judge an export. Raises ``HistoryUnreadable`` where it is none."""
    with _read(source) as lines:
        first = _line(next(lines, ""), 1)
        if first.get("kind") != _KIND or first.get("format") != FORMAT:
            raise HistoryUnreadable(f"{source}: this is no export of format {FORMAT}")
        whole = first.get("policy") is None
        if anchors and not whole:
            raise HistoryUnreadable(f"{source}: it has one policy alone; anchors are compared with a whole export")
        verification = Verification(_anchors(anchors, str(first.get("instance"))) if anchors else ())
        known: Remembered | None = None
        for number, line in enumerate(lines, 2):
            if known is not None:
                raise HistoryUnreadable(f"{source}: line {number} comes after the end")
            found = _line(line, number)
            try:
                if "heads" in found:
                    heads = {policy: Head(*head) for policy, head in found["heads"].items()}
                    known = Remembered(heads=heads, sealed=dict(found.get("sealed", {}).items()))
                else:
                    verification.feed([_of_policy(entry_of(found), first.get("policy"))])
            except (AttributeError, TypeError, ValueError) as error:
                raise HistoryUnreadable(f"{source}: line {number} is no entry: {error}") from error
    report = verification.report(known or Remembered(heads={}), whole=whole)
    if known is None:
        report.faults.insert(0, "the file is cut: its last line is missing")
    return report


def export(application: Application, policy: str | None, target: Path) -> int:
    """Write everything, or one policy's chain, to a new private file (``-``: standard output); how many entries."""
    count = 0
    with application.history.at_one_moment() as chains:
        known = chains.remembered()
        names = sorted(chains.names(), key=str)
        if policy is not None:
            heads = {policy: known.heads[policy]} if policy in known.heads else {}
            known, names = Remembered(heads=heads), [policy]
        with _written(target) as out:
            first = {"kind": _KIND, "format": FORMAT, "instance": application.settings.instance, "policy": policy}
            out.write(canonical({**first, "at": text(application.clock.now())}) + "\n")
            for chain in names:
                for entry in chains.entries(chain):
                    out.write(f"{_exported(entry)}\n")
                    count += 1
            out.write(_written_down({"heads": known.heads, "sealed": known.sealed}) + "\n")
    return count


def report_as_json(report: Report) -> str:
    """``{"version": 1, "whole", "policies", "events", "seals", "anchors", "faults", "notes"}``."""
    whole = {"version": 1, "whole": not report.faults, "policies": report.chains, "events": report.events}
    whole |= {"seals": report.seals, "anchors": report.anchors}
    faults = [*report.faults, *([f"and {report.more} more"] if report.more else [])]
    return json.dumps({**whole, "faults": faults, "notes": report.notes}, indent=2) + "\n"


def report_as_text(report: Report) -> str:
    """The judgement in the last line, and before it all that a reader must know."""
    lines = [f"FAULT {fault}" for fault in report.faults]
    lines += [f"FAULT and {report.more} more"] if report.more else []
    lines += [f"note  {note}" for note in report.notes]
    read = f"{report.events} events of {report.chains} policies, {report.seals} seals, {report.anchors} anchors"
    faults = len(report.faults) + report.more
    lines.append(f"{read}: {f'faults: {faults}' if faults else 'whole'}")
    return "".join(f"{line}\n" for line in lines)


def _exported(entry: Entry) -> str:
    try:
        entry.check()
        line = entry.line()
        line.encode()
    except ValueError:
        # Somebody has spoilt it; what can be read of it is told, and does not verify.
        return _written_down({"format": FORMAT, "policy": entry.policy, "number": entry.number, "spoilt": entry.body})
    return line


def _of_policy(entry: Entry, policy: str | None) -> Entry:
    if policy is not None and entry.policy != policy:
        raise ValueError(f"it is of {entry.policy!r}, and the first line says {policy!r} alone")
    return entry


def _written_down(told: Mapping[str, Any]) -> str:
    """As JSON, whatever somebody has written into the journal."""
    try:
        line = canonical(told)
        line.encode()
    except (TypeError, ValueError):
        return canonical({name: ascii(value) for name, value in told.items()})
    return line


def _anchors(path: Path, instance: str) -> list[Anchor]:
    """Those of this installation, among whatever other lines there are."""
    found = []
    with _read(path) as lines:
        for line in lines:
            try:
                given = read_object(line)
            except ValueError:
                continue
            if given.get("event") != ANCHOR or given.get("instance") != instance:
                continue
            number, hash_ = given.get("number"), given.get("hash")
            if type(number) is int and isinstance(hash_, str):
                found.append(Anchor(at=str(given.get("at") or given.get("timestamp")), head=Head(number, hash_)))
    if not found:
        raise HistoryUnreadable(f"{path}: no line of it is an anchor of {instance!r}")
    return found


def _line(line: str, number: int) -> dict[str, Any]:
    try:
        return read_object(line)
    except ValueError:
        raise HistoryUnreadable(f"line {number} is no JSON object: this is no export, or it is spoilt") from None


@contextmanager
def _read(path: Path) -> Iterator[Iterator[str]]:
    try:
        if str(path) == "-":
            yield iter(sys.stdin)
            return
        with path.open(encoding="utf-8") as file:
            yield iter(file)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8"
        raise HistoryUnreadable(f"{path}: {reason}") from error


@contextmanager
def _written(path: Path) -> Iterator[TextIO]:
    if str(path) == "-":
        yield sys.stdout
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - it is open already
            yield file
    except OSError as error:
        raise HistoryUnreadable(f"{path}: {error.strerror}") from error
