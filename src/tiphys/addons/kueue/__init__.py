"""Queues for jobs: who may start, with how much, and who has to wait, as Kueue has it.

For teams that share a cluster whose GPUs are too few. The model is Kueue (kueue.x-k8s.io): flavors,
cluster queues with quotas, cohorts that lend to each other, preemption, suspended jobs.

`types` are its custom resources, `core` decides (pure), `manager` has it decide whenever something
has changed, `jobs` brings jobs and workloads together, `pods` does so for plain pods, `lifecycle`
ends what has to end, `queues` writes statuses; `webhook` stops jobs before they start, `rules`
checks what may be written, `metrics` counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta

from tiphys.addons.optional import Context, OptionalAddon, rule
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.base import Struct

GROUP = "kueue.x-k8s.io"
WEBHOOK = "tiphys-kueue"
_ALL = (
    "resourceflavors clusterqueues localqueues cohorts workloads workloadpriorityclasses "
    "admissionchecks topologies"
)


class Settings(Struct):
    """`podsReadyTimeout` are the seconds in which the pods of an admitted job must be ready, 0: as
    long as they like. One that is not waits for `backoffBase` seconds, doubled each time up to
    `backoffLongest`, and after `requeuingLimit` times (0: never) it is deactivated. `address` and
    `webhookPort` (0: any) are where the API server reaches the add-on. `transformations` and
    `excluded` (prefixes) say what resources count as, see `core.transforming.parse`. With
    `fairSharing` queues of a cohort share what is lent by their weights; `preemptionStrategies`
    say who may be displaced for that.
    """

    pods_ready_timeout: Annotated[int, Meta(ge=0)] = 0
    address: str = "127.0.0.1"
    webhook_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    backoff_base: Annotated[int, Meta(ge=1)] = 60
    backoff_longest: Annotated[int, Meta(ge=1)] = 3600
    requeuing_limit: Annotated[int, Meta(ge=0)] = 0
    transformations: str = ""
    excluded: str = ""
    fair_sharing: bool = False
    preemption_strategies: Literal[
        "LessThanOrEqualToFinalShare,LessThanInitialShare",
        "LessThanOrEqualToFinalShare",
        "LessThanInitialShare",
    ] = "LessThanOrEqualToFinalShare,LessThanInitialShare"

    def __post_init__(self) -> None:
        from tiphys.addons.kueue.core.transforming import parse

        parse(self.transformations, self.excluded)  # an error refuses the settings

    @property
    def strategies(self) -> tuple[str, ...]:
        """None: queues do not share fairly."""
        return tuple(self.preemption_strategies.split(",")) if self.fair_sharing else ()


def definitions() -> tuple[CustomResourceDefinition, ...]:
    from tiphys.addons.kueue.types.definitions import definitions as crd_definitions

    return crd_definitions()


def objects(settings: Settings) -> Sequence[Struct]:
    """Empty ones, which `run` fills: so its account may change these and create none."""
    from tiphys.api.admissionregistration_v1 import (
        MutatingWebhookConfiguration,
        ValidatingWebhookConfiguration,
    )
    from tiphys.api.meta_v1 import ObjectMeta

    return (
        MutatingWebhookConfiguration(metadata=ObjectMeta(name=WEBHOOK)),
        ValidatingWebhookConfiguration(metadata=ObjectMeta(name=WEBHOOK)),
    )


async def run(context: Context) -> None:
    from tiphys.addons.kueue.controller import run as work

    await work(context)


ADDON = OptionalAddon(
    "kueue",
    "Queues for jobs: quotas by flavor, borrowing, preemption, as Kueue has them",
    run,
    settings=Settings,
    rights=(
        rule("get list watch create update patch delete", _ALL, GROUP),
        rule(
            "patch update",
            "clusterqueues/status localqueues/status workloads/status cohorts/status",
            GROUP,
        ),
        rule("get list watch", "namespaces limitranges nodes"),
        rule("get list watch patch update delete", "pods"),
        rule("patch update", "pods/status"),
        rule("get list watch", "statefulsets", "apps"),
        rule("get list watch", "customresourcedefinitions", "apiextensions.k8s.io"),
        rule(
            "patch",
            "customresourcedefinitions",
            "apiextensions.k8s.io",
            " ".join(f"{name}.{GROUP}" for name in _ALL.split()),
        ),
        rule(
            "patch",
            "mutatingwebhookconfigurations validatingwebhookconfigurations",
            "admissionregistration.k8s.io",
            WEBHOOK,
        ),
        rule("get list watch", "priorityclasses", "scheduling.k8s.io"),
        rule("get list watch patch update", "jobs", "batch"),
        rule("patch update", "jobs/status", "batch"),
        rule("get list watch patch update", "jobsets", "jobset.x-k8s.io"),
        rule("get list watch patch update", "rayjobs rayclusters", "ray.io"),
        rule("get list watch patch update", "trainjobs", "trainer.kubeflow.org"),
        rule(
            "get list watch patch update",
            "pytorchjobs tfjobs xgboostjobs paddlejobs jaxjobs mpijobs",
            "kubeflow.org",
        ),
        rule("get list watch patch update", "hyperpodpytorchjobs", "sagemaker.amazonaws.com"),
        rule("get list watch", "leaderworkersets", "leaderworkerset.x-k8s.io"),
    ),
    definitions=definitions,
    objects=objects,
    try_next=(
        "kubectl apply -f src/tiphys/addons/kueue/example/queues.yaml",
        "kubectl apply -f src/tiphys/addons/kueue/example/borrower.yaml",
        "kubectl get workloads",
    ),
)
