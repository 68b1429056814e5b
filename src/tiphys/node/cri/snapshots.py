"""Files of images, shown at folders of the node. CRI of this containerd has no mounts of images: its snapshots give them.

A view of an image's layers is held by a root of garbage collection until the pod it was made for is gone.
"""

from __future__ import annotations

from typing import Annotated

from tiphys.api.base import F, Struct

SNAPSHOTTER = "overlayfs"
_POD = "tiphys.io/pod-uid"
_ROOT = "containerd.io/gc.root"


class Mount(Struct):
    """Its options are the third field of containerd 1.6, and the fourth of later ones, which have a target before them."""

    type: Annotated[str, F(1)] = ""
    source: Annotated[str, F(2)] = ""
    third: Annotated[list[str], F(3)] = []
    fourth: Annotated[list[str], F(4)] = []

    @property
    def options(self) -> list[str]:
        return self.fourth or self.third


class MountsRequest(Struct):
    snapshotter: Annotated[str, F(1)] = SNAPSHOTTER
    key: Annotated[str, F(2)] = ""


class ViewRequest(Struct):
    snapshotter: Annotated[str, F(1)] = SNAPSHOTTER
    key: Annotated[str, F(2)] = ""
    parent: Annotated[str, F(3)] = ""
    labels: Annotated[dict[str, str], F(4)] = {}


class MountsResponse(Struct):
    """Of a view that is made, and of one that there is."""

    mounts: Annotated[list[Mount], F(1)] = []


class RemoveRequest(Struct):
    snapshotter: Annotated[str, F(1)] = SNAPSHOTTER
    key: Annotated[str, F(2)] = ""


class RemoveResponse(Struct):
    pass


class ListRequest(Struct):
    snapshotter: Annotated[str, F(1)] = SNAPSHOTTER
    filters: Annotated[list[str], F(2)] = []


class Info(Struct):
    name: Annotated[str, F(1)] = ""


class ListResponse(Struct):
    info: Annotated[list[Info], F(1)] = []


def view_of(chain: str, uid: str, volume: str) -> ViewRequest:
    """`chain` names the layers of an image, as CRI tells it (`chainID`)."""
    labels = {_POD: uid, _ROOT: "1970-01-01T00:00:00Z"}
    return ViewRequest(key=f"tiphys-volume-{uid}-{volume}", parent=chain, labels=labels)


def of_pod(uid: str) -> ListRequest:
    return ListRequest(filters=[f'labels."{_POD}"=="{uid}"'])
