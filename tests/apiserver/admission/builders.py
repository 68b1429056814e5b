"""A registry for plugins that look objects up."""

from __future__ import annotations

from typing import Any

from tiphys.api.catalog import Resource
from tiphys.apiserver.admission import Admission
from tiphys.apiserver.registry.registry import Registry
from tiphys.store.store import Store


class NoWebhook:
    """Plugins' look-ups convert nothing by a webhook."""

    async def call(self, client_config: Any, review: Any, seconds: float) -> Any:
        raise AssertionError("a webhook was called")


def _no_strategy(resource: Resource) -> Any:
    raise AssertionError(f"a plugin asked for the rules of {resource.plural}")


def registry_of(store: Store) -> Registry:
    """The registry over a store: for look-ups, not for writes."""
    return Registry(store, Admission([]), _no_strategy, NoWebhook())
