"""The journal's upkeep, as the configuration wants it. The adapters of its places are imported where there are any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rotator.config import BackendRef, Settings, resolve
from rotator.domain.secret import SecretValue
from rotator.ledger import AnchorPlace, History
from rotator.service.upkeep import Upkeep


def upkeep(settings: Settings, history: History, environ: Mapping[str, str]) -> Upkeep:
    """For one configuration."""
    return Upkeep(
        history=history,
        instance=settings.instance,
        places=tuple(_places(settings, environ)),
        every=settings.history.anchor_every,
        retention=settings.history.retention,
        readers=tuple(settings.notifications),
    )


def _places(settings: Settings, environ: Mapping[str, str]) -> Iterator[AnchorPlace]:
    given = settings.history
    if given.anchor_file is None and given.anchor_url is None:
        return
    from rotator.adapters.anchors import AnchorEndpoint, AnchorFile  # noqa: PLC0415 - see above

    if given.anchor_file is not None:
        yield AnchorFile(given.anchor_file)
    if given.anchor_url is not None:
        ref = given.anchor_token
        assert not isinstance(ref, BackendRef), "a token is never read from a backend"

        def token() -> SecretValue | None:
            return resolve(ref, environ) if ref else None

        yield AnchorEndpoint(given.anchor_url, token)
