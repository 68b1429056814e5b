"""Ranges of service addresses."""

from __future__ import annotations

import ipaddress

import pytest

from tests.e2e.clusters import gone
from tiphys.api import core_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.api.networking_v1 import IPAddress, ServiceCIDR
from tiphys.apiserver.resources.services.ranges import candidates
from tiphys.controllers import servicecidrs
from tiphys.testing import LocalCluster


def service(name: str) -> core_v1.Service:
    made = core_v1.Service(metadata=ObjectMeta(name=name, namespace="default"))
    made.spec.ports = [core_v1.ServicePort(port=80)]
    return made


def cidr(name: str, *ranges: str) -> ServiceCIDR:
    made = ServiceCIDR(metadata=ObjectMeta(name=name))
    made.spec.cidrs = list(ranges)
    return made


@pytest.mark.parametrize(
    ("others", "addresses", "free"),
    [
        (["10.0.0.0/8"], ["10.1.0.5"], True),
        (["10.1.0.0/28"], ["10.1.0.5"], True),
        (["10.1.0.0/28"], ["10.1.0.200"], False),
        ([], ["10.2.0.5"], True),
        ([], ["10.1.0.5"], False),
    ],
)
def test_a_range_goes_when_others_hold_its_addresses(
    others: list[str], addresses: list[str], free: bool
) -> None:
    held = [cidr("other", one) for one in others]
    assert servicecidrs.is_free(cidr("a", "10.1.0.0/24"), held, addresses) is free


def test_addresses_come_from_the_upper_band_first() -> None:
    tried = [ipaddress.ip_address(text) for text in candidates(ipaddress.ip_network("10.1.0.0/24"))]
    lower = [ipaddress.ip_address(f"10.1.0.{number}") for number in range(1, 17)]
    assert len(set(tried)) == 254 and sorted(tried[-16:]) == lower
    assert sorted(candidates(ipaddress.IPv4Network("10.1.0.0/30"))) == ["10.1.0.1", "10.1.0.2"]


async def test_a_new_range_is_used_and_stays_while_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servicecidrs, "_GRACE", 0.0)
    async with LocalCluster(controllers=True, service_cidr="10.96.0.0/28") as cluster:
        await cluster.client.create(cidr("more", "10.97.0.0/24"))

        async def ready(state: str = "True") -> bool:
            found = await cluster.client.get(ServiceCIDR, "more")
            return [c.status for c in found.status.conditions] == [state]

        await cluster.eventually(ready)
        wish = service("web")
        wish.spec.cluster_ip = "10.97.0.7"
        await cluster.client.create(wish)
        assert (await cluster.client.get(IPAddress, "10.97.0.7")).spec.parent_ref.name == "web"  # type: ignore[union-attr]
        await cluster.client.delete(ServiceCIDR, "more")
        await cluster.eventually(lambda: ready("False"))
        await cluster.client.delete(core_v1.Service, "web", "default")
        await gone(cluster, ServiceCIDR, "more", "")


async def test_a_full_range_is_followed_by_the_next() -> None:
    async with LocalCluster(service_cidr="10.98.0.0/28") as server:
        await server.client.create(cidr("more", "10.99.0.0/24"))
        made = [await server.client.create(service(f"s{number}")) for number in range(14)]
    taken = [one.spec.cluster_ip.rpartition(".")[0] for one in made]
    assert (
        taken[:12] == ["10.98.0"] * 12 and taken[12:] == ["10.99.0"] * 2
    )  # two were taken from the start
