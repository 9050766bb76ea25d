"""Guards around providers and backends, so that one endpoint in trouble is left alone and holds nobody up."""

from rotator.service.guard.circuit import DEFAULT, NEVER, Thresholds
from rotator.service.guard.flow import Limits
from rotator.service.guard.guarded import GuardedBackend, GuardedProvider
from rotator.service.guard.wish import Wish, Wishes

__all__ = ["DEFAULT", "NEVER", "GuardedBackend", "GuardedProvider", "Limits", "Thresholds", "Wish", "Wishes"]
