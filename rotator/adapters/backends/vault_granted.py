"""What a token may do in all, beside what the least policy says. Reads only.

``sys/internal/ui/resultant-acl`` tells what the token's policies come to; the ``default`` policy lets each token ask.
Paths with ``+`` are not in it. Source: Vault and OpenBao, ``vault/logical_system.go`` ("resultant-acl") and, for what
``default`` grants, ``vault/policy_store.go``; tried on OpenBao 2.7.
"""

from __future__ import annotations

from collections.abc import Sequence

from rotator.adapters.backends.vault_place import data_of
from rotator.adapters.backends.vault_policy import Rule, Use, place_rules, token_rules
from rotator.adapters.backends.vault_session import Refusal, VaultSession
from rotator.domain.audit.surroundings import Grant, Granted
from rotator.domain.model import Destination
from rotator.errors import BackendDenied, WrongDestination

_PATH = "sys/internal/ui/resultant-acl"

_DEFAULT = (
    "auth/token/lookup-self",
    "auth/token/renew-self",
    "auth/token/revoke-self",
    "cubbyhole/*",
    "identity/entity/id/*",
    "identity/entity/name/*",
    "identity/oidc/provider/*",
    "sys/capabilities-self",
    "sys/control-group/request",
    "sys/internal/ui/*",
    "sys/leases/lookup",
    "sys/leases/renew",
    "sys/renew",
    "sys/tools/hash*",
    "sys/wrapping/*",
)
"""What the ``default`` policy of every server grants, and what harms nobody but the token itself."""


def rights_of(session: VaultSession, places: Sequence[tuple[Destination, bool]]) -> Granted:
    """Two requests. ``backend`` is left to the caller, who knows its name."""
    try:
        answer = data_of(session.ask(lambda adapter: adapter.get(f"/v1/{_PATH}"), f"read on {_PATH}"))
    except (BackendDenied, Refusal):
        raise BackendDenied(f"what its token may do is not known: grant read on {_PATH}") from None
    needed = [Grant(pattern=path, actions=frozenset({"*"})) for path in _DEFAULT]
    rules = (*_place_rules(places), *token_rules(read_only=False))
    needed += [Grant(pattern=rule.path, actions=frozenset(rule.capabilities)) for rule in rules]
    return Granted(
        backend="",
        kind="vault",
        granted=(*_grants(answer.get("exact_paths"), ""), *_grants(answer.get("glob_paths"), "*")),
        needed=tuple(needed),
        everything=answer.get("root") is True,
        endless=session.is_endless(),
    )


def _place_rules(places: Sequence[tuple[Destination, bool]]) -> list[Rule]:
    rules: list[Rule] = []
    for destination, writes in places:
        try:
            rules += place_rules([Use(destination=destination, who="", writes=writes)], read_only=False)
        except WrongDestination:
            continue  # told where it is read
    return rules


def _grants(paths: object, end: str) -> list[Grant]:
    found = []
    for path, told in paths.items() if isinstance(paths, dict) else ():
        given = told.get("capabilities") if isinstance(told, dict) else None
        actions = frozenset(str(one) for one in given or ()) - {"deny"}
        if actions:
            found.append(Grant(pattern=f"{path}{end}", actions=actions))
    return found
