"""Backends and providers from other packages: what a plug-in is, and how one is found.

A package names a subclass of ``BackendPlugin`` or ``ProviderPlugin`` as an entry point (group ``rotator.backends`` or
``rotator.providers``); the entry point's name is the ``type`` in the configuration. ``docs/plugins.md`` is the guide.

Entry points are looked for only when a configuration names a type that is not built in: reading what is installed
takes as long as the rest of a start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationInfo

from rotator.domain.secret import SecretValue
from rotator.ports import KeyProvider, SecretBackend

__all__ = ["CONTRACT", "BackendPlugin", "Context", "File", "Options", "ProviderPlugin", "SecretValue", "Text"]

CONTRACT = 1
"""What this version of rotator speaks. It grows when a plug-in that keeps to the former one would break."""

Group = Literal["rotator.backends", "rotator.providers"]


def _absolute(text: str, info: ValidationInfo) -> str:
    return str(Path((info.context or {}).get("folder", ".")) / text)


Text = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]+$")]
"""A text of one line, not empty."""

File = Annotated[Text, AfterValidator(_absolute)]
"""A path; a relative one is beside the configuration."""


class Options(BaseModel):
    """The base of every model of a plug-in: unknown fields are errors, no value is converted from another type.

    A field for a credential is a ``SecretValue``: the configuration has a reference there (``{env: NAME}``, ...).
    While a configuration is checked it is a stand-in, so a validator can't judge it.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a plug-in may need besides its settings.

    :param name: what the configuration calls this backend or provider.
    :param connections: how many threads use it at a time.
    :param now: the clock, in UTC.
    """

    name: str
    connections: int
    now: Callable[[], datetime]


_Settings = TypeVar("_Settings", bound=Options)
_Place = TypeVar("_Place", bound=Options)


class BackendPlugin(Generic[_Settings, _Place]):
    """Describes a type of backend. Made without arguments; its methods are called from several threads.

    :cvar contract: the ``CONTRACT`` that it was written for, as a number.
    :cvar settings: what stands under ``backends``, besides ``type`` and ``limits``.
    :cvar place: what stands in a destination, besides ``backend``, ``template``, ``beside`` and ``expect``. Its values
        are the destination's ``options``: texts as they are, others as JSON. A field named ``field`` is the key's field
        in a place with several, and allows ``beside``.
    :cvar tells: the names that ``whereabouts`` answers, which ``expect`` may ask for.
    :cvar one_endpoint: whether a failure at one place says something of the others (the circuit breaker).
    """

    contract: ClassVar[int]
    settings: ClassVar[type[Options]]
    place: ClassVar[type[Options]]
    tells: ClassVar[tuple[str, ...]] = ()
    one_endpoint: ClassVar[bool] = True

    def identity(self, settings: _Settings, place: _Place) -> tuple[str, ...]:  # noqa: ARG002 -- for subclasses
        """The place without its field, the same however it is spelt: no two policies may write into one.

        Empty, as here: the backend's name and all options of the place. Better begin with the server's address.
        """
        return ()

    def make(self, settings: _Settings, context: Context) -> SecretBackend:
        """A backend that keeps the contract (``rotator.testing.backends``). Sends nothing yet, if it can.

        Whatever it raises is ``BackendUnavailable`` for rotator, unless it is a ``BackendError`` already.
        """
        raise NotImplementedError


class ProviderPlugin(Generic[_Settings]):
    """Describes a type of provider; see ``BackendPlugin``."""

    contract: ClassVar[int]
    settings: ClassVar[type[Options]]

    def make(self, settings: _Settings, context: Context) -> KeyProvider:
        """A provider that keeps the contract (``rotator.testing.providers``)."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Unusable:
    """A plug-in that can't be used, in words for an error of the configuration."""

    found: str
    allowed: str


def installed(group: Group) -> list[str]:
    """The types that installed packages offer."""
    return sorted({entry.name for entry in metadata.entry_points(group=group)})


def find(group: Group, name: str) -> BackendPlugin[Any, Any] | ProviderPlugin[Any] | Unusable | None:
    """The plug-in of that name, made; ``None`` where no installed package offers one. Raises nothing."""
    entries = list(metadata.entry_points(group=group, name=name))
    if not entries:
        return None
    packages = sorted({_package(entry) for entry in entries})
    if len({entry.value for entry in entries}) > 1:
        return Unusable(f"two plug-ins of that name, of {' and '.join(packages)}", "allowed: one of them installed")
    what = f"the plug-in of {packages[0]}"
    try:
        loaded = entries[0].load()
        return _checked(loaded, group, what)
    except ImportError as error:
        missing = f" of {error.name}" if error.name else ""
        return Unusable(f"{what}, which can't be imported ({type(error).__name__}{missing})", _REPAIRED)
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- others' code: whatever it raises, rotator goes on
        return Unusable(f"{what}, which can't be loaded ({type(error).__name__})", _REPAIRED)


_REPAIRED = "allowed: one that can; install what it needs, or another version of it"


def _checked(
    loaded: Any,  # noqa: ANN401 -- whatever an entry point names
    group: Group,
    what: str,
) -> BackendPlugin[Any, Any] | ProviderPlugin[Any] | Unusable:
    # The number first: a plug-in for another contract may lack whatever else is asked of it here.
    contract = getattr(loaded, "contract", None)
    base: type = BackendPlugin if group == "rotator.backends" else ProviderPlugin
    if contract is not None and contract != CONTRACT:
        said = contract if isinstance(contract, int) else "no number"
        return Unusable(f"{what}, which speaks contract {said}", f"allowed: contract {CONTRACT}, as this rotator")
    models: Sequence[str] = ("settings", "place") if base is BackendPlugin else ("settings",)
    if not (isinstance(loaded, type) and issubclass(loaded, base) and contract == CONTRACT):
        return Unusable(f"{what}, which names no {base.__name__}", f"allowed: a subclass with contract = {CONTRACT}")
    for model in models:
        given = getattr(loaded, model, None)
        if not (isinstance(given, type) and issubclass(given, Options)):
            return Unusable(f"{what}, whose {model} is no model of Options", _REPAIRED)
    maker: Any = loaded
    made: BackendPlugin[Any, Any] | ProviderPlugin[Any] = maker()
    return made


def _package(entry: metadata.EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"
