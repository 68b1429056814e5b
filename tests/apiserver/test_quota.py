"""Resource quotas, pod security, disruption budgets: what a namespace allows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.apiserver.builders import call, refused
from tests.builders import config_map, deployment, pod
from tests.e2e.clusters import available, ready
from tests.scheduler.device_builders import ask, claim, class_of
from tiphys.api import core_v1, policy_v1, resource_v1
from tiphys.api.base import from_builtins, to_builtins
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.client.client import MERGE
from tiphys.machinery.errors import StatusError
from tiphys.machinery.quota import in_scope, shown, usage_of
from tiphys.scheduler.devices.extended import ExtendedClaims
from tiphys.testing import LocalCluster

PODS = "/api/v1/namespaces/default/pods"
QUOTAS = "/api/v1/namespaces/default/resourcequotas"
EVERYTHING: dict[str, str] = {
    "allowPrivilegeEscalation=false": "",
    "capabilities.drop": "",
    "runAsNonRoot=true": "",
    "seccompProfile.type": "",
}


@pytest.fixture
async def controlled() -> Any:
    async with LocalCluster(controllers=True) as running:
        await ready(running)
        yield running


async def quota(server: LocalCluster, hard: dict[str, str], **spec: Any) -> None:
    body = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "q"},
        "spec": {"hard": hard, **spec},
    }
    await call(server, "POST", QUOTAS, body)
    await server.eventually(lambda: counted(server, dict.fromkeys(hard, "0"), some=True))


async def counted(server: LocalCluster, used: dict[str, str], some: bool = False) -> bool:
    status = (await call(server, "GET", f"{QUOTAS}/q")).get("status", {}).get("used", {})
    return set(used) <= set(status) if some else used == {k: status.get(k) for k in used}


async def test_a_quota_counts_and_refuses(controlled: LocalCluster) -> None:
    await quota(controlled, {"pods": "2", "requests.cpu": "1", "count/configmaps": "9"})
    asking = [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "600m"}}}]
    await controlled.client.create(pod("a", containers=asking))
    assert await counted(controlled, {"pods": "1", "requests.cpu": "600m"})
    error = await refused(controlled.client.create(pod("b", containers=asking)))
    assert error.code == 403
    assert (
        str(error)
        == 'pods "b" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1'
    )
    silent = await refused(controlled.client.create(pod("c")))
    assert str(silent) == 'pods "c" is forbidden: failed quota: q: must specify requests.cpu for: c'
    await controlled.client.delete(core_v1.Pod, "a", "default", grace=0)
    await controlled.eventually(lambda: counted(controlled, {"pods": "0", "requests.cpu": "0"}))
    await controlled.client.create(config_map("x"))
    await controlled.eventually(
        lambda: counted(controlled, {"count/configmaps": "2"})
    )  # the root CA is one


async def test_a_quota_with_a_scope_is_about_some_pods(controlled: LocalCluster) -> None:
    await quota(controlled, {"pods": "1"}, scopes=["BestEffort"])
    await controlled.client.create(pod("a"))
    assert "exceeded quota" in str(await refused(controlled.client.create(pod("b"))))
    asking = [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}]
    assert await controlled.client.create(pod("c", containers=asking))


async def enforce(server: LocalCluster, **labels: str) -> None:
    wanted = {f"pod-security.kubernetes.io/{mode}": level for mode, level in labels.items()}
    await server.client.patch(
        core_v1.Namespace, "default", {"metadata": {"labels": wanted}}, media=MERGE
    )
    account = core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    await server.client.create(account)


async def test_the_restricted_level_says_all_that_is_missing(server: LocalCluster) -> None:
    await enforce(server, enforce="restricted")
    error = await refused(server.client.create(pod("a")))
    assert (
        error.code == 403
        and 'violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false)'
        in str(error)
    )
    assert all(part in str(error) for part in EVERYTHING)
    context = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert await server.client.create(
        pod("b", containers=[{"name": "c", "image": "i", "securityContext": context}])
    )


async def test_the_baseline_level_forbids_the_host(server: LocalCluster) -> None:
    await enforce(server, enforce="baseline")
    assert await server.client.create(pod("a"))
    error = await refused(server.client.create(pod("b", hostNetwork=True, hostPID=True)))
    assert "host namespaces (hostNetwork=true, hostPID=true)" in str(error)


async def test_bad_levels_are_refused(server: LocalCluster) -> None:
    with pytest.raises(StatusError, match="must be one of privileged, baseline, restricted"):
        await enforce(server, enforce="none")


async def test_evictions_keep_the_budget(cluster: LocalCluster) -> None:
    await ready(cluster)
    await cluster.client.create(deployment(replicas=2))
    await available(cluster, replicas=2)
    budget = policy_v1.PodDisruptionBudget(metadata=ObjectMeta(name="b", namespace="default"))
    budget.spec.min_available, budget.spec.selector = 2, LabelSelector(match_labels={"app": "web"})
    await cluster.client.create(budget)

    async def allowed(count: int) -> bool:
        status = (await cluster.client.get(policy_v1.PodDisruptionBudget, "b", "default")).status
        return (
            status.observed_generation > 0
            and status.disruptions_allowed == count
            and status.current_healthy == 2 + count
        )

    await cluster.eventually(lambda: allowed(0))
    name = (await cluster.pods())[0].metadata.name
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    error = await refused(call(cluster, "POST", f"{PODS}/{name}/eviction", eviction))
    assert error.code == 429 and "violate the pod's disruption budget" in str(error)
    await cluster.client.patch(
        type(deployment()), "web", {"spec": {"replicas": 3}}, "default", media=MERGE
    )
    await cluster.eventually(lambda: allowed(1))
    await call(cluster, "POST", f"{PODS}/{name}/eviction", eviction)


EXEMPTING = """
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: PodSecurity
  configuration:
    apiVersion: pod-security.admission.config.k8s.io/v1
    kind: PodSecurityConfiguration
    defaults: {enforce: baseline, warn: restricted}
    exemptions: {usernames: [jane], namespaces: [kube-system], runtimeClasses: []}
"""


async def test_levels_by_default_and_who_is_exempt(tmp_path: Path) -> None:
    file = tmp_path / "admission.yaml"
    file.write_text(EXEMPTING)
    async with LocalCluster(admission_config=file) as server:
        for namespace in ("default", "kube-system"):
            account = core_v1.ServiceAccount(
                metadata=ObjectMeta(name="default", namespace=namespace)
            )
            await server.client.create(account)
        assert 'PodSecurity "baseline:latest"' in str(
            await refused(server.client.create(pod("a", hostNetwork=True)))
        )
        assert await server.client.create(pod("a", "kube-system", hostNetwork=True))
        assert await server.client_as("jane", ("system:masters",)).create(
            pod("b", hostNetwork=True)
        )
        await enforce_level(server, "privileged")
        assert await server.client.create(pod("c", hostNetwork=True))


async def enforce_level(server: LocalCluster, level: str) -> None:
    labels = {"pod-security.kubernetes.io/enforce": level}
    await server.client.patch(
        core_v1.Namespace, "default", {"metadata": {"labels": labels}}, media=MERGE
    )


async def test_a_pod_that_gets_a_deadline_moves_between_quotas_at_once(
    controlled: LocalCluster,
) -> None:
    await quota(controlled, {"pods": "5"}, scopes=["NotTerminating"])
    await call(controlled, "POST", PODS, to_builtins(pod("a")))
    await controlled.eventually(lambda: counted(controlled, {"pods": "1"}))
    await controlled.client.patch(
        core_v1.Pod, "a", {"spec": {"activeDeadlineSeconds": 100}}, "default", media=MERGE
    )
    await controlled.eventually(lambda: counted(controlled, {"pods": "0"}))


def for_class(name: str) -> dict[str, Any]:
    wanted = {"scopeName": "VolumeAttributesClass", "operator": "In", "values": [name]}
    return {"scopeSelector": {"matchExpressions": [wanted]}}


async def test_a_claim_counts_for_each_class_of_its_attributes(controlled: LocalCluster) -> None:
    await quota(controlled, {"persistentvolumeclaims": "1"}, **for_class("gold"))
    claims = "/api/v1/namespaces/default/persistentvolumeclaims"
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "",
        "volumeAttributesClassName": "silver",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    await call(controlled, "POST", claims, {"metadata": {"name": "a"}, "spec": spec})
    assert await counted(controlled, {"persistentvolumeclaims": "0"})
    has = {"status": {"currentVolumeAttributesClassName": "gold"}}
    await call(controlled, "PATCH", f"{claims}/a/status", has, MERGE)
    await controlled.eventually(lambda: counted(controlled, {"persistentvolumeclaims": "1"}))
    golden = {"metadata": {"name": "b"}, "spec": spec | {"volumeAttributesClassName": "gold"}}
    assert "exceeded quota: q" in str(await refused(call(controlled, "POST", claims, golden)))


def test_a_claim_counts_for_the_devices_that_it_may_be_given() -> None:
    asked = [
        {
            "name": "a",
            "exactly": {"deviceClassName": "gold", "allocationMode": "ExactCount", "count": 2},
        },
        {"name": "b", "exactly": {"deviceClassName": "gold", "allocationMode": "All"}},
        {
            "name": "c",
            "firstAvailable": [
                {
                    "name": "x",
                    "deviceClassName": "gold",
                    "allocationMode": "ExactCount",
                    "count": 3,
                },
                {
                    "name": "y",
                    "deviceClassName": "gold",
                    "allocationMode": "ExactCount",
                    "count": 1,
                },
                {"name": "z", "deviceClassName": "tin", "allocationMode": "ExactCount", "count": 8},
            ],
        },
    ]
    claim = from_builtins({"spec": {"devices": {"requests": asked}}}, resource_v1.ResourceClaim)
    used = usage_of("resourceclaims.resource.k8s.io", claim)
    by_class = {name: shown(amount) for name, amount in used.items()}
    assert by_class == {
        "count/resourceclaims.resource.k8s.io": "1",
        "gold.deviceclass.resource.k8s.io/devices": "37",  # 2 + 32, the most of one claim, + 3
        "tin.deviceclass.resource.k8s.io/devices": "8",
        "requests.deviceclass.resource.kubernetes.io/gold": "37",
        "requests.deviceclass.resource.kubernetes.io/tin": "8",
    }


async def test_a_quota_of_devices_refuses_claims(controlled: LocalCluster) -> None:
    await quota(controlled, {"gold.deviceclass.resource.k8s.io/devices": "1"})
    claims = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims"
    spec = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gold"}}]}}
    await call(controlled, "POST", claims, {"metadata": {"name": "a"}, "spec": spec})
    assert await counted(controlled, {"gold.deviceclass.resource.k8s.io/devices": "1"})
    second = call(controlled, "POST", claims, {"metadata": {"name": "b"}, "spec": spec})
    assert "exceeded quota: q" in str(await refused(second))
    await call(controlled, "DELETE", f"{claims}/a")
    await controlled.eventually(
        lambda: counted(controlled, {"gold.deviceclass.resource.k8s.io/devices": "0"})
    )


@pytest.mark.parametrize(
    "operator, values, classes",
    [
        ("In", ["high"], {"high"}),
        ("NotIn", ["high"], {"", "low"}),
        ("Exists", [], {"high", "low"}),
        ("DoesNotExist", [], {""}),
    ],
)
def test_a_scope_selects_classes_as_labels_are_selected(
    operator: str, values: list[str], classes: set[str]
) -> None:
    wanted = core_v1.ScopedResourceSelectorRequirement("PriorityClass", operator, values)
    found = core_v1.ResourceQuota()
    found.spec.scope_selector = core_v1.ScopeSelector([wanted])
    pods = {name: pod("a", priorityClassName=name) for name in ("", "high", "low")}
    assert {name for name, a in pods.items() if in_scope(found, "pods", a)} == classes


async def test_extended_resources_count_for_pods_and_claims_once(controlled: LocalCluster) -> None:
    implicit = "requests.deviceclass.resource.kubernetes.io/gpu"
    explicit = "requests.example.com/gpu"
    await controlled.client.create(class_of("gpu", extendedResourceName="example.com/gpu"))
    await quota(controlled, {implicit: "3", explicit: "3"})
    limits = {"limits": {"example.com/gpu": "2"}}
    user = await controlled.client.create(
        pod("user", containers=[{"name": "c", "image": "i", "resources": limits}])
    )
    assert await counted(controlled, {implicit: "0", explicit: "2"})
    classes = ExtendedClaims()
    classes.classes.put(class_of("gpu", extendedResourceName="example.com/gpu"))
    special = classes.claim_for(user, ["example.com/gpu"]).claim
    special.metadata.uid = ""
    await controlled.client.create(special)
    assert await counted(controlled, {implicit: "2", explicit: "2"}), "the pod counts already"
    greedy = claim("greedy", ask(deviceClassName="gpu", count=2))
    greedy.metadata.uid = ""
    error = await refused(controlled.client.create(greedy))
    assert error.code == 403 and f"requested: {implicit}=2,{explicit}=2" in str(error)
    own = claim("own", ask(deviceClassName="gpu"))
    own.metadata.uid = ""
    await controlled.client.create(own)
    assert await counted(controlled, {implicit: "3", explicit: "3"})
    await controlled.client.delete(resource_v1.ResourceClaim, "own", "default")
    await controlled.eventually(lambda: counted(controlled, {implicit: "2", explicit: "2"}))
