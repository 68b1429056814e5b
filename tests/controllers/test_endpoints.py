"""Which pods stand behind a service, and how slices and Endpoints say so."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.controllers.bench import Bench
from tests.controllers.builders import ended, leaving, running
from tiphys.api import core_v1
from tiphys.api.core_v1 import Endpoints
from tiphys.api.discovery_v1 import EndpointSlice
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers import endpoints
from tiphys.controllers.endpoints import EndpointsController, EndpointSliceController


def service(*ports: core_v1.ServicePort, **spec: Any) -> core_v1.Service:
    made = core_v1.Service(metadata=ObjectMeta(name="web", namespace="default"))
    made.spec.ports = list(ports)
    for name, value in spec.items():
        setattr(made.spec, name, value)
    return made


def http(target: int | str = 0, protocol: str = "TCP") -> core_v1.ServicePort:
    return core_v1.ServicePort(name="http", port=80, target_port=target, protocol=protocol)


def member(name: str, *, ip: str = "10.0.0.1", ready: bool = True, **spec: Any) -> core_v1.Pod:
    pod = running(name, ready, **spec)
    pod.status.pod_ip = ip
    return pod


def container(number: int, name: str = "web", protocol: str = "TCP", **more: Any) -> dict[str, Any]:
    port = {"name": name, "containerPort": number, "protocol": protocol}
    return {"name": f"c{number}", "image": "i", "ports": [port], **more}


@pytest.mark.parametrize(
    ("port", "number"),
    [
        (http(8080), 8080),
        (http(0), 80),
        (http("web"), 8000),
        (http("web", "UDP"), None),
        (http("side"), 9000),
        (http("init"), None),
        (http("none"), None),
    ],
)
def test_a_target_port_is_resolved_on_the_pod(port: core_v1.ServicePort, number: int) -> None:
    sidecar = container(9000, "side", restartPolicy="Always")
    pod = member("p", containers=[container(8000)], initContainers=[sidecar, container(1, "init")])
    assert endpoints.target_port(port, pod) == number


def test_pods_that_resolve_ports_otherwise_have_slices_of_their_own() -> None:
    pods = [
        member("a", containers=[container(8080)]),
        member("b", containers=[container(9090)]),
        member("c", containers=[container(1, "other")]),
    ]
    slices = endpoints.desired_slices(service(http("web")), pods, {})
    assert [[port.port for port in wanted.ports] for wanted in slices] == [[8080], [9090]]
    assert [len(wanted.endpoints) for wanted in slices] == [1, 1]


@pytest.mark.parametrize(
    ("pod", "publish", "conditions"),
    [
        (member("p"), False, (True, True, False)),
        (member("p", ready=False), False, (False, False, False)),
        (leaving(member("p")), False, (False, True, True)),
        (member("p", ready=False), True, (True, False, False)),
        (leaving(member("p")), True, (True, True, True)),
    ],
)
def test_an_endpoint_is_ready_while_its_pod_is_and_stays(
    pod: core_v1.Pod, publish: bool, conditions: tuple[bool, bool, bool]
) -> None:
    found = endpoints.endpoint_of(service(publish_not_ready_addresses=publish), pod, {}).conditions
    assert (found.ready, found.serving, found.terminating) == conditions


@pytest.mark.parametrize(
    ("subdomain", "hostname", "known_as"),
    [("web", "h", "h"), ("other", "h", None), ("", "h", None), ("web", "", None)],
)
def test_a_pod_has_its_host_name_in_its_own_service(
    subdomain: str, hostname: str, known_as: str | None
) -> None:
    pod = member("p", subdomain=subdomain, hostname=hostname, nodeName="n")
    found = endpoints.endpoint_of(service(), pod, {"n": "west"})
    assert (found.hostname, found.node_name, found.zone) == (known_as, "n", "west")
    [subset] = endpoints.desired_subsets(service(), [pod])
    assert subset.addresses[0].hostname == (known_as or "")


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_what_has_finished_or_has_no_address_is_no_endpoint(phase: str) -> None:
    finished = ended("a", phase)
    finished.status.pod_ip = "10.0.0.1"
    loopback = member("b", ip="127.0.0.1")
    pods = [finished, loopback, member("c", ip="")]
    assert endpoints.desired_slices(service(), pods, {}) == []
    assert endpoints.desired_subsets(service(), pods) == []


@pytest.mark.parametrize(("count", "sizes"), [(100, [100]), (101, [100, 1]), (250, [100, 100, 50])])
def test_a_slice_has_a_hundred_endpoints_at_the_most(count: int, sizes: list[int]) -> None:
    pods = [member(f"p{number:03}") for number in range(count)]
    slices = endpoints.desired_slices(service(http(8080)), pods, {})
    assert [len(wanted.endpoints) for wanted in slices] == sizes
    names = [e.target_ref.name for wanted in slices for e in wanted.endpoints if e.target_ref]
    assert names == [pod.metadata.name for pod in pods]


def test_a_service_without_ports_has_endpoints_all_the_same() -> None:
    [wanted] = endpoints.desired_slices(service(), [member("p")], {})
    assert wanted.ports == [] and len(wanted.endpoints) == 1
    [subset] = endpoints.desired_subsets(service(), [member("p")])
    assert subset.ports == [] and len(subset.addresses) == 1


def test_endpoints_leave_out_what_terminates_and_set_apart_what_is_not_ready() -> None:
    pods = [
        member("a", ip="10.0.0.3"),
        member("b", ip="10.0.0.2", ready=False),
        leaving(member("c", ip="10.0.0.1")),
    ]
    [subset] = endpoints.desired_subsets(service(http(8080)), pods)
    assert [address.ip for address in subset.addresses] == ["10.0.0.3"]
    assert [address.ip for address in subset.not_ready_addresses] == ["10.0.0.2"]
    published = service(http(8080), publish_not_ready_addresses=True)
    [subset] = endpoints.desired_subsets(published, pods)
    assert [address.ip for address in subset.addresses] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


def test_endpoints_have_a_thousand_addresses_at_the_most() -> None:
    pods = [
        member(f"p{number}", ip=f"10.0.{number // 250}.{number % 250}") for number in range(1001)
    ]
    [subset] = endpoints.desired_subsets(service(http(8080)), pods)
    assert len(subset.addresses) == 1000


@pytest.mark.parametrize(
    ("spec", "selects"),
    [
        ({"selector": {"a": "b"}}, True),
        ({"selector": {}}, False),
        ({"selector": {"a": "b"}, "type": "ExternalName"}, False),
    ],
)
def test_services_without_a_selector_are_left_to_users(spec: dict[str, Any], selects: bool) -> None:
    assert endpoints.selects_pods(service(**spec)) is selects


# --- families and hints ---


def test_each_family_of_a_service_has_the_pods_that_have_an_address_of_it() -> None:
    dual = member("a")
    dual.status.pod_ips = [core_v1.PodIP(ip="10.0.0.1"), core_v1.PodIP(ip="fd00::1")]
    pods = [dual, member("b", ip="10.0.0.2")]
    one = service(http(), ip_families=["IPv6", "IPv4"])
    assert endpoints.families_of(one) == ["IPv6", "IPv4"]
    [of_6] = endpoints.desired_slices(one, pods, {}, "IPv6")
    [of_4] = endpoints.desired_slices(one, pods, {}, "IPv4")
    assert [row.addresses for row in of_6.endpoints] == [["fd00::1"]]
    assert [row.addresses for row in of_4.endpoints] == [["10.0.0.1"], ["10.0.0.2"]]
    [subset] = endpoints.desired_subsets(one, pods)
    assert [address.ip for address in subset.addresses] == ["fd00::1"]


HINTS = [
    (None, True, [], []),
    ("PreferClose", True, ["west"], []),
    ("PreferSameZone", True, ["west"], []),
    ("PreferSameNode", True, ["west"], ["n"]),
    ("PreferSameNode", False, [], []),
]


@pytest.mark.parametrize(("distribution", "ready", "zones", "nodes"), HINTS)
def test_a_ready_endpoint_is_hinted_to_those_near_it_where_the_service_prefers_that(
    distribution: str | None, ready: bool, zones: list[str], nodes: list[str]
) -> None:
    pod = member("p", ready=ready, nodeName="n")
    one = service(traffic_distribution=distribution)
    hints = endpoints.endpoint_of(one, pod, {"n": "west"}).hints
    assert [zone.name for zone in hints.for_zones] == zones if hints else not zones
    assert [node.name for node in hints.for_nodes] == nodes if hints else not nodes


# --- step by step ---

together = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package")
async def slices(bench: Bench) -> EndpointSliceController:
    return bench.start(EndpointSliceController)


@pytest_asyncio.fixture(loop_scope="package")
async def legacy(bench: Bench) -> EndpointsController:
    return bench.start(EndpointsController)


async def web(bench: Bench, **spec: Any) -> core_v1.Service:
    made = service(http(), selector={"app": "web"}, **spec)
    made.metadata.name, made.metadata.labels = "web", {"team": "a"}
    return await bench.add(made)


async def backend(bench: Bench, name: str, ip: str = "10.0.0.1") -> core_v1.Pod:
    made = member(name, ip=ip, containers=[{"name": "c", "image": "i"}])
    made.metadata.labels = {"app": "web"}
    return await bench.add(made)


async def shown(bench: Bench) -> list[list[str]]:
    """The addresses of each slice."""
    return [
        [address for one in each.endpoints for address in one.addresses]
        for each in await bench.all(EndpointSlice)
    ]


@together
async def test_a_service_has_a_slice_that_follows_its_pods(
    bench: Bench, slices: EndpointSliceController
) -> None:
    made = await web(bench)
    await bench.step(slices, "web")
    assert await shown(bench) == [[]], "it has none, which is said"
    [one] = await bench.all(EndpointSlice)
    assert one.metadata.labels == {
        "team": "a",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert one.metadata.owner_references[0].uid == made.metadata.uid
    await backend(bench, "a")
    await bench.step(slices, "web")
    assert await shown(bench) == [["10.0.0.1"]]
    [one] = await bench.all(EndpointSlice)
    await bench.step(slices, "web")
    assert await bench.all(EndpointSlice) == [one], "nothing is written again"
    await bench.change(one, metadata={"labels": {"team": "b"}})
    await bench.step(slices, "web")
    [one] = await bench.all(EndpointSlice)
    assert one.metadata.labels["team"] == "a"
    extra = EndpointSlice(
        address_type="IPv4", metadata=ObjectMeta(name="x", labels=one.metadata.labels)
    )
    await bench.add(extra)
    await bench.step(slices, "web")
    assert len(await shown(bench)) == 1, "the superfluous goes"
    await bench.remove(made)
    await bench.step(slices, "web")
    assert await shown(bench) == []


@together
async def test_a_new_slice_is_not_made_twice_before_it_is_seen(
    bench: Bench, slices: EndpointSliceController
) -> None:
    await web(bench)
    await bench.seen()
    for _ in range(2):
        await slices.reconcile(bench.key("web"))
    assert await shown(bench) == [[]]


@together
async def test_a_headless_service_says_so(
    bench: Bench, slices: EndpointSliceController, legacy: EndpointsController
) -> None:
    await web(bench, cluster_ip="None")
    await bench.step(slices, "web")
    await bench.step(legacy, "web")
    [one] = await bench.all(EndpointSlice)
    both = await bench.get(Endpoints, "web")
    assert both is not None
    assert [each.metadata.labels.get("service.kubernetes.io/headless") for each in (one, both)] == [
        "",
        "",
    ]


@together
async def test_a_family_that_a_service_has_no_more_has_no_slice(
    bench: Bench, slices: EndpointSliceController
) -> None:
    await web(bench)
    await bench.step(slices, "web")
    [one] = await bench.all(EndpointSlice)
    six = EndpointSlice(
        address_type="IPv6", metadata=ObjectMeta(name="six", labels=one.metadata.labels)
    )
    await bench.add(six)
    mine = EndpointSlice(address_type="IPv4", metadata=ObjectMeta(name="mine"))
    mine.metadata.labels = {"kubernetes.io/service-name": "web"}
    await bench.add(mine)
    await bench.step(slices, "web")
    names = {each.metadata.name for each in await bench.all(EndpointSlice)}
    assert names == {one.metadata.name, "mine"}, "somebody else's stays"


@together
async def test_endpoints_follow_the_pods_too(bench: Bench, legacy: EndpointsController) -> None:
    made = await web(bench)
    await backend(bench, "a")
    await bench.step(legacy, "web")
    found = await bench.get(Endpoints, "web")
    assert found is not None and found.subsets[0].addresses[0].ip == "10.0.0.1"
    assert found.metadata.labels == {
        "team": "a",
        "endpoints.kubernetes.io/managed-by": "endpoint-controller",
    }
    await bench.step(legacy, "web")
    assert await bench.get(Endpoints, "web") == found
    await bench.change(found, metadata={"annotations": {"k": "v"}, "labels": {"team": "b"}})
    await bench.step(legacy, "web")
    found = await bench.get(Endpoints, "web")
    assert found is not None and found.metadata.labels["team"] == "a"
    assert found.metadata.annotations["k"] == "v"
    await bench.remove(made)
    await bench.step(legacy, "web")
    assert await bench.get(Endpoints, "web") is None


@together
async def test_what_users_keep_by_hand_is_left_alone(
    bench: Bench, legacy: EndpointsController, slices: EndpointSliceController
) -> None:
    by_hand = service(http())
    by_hand.metadata.name = "web"
    made = await bench.add(by_hand)
    await bench.add(Endpoints(metadata=ObjectMeta(name="web")))
    for controller in (legacy, slices):
        await bench.step(controller, "web")
    assert await shown(bench) == []
    await bench.remove(made)
    await bench.step(legacy, "web")
    assert await bench.get(Endpoints, "web") is not None


@pytest.mark.parametrize(
    ("change", "counts"),
    [
        ({"metadata": {"annotations": {"a": "b"}}}, False),
        ({"metadata": {"labels": {"app": "web", "more": "x"}}}, True),
        ({"metadata": {"labels": {"app": "other"}}}, True),
    ],
)
@together
async def test_a_pod_leads_to_the_services_that_choose_it_a_little_later(
    bench: Bench, slices: EndpointSliceController, change: dict[str, Any], counts: bool
) -> None:
    await web(bench)
    other = service(http(), selector={"app": "none"})
    other.metadata.name = "other"
    await bench.add(other)
    one = await backend(bench, "a")
    await bench.seen()
    due: list[str] = []
    slices.queue.add_after = lambda key, seconds: due.append(key)  # type: ignore[method-assign]
    await bench.change(one, **change)
    await bench.seen()
    assert due == ([bench.key("web")] if counts else [])


@together
async def test_a_slice_of_ours_that_somebody_changes_leads_to_its_service(
    bench: Bench, slices: EndpointSliceController
) -> None:
    await web(bench)
    await bench.step(slices, "web")
    assert await bench.queued(slices) == ["web"]
    [one] = await bench.all(EndpointSlice)
    await bench.change(one, metadata={"labels": {"team": "b"}})
    assert await bench.queued(slices) == ["web"]
    mine = EndpointSlice(address_type="IPv4", metadata=ObjectMeta(name="mine"))
    mine = await bench.add(mine)
    await bench.change(mine, metadata={"labels": {"team": "b"}})
    assert await bench.queued(slices) == []
    await bench.remove(one)
    assert await bench.queued(slices) == ["web"]
