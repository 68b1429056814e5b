"""IP addresses: each one that a service has."""

from __future__ import annotations

from tiphys.api.networking_v1 import IPAddress
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import is_ip, path_segment_errors


def _parent(address: IPAddress) -> str:
    parent = address.spec.parent_ref
    if parent is None:
        return ""
    parts = (parent.group, parent.resource, parent.namespace, parent.name)
    return "/".join(part for part in parts if part)


def _name_errors(name: str) -> list[str]:
    return [] if is_ip(name) else ["must be a valid IP address"]


class IPAddressStrategy(Strategy[IPAddress]):
    columns = (NAME, Column("ParentRef", _parent), AGE)
    name_errors = staticmethod(_name_errors)

    def validate(self, obj: IPAddress) -> list[FieldError]:
        parent = obj.spec.parent_ref
        path = "spec.parentRef"
        if parent is None:
            return [errors.required(path)]
        violations = checks.subdomain(parent.group, f"{path}.group")
        violations += checks.segment(parent.resource, f"{path}.resource")
        violations += checks.segment(parent.name, f"{path}.name")
        return violations + checks.named(parent.namespace, path_segment_errors, f"{path}.namespace")

    def validate_update(self, new: IPAddress, old: IPAddress) -> list[FieldError]:
        return immutable("spec.parentRef", new.spec.parent_ref, old.spec.parent_ref)
