"""Pods that run on a node although the cluster does not know them."""

from __future__ import annotations

from tests.builders import pod
from tests.node.builders import RecordingRuntime, node_context, running
from tiphys.node.hollow import NoVolumes
from tiphys.node.pod.orphans import OrphanCollector
from tiphys.node.runtime import RuntimeFault
from tiphys.node.states import PodState


class Disk(NoVolumes):
    """Pods that have something on disk."""

    def __init__(self, *uids: str) -> None:
        self.uids, self.removed = set(uids), list[str]()

    def pod_uids(self) -> set[str]:
        return self.uids

    def tear_down(self, uid: str) -> None:
        self.removed.append(uid)


class Logged(RecordingRuntime):
    """Has logs of two pods, one of which cannot be removed."""

    def pods_with_logs(self) -> set[str]:
        return {"known", "gone", "stuck"}

    def remove_logs(self, uid: str) -> None:
        if uid == "stuck":
            raise OSError("busy")
        self.calls.append(("remove logs", uid))


async def test_orphaned_pods_are_ended_and_others_run_on() -> None:
    runtime = Logged()
    for uid in ("known", "orphan"):
        one = pod(restartPolicy="Always")
        one.metadata.uid = uid
        await running(one, node_context(runtime))
    states = dict(await runtime.pods())
    disk = Disk("known", "left")
    await OrphanCollector(runtime, disk).collect(states, {"known"})
    assert ("stop sandbox", "orphan-0") in runtime.calls
    assert ("remove sandbox", "orphan-0") in runtime.calls
    assert runtime.graces == {"c": 0}, "at once"
    assert set(await runtime.pods()) == {"known"}
    assert sorted(disk.removed) == ["left", "orphan"]
    assert ("remove logs", "gone") in runtime.calls
    assert ("remove logs", "known") not in runtime.calls


async def test_containers_without_a_pod_are_nobodys() -> None:
    runtime, disk = RecordingRuntime(), Disk()
    await OrphanCollector(runtime, disk).collect({"": PodState("")}, set())
    assert runtime.calls == [] and disk.removed == []


class Stuck(Logged):
    """Cannot remove the sandbox of one pod as long as it is `held`."""

    held = True

    async def remove_sandbox(self, id: str) -> None:
        if self.held and id.startswith("stuck"):
            raise RuntimeFault("FAILED_PRECONDITION", "cannot delete running task")
        await super().remove_sandbox(id)


async def test_an_orphan_that_does_not_end_keeps_no_other_from_it_and_is_tried_again() -> None:
    runtime = Stuck()
    for uid in ("stuck", "orphan"):
        one = pod(restartPolicy="Always")
        one.metadata.uid = uid
        await running(one, node_context(runtime))
    states = dict(await runtime.pods())
    disk = Disk("stuck")
    collector = OrphanCollector(runtime, disk)
    left = await collector.collect(states, set())
    assert list(left) == ["stuck"] and disk.removed == ["orphan"]
    assert set(await runtime.pods()) == {"stuck"}
    runtime.held = False
    assert await collector.end(left) == {} and disk.removed == ["orphan", "stuck"]
