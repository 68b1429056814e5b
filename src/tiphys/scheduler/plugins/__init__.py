"""The plugins, in upstream's order: filters first to last, and scores with their weights."""

from __future__ import annotations

from tiphys.scheduler.plugins.base import Plugin
from tiphys.scheduler.plugins.interpod import InterPodAffinity
from tiphys.scheduler.plugins.nodes import NodeAffinity, NodeName, NodePorts, NodeUnschedulable, TaintToleration
from tiphys.scheduler.plugins.resources import BalancedAllocation, NodeResourcesFit
from tiphys.scheduler.plugins.spread import PodTopologySpread
from tiphys.scheduler.plugins.volumes import Stock, VolumeBinding


def plugins(stock: Stock) -> tuple[Plugin, ...]:
    """All plugins; `stock` is what is known of volumes."""
    return (*_BEFORE, VolumeBinding(stock), *_AFTER)


_BEFORE: tuple[Plugin, ...] = (
    NodeUnschedulable(),
    NodeName(),
    TaintToleration(weight=3),
    NodeAffinity(weight=2),
    NodePorts(),
    NodeResourcesFit(weight=1),
)
_AFTER: tuple[Plugin, ...] = (
    PodTopologySpread(weight=2),
    InterPodAffinity(weight=2),
    BalancedAllocation(weight=1),
)
