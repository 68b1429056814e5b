"""Which device class stands for which extended resource."""

from __future__ import annotations

import pytest

from tests.builders import pod
from tests.scheduler.device_builders import class_of
from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.machinery.extendedresources import (
    ExtendedResources,
    is_extended,
    is_special,
    request_names,
    requested_by,
)

GPU = "example.com/gpu"


def made(name: str, when: str, resource: str = GPU) -> v1.DeviceClass:
    device_class = class_of(name, extendedResourceName=resource)
    device_class.metadata.creation_timestamp = f"2026-01-01T00:00:{when}Z"
    return device_class


@pytest.mark.parametrize(
    ("name", "extended"),
    [
        (GPU, True),
        ("gpu", False),
        ("kubernetes.io/gpu", False),
        ("requests.example.com/gpu", False),
        (f"{'a' * 250}.com/gpu", False),
    ],
)
def test_extended_resources_are_of_a_domain_of_their_own(name: str, extended: bool) -> None:
    assert is_extended(name) is extended


def test_the_newest_class_stands_for_a_resource() -> None:
    classes = ExtendedResources([made("b", "02"), made("a", "01"), made("c", "02")])
    found = classes.class_of(GPU)
    assert found is not None and found.metadata.name == "b", "the first name of one second"
    classes.remove("b")
    classes.put(made("c", "02", "example.com/other"))
    found = classes.class_of(GPU)
    assert found is not None and found.metadata.name == "a", "it stands for it again"
    assert classes.resource_of("c") == "example.com/other"
    implicit = classes.class_of("deviceclass.resource.kubernetes.io/c")
    assert implicit is not None and implicit.metadata.name == "c"
    assert classes.resource_of("b") == ""


def test_what_a_pod_requests_of_such_resources() -> None:
    def asking(**requests: str) -> dict[str, object]:
        return {"name": "c", "image": "i", "resources": {"requests": requests}}

    implicit = "deviceclass.resource.kubernetes.io/c"
    user = pod(
        initContainers=[asking(**{implicit: "1", "hugepages-2Mi": "2Mi"})],
        containers=[
            asking(cpu="1", **{GPU: "2", "example.com/none": "0", "x.kubernetes.io/y": "1"})
        ],
    )
    assert requested_by(user) == (implicit, GPU)


def test_what_a_container_has_through_classes_is_in_the_pods_status() -> None:
    user = pod()
    container = user.spec.containers[0]
    assert list(request_names(user, container)) == []
    user.status.extended_resource_claim_status = core_v1.PodExtendedResourceClaimStatus(
        resource_claim_name="c",
        request_mappings=[
            core_v1.ContainerExtendedResourceRequest(
                container_name=name, resource_name=GPU, request_name=request
            )
            for name, request in (("c", "r0"), ("other", "r1"), ("c", "r2"))
        ],
    )
    assert list(request_names(user, container)) == [(GPU, "r0"), (GPU, "r2")]


@pytest.mark.parametrize(("value", "special"), [("true", True), ("false", False), (None, False)])
def test_a_claim_says_that_it_was_made_for_extended_resources(
    value: str | None, special: bool
) -> None:
    claim = v1.ResourceClaim()
    if value is not None:
        claim.metadata.annotations = {"resource.kubernetes.io/extended-resource-claim": value}
    assert is_special(claim) is special
