"""What was asked: a request, and the questions of the page's address."""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import parse_qs, urlencode, urlsplit

from rotator.config.hosts import is_loopback
from rotator.domain.secret import Unjudged
from rotator.entrypoints.standing import State

_FIELDS = 16
_LONGEST = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """As the server read it.

    :param host: the name by which it was reached, with the port.
    :param origin: of the page that sends a form; empty where no browser says so.
    :param form: what was sent, and nothing that is not text; ``None``: nothing is sent, the page is asked for.
    """

    path: str
    query: str = ""
    authorization: Unjudged | None = None
    host: str = ""
    origin: str = ""
    form: Unjudged | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody wants to see of the policies.

    :param q: a part of a name, project, provider, destination or key id; in any case of letters.
    :param state: one state alone; empty: all.
    :param page: from 1.
    :param live: whether it is drawn anew by itself.
    """

    q: str = ""
    state: str = ""
    page: int = 1
    live: bool = True

    @classmethod
    def of(cls, query: str) -> Asked:
        """Whatever makes no sense is as if it had not been said. Raises ``ValueError``: too many fields."""
        fields = parse_qs(query, errors="replace", max_num_fields=_FIELDS)
        said = {name: values[-1] for name, values in fields.items()}
        page = said.get("page", "")
        return cls(
            q=said.get("q", "").strip()[:_LONGEST],
            state=said.get("state", "") if said.get("state") in set(State) else "",
            page=max(1, int(page)) if page.isascii() and page.isdigit() and len(page) < 9 else 1,  # noqa: PLR2004 - no number of pages is longer
            live=said.get("live") != "no",
        )

    def address(self, **changes: object) -> str:
        """Of the same page with something else asked."""
        new = replace(self, **changes)  # type: ignore[arg-type]
        fields = {"q": new.q, "state": new.state, "page": new.page if new.page > 1 else "", "live": new.live or "no"}
        said = {name: value for name, value in fields.items() if value and value is not True}
        return f"/?{urlencode(said)}" if said else "/"


def is_this_machine(host: str) -> bool:
    """Whether a ``Host`` header names it by what no name server can have a say in; no browser leaves it out."""
    try:
        return not host or is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False
