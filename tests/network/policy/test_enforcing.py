"""When the kernel's table of policies is written, and what waits for that: without a kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.builders import pod as build_pod
from tests.network.builders import endpoint, slice_with
from tests.network.informers import Given, Objects
from tests.network.policies import policy
from tiphys.api import core_v1, discovery_v1, networking_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.tasks import TaskGroup
from tiphys.network.nft import NftError
from tiphys.network.policy import enforcer as module
from tiphys.network.policy.enforcer import EveryVersion, PolicyEnforcer, dns_addresses
from tiphys.network.policy.script import IPV6, Version

DENY = policy("deny", "default", policyTypes=["Ingress"])


def pod(name: str = "p", address: str = "10.1.0.5", uid: str = "u", **spec: Any) -> core_v1.Pod:
    made = build_pod(name, nodeName="n1", **spec)
    made.metadata.uid = uid
    if address:
        made.status.phase, made.status.pod_ip = "Running", address
        made.status.pod_ips = [core_v1.PodIP(ip=address)]
    return made


class Node:
    """An enforcer whose transactions are kept, or refused while it is `broken`."""

    def __init__(self, version: Version | None = None) -> None:
        self.given = Given()
        self.pods = Objects()
        self.written: list[str] = []
        self.broken = False
        self.kernel = ""
        options = {} if version is None else {"version": version}
        self.enforcer = PolicyEnforcer(
            self.given,  # type: ignore[arg-type]
            self.pods,  # type: ignore[arg-type]
            "n1",
            "t",
            self._write,
            **options,
        )
        self._tasks = TaskGroup("node")

    def _write(self, text: str) -> None:
        self.written.append(text)
        if self.broken:
            raise NftError("out of order")

    def of(self, kind: type) -> Objects:
        return self.given.of(kind)

    def start(self) -> None:
        self._tasks.start(self.enforcer.run(), "enforcer")

    async def until(self, check: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not check():  # noqa: ASYNC110 - what a thread does has no event
                await asyncio.sleep(0.001)

    async def settled(self, count: int) -> str:
        """The transaction of that number, once it was written."""
        await self.until(lambda: len(self.written) >= count)
        return self.written[count - 1]

    async def stop(self) -> None:
        if self.written and not self.broken:
            # A cancellation that comes with a change is lost, and waited for.
            await self.until(lambda: self.enforcer._in_force == self.enforcer._last_change)
        await self._tasks.stop()


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(module, "_BATCH_SECONDS", 0.0)
    monkeypatch.setattr(module, "_RETRY_SECONDS", 0.01)
    made = Node()
    yield made
    await made.stop()


async def test_the_first_transaction_is_the_whole_and_the_next_ones_are_what_changed(
    node: Node,
) -> None:
    node.pods.put(pod())
    node.of(networking_v1.NetworkPolicy).put(DENY)
    node.start()
    first = await node.settled(1)
    assert "table ip t {" in first and "10.1.0.5" in first
    node.pods.put(pod("q", "10.1.0.6", "v"))
    second = await node.settled(2)
    assert "table ip t {" not in second and "10.1.0.6" in second and "10.1.0.5" not in second
    await node.until(lambda: node.enforcer.transactions == 2)


async def test_a_table_that_has_not_changed_is_looked_at(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHECK_SECONDS", 0.0)
    node.start()
    assert await node.settled(2) == "list chain ip t ingress-forward\n"
    await node.until(lambda: node.enforcer.transactions == 1)


async def test_pods_that_no_policy_is_about_cost_no_look(node: Node) -> None:
    node.start()
    await node.settled(1)
    for number in range(20):
        node.pods.put(pod(f"p{number}", f"10.1.0.{number}", f"u{number}"))
        await node.until(lambda: node.enforcer._in_force == node.enforcer._last_change)
    assert len(node.written) == 1


async def test_what_nft_refuses_is_written_again_as_a_whole(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    node.broken = True
    node.of(networking_v1.NetworkPolicy).put(DENY)
    node.start()
    assert "table ip t {" in await node.settled(3)
    assert "nft refused a change, all policies are written again: out of order" in caplog.text
    node.broken = False
    await node.settled(len(node.written) + 1)
    count = len(node.written)
    node.pods.put(pod())
    await node.settled(count + 1)
    await node.until(lambda: node.enforcer._in_force >= 1)


# --- isolation ---


async def test_a_pod_that_no_policy_is_about_starts_at_once(node: Node) -> None:
    node.start()
    async with asyncio.timeout(10):
        await node.enforcer.isolate(pod(address=""), ["10.1.0.5"])


async def test_a_pod_starts_once_its_isolation_is_in_force(node: Node) -> None:
    node.of(networking_v1.NetworkPolicy).put(DENY)
    waiting = asyncio.ensure_future(node.enforcer.isolate(pod(address=""), ["10.1.0.5"]))
    await asyncio.sleep(0)
    assert not waiting.done(), "nothing is known yet"
    node.start()
    async with asyncio.timeout(10):
        await waiting
    assert any("10.1.0.5" in text for text in node.written)
    count = len(node.written)
    await node.enforcer.isolate(pod(address=""), ["10.1.0.5"])
    assert len(node.written) == count, "it is isolated already"


@pytest.mark.parametrize(
    ("one", "addresses"),
    [
        (pod(hostNetwork=True), ["10.1.0.5"]),
        (pod(address=""), ["fd00::5"]),  # none of this version
    ],
)
async def test_what_is_not_isolated_here_waits_for_nothing(
    node: Node, one: core_v1.Pod, addresses: list[str]
) -> None:
    await node.enforcer.isolate(one, addresses)


async def test_a_pod_whose_isolation_cannot_be_does_not_start(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ISOLATION_SECONDS", 0.1)
    words = "network policies about the pod are not in force: "
    with pytest.raises(TimeoutError, match=f"{words}see the log of the node's agent"):
        await node.enforcer.isolate(pod(address=""), ["10.1.0.5"])
    node.of(networking_v1.NetworkPolicy).put(DENY)
    node.start()
    await node.settled(1)
    with pytest.raises(TimeoutError, match=f"{words}the pod's address is not known"):
        await node.enforcer.isolate(pod(address=""), [])
    node.broken = True
    with pytest.raises(TimeoutError, match="see the log"):
        await node.enforcer.isolate(pod("q", "", "v"), ["10.1.0.6"])


async def local(node: Node) -> core_v1.Pod:
    """A pod that is isolated, and runs."""
    node.of(networking_v1.NetworkPolicy).put(DENY)
    node.start()
    made = pod()
    node.pods.put(made)
    await node.enforcer.isolate(made, ["10.1.0.5"])
    return made


def is_known(node: Node, name: str = "p") -> bool:
    return node.enforcer._table.isolates(f"default/{name}")


async def test_a_pod_that_is_deleted_by_force_stays_isolated_until_its_containers_end(
    node: Node,
) -> None:
    made = await local(node)
    node.pods.remove(made)
    assert is_known(node)
    node.enforcer.release(made)
    assert not is_known(node)
    node.enforcer.release(made)


async def test_a_pod_whose_containers_have_ended_goes_with_its_object(node: Node) -> None:
    made = await local(node)
    node.enforcer.release(made)
    assert is_known(node), "it is still there"
    node.pods.remove(made)
    assert not is_known(node)


async def test_another_pod_of_that_name_is_another(node: Node) -> None:
    made = await local(node)
    node.enforcer.release(pod(uid="another"))
    assert "default/p" in node.enforcer._sandboxes
    node.pods.remove(made)
    node.pods.put(pod(uid="another"))
    node.enforcer.release(made)
    assert is_known(node), "the new one is there"


# --- what else changes ---


async def changes(node: Node, kind: type, *steps: Any) -> list[int]:
    """How many changes are noted after each step: an object, or None for its removal."""
    counts, last = [], None
    node.start()
    await node.settled(1)
    objects = node.pods if kind is core_v1.Pod else node.of(kind)
    for step in steps:
        before = node.enforcer._last_change
        if step is None:
            objects.remove(last)
        else:
            objects.put(step)
            last = step
        counts.append(node.enforcer._last_change - before)
    return counts


def namespace(**labels: str) -> core_v1.Namespace:
    return core_v1.Namespace(metadata=ObjectMeta(name="x", labels=labels))


async def test_a_namespace_changes_with_its_labels(node: Node) -> None:
    steps = (namespace(), namespace(a="b"), namespace(a="b"), None)
    assert await changes(node, core_v1.Namespace, *steps) == [1, 1, 0, 1]


async def test_a_policy_changes_with_each_change(node: Node) -> None:
    assert await changes(node, networking_v1.NetworkPolicy, DENY, DENY, None) == [1, 1, 1]


def dns(name: str = "kube-dns", space: str = "kube-system") -> discovery_v1.EndpointSlice:
    made = slice_with(name, [endpoint("10.9.0.1")])
    made.metadata.namespace = space
    made.metadata.labels = {"kubernetes.io/service-name": name}
    return made


@pytest.mark.parametrize(
    ("one", "counts"), [(dns(), [1, 1]), (dns("other"), [0, 0]), (dns(space="d"), [0, 0])]
)
async def test_only_the_slices_of_dns_matter(
    node: Node, one: discovery_v1.EndpointSlice, counts: list[int]
) -> None:
    assert await changes(node, discovery_v1.EndpointSlice, one, None) == counts


async def test_a_pod_comes_and_goes(node: Node) -> None:
    assert await changes(node, core_v1.Pod, pod(), pod(), None) == [1, 1, 1]


def test_dns_servers_that_are_no_pods_are_known_by_version() -> None:
    one, other = dns(), dns()
    other.endpoints = [endpoint("fd00::1"), endpoint("10.9.0.2")]
    other.endpoints[1].target_ref = core_v1.ObjectReference(kind="Pod", name="x")
    slices = [one, other, dns("other")]
    assert dns_addresses(slices) == {"10.9.0.1"} and dns_addresses(slices, 6) == {"fd00::1"}


async def test_a_node_of_two_versions_asks_both(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    six = Node(IPV6)
    both = EveryVersion((node.enforcer, six.enforcer))
    for one in (node, six):
        one.of(networking_v1.NetworkPolicy).put(DENY)
        one.start()
    async with asyncio.timeout(10):
        await both.isolate(pod(address=""), ["10.1.0.5", "fd00::5"])
    assert any("fd00::5" in text for text in six.written)
    assert len(six.enforcer._sandboxes) == len(node.enforcer._sandboxes) == 1
    both.release(pod())
    assert not six.enforcer._sandboxes and not node.enforcer._sandboxes
    await six.stop()


def test_the_table_of_policies_stands_beside_that_of_services() -> None:
    assert module.table_name("t") == "t-policy"
