"""One look at one destination, read-only: for a rotation, a dry run and an audit alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rotator.domain.model import Destination, Held
from rotator.domain.secret import Fingerprint, SecretValue
from rotator.domain.snapshot import DestinationView, Reach
from rotator.domain.text import text
from rotator.errors import BackendError, WrongDestination
from rotator.ports import SecretBackend


def view_of(
    destination: Destination, backends: Callable[[str], SecretBackend], secrets: dict[Fingerprint, SecretValue]
) -> DestinationView:
    """What lies there. Never raises an error of the port: that is in the view.

    :param secrets: gets the value, by its fingerprint.
    """
    try:
        backend = backends(destination.backend)
        _as_expected(destination, backend.whereabouts(destination) if destination.expect else {})
        held = backend.read(destination)
    except WrongDestination as error:
        return DestinationView(destination=destination, reach=Reach.WRONG, problem=str(error))
    except BackendError as error:
        return DestinationView(destination=destination, reach=Reach.UNREADABLE, problem=str(error))
    if held.value is None:
        return DestinationView(destination=destination, version=held.version)
    fingerprint = held.value.fingerprint()
    secrets[fingerprint] = held.value
    return DestinationView(
        destination=destination,
        fingerprint=fingerprint,
        version=held.version,
        hints=held.metadata,
        written=_written(held),
    )


def _written(held: Held) -> str:
    """When and by whom, as far as the backend tells."""
    told = [f"written {text(held.changed_at)}"] if held.changed_at else []
    told += [f"by {held.changed_by}"] if held.changed_by else []
    return " ".join(told)


def _as_expected(destination: Destination, found: Mapping[str, str]) -> None:
    """Raise ``WrongDestination`` where this is not the account, cluster or machine that the policy means."""
    for name, expected in destination.expect:
        if found.get(name) != expected:
            says = found.get(name) or "nothing"
            raise WrongDestination(f"{destination}: {name} should be {expected}, and the backend says {says}")
