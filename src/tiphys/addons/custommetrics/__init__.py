"""custommetrics: metrics of objects out of a Prometheus, for autoscalers with metrics of type Pods
and Object.

For users who scale by what pods and objects export (requests a second, lengths of
queues). The model is prometheus-adapter (kubernetes-sigs, release 0.12): its rules are read
unchanged, and custom.metrics.k8s.io is answered as it answers.

`rules` and `catalog` are pure: from series to metrics, from a question to PromQL; `answers` has the
shapes of both versions, `asking` asks Prometheus, `resources` knows what the cluster serves,
`serving` answers the API server, `running` holds them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from tiphys.addons.optional import Context, OptionalAddon, rule
from tiphys.api.base import Struct

SERVICE = "custommetrics"
GROUP = "custom.metrics.k8s.io"
VERSIONS = ("v1beta2", "v1beta1")
"""The preferred one first."""


class Settings(Struct):
    """`prometheus` is the URL of the server; its host may be a Service (``prometheus.monitoring``).
    `rules` names a ConfigMap of the add-ons' namespace with rules of prometheus-adapter (its key
    config.yaml); without one, every series with a label namespace is a metric of what its other
    labels name. `relist` is after how many seconds Prometheus' series are listed again, `timeout`
    how many it has to answer. `address` and `port` are where the API server reaches the add-on; by
    default this machine's address and a port that is free.
    """

    prometheus: str = "http://prometheus.monitoring:9090"
    rules: str = ""
    relist: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    timeout: Annotated[float, Meta(gt=0, le=60)] = 5.0
    address: str = ""
    port: Annotated[int, Meta(ge=0, le=65535)] = 0


def objects(settings: Settings) -> Sequence[Struct]:
    from tiphys.addons import aggregated

    return aggregated.objects(SERVICE, settings.address, GROUP, VERSIONS)


async def run(context: Context) -> None:
    from tiphys.addons.custommetrics.running import run as work

    await work(context)


ADDON = OptionalAddon(
    "custommetrics",
    "Metrics of pods and objects from a Prometheus, for autoscalers",
    run,
    settings=Settings,
    rights=(
        rule("list", "namespaces pods services nodes persistentvolumes"),
        rule("list", "deployments statefulsets daemonsets replicasets", "apps"),
        rule("list", "jobs", "batch"),
        rule("list", "ingresses", "networking.k8s.io"),
        rule("get", "services configmaps"),
        rule("list", "endpointslices", "discovery.k8s.io"),
        rule("patch", "endpointslices", "discovery.k8s.io", SERVICE),
        rule(
            "patch",
            "apiservices",
            "apiregistration.k8s.io",
            " ".join(f"{version}.{GROUP}" for version in VERSIONS),
        ),
    ),
    objects=objects,
    try_next=("kubectl get --raw /apis/custom.metrics.k8s.io/v1beta2",),
)
