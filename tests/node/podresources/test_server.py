"""What a monitoring agent is answered on the socket."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.api.base import to_builtins
from tiphys.node.devices.deviceresources import HeldDevice
from tiphys.node.devices.nodedevices import ClaimDevice, HeldClaim
from tiphys.node.managers.placement import MemoryBlock
from tiphys.node.plugins.channel import PluginChannel, PluginError
from tiphys.node.podresources import messages as m
from tiphys.node.podresources.listing import PodResourceLists
from tiphys.node.podresources.server import PodResourcesServer, RateLimit
from tiphys.node.volumes.kubeletfolder import KubeletFolder

SOCKET = "/var/lib/kubelet/pod-resources/kubelet.sock"
GPU = HeldDevice("example.com/gpu", "gpu-1", (1,))
CLAIM = HeldClaim("ns", "c", (ClaimDevice("d", "p", "dev", ("k=v",), None),))


class Given:
    """Devices, cores and memory: those of the container `main` alone."""

    def held(self, uid: str, container: str) -> list[HeldDevice]:
        return [GPU] if container == "main" else []

    def healthy(self) -> list[HeldDevice]:
        return [GPU, HeldDevice("example.com/gpu", "gpu-2")]

    def claims(self, one: core_v1.Pod, container: core_v1.Container) -> list[HeldClaim]:
        return [CLAIM] if container.name == "main" else []

    def own_cpus(self, uid: str, container: str) -> list[int]:
        return [2, 3] if container == "main" else []

    def allocatable_cpus(self) -> list[int]:
        return [1, 2, 3]

    def memory_blocks(self, uid: str, container: str) -> list[MemoryBlock]:
        return [MemoryBlock("memory", 4096, (0, 1))] if container == "main" else []

    def allocatable_memory(self) -> list[MemoryBlock]:
        return [MemoryBlock("memory", 8192, (0,))]


def pods() -> list[core_v1.Pod]:
    inits = [{"name": "ends", "image": "i"}]
    inits.append({"name": "stays", "image": "i", "restartPolicy": "Always"})
    running = pod("p", initContainers=inits, containers=[{"name": "main", "image": "i"}])
    ended = pod("old")
    ended.status.phase = "Failed"
    return [running, ended]


class Node:
    def __init__(self, root: Path) -> None:
        self.folder = KubeletFolder(root)
        given: Any = Given()
        self.server = PodResourcesServer(self.folder, PodResourceLists(pods, given, given))

    async def ask(self, method: str, request: Any, response: Any) -> Any:
        channel = PluginChannel(self.folder, SOCKET)
        try:
            answer = await channel.call(f"v1.PodResourcesLister/{method}", request, response, 10)
            return to_builtins(answer)
        finally:
            await channel.close()


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    made = Node(tmp_path)
    await made.server.start()
    yield made
    await made.server.stop()


async def test_pods_are_listed_with_what_their_containers_have(node: Node) -> None:
    answer = await node.ask("List", m.ListPodResourcesRequest(), m.ListPodResourcesResponse)
    [one] = answer["pod_resources"] if "pod_resources" in answer else answer["podResources"]
    assert (one["name"], one["namespace"]) == ("p", "default")
    assert [each["name"] for each in one["containers"]] == ["stays", "main"]
    stays, main = one["containers"]
    assert set(stays) == {"name"}
    text = str(main)
    for expected in ("gpu-1", "[2, 3]", "4096", "'k=v'", "'dev'"):
        assert expected in text


async def test_one_pod_is_told_by_its_name(node: Node) -> None:
    asked = m.GetPodResourcesRequest(pod_name="old", pod_namespace="default")
    answer = await node.ask("Get", asked, m.GetPodResourcesResponse)
    assert "old" in str(answer)
    with pytest.raises(PluginError, match="pod x in namespace y not found"):
        wrong = m.GetPodResourcesRequest(pod_name="x", pod_namespace="y")
        await node.ask("Get", wrong, m.GetPodResourcesResponse)


async def test_what_there_is_for_containers_is_told_whoever_has_it(node: Node) -> None:
    answer = str(
        await node.ask(
            "GetAllocatableResources",
            m.AllocatableResourcesRequest(),
            m.AllocatableResourcesResponse,
        )
    )
    for expected in ("gpu-1", "gpu-2", "[1, 2, 3]", "8192"):
        assert expected in answer


async def test_who_asks_too_often_is_refused(node: Node) -> None:
    with pytest.raises(PluginError, match="ResourceExhausted desc = rejected by rate limit"):
        for _ in range(200):
            await node.ask("List", m.ListPodResourcesRequest(), m.ListPodResourcesResponse)


def test_the_limit_lets_some_through_at_once_and_then_by_and_by() -> None:
    limit = RateLimit(rate=10, burst=2)
    assert [limit.takes(now) for now in (5.0, 5.0, 5.0, 5.05, 5.11)] == [
        True,
        True,
        False,
        False,
        True,
    ]


async def test_a_socket_that_an_agent_left_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "pod-resources").mkdir()
    folder = os.open(tmp_path / "pod-resources", os.O_PATH)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(f"/proc/self/fd/{folder}/kubelet.sock")
    os.close(folder)
    made = Node(tmp_path)
    await made.server.start()
    assert await made.ask("List", m.ListPodResourcesRequest(), m.ListPodResourcesResponse)
    await made.server.stop()
