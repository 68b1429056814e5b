"""Who may write which part of the status of a claim for devices."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.apiserver.access.builders import stored
from tests.scheduler.device_builders import DRIVER, ask, claim
from tiphys.api import rbac_v1
from tiphys.api import resource_v1 as v1
from tiphys.api.base import from_builtins
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.admission import Attributes
from tiphys.apiserver.admission.claimstatus import ResourceClaimStatus
from tiphys.apiserver.http.request import User
from tiphys.machinery.errors import StatusError

NAME = "system:serviceaccount:default:driver"
HERE = User(NAME, extra={"authentication.kubernetes.io/node-name": ["a"]})
THERE = User(NAME, extra={"authentication.kubernetes.io/node-name": ["b"]})


def allocated(*devices: str) -> v1.ResourceClaim:
    """A claim that has a device of node a, of which a driver says something."""
    made = claim("c", ask())
    field = {"key": "metadata.name", "operator": "In", "values": ["a"]}
    said = {
        "allocation": {"nodeSelector": {"nodeSelectorTerms": [{"matchFields": [field]}]}},
        "devices": [{"driver": DRIVER, "pool": "a", "device": name} for name in devices],
    }
    made.status = from_builtins(said, v1.ResourceClaimStatus)
    return made


async def refused(
    user: User, verb: str, resource: str, new: v1.ResourceClaim, old: v1.ResourceClaim
) -> list[tuple[str, str]]:
    """(field, message) of what a user who has a right, and no other, is refused."""
    rule: dict[str, Any] = {"verbs": [verb], "resources": [resource]}
    rules = [from_builtins(rule | {"apiGroups": ["resource.k8s.io"]}, rbac_v1.PolicyRule)]
    role = rbac_v1.ClusterRole(metadata=ObjectMeta(name="r"), rules=rules)
    binding = rbac_v1.ClusterRoleBinding(metadata=ObjectMeta(name="b"))
    binding.role_ref = rbac_v1.RoleRef("rbac.authorization.k8s.io", "ClusterRole", "r")
    binding.subjects = [rbac_v1.Subject(kind="ServiceAccount", name="driver", namespace="default")]
    held = stored(role, binding)
    plugin = ResourceClaimStatus(lambda: Authorizer(held))
    row = resource_of(v1.ResourceClaim)
    write = Attributes(row, "UPDATE", "default", "c", new, old, user, subresource="status")
    try:
        await plugin.validate(write)
    except StatusError as error:
        assert error.code == 422 and error.status.details is not None
        return [(cause.field, cause.message) for cause in error.status.details.causes]
    return []


async def test_allocation_takes_the_right_to_bind() -> None:
    plain, given = claim("c", ask()), allocated()
    assert await refused(HERE, "update", "resourceclaims/binding", given, plain) == []
    assert await refused(HERE, "update", "resourceclaims/driver", plain, plain) == []
    [(field, message)] = await refused(HERE, "patch", "resourceclaims/binding", given, plain)
    assert field == "status.allocation"
    assert message == (
        "Forbidden: changing status.allocation or status.reservedFor requires "
        'resource="resourceclaims/binding", verb="update" permission: '
        f'resourceclaims.resource.k8s.io is forbidden: User "{NAME}" cannot update resource '
        '"resourceclaims/binding" in API group "resource.k8s.io" at the cluster scope'
    )


@pytest.mark.parametrize(
    ("user", "verb", "allowed"),
    [
        (HERE, "associated-node:update", True),
        (THERE, "associated-node:update", False),
        (THERE, "arbitrary-node:update", True),
        (HERE, "arbitrary-node:update", True),
        (HERE, "update", False),
    ],
)
async def test_a_driver_speaks_of_its_devices(user: User, verb: str, allowed: bool) -> None:
    for new, old in ((allocated("d0"), allocated()), (allocated(), allocated("d0"))):
        found = await refused(user, verb, "resourceclaims/driver", new, old)
        assert [field for field, _ in found] == ([] if allowed else ["status.devices"])
    same = allocated("d0")
    assert not await refused(user, "get", "pods", copy.deepcopy(same), same)
