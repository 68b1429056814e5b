"""What objects count for a quota, and which quotas are about them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.machinery.quantity import NANO
from tiphys.machinery.quota import (
    added,
    in_scope,
    is_best_effort,
    missing_amounts,
    pod_amounts,
    usage_of,
)


def container(name: str = "c", cpu: str = "", restart: str = "", limit: str = "") -> dict[str, Any]:
    resources: dict[str, Any] = {}
    if cpu:
        resources["requests"] = {"cpu": cpu}
    if limit:
        resources["limits"] = {"cpu": limit}
    row: dict[str, Any] = {"name": name, "image": "i", "resources": resources}
    return row | ({"restartPolicy": restart} if restart else {})


@pytest.mark.parametrize(
    ("spec", "cpu"),
    [
        ({"containers": [container(cpu="1"), container(cpu="2")]}, "3"),
        ({"initContainers": [container(cpu="5")], "containers": [container(cpu="1")]}, "5"),
        ({"initContainers": [container(cpu="1")], "containers": [container(cpu="2")]}, "2"),
        # A sidecar runs beside the containers, and beside the init containers after it.
        (
            {
                "initContainers": [container(cpu="1", restart="Always"), container(cpu="4")],
                "containers": [container(cpu="2")],
            },
            "5",
        ),
        (
            {
                "initContainers": [container(cpu="4"), container(cpu="1", restart="Always")],
                "containers": [container(cpu="2")],
            },
            "4",
        ),
        ({"containers": [container(cpu="1")], "overhead": {"cpu": "250m"}}, "1250m"),
        ({"containers": [container()], "overhead": {"cpu": "250m"}}, "250m"),
        ({"containers": [container(cpu="1")], "resources": {"requests": {"cpu": "7"}}}, "7"),
    ],
)
def test_a_pod_counts_as_it_is_at_its_neediest_moment(spec: dict[str, Any], cpu: str) -> None:
    assert pod_amounts(pod(**spec).spec, "requests") == {"cpu": cpu}


def test_overhead_is_no_limit_by_itself() -> None:
    spec = pod(containers=[container()], overhead={"cpu": "1"}).spec
    assert pod_amounts(spec, "limits") == {}


def service(kind: str, **spec: Any) -> core_v1.Service:
    ports = [{"port": 1}, {"port": 2}]
    return from_builtins({"spec": {"type": kind, "ports": ports, **spec}}, core_v1.Service)


@pytest.mark.parametrize(
    ("made", "node_ports", "balancers"),
    [
        (service("ClusterIP"), 0, 0),
        (service("NodePort"), 2, 0),
        (service("LoadBalancer"), 2, 1),
        (service("LoadBalancer", allocateLoadBalancerNodePorts=False), 0, 1),
    ],
)
def test_a_service_counts_its_node_ports(
    made: core_v1.Service, node_ports: int, balancers: int
) -> None:
    used = usage_of("services", made)
    assert used["services.nodeports"] == node_ports * NANO
    assert used["services.loadbalancers"] == balancers * NANO
    assert used["count/services"] == used["services"] == NANO


def test_a_pod_that_has_ended_counts_as_an_object_alone() -> None:
    made = pod(containers=[container(cpu="1")])
    assert usage_of("pods", made)["requests.cpu"] == usage_of("pods", made)["cpu"] == NANO
    made.status.phase = "Succeeded"
    assert usage_of("pods", made) == {"count/pods": NANO}


def test_a_claim_counts_for_its_class_too() -> None:
    claim = core_v1.PersistentVolumeClaim()
    claim.spec.resources.requests = {"storage": "2"}  # type: ignore[dict-item]
    assert usage_of("persistentvolumeclaims", claim)["requests.storage"] == 2 * NANO
    claim.spec.storage_class_name = "fast"
    used = usage_of("persistentvolumeclaims", claim)
    assert used["fast.storageclass.storage.k8s.io/requests.storage"] == 2 * NANO
    assert used["fast.storageclass.storage.k8s.io/persistentvolumeclaims"] == NANO


def quota(*scopes: str, **selector: Any) -> core_v1.ResourceQuota:
    spec: dict[str, Any] = {"scopes": list(scopes)}
    if selector:
        spec["scopeSelector"] = {"matchExpressions": [selector]}
    return from_builtins({"spec": spec}, core_v1.ResourceQuota)


def of_class(operator: str, *values: str) -> core_v1.ResourceQuota:
    return quota(scopeName="PriorityClass", operator=operator, values=list(values))


PLAIN = pod()
CLASSED = pod(priorityClassName="high")
ENDING = pod(activeDeadlineSeconds=0)
NEEDY = pod(containers=[container(cpu="1")])
TERM = {"topologyKey": "k", "namespaces": ["other"]}
CROSSING = pod(affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [TERM]}})


@pytest.mark.parametrize(
    ("of", "pods"),
    [
        (quota(), [PLAIN, CLASSED, ENDING, NEEDY, CROSSING]),
        (quota("Terminating"), [ENDING]),
        (quota("NotTerminating"), [PLAIN, CLASSED, NEEDY, CROSSING]),
        (quota("BestEffort"), [PLAIN, CLASSED, ENDING, CROSSING]),
        (quota("NotBestEffort"), [NEEDY]),
        (quota("BestEffort", "NotTerminating"), [PLAIN, CLASSED, CROSSING]),
        (quota("CrossNamespacePodAffinity"), [CROSSING]),
        (quota("Unheard"), []),
        (of_class("In", "high"), [CLASSED]),
        (of_class("NotIn", "low"), [PLAIN, CLASSED, ENDING, NEEDY, CROSSING]),
        (of_class("NotIn", "high"), [PLAIN, ENDING, NEEDY, CROSSING]),
        (of_class("Exists"), [CLASSED]),
        (of_class("DoesNotExist"), [PLAIN, ENDING, NEEDY, CROSSING]),
    ],
)
def test_which_pods_a_quota_is_about(of: core_v1.ResourceQuota, pods: list[core_v1.Pod]) -> None:
    all_pods = [PLAIN, CLASSED, ENDING, NEEDY, CROSSING]
    assert [made for made in all_pods if in_scope(of, "pods", made)] == pods


def test_a_quota_with_a_scope_is_about_pods_alone() -> None:
    assert in_scope(quota(), "services", core_v1.Service())
    assert not in_scope(quota("NotTerminating"), "services", core_v1.Service())


def test_a_limit_of_nothing_is_best_effort() -> None:
    assert is_best_effort(pod(containers=[container(cpu="0")]).spec)
    assert not is_best_effort(pod(initContainers=[container(limit="1")]).spec)


def test_containers_that_leave_open_what_a_quota_limits() -> None:
    limited = core_v1.ResourceQuota()
    limited.status.hard = {"requests.cpu": "1", "limits.cpu": "1", "memory": "1", "pods": "1"}  # type: ignore[dict-item]
    made = pod(containers=[container("a", cpu="1"), container("b", limit="1")])
    assert missing_amounts(limited, made) == {
        "requests.cpu": ["b"],
        "limits.cpu": ["a"],
        "memory": ["a", "b"],
    }


def test_usages_add_up_by_name() -> None:
    assert added([{"a": 1, "b": 2}, {"b": 3}]) == {"a": 1, "b": 5}
