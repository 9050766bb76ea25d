"""A hundred services by one URL each, through the library apprise.

Such a URL holds the service's token. apprise logs it, and says by its log alone what went wrong: so its logger is cut
off from all others, and of what it says only a status is kept.
"""

from __future__ import annotations

import logging
import re
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.adapters.notifications.bounded import REFUSALS, bounded
from rotator.domain.secret import SecretValue
from rotator.errors import SendFailed
from rotator.ports_notify import Message

_TYPES = {"info": "info", "warning": "warning", "critical": "failure"}
"""Our levels as apprise's types, which many services show as a colour."""

_STATUS = re.compile(r"\berror=(\d{3})\b")


_statuses: ContextVar[list[str] | None] = ContextVar("statuses", default=None)
"""Where the statuses that are told during one call are kept."""


class _Overheard(logging.Handler):
    """Keeps each HTTP status that apprise tells, and nothing else."""

    def emit(self, record: logging.LogRecord) -> None:
        heard, found = _statuses.get(), _STATUS.search(record.getMessage())
        if heard is not None and found:
            heard.append(found[1])


_overheard = _Overheard()


def _cut_off() -> None:
    """Whatever level and handlers the process has: nothing of apprise's log gets there."""
    logger = logging.getLogger("apprise")
    logger.propagate = False
    logger.handlers[:] = [_overheard]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppriseChannel:
    """One service.

    :param url: as apprise has it: ``slack://...``, ``mailtos://...``.
    :param timeout: for the whole exchange.
    """

    url: SecretValue
    timeout: timedelta

    def send(self, message: Message, now: datetime) -> None:  # noqa: ARG002 - the contract's
        """See ``ports_notify.Channel``."""
        status = bounded(lambda: self._notify(message), self.timeout)
        if status is not None:
            said = f"the service answered with {status}" if status else "the service did not take it"
            raise SendFailed(said, is_refusal=status in map(str, REFUSALS))

    def _notify(self, message: Message) -> str | None:
        """``None`` where it was taken; otherwise the status that was heard, empty where there was none."""
        try:
            from apprise import Apprise, AppriseAsset, NotifyFormat, OverflowMode  # noqa: PLC0415 - an optional extra, slow to import
        except ModuleNotFoundError as error:
            raise SendFailed(f"{error.name} is missing: pip install 'rotator[notifications]'") from None
        _cut_off()
        # In this thread: its own would be waited for when the process ends, however long they hang.
        asset = AppriseAsset(app_id="rotator", app_desc="rotator", app_url="", async_mode=False, service_timeout=0)
        service = Apprise(asset=asset)
        if not service.add(self.url.reveal()) or len(service) != 1:
            raise SendFailed("its URL is not one that apprise knows")
        if "overflow=" not in self.url.reveal():
            for one in service:  # otherwise the service refuses what is too long for it, as often as it is tried
                one.overflow_mode = OverflowMode.TRUNCATE
        heard: list[str] = []
        _statuses.set(heard)
        taken = service.notify(
            title=message.title,
            body=message.body,
            notify_type=_TYPES[message.level],
            body_format=NotifyFormat.TEXT,
        )
        return None if taken else next(reversed(heard), "")
