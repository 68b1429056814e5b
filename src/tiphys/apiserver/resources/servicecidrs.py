"""Service CIDRs: ranges that the addresses of services are taken from."""

from __future__ import annotations

from tiphys.api.base import to_builtins
from tiphys.api.networking_v1 import ServiceCIDR
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

_ONE_EACH = (
    "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
)


class ServiceCIDRStrategy(Strategy[ServiceCIDR]):
    columns = (NAME, Column("CIDRs", lambda o: ",".join(o.spec.cidrs)), AGE)

    def validate(self, obj: ServiceCIDR) -> list[FieldError]:
        ranges = obj.spec.cidrs
        if not ranges:
            return [errors.required("spec.cidrs", "at least one CIDR required")]
        if len(ranges) > 2:
            detail = "may only hold up to 2 values"
            return [errors.invalid_value("spec", to_builtins(obj.spec), detail)]
        violations = []
        for index, text in enumerate(ranges):
            violations += checks.network(text, f"spec.cidrs[{index}]")
        families = {":" in text for text in ranges}
        if not violations and len(families) < len(ranges):
            violations.append(errors.invalid_value("spec.cidrs", ranges, _ONE_EACH))
        return violations

    def validate_update(self, new: ServiceCIDR, old: ServiceCIDR) -> list[FieldError]:
        """A second family may be added."""
        ranges = new.spec.cidrs
        before = old.spec.cidrs
        if ranges[: len(before)] == before:
            return []
        return immutable("spec.cidrs[0]", ranges, before)
