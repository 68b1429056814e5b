"""Rules that stand by themselves, as rows."""

from __future__ import annotations

import ipaddress

import pytest

from tests.apiserver.access.builders import stored
from tests.apiserver.admission.builders import registry_of
from tiphys.api.batch_v1 import CronJob
from tiphys.api.core_v1 import (
    ClientIPConfig,
    PersistentVolumeClaim,
    Service,
    ServicePort,
    ServiceSpec,
    SessionAffinityConfig,
)
from tiphys.api.meta_v1 import Condition, ObjectMeta
from tiphys.api.networking_v1 import ServiceCIDR
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Settings, immutable
from tiphys.apiserver.resources.columns import shortened
from tiphys.apiserver.resources.cronjobs import CronJobStrategy
from tiphys.apiserver.resources.jobspec import parse_indexes
from tiphys.apiserver.resources.persistentvolumeclaims import PersistentVolumeClaimStrategy
from tiphys.apiserver.resources.services.ranges import candidates, service_ranges
from tiphys.apiserver.resources.services.strategy import ServiceStrategy
from tiphys.apiserver.resources.workloads import count_or_percent, is_zero


@pytest.mark.parametrize(
    ("text", "completions", "result"),
    [
        ("", 5, 0),
        ("0", 5, 1),
        ("1,3-4", 5, 3),
        ("4", 5, 1),
        ("5", 5, 'too large index: "5"'),
        ("3-5", 5, 'too large index: "5"'),
        ("3-3", 5, "non-increasing order, previous: 3, current: 3"),
        ("2,2", 5, "non-increasing order, previous: 2, current: 2"),
        ("3,1", 5, "non-increasing order, previous: 3, current: 1"),
        ("a", 5, 'cannot convert string to integer for index: "a"'),
    ],
)
def test_indexes_are_counted(text: str, completions: int, result: int | str) -> None:
    assert parse_indexes(text, completions) == result


@pytest.mark.parametrize(
    ("value", "right"),
    [(0, True), (3, True), (-1, False), ("25%", True), ("100%", True), ("25", False), (None, True)],
)
def test_counts_and_percentages(value: int | str | None, right: bool) -> None:
    assert (count_or_percent(value, "p") == []) == right


def test_zero_is_zero_in_both_spellings() -> None:
    assert is_zero(0) and is_zero("0%") and not is_zero(1) and not is_zero("10%")


@pytest.mark.parametrize(
    ("value", "right"),
    [("10.0.0.0/8", True), ("fd00::/64", True), ("10.0.0.1", False), ("x/8", False)],
)
def test_networks_have_a_length(value: str, right: bool) -> None:
    assert (checks.network(value, "p") == []) == right


@pytest.mark.parametrize(
    ("value", "right"), [(0, False), (1, True), (65535, True), (65536, False), ("http", True)]
)
def test_ports(value: int | str, right: bool) -> None:
    assert (checks.port(value, "p") == []) == right


@pytest.mark.parametrize(
    ("value", "right"),
    [(None, True), (599, False), (600, True), (1 << 32, True), ((1 << 32) + 1, False)],
)
def test_how_long_a_token_may_last(value: int | None, right: bool) -> None:
    assert (checks.token_seconds(value, "p") == []) == right


@pytest.mark.parametrize(
    ("value", "right"),
    [("a/b", True), ("..a", False), ("../a", False), ("a/../b", False), ("/a", False), ("", False)],
)
def test_paths_of_files_in_volumes(value: str, right: bool) -> None:
    assert (checks.unreserved_path(value, "p") == []) == right


def test_a_long_list_is_shortened() -> None:
    assert shortened([], "none") == "none"
    assert shortened(["a", "b", "c"], "none") == "a,b,c"
    assert shortened(["a", "b", "c", "d", "e"], "none") == "a,b,c + 2 more..."


def test_what_may_not_change() -> None:
    assert immutable("p", 1, 1) == []
    assert [error.field for error in immutable("p", 2, 1)] == ["p"]


def test_addresses_for_who_asks_for_none_come_from_the_upper_band_first() -> None:
    network = ipaddress.IPv4Network("10.0.0.0/24")
    tried = [int(address.split(".")[3]) for address in candidates(network)]
    assert sorted(tried) == list(range(1, 255))
    assert all(number > 16 for number in tried[:238]) and max(tried[238:]) == 16


def spec(kind: str, *ports: ServicePort, address: str = "") -> ServiceSpec:
    return ServiceSpec(type=kind, ports=list(ports), cluster_ip=address)


def updated(new: ServiceSpec, old: ServiceSpec) -> ServiceSpec:
    strategy = ServiceStrategy(Settings())
    service = Service(spec=new)
    strategy.prepare_for_update(service, Service(spec=old))
    return service.spec


def test_a_service_keeps_its_address_and_its_node_ports_by_name() -> None:
    old = spec("NodePort", ServicePort(name="a", port=80, node_port=30001), address="10.96.0.9")
    new = spec("NodePort", ServicePort(name="b", port=81), ServicePort(name="a", port=80))
    kept = updated(new, old)
    assert kept.cluster_ip == "10.96.0.9" and kept.cluster_ips == ["10.96.0.9"]
    assert [port.node_port for port in kept.ports] == [0, 30001]


def test_a_node_port_that_moves_to_another_name_is_not_given_twice() -> None:
    old = spec("NodePort", ServicePort(name="a", port=80, node_port=30001))
    new = spec(
        "NodePort", ServicePort(name="b", port=81, node_port=30001), ServicePort(name="a", port=80)
    )
    assert [port.node_port for port in updated(new, old).ports] == [30001, 0]


def test_a_service_without_node_ports_any_more_drops_those_it_had() -> None:
    old = spec("NodePort", ServicePort(name="a", port=80, node_port=30001))
    assert updated(spec("ClusterIP", *old.ports), old).ports[0].node_port == 0
    assert updated(spec("ExternalName"), old).cluster_ip == ""


def test_a_cron_job_keeps_three_jobs_that_succeeded_and_one_that_failed() -> None:
    job = CronJob()
    CronJobStrategy(Settings()).default(job)
    spec = job.spec
    assert (spec.concurrency_policy, spec.suspend) == ("Allow", False)
    assert (spec.successful_jobs_history_limit, spec.failed_jobs_history_limit) == (3, 1)
    spec.successful_jobs_history_limit = spec.failed_jobs_history_limit = 0
    CronJobStrategy(Settings()).default(job)
    assert (spec.successful_jobs_history_limit, spec.failed_jobs_history_limit) == (0, 0)


@pytest.mark.parametrize(
    ("affinity", "seconds", "kept"),
    [("", None, None), ("None", 5, None), ("ClientIP", None, 10800), ("ClientIP", 5, 5)],
)
def test_how_long_clients_come_back_to_an_endpoint(
    affinity: str, seconds: int | None, kept: int | None
) -> None:
    service = Service(spec=ServiceSpec(session_affinity=affinity))
    if seconds is not None:
        client = ClientIPConfig(timeout_seconds=seconds)
        service.spec.session_affinity_config = SessionAffinityConfig(client_ip=client)
    ServiceStrategy(Settings()).default(service)
    config = service.spec.session_affinity_config
    assert (config.client_ip.timeout_seconds if config and config.client_ip else None) == kept


@pytest.mark.parametrize(
    ("ready", "deleted", "counts"),
    [(None, False, True), ("True", False, True), ("False", False, False), (None, True, False)],
)
async def test_addresses_come_from_ranges_that_are_in_force(
    ready: str | None, deleted: bool, counts: bool
) -> None:
    own: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = [
        ipaddress.IPv4Network("10.96.0.0/16")
    ]
    cidr = ServiceCIDR(metadata=ObjectMeta(name="more"))
    cidr.spec.cidrs = ["10.97.0.0/16", "fd00::/64"]
    if ready is not None:
        cidr.status.conditions = [Condition(type="Ready", status=ready)]
    if deleted:
        cidr.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"
    ranges = {
        family: service_ranges(registry_of(stored(cidr)), own, family)
        for family in ("IPv4", "IPv6")
    }
    more = [ipaddress.ip_network("10.97.0.0/16")] if counts else []
    six = [ipaddress.ip_network("fd00::/64")] if counts else []
    assert ranges == {"IPv4": [*own, *more], "IPv6": six}


@pytest.mark.parametrize(
    ("mode", "right"), [(None, True), (-1, False), (0, True), (0o777, True), (0o1000, False)]
)
def test_the_mode_of_a_file_is_one_of_permissions(mode: int | None, right: bool) -> None:
    assert (checks.file_mode(mode, "p") == []) == right


def claim(storage: str, phase: str = "Bound", volume: str = "v") -> PersistentVolumeClaim:
    made = PersistentVolumeClaim()
    made.spec.resources.requests = {"storage": storage}
    made.spec.volume_name = volume
    made.status.phase = phase
    return made


@pytest.mark.parametrize(
    ("old", "new", "allowed"),
    [
        (claim("1Gi"), claim("1Gi"), True),
        (claim("1Gi"), claim("2Gi"), True),
        (claim("1Gi", "Pending"), claim("2Gi", "Pending"), False),
        (claim("2Gi"), claim("1Gi"), False),
        (claim("1Gi", "Pending", ""), claim("1Gi", "Pending", "v"), True),
        (claim("1Gi"), claim("1Gi", volume="w"), False),
    ],
)
def test_a_bound_claim_may_grow_and_nothing_else_of_it_changes(
    old: PersistentVolumeClaim, new: PersistentVolumeClaim, allowed: bool
) -> None:
    violations = PersistentVolumeClaimStrategy(Settings()).validate_update(new, old)
    assert (violations == []) == allowed
