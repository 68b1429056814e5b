"""Which families of addresses a service has. They are worked out before it is validated, for they
depend on what the cluster has: see upstream's `initIPFamilyFields`.
"""

from __future__ import annotations

from tiphys.api.core_v1 import ServiceSpec
from tiphys.apiserver.resources.services.rules import address_errors
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

SINGLE = "SingleStack"
PREFER = "PreferDualStack"
REQUIRE = "RequireDualStack"
_POLICY = "spec.ipFamilyPolicy"
_OTHER = {"IPv4": "IPv6", "IPv6": "IPv4"}


def family_of(address: str) -> str:
    return "IPv6" if ":" in address else "IPv4"


def initialize(
    new: ServiceSpec, old: ServiceSpec | None, configured: list[str]
) -> list[FieldError]:
    """Defaults the policy and families of `new`. `configured` are the cluster's
    families, its first one first. Returns why it cannot be."""
    if new.type == "ExternalName" or (old is not None and _prefers_what_it_has(new, old)):
        return []
    if new.ip_family_policy is None:
        new.ip_family_policy = _policy(new, old)
    violations = address_errors(new)
    if violations:
        return violations
    if old is not None:
        violations += _released(new, old)
    violations += _too_many(new)
    violations += _infer(new, configured)
    if violations:
        return violations
    if _is_headless_without_selector(new):
        # Its endpoints are kept by hand: it may have families that the cluster has not.
        new.ip_families = new.ip_families or configured[:1]
        if len(new.ip_families) == 1 and new.ip_family_policy != SINGLE:
            new.ip_families = [*new.ip_families, _OTHER[new.ip_families[0]]]
        return []
    return _complete(new, configured)


def _prefers_what_it_has(new: ServiceSpec, old: ServiceSpec) -> bool:
    """A service that prefers two families and is changed elsewhere keeps what it has, whatever the
    cluster has become."""
    return (
        new.type == old.type
        and new.ip_family_policy == PREFER
        and old.ip_family_policy in (None, PREFER)
        and (new.cluster_ip, new.cluster_ips) == (old.cluster_ip, old.cluster_ips)
        and new.ip_families == old.ip_families
    )


def _is_headless_without_selector(spec: ServiceSpec) -> bool:
    """A headless service without a selector."""
    return spec.cluster_ip == "None" and not spec.selector


def _policy(new: ServiceSpec, old: ServiceSpec | None) -> str:
    if old is not None and old.ip_family_policy is not None:
        return old.ip_family_policy
    return REQUIRE if _is_headless_without_selector(new) else SINGLE


def _released(new: ServiceSpec, old: ServiceSpec) -> list[FieldError]:
    """The second family is removed when the policy demands it, and only then."""
    if new.ip_family_policy == SINGLE:
        if new.cluster_ips == old.cluster_ips:
            new.cluster_ips = new.cluster_ips[:1]
        if new.ip_families == old.ip_families:
            new.ip_families = new.ip_families[:1]
        return []
    violations = []
    if len(old.cluster_ips) == 2 and old.cluster_ips[:1] == new.cluster_ips:
        detail = "must be 'SingleStack' to release the secondary cluster IP"
        violations.append(errors.invalid_value(_POLICY, new.ip_family_policy, detail))
    if len(old.ip_families) == 2 and old.ip_families[:1] == new.ip_families:
        detail = "must be 'SingleStack' to release the secondary IP family"
        violations.append(errors.invalid_value(_POLICY, new.ip_family_policy, detail))
    return violations


def _too_many(spec: ServiceSpec) -> list[FieldError]:
    if spec.ip_family_policy != SINGLE:
        return []
    wanted = "must be 'RequireDualStack' or 'PreferDualStack' when multiple"
    violations = []
    if len(spec.cluster_ips) == 2:
        detail = f"{wanted} cluster IPs are specified"
        violations.append(errors.invalid_value(_POLICY, SINGLE, detail))
    if len(spec.ip_families) == 2:
        detail = f"{wanted} IP families are specified"
        violations.append(errors.invalid_value(_POLICY, SINGLE, detail))
    return violations


def _infer(spec: ServiceSpec, configured: list[str]) -> list[FieldError]:
    """The families of the addresses that are asked for."""
    violations = []
    inferred = list(spec.ip_families)
    for index, address in enumerate(spec.cluster_ips):
        if address == "None":
            break
        if index < len(inferred):
            continue
        family = family_of(address)
        if family in configured:
            inferred.append(family)
        else:
            detail = f"{family} is not configured on this cluster"
            path = f"spec.clusterIPs[{index}]"
            violations.append(errors.invalid_value(path, spec.cluster_ips, detail))
    spec.ip_families = inferred
    return violations


def _complete(spec: ServiceSpec, configured: list[str]) -> list[FieldError]:
    violations = []
    policy = spec.ip_family_policy
    if policy == REQUIRE and len(configured) < 2:
        detail = "this cluster is not configured for dual-stack services"
        violations.append(errors.invalid_value(_POLICY, policy, detail))
    for index, family in enumerate(spec.ip_families):
        if family not in configured:
            path = f"spec.ipFamilies[{index}]"
            detail = "not configured on this cluster"
            violations.append(errors.invalid_value(path, family, detail))
    if violations:
        return violations
    spec.ip_families = spec.ip_families or configured[:1]
    if policy != SINGLE and len(spec.ip_families) == 1 and len(configured) == 2:
        spec.ip_families = [*spec.ip_families, _OTHER[spec.ip_families[0]]]
    return []
