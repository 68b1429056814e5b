"""Which claims a pod can use, and what is reserved for them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import node
from tests.scheduler.builders import info
from tests.scheduler.device_builders import ask, claim, class_of, device, slice_of
from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.api.meta_v1 import OwnerReference
from tiphys.machinery.devices import MOST_USERS, consumer
from tiphys.scheduler.devices.requests import Unallocatable
from tiphys.scheduler.devices.tracker import CANNOT_ALLOCATE, DeviceTracker


class Cluster:
    """Nodes `a` and `b`, of which `a` has one device, and a class `gpu`."""

    def __init__(self) -> None:
        self.claims: dict[str, v1.ResourceClaim] = {}
        self.classes = {"gpu": class_of()}
        self.tracker = DeviceTracker(self.claims.get, self.classes.get)
        self.tracker.inventory.put(slice_of("a", device("d0")))

    def put(self, name: str, *requests: dict[str, Any]) -> v1.ResourceClaim:
        made = claim(name, *(requests or (ask(),)))
        self.claims[f"default/{name}"] = made
        self.tracker.put_claim(made)
        return made


def using(*names: str, pod: str = "p") -> core_v1.Pod:
    entries = [{"name": name, "resourceClaimName": name} for name in names]
    return info(pod, resourceClaims=entries).pod


def from_template(claim_name: str | None) -> core_v1.Pod:
    made = info(resourceClaims=[{"name": "gpu", "resourceClaimTemplateName": "t"}]).pod
    if claim_name is not None:
        status = core_v1.PodResourceClaimStatus(name="gpu", resource_claim_name=claim_name)
        made.status.resource_claim_statuses = [status]
    return made


def test_what_is_reserved_is_taken_until_it_is_unreserved() -> None:
    cluster = Cluster()
    first, second = cluster.put("first"), cluster.put("second")
    assert cluster.tracker.reserve(using("first"), node("a"))
    assert cluster.tracker.allocation_of(first) is not None
    assert not cluster.tracker.reserve(using("second", pod="q"), node("a"))
    cluster.tracker.unreserve(using("second", pod="q"))
    assert cluster.tracker.allocation_of(first) is not None
    cluster.tracker.unreserve(using("first"))
    assert cluster.tracker.allocation_of(first) is None
    assert cluster.tracker.reserve(using("second", pod="q"), node("a"))
    assert cluster.tracker.allocation_of(second) is not None


def test_nodes_are_asked_again_when_the_use_of_devices_changes() -> None:
    cluster = Cluster()
    wanted = cluster.put("wanted")
    other = cluster.put("other")
    nodes = [(0, node("a")), (1, node("b"))]
    assert cluster.tracker.rejections([wanted], nodes) == {CANNOT_ALLOCATE: [1]}
    assert cluster.tracker.reserve(using("other"), nodes[0][1])
    assert cluster.tracker.rejections([wanted], nodes) == {CANNOT_ALLOCATE: [0, 1]}
    cluster.tracker.remove_claim(other)
    assert cluster.tracker.rejections([wanted], nodes) == {CANNOT_ALLOCATE: [1]}


def test_a_status_takes_the_place_of_the_reservation() -> None:
    cluster = Cluster()
    made = cluster.put("c")
    cluster.tracker.reserve(using("c"), node("a"))
    made.status.allocation = cluster.tracker.allocation_of(made)
    cluster.tracker.put_claim(made)
    made.status.allocation = None
    cluster.tracker.put_claim(made)
    assert cluster.tracker.reserve(using("c"), node("a")), "it was counted once"


@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_claim_that_is_being_deleted_is_not_used(is_deleted: bool) -> None:
    cluster = Cluster()
    cluster.put("c").metadata.deletion_timestamp = "2026-01-01T00:00:00Z" if is_deleted else None
    expected = 'resourceclaim "c" is being deleted' if is_deleted else ""
    assert cluster.tracker.pre_filter(using("c")) == expected


def test_a_claim_from_a_template_belongs_to_the_pod() -> None:
    cluster = Cluster()
    made = cluster.put("p-gpu")
    not_owner = "ResourceClaim p-gpu was not created for pod p (pod is not owner)"
    assert cluster.tracker.pre_filter(from_template("p-gpu")) == not_owner
    owner = OwnerReference(api_version="v1", kind="Pod", name="p", uid="p", controller=True)
    made.metadata.owner_references = [owner]
    assert cluster.tracker.pre_filter(from_template("p-gpu")) == ""


def test_a_pod_waits_for_its_claims() -> None:
    cluster = Cluster()
    assert not cluster.tracker.claims_exist(using("c"))
    assert not cluster.tracker.claims_exist(from_template(None))
    with pytest.raises(Unallocatable, match=r'pod "default/p": ResourceClaim not created yet'):
        cluster.tracker.claims_of(from_template(None))
    missing = 'resourceclaim.resource.k8s.io "c" not found'
    assert cluster.tracker.pre_filter(using("c")) == missing
    cluster.put("c")
    assert cluster.tracker.claims_exist(using("c"))


def test_a_claim_has_so_many_users() -> None:
    cluster = Cluster()
    made = cluster.put("c")
    cluster.tracker.reserve(using("c"), node("a"))
    made.status.allocation = cluster.tracker.allocation_of(made)
    users = [consumer(info(f"user-{number}").pod) for number in range(MOST_USERS)]
    made.status.reserved_for = users[:-1]
    assert cluster.tracker.pre_filter(using("c")) == ""
    made.status.reserved_for = users
    assert cluster.tracker.pre_filter(using("c")) == "resourceclaim in use"
    made.status.reserved_for = [*users[1:], consumer(using("c"))]
    assert cluster.tracker.pre_filter(using("c")) == "", "it is one of them"


def test_a_missing_class_is_named_with_its_request() -> None:
    cluster = Cluster()
    cluster.put("c", ask("r", deviceClassName="none"))
    expected = "request r: device class none does not exist"
    assert cluster.tracker.pre_filter(using("c")) == expected
