"""The webhooks: what the API server asks, of which objects, and the server that answers.

Its authority is created when it starts, and is its own: the key never leaves the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tiphys.addons.authority import passing_server
from tiphys.addons.kueue import ADDON, GROUP, WEBHOOK, names
from tiphys.addons.kueue.jobs.kinds import KINDS
from tiphys.addons.kueue.leaderworkersets import RESOURCE as LEADER_WORKER_SET
from tiphys.addons.kueue.types.conversion import convert
from tiphys.addons.kueue.types.definitions import VERSIONS
from tiphys.addons.optional import NAMESPACE
from tiphys.addons.reviews import Judge, converted, reviewed
from tiphys.addons.webhook import Review, Webhook
from tiphys.api import admissionregistration_v1 as registration_v1
from tiphys.api.apiextensions_v1 import (
    CustomResourceConversion,
    CustomResourceDefinition,
    WebhookClientConfig,
    WebhookConversion,
)
from tiphys.api.base import to_builtins
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import LabelSelector, LabelSelectorRequirement
from tiphys.client.client import MERGE, Client
from tiphys.machinery.addresses import authority as host_port

JOBS, PODS, SERVING, CONVERT = "/jobs", "/pods", "/serving", "/convert"
RESOURCES = "/resources"
_QUEUED = LabelSelector(
    match_expressions=[LabelSelectorRequirement(key=names.QUEUE, operator="Exists")]
)
_UNQUEUED = LabelSelector(
    match_expressions=[LabelSelectorRequirement(key=names.QUEUE, operator="DoesNotExist")]
)
_ELSEWHERE = LabelSelector(
    match_expressions=[
        LabelSelectorRequirement(
            key="kubernetes.io/metadata.name", operator="NotIn", values=["kube-system", NAMESPACE]
        )
    ]
)


_PAGE = 64 << 20  # bytes: what is converted may be a whole page of a list


@dataclass
class Server:
    """Serves at `url`; clients verify it by `ca` (PEM)."""

    webhook: Webhook
    url: str
    ca: bytes


async def serve(
    judges: Mapping[str, Judge], address: str, port: int, folder: Path, now: float
) -> Server:
    """`judges` by path, beside conversion. Raises OSError when the address is taken."""
    reviews: dict[str, Review] = {
        path: partial(reviewed, judge=judge) for path, judge in judges.items()
    }
    reviews[CONVERT] = partial(converted, convert=convert)
    root, context = passing_server("Tiphys queues", [address], now, folder)
    webhook = Webhook(reviews, _PAGE)
    bound = await webhook.start(address, port, context)
    return Server(webhook, f"https://{host_port(address, bound)}", root.encode())


def hooks(server: Server) -> list[registration_v1.MutatingWebhook]:
    """While it is down, what names a queue does not start; everything else passes."""
    jobs = [_rule(kind.resource.group, kind.resource.plural, "CREATE", "UPDATE") for kind in KINDS]
    created = [_rule(kind.resource.group, kind.resource.plural, "CREATE") for kind in KINDS]
    serving = [("apps", "deployments"), ("apps", "statefulsets")]
    serving.append((LEADER_WORKER_SET.group, LEADER_WORKER_SET.plural))
    return [
        _hook(server, "jobs", JOBS, jobs, _QUEUED, "Fail"),
        _hook(server, "default-queue", JOBS, created, _UNQUEUED, "Ignore"),
        _hook(server, "pods", PODS, [_rule("", "pods", "CREATE")], _QUEUED, "Fail"),
        _hook(
            server,
            "serving",
            SERVING,
            [_rule(group, plural, "CREATE", "UPDATE") for group, plural in serving],
            _QUEUED,
            "Fail",
        ),
    ]


def judges(server: Server) -> list[registration_v1.ValidatingWebhook]:
    """Objects of both versions are judged as the newer one. What the add-on writes itself obeys the
    rules, and need not ask: a status is written for each step of each workload."""
    written = ("clusterqueues", "cohorts", "resourceflavors", "workloads", "workloads/status")
    rule = registration_v1.RuleWithOperations(
        operations=["CREATE", "UPDATE"],
        api_groups=[GROUP],
        api_versions=["v1beta2"],
        resources=list(written),
        scope="*",
    )
    own = f"system:serviceaccount:{NAMESPACE}:{ADDON.name}"
    return [
        registration_v1.ValidatingWebhook(
            name=f"resources.{GROUP}",
            client_config=_client_config(server, RESOURCES),
            rules=[rule],
            failure_policy="Fail",
            match_policy="Equivalent",
            match_conditions=[
                registration_v1.MatchCondition(
                    name="written-by-others",
                    expression=f"request.userInfo.username != '{own}'",
                )
            ],
            side_effects="None",
            timeout_seconds=10,
            admission_review_versions=["v1"],
        )
    ]


def _client_config(server: Server, path: str) -> registration_v1.WebhookClientConfig:
    return registration_v1.WebhookClientConfig(url=server.url + path, ca_bundle=server.ca)


def _rule(group: str, plural: str, *operations: str) -> registration_v1.RuleWithOperations:
    return registration_v1.RuleWithOperations(
        operations=list(operations),
        api_groups=[group],
        api_versions=["*"],
        resources=[plural],
        scope="Namespaced",
    )


def _hook(
    server: Server,
    name: str,
    path: str,
    rules: list[registration_v1.RuleWithOperations],
    selector: LabelSelector,
    policy: str,
) -> registration_v1.MutatingWebhook:
    return registration_v1.MutatingWebhook(
        name=f"{name}.{GROUP}",
        client_config=_client_config(server, path),
        rules=rules,
        failure_policy=policy,
        match_policy="Equivalent",
        side_effects="None",
        timeout_seconds=10,
        admission_review_versions=["v1"],
        object_selector=selector,
        namespace_selector=_ELSEWHERE,
    )


async def register(client: Client, server: Server) -> None:
    for configuration in (
        registration_v1.MutatingWebhookConfiguration(webhooks=hooks(server)),
        registration_v1.ValidatingWebhookConfiguration(webhooks=judges(server)),
    ):
        patch = {"webhooks": to_builtins(configuration)["webhooks"]}
        await client.patch(type(configuration), WEBHOOK, patch, media=MERGE)
    conversion = CustomResourceConversion(
        strategy="Webhook",
        webhook=WebhookConversion(
            client_config=WebhookClientConfig(url=server.url + CONVERT, ca_bundle=server.ca),
            conversion_review_versions=["v1"],
        ),
    )
    patch = {"spec": {"conversion": to_builtins(conversion)}}
    for newest, _ in VERSIONS:
        name = resource_of(newest).group_resource
        await client.patch(CustomResourceDefinition, name, patch, media=MERGE)
