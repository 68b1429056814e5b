"""What quotas count, and what frees something."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import config_map, pod
from tests.controllers.builders import ended, running
from tiphys.api import core_v1
from tiphys.controllers.quota import counted_by, has_shrunk, is_freed, new_status, resources_named


@pytest.mark.parametrize(
    ("key", "resource"),
    [
        ("cpu", "pods"),
        ("requests.cpu", "pods"),
        ("limits.memory", "pods"),
        ("pods", "pods"),
        ("configmaps", "configmaps"),
        ("count/deployments.apps", "deployments.apps"),
        ("services.loadbalancers", "services"),
        ("requests.storage", "persistentvolumeclaims"),
        ("gold.storageclass.storage.k8s.io/requests.storage", "persistentvolumeclaims"),
        ("gold.storageclass.storage.k8s.io/persistentvolumeclaims", "persistentvolumeclaims"),
        ("requests.example.com/gpu", "pods"),
    ],
)
def test_a_key_counts_objects_of_one_resource(key: str, resource: str) -> None:
    assert counted_by(key) == resource
    limits = core_v1.ResourceQuota()
    limits.spec.hard = {key: "1", "secrets": "1"}  # type: ignore[dict-item]
    claims = {"resourceclaims.resource.k8s.io"} if "/gpu" in key else set()
    assert resources_named(limits) == {resource, "secrets"} | claims


def sized(cpu: str) -> core_v1.Pod:
    resources = {"requests": {"cpu": cpu}}
    return pod(containers=[{"name": "c", "image": "i", "resources": resources}])


@pytest.mark.parametrize(
    ("name", "old", "new", "freed"),
    [
        ("pods", sized("1"), sized("1"), False),
        ("pods", sized("1"), sized("2"), True),
        ("pods", running("p"), ended("p"), True),
        ("pods", ended("p"), ended("p"), False),
        ("configmaps", config_map(a="b"), config_map(), False),
    ],
)
def test_a_change_frees_when_it_uses_something_else(
    name: str, old: Any, new: Any, freed: bool
) -> None:
    assert is_freed(name, old, new) is freed


def test_what_is_used_is_said_of_all_that_is_limited() -> None:
    limits = core_v1.ResourceQuota()
    limits.spec.hard = {"pods": "4", "secrets": "2"}  # type: ignore[dict-item]
    status = new_status(limits, [{"pods": 10**9, "cpu": 5}, {"pods": 10**9}])
    assert status.hard == limits.spec.hard and status.used == {"pods": "2", "secrets": "0"}


@pytest.mark.parametrize(
    ("before", "after", "shrunk"),
    [
        ({"pods": "3"}, {"pods": "2"}, True),
        ({"pods": "2"}, {"pods": "3"}, False),
        ({"pods": "2"}, {"pods": "2"}, False),
        ({"pods": "2"}, {}, True),
    ],
)
def test_less_than_before_is_looked_at_again(
    before: dict[str, Any], after: dict[str, Any], shrunk: bool
) -> None:
    statuses = [core_v1.ResourceQuotaStatus(used=used) for used in (before, after)]
    assert has_shrunk(*statuses) is shrunk
