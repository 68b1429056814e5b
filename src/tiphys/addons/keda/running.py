"""The add-on at work: its server is where the API server finds it, objects are watched."""

from __future__ import annotations

import asyncio
import importlib
import logging

from tiphys.addons import aggregated
from tiphys.addons.aggregated import own_address
from tiphys.addons.keda import Settings, serving
from tiphys.addons.keda.admission import Admission
from tiphys.addons.keda.controller import ScaledObjectReconciler
from tiphys.addons.keda.jobcontroller import ScaledJobReconciler
from tiphys.addons.keda.jobscaling import JobScaling
from tiphys.addons.keda.measuring import Measurer
from tiphys.addons.keda.observing import Observer
from tiphys.addons.keda.scaler import Surroundings
from tiphys.addons.keda.scaling import Scaling
from tiphys.addons.keda.serving import Server
from tiphys.addons.keda.targets import Targets
from tiphys.addons.optional import NAMESPACE, Context
from tiphys.addons.reaching import Reach
from tiphys.api import admissionregistration_v1 as registration_v1
from tiphys.api import apps_v1
from tiphys.api.base import Struct, to_builtins
from tiphys.client.client import MERGE
from tiphys.machinery.addresses import authority

log = logging.getLogger(__name__)

_PERIOD = 5.0  # seconds between updates of what `tiphys addon status` reports


async def run(context: Context) -> None:
    """Until it is cancelled. Raises OSError when its port is taken."""
    import tiphys.addons.keda.triggers  # noqa: F401  (which puts them on the list)

    settings: Settings = context.settings
    for name in settings.modules.split():
        importlib.import_module(name)
    reach = Reach(context.client, settings.local)
    surroundings = Surroundings(context.client, reach, context.now, settings.timeout)
    observer = Observer(context)
    targets = Targets(context.client, context.informers.of(apps_v1.Deployment))
    measurer = Measurer(targets, settings.patience, observer)
    scaling = Scaling(context, surroundings, measurer)
    jobs = JobScaling(context, surroundings, measurer)
    admission = Admission(context)
    server = Server(scaling, admission.judge, context.now)
    address = settings.address or own_address()
    try:
        port = await server.start(context.client, address, settings.port, context.data_dir)
        await context.informers.synced()
        await _announce(context, server, address, port)
        await context.reconcile(
            ScaledObjectReconciler, ScaledJobReconciler, scaling=scaling, jobs=jobs
        )
        await _tell(context, authority(address, port), scaling, jobs)
    finally:
        observer.close()
        await server.stop()


async def _tell(context: Context, where: str, scaling: Scaling, jobs: JobScaling) -> None:
    reported = ""
    while True:
        message = f"metrics at {where}: {scaling.count + jobs.count} objects are scaled"
        if message != reported:
            context.ready(message)
            reported = message
        await asyncio.sleep(_PERIOD)


async def _announce(context: Context, server: Server, address: str, port: int) -> None:
    """Publishes the server's address and authority in the cluster."""
    await server.announce(context.client, address, port)
    hooks = {"webhooks": to_builtins(webhooks(server.authority.encode()))}
    kind = registration_v1.ValidatingWebhookConfiguration
    await context.client.patch(kind, serving.SERVICE, hooks, media=MERGE)


def webhooks(authority_: bytes) -> list[registration_v1.ValidatingWebhook]:
    """As KEDA's: objects are stored while it is away, and checked when it is back."""
    resources = [
        "scaledobjects",
        "scaledjobs",
        "triggerauthentications",
        "clustertriggerauthentications",
    ]
    rules = [
        registration_v1.RuleWithOperations(
            operations=["CREATE", "UPDATE"],
            api_groups=["keda.sh"],
            api_versions=["v1alpha1"],
            resources=resources,
        )
    ]
    service = registration_v1.ServiceReference(
        namespace=NAMESPACE, name=serving.SERVICE, path=serving.ADMISSION, port=443
    )
    return [
        registration_v1.ValidatingWebhook(
            name="vkeda.kb.io",
            client_config=registration_v1.WebhookClientConfig(
                service=service, ca_bundle=authority_
            ),
            rules=rules,
            failure_policy="Ignore",
            match_policy="Equivalent",
            side_effects="None",
            timeout_seconds=10,
            admission_review_versions=["v1"],
        )
    ]


def objects(address: str) -> list[Struct]:
    """What leads the API server here. `run` fills in the address and the authority: so its account
    may change these objects, and create none."""
    from tiphys.api import rbac_v1
    from tiphys.api.meta_v1 import ObjectMeta

    name = serving.SERVICE
    readers = rbac_v1.ClusterRole(
        metadata=ObjectMeta(name="keda-operator-external-metrics-reader"),
        rules=[
            rbac_v1.PolicyRule(
                verbs=["get"], api_groups=[serving.EXTERNAL], resources=["externalmetrics"]
            )
        ],
    )
    reads = rbac_v1.ClusterRoleBinding(
        metadata=ObjectMeta(name="keda-operator-hpa-controller-external-metrics"),
        role_ref=rbac_v1.RoleRef(
            api_group="rbac.authorization.k8s.io", kind="ClusterRole", name=readers.metadata.name
        ),
        subjects=[
            rbac_v1.Subject(
                kind="ServiceAccount", name="horizontal-pod-autoscaler", namespace="kube-system"
            )
        ],
    )
    hook = registration_v1.ValidatingWebhookConfiguration(metadata=ObjectMeta(name=name))
    leading = aggregated.objects(name, address, serving.EXTERNAL, ["v1beta1"])
    return [*leading, readers, reads, hook]
