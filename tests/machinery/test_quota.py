"""What objects count for a quota, and which quotas are about them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tiphys.api import core_v1, resource_v1
from tiphys.api.base import from_builtins
from tiphys.machinery.extendedresources import CLAIM_ANNOTATION
from tiphys.machinery.quantity import NANO
from tiphys.machinery.quota import (
    DeviceFacts,
    added,
    attributes_of,
    in_scope,
    is_best_effort,
    is_claim_of,
    listed,
    missing_amounts,
    pod_amounts,
    shown,
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


# --- claims for devices ---


def exactly(name: str, count: int = 1, mode: str = "ExactCount") -> dict[str, Any]:
    return {"deviceClassName": name, "count": count, "allocationMode": mode}


def device_claim(*requests: Any, name: str = "c", **metadata: Any) -> resource_v1.ResourceClaim:
    """A claim with requests: each is one for exactly that, or a list of alternatives."""
    rows = [
        {"name": f"r{number}", "firstAvailable": one}
        if isinstance(one, list)
        else {"name": f"r{number}", "exactly": one}
        for number, one in enumerate(requests)
    ]
    body = {"metadata": {"name": name, **metadata}, "spec": {"devices": {"requests": rows}}}
    return from_builtins(body, resource_v1.ResourceClaim)


def devices(used: dict[str, int]) -> dict[str, int]:
    """Counts by class, of a usage."""
    end = ".deviceclass.resource.k8s.io/devices"
    return {name.removesuffix(end): n // NANO for name, n in used.items() if name.endswith(end)}


RESOURCE = "resourceclaims.resource.k8s.io"


@pytest.mark.parametrize(
    ("requests", "counts"),
    [
        ([], {}),
        ([exactly("gpu")], {"gpu": 1}),
        ([exactly("gpu", 3), exactly("gpu", 2), exactly("nic")], {"gpu": 5, "nic": 1}),
        ([exactly("gpu", mode="All")], {"gpu": 32}),
        ([[exactly("gpu", 3), exactly("gpu", 2), exactly("nic", 4)]], {"gpu": 3, "nic": 4}),
        ([[exactly("gpu", 2)], [exactly("gpu", 3)]], {"gpu": 5}),
    ],
)
def test_a_claim_counts_its_devices_by_class(requests: list[Any], counts: dict[str, int]) -> None:
    used = usage_of(RESOURCE, device_claim(*requests))
    assert devices(used) == counts and used[f"count/{RESOURCE}"] == NANO


def test_a_claim_counts_for_the_extended_resources_that_its_classes_stand_for() -> None:
    facts = DeviceFacts(lambda name: "x.com/gpu" if name in ("gpu", "big") else "")
    used = usage_of(
        RESOURCE, device_claim(exactly("gpu", 2), exactly("big"), exactly("nic")), facts
    )
    extended = {name: n // NANO for name, n in used.items() if name.startswith("requests.")}
    assert extended == {
        "requests.deviceclass.resource.kubernetes.io/gpu": 2,
        "requests.deviceclass.resource.kubernetes.io/big": 1,
        "requests.deviceclass.resource.kubernetes.io/nic": 1,
        "requests.x.com/gpu": 3,
    }


def owned(name: str, created: str = "", uid: str = "u", **owner: Any) -> resource_v1.ResourceClaim:
    """A claim that was made for the extended resources of a pod."""
    reference = {"kind": "Pod", "name": "p", "uid": uid, "controller": True, **owner}
    times = {"creationTimestamp": created} if created else {}
    return device_claim(
        exactly("gpu", 3),
        name=name,
        annotations={CLAIM_ANNOTATION: "true"},
        ownerReferences=[reference],
        **times,
    )


def test_what_a_pod_counts_for_its_claim_does_not() -> None:
    requests = {"requests": {"x.com/gpu": "2"}}
    made = pod(containers=[{"name": "c", "image": "i", "resources": requests}])
    facts = DeviceFacts(lambda name: "x.com/gpu", lambda claim: made)
    assert usage_of(RESOURCE, owned("c"), facts)["requests.x.com/gpu"] == NANO
    ordinary = device_claim(exactly("gpu", 3))
    assert usage_of(RESOURCE, ordinary, facts)["requests.x.com/gpu"] == 3 * NANO
    requests["requests"]["x.com/gpu"] = "3"
    made = pod(containers=[{"name": "c", "image": "i", "resources": requests}])
    facts = DeviceFacts(lambda name: "x.com/gpu", lambda claim: made)
    assert "requests.x.com/gpu" not in usage_of(RESOURCE, owned("c"), facts)


FIRST, SECOND = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"


@pytest.mark.parametrize(
    ("claim", "others", "is_its"),
    [
        (owned("b", SECOND), [], True),
        (owned("b", SECOND), [owned("a", FIRST)], False),
        (owned("b", FIRST), [owned("a", SECOND)], True),
        (owned("b", FIRST), [owned("a", FIRST)], False),  # of one second: by name
        (owned("a", FIRST), [owned("b", FIRST), owned("a", FIRST)], True),
        (owned("b", SECOND), [owned("a", FIRST, uid="other")], True),
        (owned("b", SECOND), [device_claim(name="a")], True),
        (owned("b", SECOND, uid="other"), [], False),
        (owned("b", SECOND, controller=False), [], False),
        (owned("b", SECOND, kind="Job"), [], False),
    ],
)
def test_the_first_claim_that_was_made_for_a_pod_is_its(
    claim: resource_v1.ResourceClaim, others: list[resource_v1.ResourceClaim], is_its: bool
) -> None:
    made = pod()
    made.metadata.uid = "u"
    assert is_claim_of(made, claim, others) is is_its


def test_the_claim_that_a_pods_status_names_is_its() -> None:
    made = pod()
    made.metadata.uid = "u"
    made.status.extended_resource_claim_status = core_v1.PodExtendedResourceClaimStatus(
        resource_claim_name="b"
    )
    assert is_claim_of(made, owned("b", SECOND), [owned("a", FIRST)])
    assert not is_claim_of(made, owned("a", FIRST), [])


# --- claims for volumes ---


def test_a_claim_counts_as_much_as_it_was_given_while_that_is_more() -> None:
    claim = core_v1.PersistentVolumeClaim()
    claim.spec.resources.requests = {"storage": "2"}  # type: ignore[dict-item]
    claim.status.allocated_resources = {"storage": "3"}  # type: ignore[dict-item]
    assert usage_of("persistentvolumeclaims", claim)["requests.storage"] == 3 * NANO
    claim.spec.resources.requests = {"storage": "4"}  # type: ignore[dict-item]
    assert usage_of("persistentvolumeclaims", claim)["requests.storage"] == 4 * NANO


def volume_claim(wanted: str = "", current: str = "", target: str = "") -> Any:
    body: dict[str, Any] = {"spec": {}, "status": {}}
    if wanted:
        body["spec"]["volumeAttributesClassName"] = wanted
    if current:
        body["status"]["currentVolumeAttributesClassName"] = current
    if target:
        modify = {"targetVolumeAttributesClassName": target, "status": "Pending"}
        body["status"]["modifyVolumeStatus"] = modify
    return from_builtins(body, core_v1.PersistentVolumeClaim)


@pytest.mark.parametrize(
    ("claim", "operator", "values", "is_in"),
    [
        (("gold", "", ""), "In", ["gold"], True),
        (("", "gold", ""), "In", ["gold"], True),
        (("", "", "gold"), "In", ["gold", "x"], True),
        (("silver", "", ""), "In", ["gold"], False),
        (("", "", ""), "In", ["gold"], False),
        (("", "", ""), "NotIn", ["gold"], True),
        (("gold", "", ""), "NotIn", ["gold"], False),
        (("gold", "silver", ""), "NotIn", ["gold"], True),
        (("gold", "", ""), "Exists", [], True),
        (("", "", ""), "Exists", [], False),
        (("gold", "", ""), "DoesNotExist", [], False),
        (("", "", ""), "DoesNotExist", [], True),
        (("gold", "", ""), "Near", ["gold"], False),
    ],
)
def test_a_quota_may_be_about_claims_by_the_class_of_their_attributes(
    claim: tuple[str, str, str], operator: str, values: list[str], is_in: bool
) -> None:
    of = quota(scopeName="VolumeAttributesClass", operator=operator, values=values)
    made = volume_claim(*claim)
    assert attributes_of(made) == {name for name in claim if name}
    assert in_scope(of, "persistentvolumeclaims", made) is is_in


def test_a_scope_of_pods_is_about_no_claim() -> None:
    assert not in_scope(of_class("Exists"), "persistentvolumeclaims", volume_claim("gold"))


# --- pods ---


def resources(**amounts: dict[str, str]) -> core_v1.Pod:
    return pod(containers=[{"name": "c", "image": "i", "resources": amounts}])


def test_what_of_a_pods_resources_counts() -> None:
    amounts = {"cpu": "1", "ephemeral-storage": "2", "hugepages-2Mi": "3", "x.com/y": "4"}
    used = usage_of("pods", resources(requests=amounts, limits=amounts))
    assert {name: n // NANO for name, n in used.items()} == {
        "count/pods": 1, "pods": 1,
        "cpu": 1, "requests.cpu": 1, "limits.cpu": 1,
        "ephemeral-storage": 2, "requests.ephemeral-storage": 2, "limits.ephemeral-storage": 2,
        "hugepages-2Mi": 3, "requests.hugepages-2Mi": 3,
        "requests.x.com/y": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("affinity", "crosses"),
    [
        ({}, False),
        ({"podAffinity": {}}, False),
        ({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [TERM]}}, True),
        (
            {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 1, "podAffinityTerm": {"topologyKey": "k", "namespaceSelector": {}}}]}},
            True,
        ),
        (
            {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "k"}]}},
            False,
        ),
    ],
)  # fmt: skip
def test_affinity_to_pods_of_other_namespaces_crosses(
    affinity: dict[str, Any], crosses: bool
) -> None:
    assert in_scope(quota("CrossNamespacePodAffinity"), "pods", pod(affinity=affinity)) is crosses


def test_containers_may_leave_open_what_the_pod_says_itself() -> None:
    limited = core_v1.ResourceQuota()
    limited.status.hard = {"cpu": "1", "limits.memory": "1"}  # type: ignore[dict-item]
    made = pod(
        containers=[container("b"), container("a")],
        initContainers=[container("i")],
        resources={"requests": {"cpu": "1"}},
    )
    assert missing_amounts(limited, made) == {"limits.memory": ["a", "b", "i"]}


def test_amounts_are_shown_in_the_format_of_others() -> None:
    assert shown(2 * NANO) == "2" and shown(2048 * NANO, "1Ki") == "2Ki"
    assert shown(2048 * NANO, "1k") == "2048"
    assert listed({"pods": 2, "cpu": "1"}) == "cpu=1,pods=2"


@pytest.mark.parametrize(
    ("resource", "names"),
    [
        ("configmaps", {"count/configmaps", "configmaps"}),
        ("deployments.apps", {"count/deployments.apps"}),
        ("secrets", {"count/secrets", "secrets"}),
    ],
)
def test_objects_count_by_their_name_and_some_by_one_of_their_own(
    resource: str, names: set[str]
) -> None:
    assert set(usage_of(resource, core_v1.ConfigMap())) == names
