"""Volumes of a node whose objects are a test's, and pods that mount one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.node.volumes.growth import VolumeGrowth
from tiphys.node.volumes.nodrivers import NoDrivers
from tiphys.node.volumes.podvolumes import Volumes


def volumes(root: Path, *objects: Any) -> Volumes:
    async def get(kind: Any, namespace: str, name: str) -> Any:
        return next(
            (one for one in objects if isinstance(one, kind) and one.metadata.name == name), None
        )

    references: Any = SimpleNamespace(get=get)
    nobody: Any = None
    growth = VolumeGrowth(nobody, nobody)
    return Volumes(root, references, {"memory": "1Gi"}, NoDrivers(), growth)


def mounting(source: dict[str, Any], **mount: Any) -> core_v1.Pod:
    container = {
        "name": "c",
        "image": "i",
        "volumeMounts": [{"name": "v", "mountPath": "/v", **mount}],
        "terminationMessagePath": "/dev/termination-log",
    }
    one = pod(containers=[container], volumes=[{"name": "v", **source}])
    one.metadata.uid = "u"
    return one
