"""The extenders of a KubeSchedulerConfiguration. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiphys.machinery.cel.conversions import parse_duration
from tiphys.scheduler.configuration import ConfigurationError
from tiphys.scheduler.extenders.extender import Extender


def parse_extenders(document: Mapping[str, Any]) -> list[Extender]:
    """Raises ConfigurationError."""
    entries = document.get("extenders") or ()
    extenders = [
        _parse_extender(entry, f"extenders[{index}]") for index, entry in enumerate(entries)
    ]
    if sum(1 for extender in extenders if extender.bind_verb) > 1:
        raise ConfigurationError("extenders: Invalid value: only one extender can implement bind")
    return extenders


def _parse_extender(entry: Mapping[str, Any], path: str) -> Extender:
    url = entry.get("urlPrefix") or ""
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{path}.urlPrefix: must be an http or https URL")
    weight = entry.get("weight") or 0
    if entry.get("prioritizeVerb") and weight <= 0:
        raise ConfigurationError(
            f"{path}.weight: Invalid value: {weight}: must have a positive weight applied to it"
        )
    managed_resources = entry.get("managedResources") or ()
    return Extender(
        url=url,
        filter_verb=entry.get("filterVerb") or "",
        prioritize_verb=entry.get("prioritizeVerb") or "",
        bind_verb=entry.get("bindVerb") or "",
        preempt_verb=entry.get("preemptVerb") or "",
        weight=weight or 1,
        timeout=parse_duration(entry.get("httpTimeout") or "5s").total_seconds(),
        ignorable=bool(entry.get("ignorable")),
        node_cache_capable=bool(entry.get("nodeCacheCapable")),
        managed_resources=frozenset(resource["name"] for resource in managed_resources),
        tls=entry.get("tlsConfig") or {},
        enable_https=bool(entry.get("enableHTTPS")) or url.startswith("https://"),
    )
