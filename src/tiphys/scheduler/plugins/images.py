"""Nodes that have a pod's images already."""

from __future__ import annotations

import numpy as np

from tiphys.scheduler.counting import Bools
from tiphys.scheduler.plugins.base import Floats, Plugin
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

_LEAST, _MOST = (
    23 << 20,
    1000 << 20,
)  # bytes that are worth nothing yet, and all there is to gain, for each container


class ImageLocality(Plugin):
    """An image counts by its size, and by the share of nodes that have it: one node must not draw all pods."""

    name = "ImageLocality"

    def score(self, view: Snapshot, pod: PodInfo, feasible: Bools) -> Floats | None:
        containers = [*pod.pod.spec.init_containers, *pod.pod.spec.containers]
        total = np.zeros(len(view.names))
        nodes, found = max(1, len(view.row)), False
        for container in containers:
            holders = view.images.get(normalized(container.image))
            if holders:
                found = True
                share = len(holders) / nodes
                for row, size in holders.items():
                    total[row] += int(size * share)
        if not found:
            return None
        most = _MOST * len(containers)
        return np.floor(100 * (np.clip(total, _LEAST, most) - _LEAST) / (most - _LEAST))


def normalized(image: str) -> str:
    """An image's name as nodes tell it: with a tag."""
    return image if "@" in image or ":" in image.rpartition("/")[2] else f"{image}:latest"
