"""Nodes that have a pod's images already."""

from __future__ import annotations

import numpy as np

from tests.builders import node
from tests.scheduler.builders import (
    requesting,
    snapshot_of,
)
from tiphys.api import core_v1
from tiphys.scheduler.plugins.image_locality import ImageLocality
from tiphys.scheduler.podinfo import PodInfo


def asking(name: str = "p", **requests: str) -> PodInfo:
    return PodInfo(requesting(name, requests))


def test_nodes_with_the_image_are_preferred_by_its_size_and_spread() -> None:
    holder, other = node("a"), node("b")
    holder.status.images = [core_v1.ContainerImage(names=["app:latest"], size_bytes=1000 << 20)]
    snapshot = snapshot_of(holder, other)
    plugin = ImageLocality(1)
    found = plugin.score(snapshot, asking(), snapshot.alive)
    assert found is not None
    assert int(found[snapshot.row_of["a"]]) == int(
        100 * (500 - 23) / (1000 - 23)
    )  # half of the nodes have it
    assert int(found[snapshot.row_of["b"]]) == 0
    bare = node("a")
    snapshot.put_node(bare)
    assert plugin.score(snapshot, asking(), snapshot.alive) is None
    assert not snapshot.images
    assert np.count_nonzero(snapshot.alive) == 2
