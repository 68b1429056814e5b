"""ResourceClaimStatus: who may write which part of the status of a claim for devices, beyond who
may write any of it (upstream's gate DRAResourceClaimGranularStatusAuthorization, in its storage).

Allocation and consumers are the scheduler's: they need the right to
``resourceclaims/binding``. The status of a device needs the right to ``resourceclaims/driver``
of the driver's name, with a verb of its own for an account whose pod runs on the claim's node.
"""

from __future__ import annotations

from collections.abc import Callable

from tiphys.api import resource_v1 as v1
from tiphys.apiserver.access.asked import Asked, refusal
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.admission import Attributes, Base
from tiphys.apiserver.http.request import User
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

_GROUP = "resource.k8s.io"
_NODE_OF_ACCOUNT = "authentication.kubernetes.io/node-name"
_ACCOUNT = "system:serviceaccount:"


class ResourceClaimStatus(Base):
    resources = frozenset((f"resourceclaims.{_GROUP}",))

    def __init__(self, authorizer: Callable[[], Authorizer]) -> None:
        self._authorizer = authorizer

    async def validate(self, a: Attributes) -> None:
        if a.operation != "UPDATE" or a.subresource != "status":
            return
        new: v1.ResourceClaimStatus = a.obj.status
        old: v1.ResourceClaimStatus = a.old.status
        violations = []
        if new.allocation != old.allocation or new.reserved_for != old.reserved_for:
            violations += self._binding_errors(a)
        if new.allocation is not None:  # without one all device statuses go
            violations += [
                error
                for driver in sorted(_changed_drivers(new, old))
                for error in self._driver_errors(a, driver)
            ]
        if violations:
            raise errors.invalid("ResourceClaim", _GROUP, a.name, violations)

    def _binding_errors(self, a: Attributes) -> list[FieldError]:
        asked = Asked(a.verb, _GROUP, "resourceclaims", "binding")
        reason = self._refusal(a.user, asked)
        if not reason:
            return []
        detail = (
            "changing status.allocation or status.reservedFor requires "
            f'resource="resourceclaims/binding", verb="{a.verb}" permission: {reason}'
        )
        return [errors.forbidden_field("status.allocation", detail)]

    def _driver_errors(self, a: Attributes, driver: str) -> list[FieldError]:
        verbs = [f"arbitrary-node:{a.verb}"]
        node = _node_of(a.obj.status.allocation)
        if node and _runs_on(a.user, node):
            verbs.insert(0, f"associated-node:{a.verb}")
        reasons = []
        for verb in verbs:
            asked = Asked(verb, _GROUP, "resourceclaims", "driver", a.namespace, driver)
            reason = self._refusal(a.user, asked)
            if not reason:
                return []
            reasons.append(reason)
        detail = (
            'changing status.devices requires resource="resourceclaims/driver", '
            f'verb="[{" ".join(verbs)}]" permission: {reasons[0]}'
        )
        return [errors.forbidden_field("status.devices", detail)]

    def _refusal(self, user: User, asked: Asked) -> str:
        is_allowed, reason = self._authorizer().authorize(user, asked)
        return "" if is_allowed else str(refusal(user, asked, reason))


def _changed_drivers(new: v1.ResourceClaimStatus, old: v1.ResourceClaimStatus) -> set[str]:
    """The devices whose status has changed."""
    before = {_key(device): device for device in old.devices}
    after = {_key(device): device for device in new.devices}
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    return {driver for driver, *_ in changed}


def _key(device: v1.AllocatedDeviceStatus) -> tuple[str, str, str, str]:
    return device.driver, device.pool, device.device, device.share_id or ""


def _node_of(allocation: v1.AllocationResult) -> str:
    """The only node from which the devices can be used; empty: there are others."""
    terms = allocation.node_selector.node_selector_terms if allocation.node_selector else []
    if len(terms) != 1 or terms[0].match_expressions or len(terms[0].match_fields) != 1:
        return ""
    [field] = terms[0].match_fields
    is_name = (field.key, field.operator) == ("metadata.name", "In") and len(field.values) == 1
    return field.values[0] if is_name else ""


def _runs_on(user: User, node: str) -> bool:
    return user.name.startswith(_ACCOUNT) and user.extra.get(_NODE_OF_ACCOUNT) == [node]
