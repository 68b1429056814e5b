"""Which claims for devices a pod has, who uses a claim, and which devices an expression chooses.
Shared by the scheduler, the controllers and the nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.machinery.cel import CelError, compile_expression
from tiphys.machinery.cel.values import QuantityValue, Semver, parse_semver

FINALIZER = "resource.kubernetes.io/delete-protection"  # on a claim that has devices
# on a claim that was made for a pod: which of the pod's it is
POD_CLAIM = "resource.kubernetes.io/pod-claim-name"
MOST_USERS = 256  # pods that may use a claim at a time


class NotMade(Exception):
    """A claim that is to be made from a template has not been made yet."""


def claims_of(pod: core_v1.Pod) -> Iterator[tuple[str, str]]:
    """(name in the pod, name of the ResourceClaim) of each. Raises NotMade."""
    claim_names = {
        status.name: status.resource_claim_name for status in pod.status.resource_claim_statuses
    }
    for entry in pod.spec.resource_claims:
        if entry.resource_claim_name:
            yield entry.name, entry.resource_claim_name
        elif entry.name not in claim_names:
            raise NotMade(entry.name)
        elif name := claim_names[entry.name]:  # else the pod turned out to need none
            yield entry.name, name


def tolerations_of(
    taint: v1.DeviceTaint, tolerations: Iterable[v1.DeviceToleration]
) -> Iterator[v1.DeviceToleration]:
    """Those that put up with a taint of a device."""
    for toleration in tolerations:
        if toleration.effect in ("", taint.effect) and toleration.key in ("", taint.key):
            if toleration.operator == "Exists" or toleration.value == taint.value:
                yield toleration


def special_claim_of(pod: core_v1.Pod) -> str:
    """The name of the claim that the scheduler made for the pod's extended resources; empty:
    none."""
    status = pod.status.extended_resource_claim_status
    return status.resource_claim_name if status is not None else ""


def belongs_to(claim: v1.ResourceClaim, pod: core_v1.Pod) -> bool:
    """Whether a claim was made for a pod."""
    return any(
        owner.controller and owner.uid == pod.metadata.uid
        for owner in claim.metadata.owner_references
    )


def is_reserved_for(claim: v1.ResourceClaim, pod: core_v1.Pod) -> bool:
    return any(reference.uid == pod.metadata.uid for reference in claim.status.reserved_for)


def consumer(pod: core_v1.Pod) -> v1.ResourceClaimConsumerReference:
    """How a claim names a pod that uses it."""
    return v1.ResourceClaimConsumerReference(
        resource="pods", name=pod.metadata.name, uid=pod.metadata.uid
    )


def qualified(name: str, driver: str) -> str:
    """An attribute's or capacity's name with its domain, which is the driver's where none is
    given."""
    return name if "/" in name else f"{driver}/{name}"


class _Domains(dict[str, dict[str, Any]]):
    """Names by domain; an unused domain is empty, not an error."""

    def __missing__(self, key: str) -> dict[str, Any]:
        return {}


def _by_domain(values: dict[str, Any], driver: str) -> _Domains:
    by_domain = _Domains()
    for name, value in values.items():
        domain, _, short = qualified(name, driver).partition("/")
        by_domain.setdefault(domain, {})[short] = value
    return by_domain


def values_of(attribute: v1.DeviceAttribute) -> tuple[str, list[Any]]:
    """(type of an attribute, its values: one unless it is a list)."""
    for kind in ("int", "bool", "string", "version"):
        single = getattr(attribute, f"{kind}_" if kind in ("int", "bool") else kind)
        if single is not None:
            return kind, [single]
        if many := getattr(attribute, f"{kind}s"):
            return kind, list(many)
    return "", []


def _shown(attribute: v1.DeviceAttribute) -> Any:
    kind, values = values_of(attribute)
    shown: list[int | bool | str | Semver] = (
        [parse_semver(v) for v in values] if kind == "version" else values
    )
    listed = attribute.ints or attribute.bools or attribute.strings or attribute.versions
    if listed:
        return shown
    return shown[0] if shown else None


def variables(device: v1.Device, driver: str) -> dict[str, Any]:
    """What a selector sees of a device."""
    return {
        "device": {
            "driver": driver,
            "attributes": _by_domain(
                {name: _shown(a) for name, a in device.attributes.items()}, driver
            ),
            "capacity": _by_domain(
                {name: QuantityValue.parse(str(c.value)) for name, c in device.capacity.items()},
                driver,
            ),
            "allowMultipleAllocations": bool(device.allow_multiple_allocations),
        }
    }


def chooses(expression: str, seen: dict[str, Any]) -> bool:
    """Whether a selector chooses the device whose `variables` are `seen`. Raises CelError."""
    chosen = compile_expression(expression, frozenset(("device",))).run(seen)
    if chosen is not True and chosen is not False:
        raise CelError("result must be a bool")
    return bool(chosen)
