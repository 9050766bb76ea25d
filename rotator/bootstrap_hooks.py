"""The closed table of hooks. Their adapters are imported where one is run: most passes run none."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from rotator.adapters.hooks.named import Hook, NamedHooks
from rotator.config import BackendRef, CommandHookSettings, HookSettings, Settings, resolve
from rotator.errors import HookFailed, MissingSecret
from rotator.ports import HookRunner


def hook_runner(settings: Settings, environ: Mapping[str, str]) -> HookRunner:
    """Runs the hooks of a configuration."""
    return NamedHooks({name: partial(_hook, one, environ) for name, one in settings.hooks.items()})


def _hook(settings: HookSettings, environ: Mapping[str, str]) -> Hook:
    if isinstance(settings, CommandHookSettings):
        from rotator.adapters.hooks.command import CommandHook  # noqa: PLC0415 - see above

        return CommandHook(command=settings.command, timeout=settings.timeout)
    from rotator.adapters.hooks.http import HttpHook  # noqa: PLC0415 - see above

    ref = settings.token
    assert not isinstance(ref, BackendRef), "a token is never read from a backend"
    try:
        token = resolve(ref, environ) if ref else None
    except MissingSecret as missing:
        raise HookFailed(f"no credential: {missing}") from None
    return HttpHook(url=settings.url, token=token, timeout=settings.timeout)
