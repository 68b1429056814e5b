"""The enforcer between a real API server and a real kernel, whose network namespace is the node."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.builders import pod as build_pod
from tests.network.builders import endpoint, slice_with
from tests.network.policies import policy
from tests.network.sockets import ip
from tiphys.api import core_v1, discovery_v1
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import MERGE
from tiphys.client.informer import Informer, Informers
from tiphys.network.nft import NftError
from tiphys.network.policy import enforcer as module
from tiphys.network.policy.enforcer import PolicyEnforcer, dns_addresses, table_name
from tiphys.network.policy.watched import WatchedPod
from tiphys.testing import LocalCluster

pytestmark = [pytest.mark.root, pytest.mark.needs("nft", "ip")]
TABLE = table_name("t")
DENY = policy("deny", "default", policyTypes=["Ingress"])


class Place:
    """A node on its own: its namespace, its enforcer, and whether its nft works."""

    def __init__(self, server: LocalCluster) -> None:
        self.server, self.client = server, server.client
        self._namespace = f"te{os.getpid()}"
        self.broken = False
        ip("netns", "add", self._namespace)
        pods = Informer(self.client, WatchedPod, resource=resource_of(core_v1.Pod))
        server.tasks.start(pods.run(), "pods")
        self.enforcer = PolicyEnforcer(
            Informers(self.client, server.tasks), pods, "n1", TABLE, self._write
        )

    def nft(self, *words: str, text: str = "") -> subprocess.CompletedProcess[str]:
        command = ["nsenter", f"--net=/run/netns/{self._namespace}", "nft", *words]
        return subprocess.run(command, input=text, capture_output=True, text=True)

    def _write(self, text: str) -> None:
        if self.broken:
            raise NftError("out of order")
        done = self.nft("-f", "-", text=text)
        if done.returncode:
            raise NftError(done.stderr)

    def isolated(self, address: str) -> bool:
        """Whether the kernel leads what comes to an address to policies."""
        return address in self.nft("list", "map", "ip", TABLE, "ingress").stdout

    def set(self, name: str) -> str:
        return self.nft("list", "set", "ip", TABLE, name).stdout

    async def pod(self, name: str, address: str = "", **spec: object) -> core_v1.Pod:
        made = await self.client.create(build_pod(name, nodeName="n1", **spec))
        if address:
            made.status.phase, made.status.pod_ip = "Running", address
            made = await self.client.update_status(made)
        return made

    def close(self) -> None:
        ip("netns", "del", self._namespace)


@pytest.fixture
async def place(server: LocalCluster) -> AsyncIterator[Place]:
    account = core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    await server.client.create(account)
    made = Place(server)
    try:
        yield made
    finally:
        await server.tasks.stop()
        made.close()


async def begin(place: Place) -> None:
    place.server.tasks.start(place.enforcer.run(), "enforcer")


async def test_a_pods_isolation_is_in_force_before_it_may_start(place: Place) -> None:
    await place.client.create(DENY)
    pod = await place.pod("web")
    await begin(place)
    await place.enforcer.isolate(pod, ["10.0.0.7"])  # the server does not know the address yet
    assert place.isolated("10.0.0.7")


async def test_a_pod_does_not_start_while_policies_cannot_be_written(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ISOLATION_SECONDS", 0.3)
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.05)
    await place.client.create(DENY)
    pod, free = await place.pod("web"), await place.pod("node-pod", hostNetwork=True)
    place.broken = True
    await begin(place)
    await place.enforcer.isolate(free, ["10.0.0.1"])
    with pytest.raises(TimeoutError, match="policies about the pod are not in force: see the log"):
        await place.enforcer.isolate(pod, ["10.0.0.7"])
    place.broken = False
    monkeypatch.setattr(module, "_ISOLATION_SECONDS", 20)
    await place.enforcer.isolate(pod, ["10.0.0.7"])
    assert place.isolated("10.0.0.7")


async def test_a_pod_without_an_address_is_not_taken_for_an_open_one(place: Place) -> None:
    await place.client.create(DENY)
    pod = await place.pod("web")
    await begin(place)
    with pytest.raises(TimeoutError, match="address"):
        await place.enforcer.isolate(pod, [])


async def test_a_pod_that_is_deleted_by_force_is_isolated_until_it_has_ended(place: Place) -> None:
    await place.client.create(DENY)
    pod = await place.pod("web")
    await begin(place)
    await place.enforcer.isolate(pod, ["10.0.0.7"])
    await place.client.delete(core_v1.Pod, "web", "default", grace=0)
    other = await place.pod("other")
    await place.enforcer.isolate(other, ["10.0.0.8"])  # what came before has been written, too
    assert place.isolated("10.0.0.7")
    place.enforcer.release(pod)
    await place.server.eventually(lambda: not place.isolated("10.0.0.7"))


async def test_a_new_agent_replaces_what_the_last_one_wrote_in_one_step(place: Place) -> None:
    stale = "map ingress { type ipv4_addr : verdict; elements = { 10.0.0.9 : drop } }"
    place._write(f"table ip {TABLE} {{\n{stale}\n}}\n")
    await place.client.create(DENY)
    await place.pod("web", "10.0.0.7")
    assert place.isolated("10.0.0.9")
    await begin(place)
    await place.server.eventually(lambda: place.isolated("10.0.0.7"))
    assert not place.isolated("10.0.0.9")


async def test_a_table_that_somebody_has_taken_away_comes_back(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(module, "_CHECK_SECONDS", 0.05)
    await place.client.create(DENY)
    await begin(place)
    await place.pod("one", "10.0.0.7")
    await place.server.eventually(lambda: place.isolated("10.0.0.7"))
    place.nft("flush", "ruleset")
    await place.server.eventually(lambda: place.isolated("10.0.0.7"))


# --- DNS servers that are no pods ---


def dns_slice(*endpoints: discovery_v1.Endpoint, service: str = "kube-dns") -> Any:
    built = slice_with(service, list(endpoints))
    built.metadata.namespace = "kube-system"
    return built


def test_the_dns_servers_are_those_of_the_service_that_are_no_pods() -> None:
    pod = endpoint("10.0.0.8")
    pod.target_ref = core_v1.ObjectReference(kind="Pod", name="coredns")
    foreign = slice_with("kube-dns", [endpoint("10.0.0.6")])
    slices = [
        dns_slice(endpoint("10.244.0.1"), pod),
        dns_slice(endpoint("10.0.0.7"), service="other"),
        foreign,
    ]
    assert dns_addresses(slices) == {"10.244.0.1"}


async def test_a_pod_asks_the_dns_servers_that_its_policies_let_it(place: Place) -> None:
    await begin(place)
    published = dns_slice(endpoint("10.244.0.1"))
    published.address_type = "IPv4"
    await place.client.create(published)
    await place.server.eventually(lambda: "10.244.0.1" in place.set("dns"))
    await place.client.delete(discovery_v1.EndpointSlice, "kube-dns", "kube-system")
    await place.server.eventually(lambda: "10.244.0.1" not in place.set("dns"))


async def test_only_a_pod_that_ran_here_under_this_uid_is_released(place: Place) -> None:
    await place.client.create(DENY)
    pod = await place.pod("web")
    await begin(place)
    await place.enforcer.isolate(pod, ["10.0.0.7"])
    earlier = build_pod("web")
    earlier.metadata.uid = "another"
    place.enforcer.release(earlier)
    other = await place.pod("other")
    await place.enforcer.isolate(other, ["10.0.0.8"])
    assert place.isolated("10.0.0.7")


async def test_pods_are_let_in_when_their_namespace_gets_the_label(place: Place) -> None:
    team = {"namespaceSelector": {"matchLabels": {"team": "a"}}}
    await place.client.create(policy("team", "default", ingress=[{"from": [team]}]))
    await place.pod("web", "10.0.0.7")
    await begin(place)
    await place.server.eventually(lambda: place.isolated("10.0.0.7"))

    def let_in() -> bool:
        return "elements = { 10.0.0.7 }" in place.nft("list", "sets").stdout

    assert not let_in()
    label = {"metadata": {"labels": {"team": "a"}}}
    await place.client.patch(core_v1.Namespace, "default", label, media=MERGE)
    await place.server.eventually(let_in)
