"""KubeSchedulerConfiguration: profiles, which plugins each has, and what these are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NAME = "default-scheduler"
API_VERSION = "kubescheduler.config.k8s.io/v1"

# The plugins in upstream's order, each with the weight of its score (0: it does not score).
WEIGHTS: Mapping[str, int] = {
    "NodeUnschedulable": 0,
    "NodeName": 0,
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "NodePorts": 0,
    "NodeResourcesFit": 1,
    "VolumeRestrictions": 0,
    "NodeVolumeLimits": 0,
    "VolumeBinding": 0,
    "VolumeZone": 0,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
    "DynamicResources": 0,
    "NodeResourcesBalancedAllocation": 1,
    "ImageLocality": 1,
}
# What upstream has as plugins of their own and ours does elsewhere or not at all: may be named, changes nothing.
_ELSEWHERE = frozenset(("PrioritySort", "SchedulingGates", "DefaultPreemption", "DefaultBinder"))
_POINTS = frozenset(
    (
        "preEnqueue",
        "queueSort",
        "preFilter",
        "filter",
        "postFilter",
        "preScore",
        "score",
        "reserve",
        "permit",
        "preBind",
        "bind",
        "postBind",
        "multiPoint",
    )
)


class ConfigurationError(ValueError):
    """A configuration that cannot be used; the text names the field."""


@dataclass(frozen=True)
class Profile:
    """One scheduler by name. `filters` and `weights` name the plugins that filter and score; `arguments` by plugin."""

    name: str = NAME
    filters: frozenset[str] = frozenset(WEIGHTS)
    weights: Mapping[str, int] = field(default_factory=lambda: dict(WEIGHTS))
    arguments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    extenders: tuple[Any, ...] = ()  # of scheduler.extenders.Extender


def profiles(document: Any) -> list[Profile]:
    """The profiles of a configuration, as read from YAML. Raises ConfigurationError."""
    if not isinstance(document, dict) or document.get("kind") != "KubeSchedulerConfiguration":
        raise ConfigurationError("kind: must be KubeSchedulerConfiguration")
    if document.get("apiVersion") != API_VERSION:
        raise ConfigurationError(f"apiVersion: must be {API_VERSION}")
    found = [
        _profile(said, f"profiles[{at}]")
        for at, said in enumerate(document.get("profiles") or [{}])
    ]
    names = [profile.name for profile in found]
    for at, name in enumerate(names):
        if name in names[:at]:
            raise ConfigurationError(f'profiles[{at}].schedulerName: Duplicate value: "{name}"')
    return found


def _profile(said: Any, path: str) -> Profile:
    plugins = said.get("plugins") or {}
    for point, change in plugins.items():
        if point not in _POINTS:
            raise ConfigurationError(f"{path}.plugins.{point}: no such extension point")
        for at, row in enumerate([*(change.get("enabled") or []), *(change.get("disabled") or [])]):
            if row.get("name") != "*" and row.get("name") not in WEIGHTS.keys() | _ELSEWHERE:
                raise ConfigurationError(
                    f"{path}.plugins.{point}[{at}].name: no such plugin: {row.get('name')!r}"
                )
    weights = _changed(dict(WEIGHTS), plugins.get("multiPoint"))
    filters = frozenset(_changed(dict(weights), plugins.get("filter")))
    weights = _changed(weights, plugins.get("score"))
    arguments = {}
    for at, row in enumerate(said.get("pluginConfig") or []):
        name = row.get("name")
        if name not in WEIGHTS.keys() | _ELSEWHERE:
            raise ConfigurationError(f"{path}.pluginConfig[{at}].name: no such plugin: {name!r}")
        if name in arguments:
            raise ConfigurationError(f'{path}.pluginConfig[{at}]: Duplicate value: "{name}"')
        arguments[name] = row.get("args") or {}
    return Profile(said.get("schedulerName") or NAME, filters, weights, arguments)


def _changed(standing: dict[str, int], change: Any) -> dict[str, int]:
    """Plugins and their weights after some were disabled ("*" is all) and then some enabled."""
    for row in (change or {}).get("disabled") or []:
        if row["name"] == "*":
            standing.clear()
        standing.pop(row["name"], None)
    for row in (change or {}).get("enabled") or []:
        if row["name"] in WEIGHTS:
            standing[row["name"]] = (
                row.get("weight") or standing.get(row["name"]) or WEIGHTS[row["name"]]
            )
    return standing
