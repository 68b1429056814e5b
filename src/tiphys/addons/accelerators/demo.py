"""The fleet that comes with the add-on: 64 GPUs of three kinds in four zones, on ten nodes."""

from __future__ import annotations

from tiphys.addons.accelerators.types import Fleet, FleetSpec, Pool
from tiphys.api.base import Quantity
from tiphys.api.meta_v1 import ObjectMeta


def demo() -> Fleet:
    pools = [
        # Two nodes share an NVLink domain: 16 GPUs that reach each other without the network.
        Pool(
            name="h100",
            nodes=4,
            gpus=8,
            product="NVIDIA-H100-80GB-HBM3",
            instance_type="p5.48xlarge",
            zones=["zone-a", "zone-b"],
            domain=2,
        ),
        Pool(
            name="a100",
            nodes=2,
            gpus=8,
            product="NVIDIA-A100-SXM4-40GB",
            architecture="Ampere",
            memory=Quantity("40Gi"),
            instance_type="p4d.24xlarge",
            zones=["zone-c"],
        ),
        Pool(
            name="l4",
            nodes=4,
            gpus=4,
            product="NVIDIA-L4",
            architecture="Ada-Lovelace",
            memory=Quantity("24Gi"),
            instance_type="g6.12xlarge",
            zones=["zone-d", "zone-c"],
            domain=0,
            capacity_type="spot",
        ),
    ]
    return Fleet(metadata=ObjectMeta(name="demo"), spec=FleetSpec(pools=pools))
