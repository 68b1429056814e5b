"""Resource claims, and what was allocated to them."""

from __future__ import annotations

import re
from typing import Any

from tiphys.api import resource_v1 as v1
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.checks import driver, one_of, required
from tiphys.apiserver.resources.claimspec import (
    MOST_REQUESTS,
    admin_errors,
    claim_errors,
    default_claim,
    named_requests,
    request_names,
)
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.apiserver.resources.devices import (
    check_items,
    configuration,
    itself,
    label,
    one_term,
    parameter_errors,
    pool_name,
    toleration_errors,
)
from tiphys.apiserver.resources.lookups import Objects
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


def _state(claim: v1.ResourceClaim) -> str:
    if claim.status.reserved_for:
        return "allocated,reserved"
    return "allocated" if claim.status.allocation is not None else "pending"


class ResourceClaimStrategy(Strategy[v1.ResourceClaim]):
    columns = (NAME, Column("State", _state), AGE)

    def default(self, obj: v1.ResourceClaim) -> None:
        default_claim(obj.spec)

    def validate(self, obj: v1.ResourceClaim) -> list[FieldError]:
        return claim_errors(obj.spec, "spec")

    def validate_new(self, obj: v1.ResourceClaim, objects: Objects) -> list[FieldError]:
        return self.validate(obj) + admin_errors(obj.spec, obj.metadata.namespace, objects)

    def validate_update(self, new: v1.ResourceClaim, old: v1.ResourceClaim) -> list[FieldError]:
        return immutable("spec", new.spec, old.spec)

    def validate_status(self, new: v1.ResourceClaim, old: v1.ResourceClaim) -> list[FieldError]:
        status = new.status
        before = old.status
        names = request_names(new.spec)
        violations = check_items(
            status.reserved_for,
            "status.reservedFor",
            _consumer,
            256,
            lambda consumer: consumer.uid,
            "uid",
        )
        violations += check_items(
            status.devices, "status.devices", _device_status, MOST_REQUESTS * 8, _device_key
        )
        if status.allocation is None:
            if status.reserved_for:
                detail = "may not be specified when `allocated` is not set"
                violations.append(errors.forbidden_field("status.reservedFor", detail))
        elif new.metadata.deletion_timestamp is not None:
            if {consumer.uid for consumer in status.reserved_for} - {
                consumer.uid for consumer in before.reserved_for
            }:
                detail = (
                    "new entries may not be added while `deallocationRequested` or"
                    " `deletionTimestamp` are set"
                )
                violations.append(errors.forbidden_field("status.reservedFor", detail))
        if status.allocation is not None and before.allocation is not None:
            violations += immutable("status.allocation", status.allocation, before.allocation)
        elif status.allocation is not None:
            violations += _allocation(status.allocation, "status.allocation", names)
        return violations


def _consumer(consumer: v1.ResourceClaimConsumerReference, path: str) -> list[FieldError]:
    return (
        required(consumer.resource, f"{path}.resource")
        + required(consumer.name, f"{path}.name")
        + required(consumer.uid, f"{path}.uid")
    )


def _device_key(device: Any) -> tuple[str, ...]:
    return device.driver, device.pool, device.device, device.share_id or ""


def _device_reference(device: Any, path: str) -> list[FieldError]:
    violations = (
        driver(device.driver, f"{path}.driver")
        + pool_name(device.pool, f"{path}.pool")
        + label(device.device, f"{path}.device")
    )
    if device.share_id is not None and not _UUID.match(device.share_id):
        detail = "must be a lowercase UUID in 8-4-4-4-12 format"
        violations.append(errors.invalid_value(f"{path}.shareID", device.share_id, detail))
    return violations


def _device_status(device: v1.AllocatedDeviceStatus, path: str) -> list[FieldError]:
    violations = _device_reference(device, path)
    if len(device.conditions) > 8:
        violations.append(errors.too_many(f"{path}.conditions", len(device.conditions), 8))
    if device.data is not None:
        violations += parameter_errors(device.data, f"{path}.data")
    if (network := device.network_data) is not None:
        path = f"{path}.networkData"
        if len(network.interface_name) > 256:
            violations.append(errors.too_long(f"{path}.interfaceName", 256))
        if len(network.hardware_address) > 128:
            violations.append(errors.too_long(f"{path}.hardwareAddress", 128))
        violations += check_items(network.ips, f"{path}.ips", lambda value, field: [], 16, itself)
    return violations


def _allocation(result: v1.AllocationResult, path: str, names: set[str]) -> list[FieldError]:
    detail = (
        "must be the name of a request in the claim or the name of a request and a"
        " subrequest separated by '/'"
    )

    def allocated(result: v1.DeviceRequestAllocationResult, field: str) -> list[FieldError]:
        violations: list[FieldError] = []
        if result.request not in names:
            violations.append(errors.invalid_value(f"{field}.request", result.request, detail))
        violations += _device_reference(result, field)
        violations += check_items(result.tolerations, f"{field}.tolerations", toleration_errors, 16)
        return violations

    def for_requests(config: v1.DeviceAllocationConfiguration, field: str) -> list[FieldError]:
        violations = required(config.source, f"{field}.source") + one_of(
            config.source, ("FromClaim", "FromClass"), f"{field}.source"
        )
        return (
            violations
            + named_requests(config.requests, f"{field}.requests", names)
            + configuration(config, field)
        )

    violations = check_items(
        result.devices.results, f"{path}.devices.results", allocated, MOST_REQUESTS
    )
    violations += check_items(result.devices.config, f"{path}.devices.config", for_requests, 64)
    if result.node_selector is not None:
        violations += one_term(result.node_selector, f"{path}.nodeSelector")
    return violations
