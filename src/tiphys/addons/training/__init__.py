"""Training: distributed PyTorch jobs that restart only what broke.

For teams that train on many machines for days: a worker that crashes, hangs or slows down costs the
steps since its last checkpoint and a few seconds, not all pods. The model is the training operator
of SageMaker HyperPod (`sagemaker.amazonaws.com/v1`, HyperPodPyTorchJob), whose source is not
public; its agent (PyPI `hyperpod-elastic-agent`), its command `hyp` and its schemas are, and work
with this one unchanged.

`types` are the resource; `validation` judges what a schema cannot. `observation` is what the
operator sees of a job, `deciding` what it does about it (both pure, with `budget`, `ranks`,
`scaling` and `pods`); `agents` speaks the agents' protocol, `controller` looks and acts, `webhook`
refuses, `metrics` counts.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from tiphys.addons.optional import Context, OptionalAddon, rule
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.base import Struct

GROUP = "sagemaker.amazonaws.com"
WEBHOOK = "training-jobs.addons.tiphys.dev"

_REGISTRATION = "admissionregistration.k8s.io"
_PORT = Meta(ge=0, le=65535)


class Settings(Struct):
    """
    agent_port: where agents listen, in their pods
    poll_seconds: between two questions to each agent
    agent_timeout: seconds for which an agent of a running job may be silent before it is a fault
    address: where metrics and the webhook are served; the API server must reach it
    metrics_port, webhook_port: 0 takes a free one
    """

    agent_port: Annotated[int, _PORT] = 8080
    poll_seconds: Annotated[float, Meta(ge=0.1, le=60)] = 1.0
    agent_timeout: Annotated[float, Meta(ge=1, le=3600)] = 30.0
    address: str = "127.0.0.1"
    metrics_port: Annotated[int, _PORT] = 8081
    webhook_port: Annotated[int, _PORT] = 0


def definitions() -> tuple[CustomResourceDefinition, ...]:
    from tiphys.addons.training.types import HyperPodPyTorchJob
    from tiphys.operator import definition

    return (definition(HyperPodPyTorchJob),)


def objects(settings: Settings) -> list[Struct]:
    from tiphys.addons.training.webhook import configuration

    return [configuration()]


async def run(context: Context) -> None:
    from tiphys.addons.training.operating import run as work

    await work(context)


ADDON = OptionalAddon(
    "training",
    "Distributed PyTorch jobs that restart only what broke (HyperPodPyTorchJob)",
    run,
    settings=Settings,
    rights=(
        rule("get list watch patch delete", "hyperpodpytorchjobs", GROUP),
        rule("patch update", "hyperpodpytorchjobs/status hyperpodpytorchjobs/finalizers", GROUP),
        rule("get list watch create delete", "pods"),
        rule("get list watch", "nodes"),
        rule("get list watch create patch", "services"),
        rule("patch", "validatingwebhookconfigurations", _REGISTRATION, WEBHOOK),
    ),
    definitions=definitions,
    objects=objects,
    try_next=(
        "kubectl apply -f src/tiphys/addons/training/example/job.yaml",
        "kubectl get hyperpodpytorchjobs",
    ),
)
