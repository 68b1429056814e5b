"""The plugins of a profile, in upstream's order: filters first to last, and scores with their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tiphys.scheduler.configuration import WEIGHTS, ConfigurationError, Profile, profiles
from tiphys.scheduler.plugins.base import Plugin, ScoreOnly
from tiphys.scheduler.plugins.images import ImageLocality
from tiphys.scheduler.plugins.interpod import InterPodAffinity
from tiphys.scheduler.plugins.nodes import NodeAffinity, NodeName, NodePorts, NodeUnschedulable, TaintToleration
from tiphys.scheduler.plugins.resources import BalancedAllocation, NodeResourcesFit
from tiphys.scheduler.plugins.spread import PodTopologySpread
from tiphys.scheduler.plugins.volumes import Stock, VolumeBinding

_MAKERS: Mapping[str, Callable[..., Plugin]] = {
    plugin.name: plugin
    for plugin in (
        NodeUnschedulable, NodeName, TaintToleration, NodeAffinity, NodePorts, NodeResourcesFit, PodTopologySpread,
        InterPodAffinity, BalancedAllocation, ImageLocality,
    )
}  # fmt: skip
_TOLD = frozenset(("NodeResourcesFit", "NodeResourcesBalancedAllocation", "NodeAffinity"))  # those that take arguments


def read(file: Path) -> list[Profile]:
    """The profiles of a KubeSchedulerConfiguration. Raises ConfigurationError, and OSError for a file not read."""
    import yaml

    try:
        found = profiles(yaml.safe_load(file.read_bytes()))
    except yaml.YAMLError as error:
        raise ConfigurationError(str(error)) from None
    for profile in found:
        plugins(Stock(), profile)  # says what their arguments lack
    return found


def plugins(stock: Stock, profile: Profile | None = None) -> tuple[Plugin, ...]:
    """The plugins of a profile; `stock` is what is known of volumes. Raises ConfigurationError."""
    profile = profile or Profile()
    made: list[Plugin] = []
    for name in WEIGHTS:
        weight = profile.weights.get(name, 0)
        if name == VolumeBinding.name:
            plugin: Plugin = VolumeBinding(stock)
        else:
            told: dict[str, Any] = {"arguments": profile.arguments.get(name, {})} if name in _TOLD else {}
            plugin = _MAKERS[name](weight=weight, **told)
        if name in profile.filters:
            made.append(plugin)
        elif weight:
            made.append(ScoreOnly(plugin))
    return tuple(made)
