"""Static pods one after the other, and the objects that show them."""

from __future__ import annotations

import asyncio
import copy
from types import SimpleNamespace
from typing import Any

import pytest

from tests.builders import node as node_object
from tests.builders import pod
from tests.node.builders import client_of
from tiphys.api import core_v1
from tiphys.api.meta_v1 import Status
from tiphys.client.client import Unreachable
from tiphys.client.tasks import TaskGroup
from tiphys.machinery.errors import StatusError, is_not_found
from tiphys.machinery.podrefs import MIRROR
from tiphys.node.pod.mirrorpod import MirrorPod
from tiphys.node.staticpods.staticpods import StaticPods

NODE = node_object("n")


class Server:
    """Has one pod at most; `is_away` while it does not answer."""

    def __init__(self) -> None:
        self.pod: core_v1.Pod | None = None
        self.is_away = False
        self.writes = 0
        self.phases: list[str] = []
        self.asked_again = asyncio.Event()  # for a third write

    async def create(self, one: core_v1.Pod) -> core_v1.Pod:
        self._answer()
        self.pod = copy.copy(one)
        self.pod.metadata = copy.copy(one.metadata)
        self.pod.metadata.uid = f"uid-{self.writes}"
        return self._next()

    async def delete(self, kind: Any, name: str, namespace: str, grace: int, uid: str) -> None:
        self._answer()
        if self.pod is None or self.pod.metadata.uid != uid:
            raise StatusError(Status(code=404, reason="NotFound"))
        self.pod = None

    async def patch(self, kind: Any, name: str, change: Any, *_: str) -> core_v1.Pod:
        self._answer()
        assert self.pod is not None and change["metadata"]["uid"] == self.pod.metadata.uid
        self.phases.append(change["status"]["phase"])
        return self._next()

    def _answer(self) -> None:
        self.writes += 1
        if self.writes == 3:
            self.asked_again.set()
        if self.is_away:
            raise Unreachable("away")

    def _next(self) -> core_v1.Pod:
        assert self.pod is not None
        self.pod.metadata.resource_version = str(self.writes)
        return self.pod

    @property
    def client(self) -> Any:
        return client_of(create=self.create, delete=self.delete, patch=self.patch)

    @property
    def shows(self) -> str:
        """The UID of the static pod that the object is of."""
        return self.pod.metadata.annotations[MIRROR] if self.pod is not None else ""


def own(uid: str) -> core_v1.Pod:
    made = pod("own-n")
    made.metadata.uid = uid
    made.spec.priority = 5
    return made


def shown(uid: str, server: Server) -> MirrorPod:
    mirror = MirrorPod(server.client, lambda: None)
    mirror.show(own(uid))
    mirror.show_status(core_v1.PodStatus(phase="Running"))
    return mirror


async def test_the_mirror_is_the_nodes_and_says_whose_it_is() -> None:
    server = Server()
    await shown("a", server).bring_up_to_date(NODE)
    assert server.pod is not None
    [owner] = server.pod.metadata.owner_references
    assert (owner.kind, owner.name, owner.controller) == ("Node", "n", True)
    assert (server.shows, server.pod.spec.priority, server.phases) == ("a", None, ["Running"])


async def test_a_mirror_that_somebody_deletes_comes_back_with_its_status() -> None:
    server = Server()
    mirror = shown("a", server)
    await mirror.bring_up_to_date(NODE)
    assert mirror.object is not None
    dying = copy.deepcopy(mirror.object)
    dying.metadata.deletion_timestamp = "2026-01-01T00:00:00Z"
    dying.metadata.resource_version = "9"
    mirror.observe(dying)
    await mirror.bring_up_to_date(NODE)
    assert server.pod is not None and server.pod.metadata.uid != dying.metadata.uid
    assert server.phases == ["Running", "Running"]


async def test_what_an_informer_tells_late_is_not_believed() -> None:
    server = Server()
    mirror = shown("a", server)
    await mirror.bring_up_to_date(NODE)
    old = own("x")
    old.metadata.resource_version = "0"
    mirror.observe(old)
    mirror.vanished(old)
    assert mirror.shows


async def test_a_mirror_of_another_pod_is_replaced() -> None:
    server = Server()
    mirror = shown("a", server)
    await mirror.bring_up_to_date(NODE)
    mirror.show(own("b"))
    await mirror.bring_up_to_date(NODE)
    assert server.shows == "b"


async def test_a_mirror_goes_with_its_pod() -> None:
    server = Server()
    mirror = shown("a", server)
    await mirror.bring_up_to_date(NODE)
    mirror.withdraw()
    await mirror.bring_up_to_date(NODE)
    assert server.pod is None and mirror.object is None


async def test_an_object_that_is_gone_already_is_no_error() -> None:
    assert is_not_found(StatusError(Status(code=404, reason="NotFound")))
    server = Server()
    mirror = shown("a", server)
    await mirror.bring_up_to_date(NODE)
    server.pod = None
    mirror.withdraw()
    await mirror.bring_up_to_date(NODE)
    assert mirror.object is None


@pytest.mark.parametrize(("phase", "expected"), [("Running", "Running"), ("Failed", "")])
async def test_a_pod_goes_on_from_its_mirror_unless_that_has_ended(
    phase: str, expected: str
) -> None:
    server = Server()
    await shown("a", server).bring_up_to_date(NODE)
    assert server.pod is not None
    server.pod.status.phase = phase
    node = Node(server)
    node.statics.mirror_changed(None, server.pod)
    node.statics.want([own("a")])
    assert node.workers[0].pod.status.phase == expected


class Node:
    """Starts workers that do nothing, and keeps the UIDs of their pods."""

    def __init__(self, server: Server, folder: Any = None) -> None:
        self.workers: list[Any] = []
        self.statics = StaticPods(folder, server.client, lambda: NODE, self.start)

    def start(self, one: core_v1.Pod, mirror: MirrorPod) -> Any:
        worker = SimpleNamespace(pod=one, mirror=mirror)
        worker.update = lambda dying: setattr(worker, "pod", dying)
        self.workers.append(worker)
        return worker

    @property
    def started(self) -> list[str]:
        return [worker.pod.metadata.uid for worker in self.workers]

    def end(self, number: int) -> None:
        self.statics.worker_ended(self.workers[number])


def test_a_changed_pod_starts_when_the_one_before_it_has_ended() -> None:
    node = Node(Server())
    node.statics.want([own("a")])
    node.statics.want([own("b")])
    assert node.started == ["a"] and node.workers[0].pod.metadata.deletion_timestamp
    node.end(0)
    assert node.started == ["a", "b"]


def test_a_pod_that_goes_and_comes_back_while_it_ends_starts_anew() -> None:
    node = Node(Server())
    first = own("a")
    node.statics.want([first])
    node.statics.want([])
    node.statics.want([own("a")])
    node.end(0)
    assert node.started == ["a", "a"]


def test_a_pod_that_the_node_rejects_waits_for_its_file_to_change() -> None:
    node = Node(Server())
    node.statics.want([own("a")])
    node.end(0)
    assert node.started == ["a"]
    node.statics.want([own("b")])
    assert node.started == ["a", "b"]


async def test_what_files_say_is_done_when_they_change() -> None:
    said = iter([[own("a")], None, []])
    node = Node(Server(), SimpleNamespace(look=lambda: next(said)))
    await node.statics.look()
    await node.statics.look()
    assert node.started == ["a"] and node.statics.uids == {"a"}
    await node.statics.look()
    assert node.statics.uids == set()
    without = Node(Server())
    await without.statics.look()
    assert without.started == []


def test_of_two_pods_of_one_name_the_first_runs() -> None:
    node = Node(Server())
    node.statics.want([own("a"), own("b")])
    assert node.started == ["a"]


@pytest.mark.parametrize("is_away", [False, True])
async def test_mirrors_of_pods_that_are_not_there_go_once_the_server_answers(is_away: bool) -> None:
    server = Server()
    await shown("a", server).bring_up_to_date(NODE)
    node = Node(server)
    server.is_away = is_away
    node.statics.mirror_changed(None, server.pod)
    tasks = TaskGroup("test")
    tasks.start(node.statics.run(), "run")
    await server.asked_again.wait()
    await tasks.stop()
    assert (server.pod is None) is not is_away


def test_every_change_of_what_is_to_be_shown_is_told() -> None:
    told: list[str] = []
    mirror = MirrorPod(Server().client, lambda: told.append("changed"))
    mirror.show(own("a"))
    mirror.show_status(core_v1.PodStatus(phase="Running"))
    seen = own("a")
    seen.metadata.resource_version = "5"
    mirror.observe(seen)
    older = own("a")
    older.metadata.resource_version = "4"
    mirror.observe(older)
    assert len(told) == 3, "what is older is not believed"
    mirror.vanished(own("b"))
    assert len(told) == 3, "that was another"
    mirror.vanished(seen)
    mirror.withdraw()
    assert len(told) == 5 and mirror.object is None and mirror.pod is None
