"""The least ACL policy for a configuration, as HCL. Pure: nothing is asked.

Every path gets exactly the capabilities that are used there; a test takes each away, one by one, on a real server, and
sees something fail. No line is needed for ``sys/internal/ui/mounts/...`` (see ``vault_engine``), for ``sys/health``, or
for a login.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rotator.adapters.backends.vault_place import KvVersion, place_of
from rotator.adapters.backends.vault_rights import ASKING, Need, to_read, to_take, to_write
from rotator.domain.model import Destination


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What a configuration does with one place.

    :param who: for people: the policy, or the provider whose management key lies there.
    :param writes: whether a new key is put there.
    :param takes: an inbox: what a person has put there is read and destroyed.
    """

    destination: Destination
    who: str
    writes: bool
    takes: bool = False


@dataclass(slots=True, kw_only=True)
class Rule:
    """One path. ``reasons``: each capability with what it is used for."""

    path: str
    reasons: dict[str, str] = field(default_factory=dict)
    users: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def capabilities(self) -> list[str]:
        """In the order of the alphabet."""
        return sorted(self.reasons)


_TOKEN = (
    Need(path="auth/token/lookup-self", capability="read", why="how long the token lives"),
    Need(path="auth/token/renew-self", capability="update", why="renews it ahead of its end"),
    Need(path="auth/token/revoke-self", capability="update", why="ends the token of its own login"),
)
_ASK = Need(path=ASKING, capability="update", why="asks for its own rights before a key is created")


def token_rules(*, read_only: bool) -> list[Rule]:
    """What every token needs for itself; the ``default`` policy of a server usually grants it."""
    needs = _TOKEN if read_only else (*_TOKEN, _ASK)
    return [Rule(path=need.path, reasons={need.capability: need.why}) for need in needs]


def place_rules(uses: Iterable[Use], *, read_only: bool) -> list[Rule]:
    """One rule for each path, in the order of the paths.

    :param read_only: what ``--dry-run`` takes, and an audit.
    """
    rules: dict[str, Rule] = {}
    for use in uses:
        place = place_of(use.destination)
        version = place.kv_version or KvVersion.TWO
        needs = to_take(place, version) if use.takes else [to_read(place, version)]
        if use.takes and read_only:
            continue  # a dry run looks into no inbox
        if use.writes and not read_only:
            needs += to_write(place, version).values()
        for need in needs:
            rule = rules.setdefault(need.path, Rule(path=need.path))
            rule.reasons.setdefault(need.capability, need.why)
            _add(rule.users, f"{use.who}, field {place.field}")
            if place.kv_version is None:
                _add(rule.notes, "taken for KV version 2; for version 1 say 'kv_version: 1' in the destination")
            if _is_pattern(need.path):
                _add(rule.notes, "'*' at the end and '+' are wildcards here: this grants other secrets too")
    return [rules[path] for path in sorted(rules)]


def as_hcl(heading: Iterable[str], places: Iterable[Rule], token: Iterable[Rule]) -> str:
    """The text of a policy."""
    parts = ["\n".join(f"# {line}".rstrip() for line in heading)]
    parts += [_stanza(rule) for rule in places]
    parts.append(
        "# For the token itself. The 'default' policy has these already: leave them out where the token has it."
    )
    parts += [_stanza(rule) for rule in token]
    return "\n\n".join(parts) + "\n"


def _stanza(rule: Rule) -> str:
    lines = [f"# {user}" for user in rule.users]
    lines += [f"#   {capability}: {rule.reasons[capability]}" for capability in rule.capabilities]
    lines += [f"#   NOTE: {note}" for note in rule.notes]
    capabilities = ", ".join(f'"{capability}"' for capability in rule.capabilities)
    path = rule.path.replace("\\", "\\\\").replace('"', '\\"')
    return "\n".join([*lines, f'path "{path}" {{', f"  capabilities = [{capabilities}]", "}"])


def _add(texts: list[str], text: str) -> None:
    if text not in texts:
        texts.append(text)


def _is_pattern(path: str) -> bool:
    return path.endswith("*") or "+" in path.split("/")
