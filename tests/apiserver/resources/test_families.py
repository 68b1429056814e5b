"""Which families of addresses a service has, and how they may change."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api.core_v1 import ServiceSpec
from tiphys.apiserver.resources.services.changes import align_addresses, change_errors
from tiphys.apiserver.resources.services.families import initialize

BOTH = ["IPv4", "IPv6"]
V4 = "10.96.0.9"
V6 = "fd96::9"


def spec(**fields: Any) -> ServiceSpec:
    built = ServiceSpec(type="ClusterIP", selector={"a": "b"})
    for name, value in fields.items():
        setattr(built, name, value)
    built.cluster_ip = built.cluster_ip or next(iter(built.cluster_ips), "")
    return built


def headless(**fields: Any) -> ServiceSpec:
    return spec(cluster_ips=["None"], **fields)


NEW = [
    # what is asked for, the cluster's families, (policy, families)
    ({}, ["IPv4"], ("SingleStack", ["IPv4"])),
    ({}, ["IPv6"], ("SingleStack", ["IPv6"])),
    ({}, BOTH, ("SingleStack", ["IPv4"])),
    ({"ip_families": ["IPv6"]}, BOTH, ("SingleStack", ["IPv6"])),
    ({"cluster_ips": [V6]}, BOTH, ("SingleStack", ["IPv6"])),
    ({"ip_family_policy": "PreferDualStack"}, ["IPv4"], ("PreferDualStack", ["IPv4"])),
    ({"ip_family_policy": "PreferDualStack"}, BOTH, ("PreferDualStack", BOTH)),
    (
        {"ip_family_policy": "RequireDualStack", "ip_families": ["IPv6"]},
        BOTH,
        ("RequireDualStack", ["IPv6", "IPv4"]),
    ),
    ({"type": "ExternalName"}, BOTH, (None, [])),
]


@pytest.mark.parametrize(("asked", "configured", "expected"), NEW)
def test_a_new_service_has(
    asked: dict[str, Any], configured: list[str], expected: tuple[str | None, list[str]]
) -> None:
    one = spec(**asked)
    assert initialize(one, None, configured) == []
    assert (one.ip_family_policy, one.ip_families) == expected


def test_a_headless_service_without_a_selector_has_both_on_any_cluster() -> None:
    one = headless(selector={})
    assert initialize(one, None, ["IPv4"]) == []
    assert (one.ip_family_policy, one.ip_families) == ("RequireDualStack", BOTH)


REFUSED = [
    (
        {"ip_family_policy": "RequireDualStack"},
        "spec.ipFamilyPolicy",
        "this cluster is not configured for dual-stack services",
    ),
    ({"ip_families": ["IPv6"]}, "spec.ipFamilies[0]", "not configured on this cluster"),
    ({"cluster_ips": [V6]}, "spec.clusterIPs[0]", "IPv6 is not configured on this cluster"),
    (
        {"ip_families": BOTH},
        "spec.ipFamilyPolicy",
        "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified",
    ),
    (
        {"cluster_ips": [V4, V6]},
        "spec.ipFamilyPolicy",
        "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified",
    ),
    (
        {"cluster_ips": [V4, "10.96.0.8"]},
        "spec.clusterIPs",
        "may specify no more than one IP for each IP family",
    ),
    (
        {"cluster_ips": [V4], "ip_families": ["IPv6"]},
        "spec.clusterIPs[0]",
        "expected an IPv6 value as indicated by `ipFamilies[0]`",
    ),
]


@pytest.mark.parametrize(("asked", "path", "detail"), REFUSED)
def test_what_a_cluster_of_one_family_refuses(
    asked: dict[str, Any], path: str, detail: str
) -> None:
    violations = initialize(spec(**asked), None, ["IPv4"])
    assert any(one.field == path and detail in str(one) for one in violations), violations


# --- changes ---

SINGLE = {"ip_family_policy": "SingleStack", "ip_families": ["IPv4"], "cluster_ips": [V4]}
DUAL = {"ip_family_policy": "RequireDualStack", "ip_families": BOTH, "cluster_ips": [V4, V6]}


def changed(old: dict[str, Any], **change: Any) -> tuple[ServiceSpec, ServiceSpec]:
    return spec(**{**old, **change}), spec(**old)


def test_a_service_gets_its_second_family_when_its_policy_says_so() -> None:
    new, old = changed(SINGLE, ip_family_policy="PreferDualStack")
    assert initialize(new, old, BOTH) == [] and change_errors(new, old) == []
    assert new.ip_families == BOTH


def test_and_loses_it_with_its_address() -> None:
    new, old = changed(DUAL, ip_family_policy="SingleStack")
    assert initialize(new, old, BOTH) == [] and change_errors(new, old) == []
    assert (new.ip_families, new.cluster_ips) == (["IPv4"], [V4])


def test_a_service_that_prefers_both_keeps_what_it_has_whatever_the_cluster_becomes() -> None:
    prefers = {**SINGLE, "ip_family_policy": "PreferDualStack"}
    new, old = changed(prefers, session_affinity="ClientIP")
    assert initialize(new, old, BOTH) == [] and new.ip_families == ["IPv4"]


def test_the_second_family_is_not_left_out_without_the_policy() -> None:
    new, old = changed(DUAL, ip_families=["IPv4"], cluster_ips=[V4])
    details = [str(one) for one in initialize(new, old, BOTH)]
    assert any("to release the secondary IP family" in detail for detail in details)
    assert any("to release the secondary cluster IP" in detail for detail in details)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"ip_families": ["IPv6", "IPv4"]}, "spec.ipFamilies[0]"),
        ({"cluster_ip": "10.96.0.8", "cluster_ips": ["10.96.0.8", V6]}, "spec.clusterIPs[0]"),
        ({"cluster_ips": [V4, "fd96::8"]}, "spec.clusterIPs[1]"),
    ],
)
def test_addresses_and_the_first_family_stay(change: dict[str, Any], path: str) -> None:
    assert next(iter(change_errors(*changed(DUAL, **change)))).field == path


def test_a_client_that_knows_one_address_only_changes_both_fields() -> None:
    new, old = changed(SINGLE)
    new.cluster_ip = "None"
    align_addresses(new, old)
    assert new.cluster_ips == ["None"]


def test_two_addresses_of_two_families_are_what_both_policies_want() -> None:
    for policy in ("PreferDualStack", "RequireDualStack"):
        one = spec(ip_family_policy=policy, ip_families=BOTH, cluster_ips=[V4, V6])
        assert initialize(one, None, BOTH) == [] and one.cluster_ips == [V4, V6]
