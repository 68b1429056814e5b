"""Accelerators that are not there: GPUs of several kinds on hollow nodes, with zones, NVLink
domains, failures and interruptions as data.

For users who build or try schedulers, queues and operators for GPUs and have none. Names are those
of NVIDIA's device plugin, feature discovery and DRA driver: what is written for them works.

`types` is the Fleet, which declares the nodes and what happens when; `planning` works out what that
comes to at a time (pure), `controller` writes it to nodes and resource slices, `demo` is the fleet
that comes with it.
"""

from __future__ import annotations

from collections.abc import Sequence

from tiphys.addons.optional import Context, OptionalAddon, rule
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.base import Struct

GROUP = "accelerators.tiphys.dev"
DRIVER = "gpu.nvidia.com"
RESOURCE = "nvidia.com/gpu"


class Settings(Struct):
    """`demo` is whether the fleet of 64 GPUs on ten nodes comes with the add-on."""

    demo: bool = True


def definitions() -> tuple[CustomResourceDefinition, ...]:
    from tiphys.addons.accelerators.types import Fleet
    from tiphys.operator import definition

    return (definition(Fleet),)


def objects(settings: Settings) -> Sequence[Struct]:
    from tiphys.addons.accelerators.demo import demo
    from tiphys.api import resource_v1
    from tiphys.api.meta_v1 import ObjectMeta

    expression = f'device.driver == "{DRIVER}" && device.attributes["{DRIVER}"].type == "gpu"'
    selector = resource_v1.DeviceSelector(cel=resource_v1.CELDeviceSelector(expression=expression))
    device_class = resource_v1.DeviceClass(
        metadata=ObjectMeta(name=DRIVER), spec=resource_v1.DeviceClassSpec(selectors=[selector])
    )
    return (device_class, *((demo(),) if settings.demo else ()))


async def run(context: Context) -> None:
    from tiphys.addons.accelerators.controller import run as work

    await work(context)


ADDON = OptionalAddon(
    "accelerators",
    "GPUs on hollow nodes: 64 of three kinds in four zones, failures as data",
    run,
    settings=Settings,
    rights=(
        rule("get list watch", "fleets", GROUP),
        rule("patch update", "fleets/status", GROUP),
        rule("get list watch patch", "nodes"),
        rule("patch", "nodes/status"),
        rule("get list watch create patch delete", "resourceslices", "resource.k8s.io"),
    ),
    definitions=definitions,
    objects=objects,
    try_next=(
        "kubectl get nodes -L nvidia.com/gpu.product,topology.kubernetes.io/zone",
        "kubectl get fleets",
    ),
)
