"""How full volumes are, from what their drivers say. Pure."""

from __future__ import annotations

from tiphys.node.csi import messages as m
from tiphys.node.states import VolumeUsage


def usage_of(
    name: str, claim: tuple[str, str] | None, now: float, usage: list[m.VolumeUsage]
) -> VolumeUsage:
    """`name` is the volume's in the pod's spec, `claim` (namespace, name), `now` in seconds since
    the epoch."""
    result = VolumeUsage(name, claim, now)
    for measured in usage:
        counts = measured.total, measured.used, measured.available
        if measured.unit == m.BYTES:
            result = result._replace(bytes=counts)
        elif measured.unit == m.INODES:
            result = result._replace(inodes=counts)
    return result
