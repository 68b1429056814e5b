"""ImageLocality: prefers nodes that have a pod's images already."""

from __future__ import annotations

import numpy as np

from tiphys.scheduler.counting import Bools
from tiphys.scheduler.plugins.base import Floats, Plugin
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import Snapshot

# Upstream's minThreshold and maxContainerThreshold, in bytes: images of up to 23 MiB give no score,
# and no container gives more than 1,000 MiB do.
_MIN_SIZE = 23 << 20
_MAX_SIZE_PER_CONTAINER = 1000 << 20


class ImageLocality(Plugin):
    """An image counts by its size and by the share of nodes that have it: the one node that has it
    must not draw all pods."""

    name = "ImageLocality"

    def score(self, snapshot: Snapshot, pod: PodInfo, feasible: Bools) -> Floats | None:
        containers = [*pod.spec.init_containers, *pod.spec.containers]
        images = [snapshot.images.get(with_tag(container.image)) for container in containers]
        if not any(images):
            return None
        nodes = max(1, len(snapshot.row_of))
        total = np.zeros(len(snapshot))
        for size_by_row in images:
            if size_by_row is None:
                continue
            share = len(size_by_row) / nodes
            for row, size in size_by_row.items():
                total[row] += int(size * share)
        maximum = _MAX_SIZE_PER_CONTAINER * len(containers)
        bounded = np.clip(total, _MIN_SIZE, maximum)
        return np.floor(100 * (bounded - _MIN_SIZE) / (maximum - _MIN_SIZE))


def with_tag(image: str) -> str:
    """An image's name as nodes report it: with a tag or digest."""
    has_digest = "@" in image
    has_tag = ":" in image.rpartition("/")[2]
    return image if has_digest or has_tag else f"{image}:latest"
