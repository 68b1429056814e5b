"""KEDA: workloads that are scaled by what happens outside of them, down to zero and back.

For workloads with queues, schedules or numbers that measure how much there is to do. The model is
KEDA (keda.sh, release 2.20): the same resources, triggers, metrics, conditions and events. Scaling
between zero and one is done here; between one and many by the cluster's own autoscaler, which asks
this add-on for its metrics over external.metrics.k8s.io.

`types` are the resources; `facts`, `deciding`, `fallback`, `autoscalers`, `formula`, `parameters`
and `locating` are pure; `triggers` has one file for each; `building` makes them, `measuring` asks
them, `scaling` acts, `controller` keeps autoscalers, `serving` and `admission` answer the API
server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from tiphys.addons.optional import Context, OptionalAddon, rule
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.base import Struct

GROUP = "keda.sh"
VERSION = "v1alpha1"
_OBJECTS = "scaledobjects scaledjobs triggerauthentications clustertriggerauthentications"
_WITH_STATUS = " ".join(f"{name}/status" for name in _OBJECTS.split())


class Settings(Struct):
    """`address` and `port` are where the API server reaches the add-on; by default this machine's
    address and a port that is free. `timeout` is how many seconds a server has to answer a trigger,
    `patience` how many a trigger has in all. With `local`, triggers may ask what listens on this
    machine's loopback. `modules` are further Python modules with triggers, with spaces between
    their names.
    """

    address: str = ""
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    timeout: Annotated[float, Meta(gt=0, le=60)] = 3.0
    patience: Annotated[float, Meta(gt=0, le=300)] = 15.0
    local: bool = False
    modules: str = ""


def definitions() -> tuple[CustomResourceDefinition, ...]:
    from tiphys.addons.keda import types
    from tiphys.operator import definition

    kinds = (
        types.ScaledObject,
        types.ScaledJob,
        types.TriggerAuthentication,
        types.ClusterTriggerAuthentication,
    )
    return tuple(definition(kind) for kind in kinds)


def objects(settings: Settings) -> Sequence[Struct]:
    from tiphys.addons.keda.running import objects as keda_objects

    return keda_objects(settings.address)


async def run(context: Context) -> None:
    from tiphys.addons.keda.running import run as work

    await work(context)


ADDON = OptionalAddon(
    "keda",
    "Event-driven scaling (KEDA): from zero, by queues, schedules, metrics",
    run,
    settings=Settings,
    rights=(
        rule("get list watch patch", _OBJECTS, GROUP),
        rule("patch update", _WITH_STATUS, GROUP),
        rule("get list watch create patch delete", "horizontalpodautoscalers", "autoscaling"),
        rule("get list watch create patch delete", "jobs", "batch"),
        rule("get patch", "*/scale", "*"),
        rule("get list watch", "deployments", "apps"),
        rule("get", "statefulsets", "apps"),
        rule("get list watch", "pods"),
        rule("get list", "services limitranges"),
        rule("get", "secrets configmaps"),
        rule("get list", "endpointslices", "discovery.k8s.io"),
        rule("patch", "endpointslices", "discovery.k8s.io", "keda"),
        rule("patch", "apiservices", "apiregistration.k8s.io", "v1beta1.external.metrics.k8s.io"),
        rule("patch", "validatingwebhookconfigurations", "admissionregistration.k8s.io", "keda"),
    ),
    definitions=definitions,
    objects=objects,
    try_next=(
        "kubectl apply -f src/tiphys/addons/keda/example/working-hours.yaml",
        "kubectl get scaledobjects",
    ),
)
