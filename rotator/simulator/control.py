"""The control API, under ``/_simulator/``: what a person does in the console, and what a rehearsal needs.

It has no authentication: listen on the loopback interface only. Bodies and answers are JSON; a bad one is
answered with 422, a missing thing with 404, a broken rule with 409, all in the platform's error envelope.

=======================================  ======================================================================
``POST /reset``                          forget everything, then plant the body (``rotator.simulator.seed``);
                                         answers ``{"secrets": {key id: secret}}``; faults and counters start anew
``POST /seed``                           plant the body beside what is there; answers the same
``PATCH /settings``                      ``accept_after``, ``refuse_after``, ``list_after``, ``date_skew``, in seconds
``POST /clock``                          ``{"advance": seconds}``: let time pass on the platform; less than 0 turns its
                                         clock back
``POST /organizations``                  ``{"name", "id"?, "billing_usage"?}``
``POST /organizations/{id}/legacy-key``  make or regenerate the legacy key; answers its ``id`` and ``key``
``POST /projects``                       ``{"organization_id", "name", "id"?, "slug"?}``
``POST /users``                          ``{"organization_id", "name", "id"?}``
``DELETE /users/{id}``                   the person leaves; their keys stay
``POST /keys``                           a person makes a key: ``{"name", "project_id" | "organization_id",
                                         "kind"?, "expires_at"?, "created_by"?, "read_only"?, "id"?, "secret"?}``;
                                         kind: ``project_api_key``, ``management_key``, ``user_jwt``; only the
                                         organisation named: the default project; answers the key and ``key``
``DELETE /keys/{id}``                    a person revokes it (409 for the legacy key)
``POST /keys/{id}/expire``               its expiration date comes now
``POST /usage``                          ``{"organization_id", "product", "quantity"}``: use that is no inference
``GET /state``                           all keys that ever were, without secrets; projects; users
``GET /counters``, ``DELETE``            ``requests`` by method and template, ``answers`` by template and status,
                                         ``changing_requests`` (not GET, and not inference), ``chat_calls``,
                                         ``refused_chat_calls`` (401)
``GET /requests``, ``DELETE``            the last 20,000 requests, oldest first (``rotator.simulator.trail``);
                                         ``?after=N``: only those with a greater number
``GET /faults``, ``POST``, ``DELETE``    what goes wrong: a list of rules or a plan is added; its counts; nothing any
                                         more (``rotator.simulator.plan``)
=======================================  ======================================================================
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

from rotator.simulator.exchange import INFERENCE, Answer, Call, Handler
from rotator.simulator.fields import BadField
from rotator.simulator.keys import key_object, rfc3339
from rotator.simulator.model import Platform
from rotator.simulator.plan import FaultPlan
from rotator.simulator.records import Key, KeyKind
from rotator.simulator.seed import plant, settings
from rotator.simulator.wire import Wire

PREFIX = "/_simulator"
_FAR = 1e9  # seconds: about 30 years, within which every date can be written
_HARMLESS = ("GET ", "HEAD ", f"POST {INFERENCE}")


def routes(wire: Wire) -> dict[str, dict[str, Handler]]:
    """Path template to method to handler."""
    console, rehearsal = _Console(wire.platform), _Rehearsal(wire)
    table: dict[str, dict[str, Handler]] = {
        "/reset": {"POST": rehearsal.reset},
        "/seed": {"POST": rehearsal.seed},
        "/settings": {"PATCH": rehearsal.settings},
        "/clock": {"POST": rehearsal.clock},
        "/usage": {"POST": rehearsal.usage},
        "/state": {"GET": rehearsal.state},
        "/counters": {"GET": rehearsal.counters, "DELETE": rehearsal.clear_counters},
        "/requests": {"GET": rehearsal.requests, "DELETE": rehearsal.clear_requests},
        "/faults": {"GET": rehearsal.faults, "POST": rehearsal.add_faults, "DELETE": rehearsal.clear_faults},
        "/organizations": {"POST": console.organization},
        "/organizations/{id}/legacy-key": {"POST": console.legacy_key},
        "/projects": {"POST": console.project},
        "/users": {"POST": console.user},
        "/users/{id}": {"DELETE": console.remove_user},
        "/keys": {"POST": console.key},
        "/keys/{id}": {"DELETE": console.revoke},
        "/keys/{id}/expire": {"POST": console.expire},
    }
    return {PREFIX + template: handlers for template, handlers in table.items()}


class _Console:
    """A person in the console."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    def organization(self, call: Call) -> Answer:
        wish = call.fields()
        made = self._platform.add_organization(
            wish.text("name"), id_=wish.text("id", ""), billing_usage=wish.flag("billing_usage", default=True)
        )
        wish.nothing_else()
        return Answer(201, {"id": made.id})

    def legacy_key(self, call: Call) -> Answer:
        return self._shown_once(*self._platform.regenerate_legacy_key(call.path["id"]))

    def project(self, call: Call) -> Answer:
        wish = call.fields()
        made = self._platform.add_project(
            wish.text("organization_id"), wish.text("name"), id_=wish.text("id", ""), slug=wish.text("slug", "")
        )
        wish.nothing_else()
        return Answer(201, {"id": made.id})

    def user(self, call: Call) -> Answer:
        wish = call.fields()
        made = self._platform.add_user(wish.text("organization_id"), wish.text("name"), id_=wish.text("id", ""))
        wish.nothing_else()
        return Answer(201, {"id": made.id})

    def remove_user(self, call: Call) -> Answer:
        self._platform.remove_user(call.path["id"])
        return Answer(204)

    def key(self, call: Call) -> Answer:
        wish = call.fields()
        project = wish.text("project_id") if wish.has("project_id") else None
        organization = (
            self._platform.project(project).organization if project is not None else wish.text("organization_id")
        )
        kind = wish.choice("kind", KeyKind, KeyKind.PROJECT)
        if kind is KeyKind.LEGACY:
            raise BadField("kind", "the legacy key has a path of its own")
        made = self._platform.add_key(
            kind,
            organization,
            wish.text("name"),
            project_id=project,
            expires_at=wish.moment("expires_at"),
            created_at=wish.moment("created_at"),
            created_by=wish.text("created_by") if wish.has("created_by") else None,
            read_only=wish.flag("read_only", default=False),
            id_=wish.text("id", ""),
            secret=wish.text("secret", ""),
        )
        wish.nothing_else()
        return self._shown_once(*made)

    def revoke(self, call: Call) -> Answer:
        self._platform.revoke(self._platform.key(call.path["id"]))
        return Answer(204)

    def expire(self, call: Call) -> Answer:
        self._platform.key(call.path["id"]).expires_at = self._platform.now()
        return Answer(204)

    def _shown_once(self, key: Key, secret: str) -> Answer:
        return Answer(201, {**key_object(key), "key": secret})


class _Rehearsal:
    """What no console has: faults, counters, time."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._faults: FaultPlan = wire.faults
        self._platform = wire.platform

    def reset(self, call: Call) -> Answer:
        self._platform.reset()
        self.clear_faults(call)
        self.clear_counters(call)
        self.clear_requests(call)
        return self.seed(call)

    def seed(self, call: Call) -> Answer:
        return Answer(201, {"secrets": plant(self._platform, call.fields())})

    def settings(self, call: Call) -> Answer:
        self._platform.settings = settings(call.fields(), self._platform.settings)
        return Answer(204)

    def clock(self, call: Call) -> Answer:
        self._platform.advance(timedelta(seconds=call.fields().between("advance", -_FAR, _FAR)))
        return Answer(200, {"now": rfc3339(self._platform.now())})

    def usage(self, call: Call) -> Answer:
        wish = call.fields()
        organization = self._platform.organization(wish.text("organization_id"))
        quantity = Decimal(str(wish.number("quantity")))
        self._platform.ledger.note_other(organization.id, wish.text("product"), quantity, self._platform.now())
        return Answer(204)

    def state(self, _call: Call) -> Answer:
        now = self._platform.now()
        keys = [
            {**key_object(key), "kind": key.kind, "organization_id": key.organization}
            | {"state": key.state(now), "revoked_at": rfc3339(key.revoked_at), "uses": key.uses}
            for key in self._platform.keys.values()
        ]
        projects = [
            {"id": project.id, "name": project.name, "organization_id": project.organization}
            for project in self._platform.projects.values()
        ]
        users = [{"id": user.id, "name": user.name, "removed": user.removed} for user in self._platform.users.values()]
        return Answer(200, {"now": rfc3339(now), "keys": keys, "projects": projects, "users": users})

    def counters(self, _call: Call) -> Answer:
        requests = self._wire.requests
        counted = {
            "requests": dict(requests),
            "answers": dict(self._wire.answers),
            "changing_requests": _changing(requests),
            "chat_calls": requests[f"POST {INFERENCE}"],
            "refused_chat_calls": self._wire.answers[f"{INFERENCE} 401"],
        }
        return Answer(200, counted)

    def clear_counters(self, _call: Call) -> Answer:
        self._wire.requests.clear()
        self._wire.answers.clear()
        return Answer(204)

    def requests(self, call: Call) -> Answer:
        after = call.query.get("after", "0")
        if not re.fullmatch(r"[0-9]{1,18}", after):
            raise BadField("after", "the number of a request is wanted")
        return Answer(200, self._wire.trail.report(int(after)))

    def clear_requests(self, _call: Call) -> Answer:
        self._wire.trail.clear()
        return Answer(204)

    def faults(self, _call: Call) -> Answer:
        return Answer(200, self._faults.report())

    def add_faults(self, call: Call) -> Answer:
        self._faults.add(call.json())
        return Answer(201, self._faults.report())

    def clear_faults(self, _call: Call) -> Answer:
        self._faults.clear()
        return Answer(204)


def _changing(requests: Mapping[str, int]) -> int:
    return sum(count for name, count in requests.items() if not name.startswith(_HARMLESS))
