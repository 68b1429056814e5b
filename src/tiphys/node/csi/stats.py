"""How full volumes are, from what their drivers say: rows of `/stats/summary`. Pure."""

from __future__ import annotations

from typing import Any

from tiphys.node.csi import messages as m

_FIELDS = {
    m.BYTES: ("capacityBytes", "usedBytes", "availableBytes"),
    m.INODES: ("inodes", "inodesUsed", "inodesFree"),
}


def row(name: str, claim: tuple[str, str] | None, stamp: str, usage: list[m.VolumeUsage]) -> Any:
    """`name` is the volume's in the pod's spec, `claim` (namespace, name), `stamp` a timestamp."""
    result: dict[str, Any] = {"time": stamp, "name": name}
    if claim is not None:
        result["pvcRef"] = {"namespace": claim[0], "name": claim[1]}
    for one in usage:
        fields = _FIELDS.get(one.unit)
        if fields is not None:
            result |= zip(fields, (one.total, one.used, one.available), strict=True)
    return result
