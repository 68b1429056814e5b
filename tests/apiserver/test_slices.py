"""What the slices of resources declare, held against the catalogue; and that they belong to a
server."""

from __future__ import annotations

import ipaddress

import pytest

from tests.builders import service
from tiphys.api.catalog import RESOURCES, Resource, storage_of
from tiphys.api.core_v1 import Service
from tiphys.apiserver.resources import SLICES, Strategies, facts_of, selectable_fields
from tiphys.apiserver.resources.base import Settings, Strategy
from tiphys.machinery.errors import StatusError
from tiphys.testing import LocalCluster

NO_RESOURCES = {"scales.autoscaling"}  # paths below others that have a table of their own
BY_NAME = {resource.group_resource: resource for resource in RESOURCES}
STORED = [resource for resource in RESOURCES if resource.stored]


def names(resources: list[Resource]) -> list[str]:
    return [f"{resource.api_version}/{resource.plural}" for resource in resources]


def test_every_slice_is_of_a_resource_that_is_served() -> None:
    assert set(SLICES) - set(BY_NAME) == NO_RESOURCES


@pytest.mark.parametrize("resource", RESOURCES, ids=names(list(RESOURCES)))
def test_paths_below_an_object_are_declared_where_the_catalogue_has_them(
    resource: Resource,
) -> None:
    served = {sub.name for sub in resource.subresources} - {"status", "scale"}
    if resource.group != "metrics.k8s.io":
        assert set(facts_of(resource).subresources) == served


@pytest.mark.parametrize("resource", STORED, ids=names(STORED))
def test_what_has_a_scale_path_says_what_it_shows(resource: Resource) -> None:
    has_path = any(sub.name == "scale" for sub in resource.subresources)
    assert has_path == (facts_of(resource).scale is not None)


def test_what_is_only_asked_has_an_action() -> None:
    asked = {r.group_resource for r in RESOURCES if r.verbs == ("create",)}
    assert {name for name, kind in SLICES.items() if kind.action is not None} == asked


def test_upstreams_eleven_resources_answer_a_deletion_with_the_object() -> None:
    assert {name for name, kind in SLICES.items() if kind.returns_deleted} == {
        "persistentvolumeclaims",
        "persistentvolumes",
        "pods",
        "podtemplates",
        "resourcequotas",
        "serviceaccounts",
        "services",
        "csidrivers.storage.k8s.io",
        "csinodes.storage.k8s.io",
        "storageclasses.storage.k8s.io",
        "volumeattachments.storage.k8s.io",
    }


def test_a_resource_without_a_slice_has_what_every_resource_has() -> None:
    unnamed = [r for r in STORED if storage_of(r).group_resource not in SLICES]
    assert {facts_of(resource) for resource in unnamed} <= {Strategy}


def test_fields_that_selectors_may_name_follow_the_slice() -> None:
    fields = {field.name for field in selectable_fields("/core/pods/")}
    assert {"metadata.name", "spec.nodeName", "status.phase"} <= fields
    assert {f.name for f in selectable_fields("/apps/deployments/")} == {
        "metadata.name",
        "metadata.namespace",
    }


def test_strategies_belong_to_a_server() -> None:
    ranges = [ipaddress.IPv4Network(text) for text in ("10.70.0.0/16", "10.80.0.0/16")]
    servers = [Strategies(Settings((service_range,))) for service_range in ranges]
    seen = [server.of(BY_NAME["services"]).settings.service_cidrs for server in servers]
    assert seen == [(service_range,) for service_range in ranges]


async def test_two_servers_in_one_process_give_addresses_of_their_own_ranges() -> None:
    async with (
        LocalCluster(service_cidr="10.70.0.0/16") as one,
        LocalCluster(service_cidr="10.80.0.0/16") as other,
    ):
        for server, service_range in ((one, "10.70.0.0/16"), (other, "10.80.0.0/16")):
            created = await server.client.create(service("web"))
            address = ipaddress.ip_address(created.spec.cluster_ip)
            assert address in ipaddress.ip_network(service_range)


async def test_an_address_of_another_servers_range_is_refused() -> None:
    async with LocalCluster(service_cidr="10.70.0.0/16") as server:
        foreign: Service = service("web", cluster_ip="10.96.0.20")
        with pytest.raises(StatusError, match="does not match the current range"):
            await server.client.create(foreign)
