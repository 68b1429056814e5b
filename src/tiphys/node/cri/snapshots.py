"""Messages of containerd's snapshot service, with which the files of images are mounted: CRI of
containerd 1.6 has no image volumes.

A view of an image's layers is a root of containerd's garbage collection until the pod it was made
for is gone.
"""

from __future__ import annotations

from typing import Annotated

from tiphys.api.base import F, Struct

SNAPSHOTTER = "overlayfs"
_POD = "tiphys.io/pod-uid"
_ROOT = "containerd.io/gc.root"


class Mount(Struct):
    """Options are the third field in containerd 1.6, and the fourth in later versions, which have a
    target before them."""

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
    """Answers View and Mounts."""

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
    """`chain` names the layers of an image, as the `chainID` of CRI's image status does."""
    labels = {_POD: uid, _ROOT: "1970-01-01T00:00:00Z"}
    return ViewRequest(key=f"tiphys-volume-{uid}-{volume}", parent=chain, labels=labels)


def of_pod(uid: str) -> ListRequest:
    """Lists the views that were created for the volumes of a pod."""
    return ListRequest(filters=[f'labels."{_POD}"=="{uid}"'])
