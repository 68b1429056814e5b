"""The plugins of a profile, in upstream's order: filters first to last, and scores with their weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tiphys.api.core_v1 import Pod
from tiphys.machinery.selectors import Selector
from tiphys.scheduler.configuration import WEIGHTS, ConfigurationError, Profile, profiles
from tiphys.scheduler.devices.stock import Devices
from tiphys.scheduler.extenders import extenders
from tiphys.scheduler.plugins.base import Plugin, ScoreOnly
from tiphys.scheduler.plugins.devices import DynamicResources
from tiphys.scheduler.plugins.images import ImageLocality
from tiphys.scheduler.plugins.interpod import InterPodAffinity
from tiphys.scheduler.plugins.nodes import (
    NodeAffinity,
    NodeName,
    NodePorts,
    NodeUnschedulable,
    TaintToleration,
)
from tiphys.scheduler.plugins.resources import BalancedAllocation, NodeResourcesFit
from tiphys.scheduler.plugins.spread import PodTopologySpread
from tiphys.scheduler.plugins.volumes import (
    NodeVolumeLimits,
    Stock,
    VolumeBinding,
    VolumeRestrictions,
    VolumeZone,
)

_MAKERS: Mapping[str, Callable[..., Plugin]] = {
    plugin.name: plugin
    for plugin in (
        NodeUnschedulable,
        NodeName,
        TaintToleration,
        NodeAffinity,
        NodePorts,
        NodeResourcesFit,
        PodTopologySpread,
        InterPodAffinity,
        BalancedAllocation,
        ImageLocality,
    )
}
_STORED: Mapping[str, Callable[[Stock], Plugin]] = {  # those that look at storage
    "VolumeRestrictions": VolumeRestrictions,
    "NodeVolumeLimits": NodeVolumeLimits,
    "VolumeBinding": VolumeBinding,
    "VolumeZone": VolumeZone,
}
_TOLD = frozenset(
    (  # those that take arguments
        "NodeResourcesFit",
        "NodeResourcesBalancedAllocation",
        "NodeAffinity",
        "PodTopologySpread",
        "InterPodAffinity",
    )
)


def read(file: Path) -> list[Profile]:
    """The profiles of a KubeSchedulerConfiguration. Raises ConfigurationError, and OSError for a file not read."""
    import yaml

    try:
        document = yaml.safe_load(file.read_bytes())
    except yaml.YAMLError as error:
        raise ConfigurationError(str(error)) from None
    found = profiles(document)
    asked = tuple(extenders(document))
    found = [replace(profile, extenders=asked) for profile in found]
    for profile in found:
        plugins(Stock(), profile)  # says what their arguments lack
    return found


def plugins(
    stock: Stock,
    profile: Profile | None = None,
    alike: Callable[[Pod], Selector | None] = lambda pod: None,
    devices: Devices | None = None,
) -> tuple[Plugin, ...]:
    """The plugins of a profile; `stock` is what is known of volumes, `devices` of devices, `alike` which pods belong
    together. Raises ConfigurationError."""
    profile = profile or Profile()
    made: list[Plugin] = []
    for name in WEIGHTS:
        weight = profile.weights.get(name, 0)
        if name in _STORED:
            plugin: Plugin = _STORED[name](stock)
        elif name == DynamicResources.name:
            plugin = DynamicResources(devices or Devices())
        else:
            told: dict[str, Any] = (
                {"arguments": profile.arguments.get(name, {})} if name in _TOLD else {}
            )
            if name == PodTopologySpread.name:
                told["alike"] = alike
            plugin = _MAKERS[name](weight=weight, **told)
        if name in profile.filters:
            made.append(plugin)
        elif weight:
            made.append(ScoreOnly(plugin))
    return tuple(made)
