"""KubeSchedulerConfiguration: profiles, which plugins each has, and their arguments. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # extenders import this module
    from tiphys.scheduler.extenders.extender import Extender

DEFAULT_NAME = "default-scheduler"
API_VERSION = "kubescheduler.config.k8s.io/v1"
KIND = "KubeSchedulerConfiguration"

# The plugins in upstream's order, each with the default weight of its score (0: it does not score).
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
    "DynamicResources": 2,
    "NodeResourcesBalancedAllocation": 1,
    "ImageLocality": 1,
}
# Upstream's plugins whose work the queue, preemption and binding do here: they may be named, which
# changes nothing.
_BUILT_IN = frozenset(("PrioritySort", "SchedulingGates", "DefaultPreemption", "DefaultBinder"))
_KNOWN_PLUGINS = WEIGHTS.keys() | _BUILT_IN
_ALL_PLUGINS = "*"

_EXTENSION_POINTS = frozenset(
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
    """A scheduler by name. `filters` are the plugins that filter, `weights` those that score,
    `arguments` are by plugin."""

    name: str = DEFAULT_NAME
    filters: frozenset[str] = frozenset(WEIGHTS)
    weights: Mapping[str, int] = field(default_factory=lambda: dict(WEIGHTS))
    arguments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    extenders: tuple[Extender, ...] = ()


def parse_profiles(document: Any) -> list[Profile]:
    """The profiles of a configuration, as it was read from YAML, without extenders. Raises
    ConfigurationError."""
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise ConfigurationError(f"kind: must be {KIND}")
    if document.get("apiVersion") != API_VERSION:
        raise ConfigurationError(f"apiVersion: must be {API_VERSION}")
    entries = document.get("profiles") or [{}]
    profiles = [_parse_profile(entry, f"profiles[{index}]") for index, entry in enumerate(entries)]
    names: set[str] = set()
    for index, profile in enumerate(profiles):
        if profile.name in names:
            raise ConfigurationError(
                f'profiles[{index}].schedulerName: Duplicate value: "{profile.name}"'
            )
        names.add(profile.name)
    return profiles


def _parse_profile(entry: Mapping[str, Any], path: str) -> Profile:
    plugins = entry.get("plugins") or {}
    _check_plugins(plugins, f"{path}.plugins")
    enabled = _with_changes(WEIGHTS, plugins.get("multiPoint"))
    return Profile(
        name=entry.get("schedulerName") or DEFAULT_NAME,
        filters=frozenset(_with_changes(enabled, plugins.get("filter"))),
        weights=_with_changes(enabled, plugins.get("score")),
        arguments=_parse_arguments(entry.get("pluginConfig") or [], f"{path}.pluginConfig"),
    )


def _check_plugins(plugins: Mapping[str, Any], path: str) -> None:
    for point, change in plugins.items():
        if point not in _EXTENSION_POINTS:
            raise ConfigurationError(f"{path}.{point}: no such extension point")
        for index, name in enumerate(_named_plugins(change)):
            if name != _ALL_PLUGINS and name not in _KNOWN_PLUGINS:
                raise ConfigurationError(f"{path}.{point}[{index}].name: no such plugin: {name!r}")


def _named_plugins(change: Mapping[str, Any]) -> Iterator[Any]:
    for entry in [*(change.get("enabled") or []), *(change.get("disabled") or [])]:
        yield entry.get("name")


def _parse_arguments(entries: list[Any], path: str) -> dict[str, Mapping[str, Any]]:
    arguments: dict[str, Mapping[str, Any]] = {}
    for index, entry in enumerate(entries):
        name = entry.get("name")
        if name not in _KNOWN_PLUGINS:
            raise ConfigurationError(f"{path}[{index}].name: no such plugin: {name!r}")
        if name in arguments:
            raise ConfigurationError(f'{path}[{index}]: Duplicate value: "{name}"')
        arguments[name] = entry.get("args") or {}
    return arguments


def _with_changes(weights: Mapping[str, int], change: Mapping[str, Any] | None) -> dict[str, int]:
    """Plugins and their weights after some were disabled and then some enabled."""
    changed = dict(weights)
    if change is None:
        return changed
    for entry in change.get("disabled") or []:
        if entry["name"] == _ALL_PLUGINS:
            changed.clear()
        changed.pop(entry["name"], None)
    for entry in change.get("enabled") or []:
        name = entry["name"]
        if name in WEIGHTS:
            changed[name] = entry.get("weight") or changed.get(name) or WEIGHTS[name]
    return changed
