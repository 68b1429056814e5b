"""Makes the plugins of a profile, in upstream's order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tiphys.api.core_v1 import Pod
from tiphys.machinery.selectors import Selector
from tiphys.scheduler.configuration import WEIGHTS, ConfigurationError, Profile
from tiphys.scheduler.devices.tracker import DeviceTracker
from tiphys.scheduler.plugins.balanced_allocation import BalancedAllocation
from tiphys.scheduler.plugins.base import Plugin, ScoreOnly
from tiphys.scheduler.plugins.dynamic_resources import DynamicResources
from tiphys.scheduler.plugins.image_locality import ImageLocality
from tiphys.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from tiphys.scheduler.plugins.node_affinity import NodeAffinity
from tiphys.scheduler.plugins.node_name import NodeName
from tiphys.scheduler.plugins.node_ports import NodePorts
from tiphys.scheduler.plugins.node_resources_fit import NodeResourcesFit
from tiphys.scheduler.plugins.node_unschedulable import NodeUnschedulable
from tiphys.scheduler.plugins.node_volume_limits import NodeVolumeLimits
from tiphys.scheduler.plugins.pod_topology_spread import PodTopologySpread
from tiphys.scheduler.plugins.taint_toleration import TaintToleration
from tiphys.scheduler.plugins.volume_binding import VolumeBinding
from tiphys.scheduler.plugins.volume_lister import VolumeLister
from tiphys.scheduler.plugins.volume_restrictions import VolumeRestrictions
from tiphys.scheduler.plugins.volume_zone import VolumeZone


def _no_default_selector(pod: Pod) -> Selector | None:
    return None


@dataclass(frozen=True)
class Listers:
    """What plugins know besides the node snapshot. By default there are no volumes, devices,
    services or sets."""

    volumes: VolumeLister = field(default_factory=VolumeLister)
    devices: DeviceTracker = field(default_factory=DeviceTracker)
    default_selector: Callable[[Pod], Selector | None] = _no_default_selector


def plugins_of(profile: Profile, listers: Listers | None = None) -> tuple[Plugin, ...]:
    """The plugins that filter or score in a profile. Raises ConfigurationError for arguments that
    cannot be."""
    listers = listers or Listers()
    plugins: list[Plugin] = []
    for name in WEIGHTS:
        plugin = _make(name, profile, listers)
        if name in profile.filters:
            plugins.append(plugin)
        elif plugin.weight:
            plugins.append(ScoreOnly(plugin))
    return tuple(plugins)


def _make(name: str, profile: Profile, listers: Listers) -> Plugin:
    weight = profile.weights.get(name, 0)
    arguments = profile.arguments.get(name, {})
    match name:
        case "NodeUnschedulable":
            return NodeUnschedulable(weight)
        case "NodeName":
            return NodeName(weight)
        case "TaintToleration":
            return TaintToleration(weight)
        case "NodeAffinity":
            return NodeAffinity(weight, arguments)
        case "NodePorts":
            return NodePorts(weight)
        case "NodeResourcesFit":
            return NodeResourcesFit(weight, arguments, listers.devices.extended.classes)
        case "VolumeRestrictions":
            return VolumeRestrictions(listers.volumes)
        case "NodeVolumeLimits":
            return NodeVolumeLimits(listers.volumes)
        case "VolumeBinding":
            return VolumeBinding(listers.volumes)
        case "VolumeZone":
            return VolumeZone(listers.volumes)
        case "PodTopologySpread":
            return PodTopologySpread(weight, arguments, listers.default_selector)
        case "InterPodAffinity":
            return InterPodAffinity(weight, arguments)
        case "DynamicResources":
            return DynamicResources(listers.devices, weight)
        case "NodeResourcesBalancedAllocation":
            return BalancedAllocation(weight, arguments)
        case "ImageLocality":
            return ImageLocality(weight)
    raise ConfigurationError(f"no such plugin: {name!r}")
