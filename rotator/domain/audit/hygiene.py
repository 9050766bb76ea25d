"""The rotator's own hygiene: its credentials, rights, files and connections. Read ``HYGIENE`` at the end first."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rotator.domain.audit.finding import Finding, Rule, Severity
from rotator.domain.audit.seen import Seen
from rotator.domain.audit.standards import (
    ACCESS_LISTS,
    AUTHENTICATION,
    CHANGED_PERIODICALLY,
    CRYPTOPERIODS,
    IN_TRANSIT,
    LEAKAGE,
    LEAST_PRIVILEGE,
    LONG_LIVED,
    OVERPRIVILEGED,
    REUSE,
)
from rotator.domain.audit.surroundings import Connection, FileSeen, Grant, Granted, Purpose
from rotator.domain.model import KeyKind
from rotator.domain.text import duration, text

_TOLD = 6

CREDENTIAL_OLD = Rule(
    id="ROT-H01",
    severity=Severity.MEDIUM,
    title="The management credential is old",
    why="It can create and revoke keys; the rotator that changes everybody else's keys does not change its own.",
    todo="Make a new one at the provider, put it where the configuration points to, and revoke the old one.",
    references=(LONG_LIVED, CRYPTOPERIODS, CHANGED_PERIODICALLY),
)


def credential_old(seen: Seen) -> Iterator[Finding]:
    """Its file or secret was written longer ago than a credential may live."""
    for one in seen.surroundings.credentials:
        if one.since and seen.now - one.since > seen.limits.credential_age:
            told = f"written at {text(one.since)}, more than {duration(seen.limits.credential_age)} ago"
            yield CREDENTIAL_OLD.found(one.name, told)


CREDENTIAL_WIDE = Rule(
    id="ROT-H02",
    severity=Severity.LOW,
    title="One management credential for many projects",
    why="Whoever gets hold of it can replace or revoke the keys of all of them.",
    todo="One credential for each project or environment, as a provider of its own in the configuration.",
    references=(OVERPRIVILEGED, LEAST_PRIVILEGE),
)


def credential_wide(seen: Seen) -> Iterator[Finding]:
    """It is the organisation's legacy key, or manages several projects."""
    for one in seen.surroundings.credentials:
        if one.kind is KeyKind.LEGACY:
            told = "it is the organisation's legacy key, which opens every project and can't be revoked"
            yield CREDENTIAL_WIDE.found(one.name, told, severity=Severity.HIGH)
        elif one.projects > 1:
            yield CREDENTIAL_WIDE.found(one.name, f"it manages the keys of {one.projects} projects")


CREDENTIAL_SHARED = Rule(
    id="ROT-H03",
    severity=Severity.CRITICAL,
    title="The management credential lies where consumers read",
    why="Every consumer can create and revoke keys.",
    todo="Put a project key there, and replace the management credential.",
    references=(REUSE, OVERPRIVILEGED, LEAKAGE),
)


def credential_shared(seen: Seen) -> Iterator[Finding]:
    """A destination holds the same value."""
    for one in seen.surroundings.credentials:
        if one.lies_in:
            yield CREDENTIAL_SHARED.found(one.name, f"the same value lies in {', '.join(one.lies_in)}")


VAULT_WIDE = Rule(
    id="ROT-H04",
    severity=Severity.MEDIUM,
    title="Over-broad Vault policy",
    why="Whoever takes the rotator over reaches everything that its token reaches.",
    todo="'rotator policy vault --config F' prints the least policy: give that one, and no other.",
    references=(OVERPRIVILEGED, LEAST_PRIVILEGE, ACCESS_LISTS),
)


def vault_wide(seen: Seen) -> Iterator[Finding]:
    """The token may do more than the least policy says."""
    yield from _too_much(seen, VAULT_WIDE, "vault", "a root token may do everything")


IAM_WIDE = Rule(
    id="ROT-H05",
    severity=Severity.MEDIUM,
    title="Over-broad IAM policy",
    why="Whoever takes the rotator over reaches everything that its role reaches.",
    todo="'rotator policy aws --config F' prints the least policy: attach that one, and no other.",
    references=(OVERPRIVILEGED, LEAST_PRIVILEGE, ACCESS_LISTS),
)


def iam_wide(seen: Seen) -> Iterator[Finding]:
    """The identity's policies allow more than the least one."""
    yield from _too_much(seen, IAM_WIDE, "iam", "every action on every resource is allowed")


TOKEN_ENDLESS = Rule(
    id="ROT-H06",
    severity=Severity.MEDIUM,
    title="A token without an end",
    why="It is a secret for ever, as the keys were before rotator came.",
    todo="Log in with a method that gives tokens which end (AppRole, Kubernetes, JWT, certificate): docs/vault.md.",
    references=(LONG_LIVED, AUTHENTICATION),
)


def token_endless(seen: Seen) -> Iterator[Finding]:
    """The backend's token never expires."""
    for rights in seen.surroundings.rights:
        if rights.endless:
            yield TOKEN_ENDLESS.found(rights.backend, "its token has no end")


FILE_WRITABLE = Rule(
    id="ROT-H07",
    severity=Severity.HIGH,
    title="Others can change the rotator's files",
    why="Who can write the configuration or the journal decides where keys are put, and which are revoked.",
    todo="chmod go-w, of the directories above as well; all of it belongs to the rotator's user or to root.",
    references=(ACCESS_LISTS, LEAKAGE),
)


def file_writable(seen: Seen) -> Iterator[Finding]:
    """A file of ours, or a directory above it, that group or others may write, or that is somebody else's."""
    for file in seen.surroundings.files:
        if file.writable or file.foreign:
            yield FILE_WRITABLE.found(file.path, _told(file), policy=file.policy)


FILE_READABLE = Rule(
    id="ROT-H08",
    severity=Severity.LOW,
    title="Others can read the rotator's files",
    why="The configuration and the journal hold no secret, and a map of all of them; a credential's file is one.",
    todo="chmod 600 (640 for a group of operators).",
    references=(ACCESS_LISTS, LEAKAGE),
)


def file_readable(seen: Seen) -> Iterator[Finding]:
    """Configuration, state or a credential that everybody on the machine may read."""
    for file in seen.surroundings.files:
        if file.purpose is Purpose.CREDENTIAL and (file.readable or file.readable_by_group):
            worse = Severity.HIGH if file.readable else Severity.MEDIUM
            yield FILE_READABLE.found(file.path, _told(file), severity=worse)
        elif file.purpose in {Purpose.CONFIGURATION, Purpose.STATE} and file.readable:
            worse = Severity.MEDIUM if file.purpose is Purpose.STATE else Severity.LOW
            yield FILE_READABLE.found(file.path, _told(file), severity=worse)


PLAIN_HTTP = Rule(
    id="ROT-H09",
    severity=Severity.CRITICAL,
    title="Secrets are sent without encryption",
    why="Everybody on the way can read and change them.",
    todo="https, with a certificate that is verified ('ca_file' for one of your own).",
    references=(IN_TRANSIT, AUTHENTICATION),
)


def plain_http(seen: Seen) -> Iterator[Finding]:
    """Not encrypted, and not to this machine itself."""
    for one in seen.surroundings.connections:
        if not one.encrypted and not one.loopback:
            mild = None if one.carries == "keys" else Severity.MEDIUM
            yield PLAIN_HTTP.found(_where(seen, one), f"{one.address} is not encrypted: {one.carries}", severity=mild)


NOT_VERIFIED = Rule(
    id="ROT-H10",
    severity=Severity.HIGH,
    title="The other side's certificate is not verified",
    why="Encryption without verification protects from listeners only, not from somebody in between.",
    todo="For PostgreSQL: sslmode=verify-full and sslrootcert, in the URL or in PGSSLMODE.",
    references=(IN_TRANSIT, AUTHENTICATION),
)


def not_verified(seen: Seen) -> Iterator[Finding]:
    """Encrypted, and nobody checks with whom."""
    for one in seen.surroundings.connections:
        if one.encrypted and not one.verified and not one.loopback:
            yield NOT_VERIFIED.found(_where(seen, one), f"{one.address}: the certificate is not checked")


def _where(seen: Seen, one: Connection) -> str:
    """By its name; with the address, where it is one of several (the nodes of a cluster)."""
    several = sum(other.name == one.name for other in seen.surroundings.connections) > 1
    return f"{one.name} at {one.address}" if several else one.name


def _told(file: FileSeen) -> str:
    foreign = ", neither root nor the rotator's user" if file.foreign else ""
    return f"{file.purpose}: mode {file.permissions}, owner {file.owner or 'unknown'}{foreign}"


def _too_much(seen: Seen, rule: Rule, kind: str, everything: str) -> Iterator[Finding]:
    for rights in seen.surroundings.rights:
        if rights.kind != kind:
            continue
        if rights.everything:
            yield rule.found(rights.backend, everything, severity=Severity.CRITICAL)
        elif excess := rights.excess():
            yield rule.found(rights.backend, _listed(excess), severity=_severity(rights))


def _severity(rights: Granted) -> Severity | None:
    """Worse where whole trees are open for writing."""
    writes = any(
        grant.pattern.endswith("*") and grant.actions - {"read", "list"}
        for grant in rights.excess()
        if rights.kind == "vault"
    )
    return Severity.HIGH if writes else None


def _listed(excess: list[Grant]) -> str:
    shown = [f"{'/'.join(sorted(grant.actions))} on {grant.pattern}" for grant in excess[:_TOLD]]
    more = f"; and {len(excess) - _TOLD} more" if len(excess) > _TOLD else ""
    return "more than is needed: " + "; ".join(shown) + more


HYGIENE: tuple[tuple[Rule, Callable[[Seen], Iterator[Finding]]], ...] = (
    (CREDENTIAL_OLD, credential_old),
    (CREDENTIAL_WIDE, credential_wide),
    (CREDENTIAL_SHARED, credential_shared),
    (VAULT_WIDE, vault_wide),
    (IAM_WIDE, iam_wide),
    (TOKEN_ENDLESS, token_endless),
    (FILE_WRITABLE, file_writable),
    (FILE_READABLE, file_readable),
    (PLAIN_HTTP, plain_http),
    (NOT_VERIFIED, not_verified),
)
"""What lies around the keys."""
