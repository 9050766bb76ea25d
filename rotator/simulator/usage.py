"""Billing usage: what was used, by hour, as ``GET /v1/billing/usage`` reports it.

Shapes: ``BillingUsageReport``, ``BillingUsageWindow`` and ``BillingUsageLineItem`` of the official SDK 3.1.1.
Only completed windows are reported, so a use shows up to an hour later (to a day later by day).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

_PRICE = Decimal("0.00000088")
_SPAN = {"hour": timedelta(hours=1), "day": timedelta(days=1)}


@dataclass(frozen=True, slots=True)
class _Line:
    """What tells one line item from another; ``key_id`` is empty where the product is no inference."""

    product: str
    model: str
    key_id: str


class Ledger:
    """Tokens and other quantities by organisation, hour and line."""

    def __init__(self) -> None:
        self._hours: dict[str, dict[datetime, dict[_Line, Decimal]]] = {}

    def note_inference(
        self, organization: str, key_id: str, model: str, tokens: tuple[int, int], now: datetime
    ) -> None:
        """Book the input and output tokens of one call."""
        for product, quantity in zip(("Input Tokens", "Output Tokens"), tokens, strict=True):
            self._add(organization, _Line(f"Serverless Inference - {product}", model, key_id), Decimal(quantity), now)

    def note_other(self, organization: str, product: str, quantity: Decimal, now: datetime) -> None:
        """Book something that is no inference: its line item names no key."""
        self._add(organization, _Line(product, "", ""), quantity, now)

    def _add(self, organization: str, line: _Line, quantity: Decimal, now: datetime) -> None:
        hour = now.replace(minute=0, second=0, microsecond=0)
        lines = self._hours.setdefault(organization, {}).setdefault(hour, {})
        lines[line] = lines.get(line, Decimal(0)) + quantity

    def windows(self, organization: str, month: str, granularity: str, now: datetime) -> list[dict[str, object]]:
        """The completed windows of a month (``YYYY-MM``) that have usage, oldest first."""
        span = _SPAN[granularity]
        sums: dict[datetime, dict[_Line, Decimal]] = {}
        for hour, lines in self._hours.get(organization, {}).items():
            start = hour if granularity == "hour" else hour.replace(hour=0)
            if start.strftime("%Y-%m") != month or start + span > now:
                continue
            window = sums.setdefault(start, {})
            for line, quantity in lines.items():
                window[line] = window.get(line, Decimal(0)) + quantity
        return [_window(start, span, sums[start]) for start in sorted(sums)]


def _window(start: datetime, span: timedelta, lines: dict[_Line, Decimal]) -> dict[str, object]:
    return {
        "date": start.strftime("%Y-%m-%d"),
        "start_time": start.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "end_time": (start + span).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "line_items": list(_line_items(lines)),
    }


def _line_items(lines: dict[_Line, Decimal]) -> Iterator[dict[str, object]]:
    for line, quantity in lines.items():
        yield {
            "product_name": line.product,
            "attributes": {"api_key_id": line.key_id} if line.key_id else {},
            "pricing_dimensions": {"model": line.model} if line.model else {},
            "quantity": str(quantity),
            "unit_price": format(_PRICE, "f"),
            "cost": format(quantity * _PRICE, "f"),
        }
