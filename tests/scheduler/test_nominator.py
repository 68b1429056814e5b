"""Room that is kept for nominated pods."""

from __future__ import annotations

from tests.builders import node
from tests.scheduler.builders import info, requesting, snapshot_of
from tiphys.api import core_v1
from tiphys.scheduler.nominator import Nominator, is_nominated
from tiphys.scheduler.podinfo import PodInfo
from tiphys.scheduler.snapshot import CPU_ROW, Snapshot


def nominated(name: str, priority: int = 0) -> PodInfo:
    return PodInfo(requesting(name, {"cpu": "1"}, priority=priority))


def kept(snapshot: Snapshot, node_name: str = "a") -> int:
    """Milli-units of cpu that are taken on a node."""
    return int(snapshot.requested[CPU_ROW, snapshot.row_of[node_name]])


def with_status(node_name: str) -> core_v1.Pod:
    pod = requesting("p", {"cpu": "1"})
    pod.status.nominated_node_name = node_name
    return pod


def test_room_is_kept_released_and_kept_again() -> None:
    snapshot = snapshot_of(node("a"))
    nominator = Nominator(snapshot)
    pod = nominated("p")
    nominator.nominate(pod, "a")
    assert (kept(snapshot), nominator.node_of("p")) == (1000, "a")
    assert [is_nominated(one) for one in snapshot.pods_on(0)] == [True]
    nominator.release("p")
    assert (kept(snapshot), nominator.node_of("p")) == (0, "a")
    nominator.renominate(pod)
    assert kept(snapshot) == 1000
    nominator.withdraw("p")
    assert (kept(snapshot), nominator.node_of("p")) == (0, "")
    nominator.renominate(pod)
    assert kept(snapshot) == 0


def test_room_of_lower_priority_is_free_within_the_context() -> None:
    snapshot = snapshot_of(node("a"))
    nominator = Nominator(snapshot)
    for name, priority in (("low", 1), ("equal", 5), ("high", 9)):
        nominator.nominate(nominated(name, priority), "a")
    with nominator.without_lower_priority(nominated("p", 5)):
        assert kept(snapshot) == 2000
    assert kept(snapshot) == 3000
    lower = nominator.lower_priority_pods(nominated("p", 6), "a")
    assert sorted(pod.pod.metadata.name for pod in lower) == ["equal", "low"]
    assert not nominator.lower_priority_pods(nominated("p", 6), "b")


def test_what_was_withdrawn_within_the_context_does_not_come_back() -> None:
    snapshot = snapshot_of(node("a"), node("b"))
    nominator = Nominator(snapshot)
    for name in ("gone", "moved", "stays"):
        nominator.nominate(nominated(name, 1), "a")
    with nominator.without_lower_priority(nominated("p", 5)):
        nominator.withdraw("gone")
        nominator.nominate(nominated("moved", 1), "b")
    assert (kept(snapshot, "a"), kept(snapshot, "b")) == (1000, 1000)


def test_the_status_of_a_pod_is_followed() -> None:
    nominator = Nominator(snapshot_of(node("a"), node("b")))
    nominator.follow_status(None, with_status("a"))
    assert nominator.node_of("p") == "a"
    nominator.follow_status(with_status("a"), with_status("b"))
    assert nominator.node_of("p") == "a", "its own nomination is newer than the status"
    nominator.follow_status(with_status("b"), with_status(""))
    assert nominator.node_of("p") == "a", "what was taken back is not what it has"
    nominator.follow_status(with_status("a"), with_status(""))
    assert nominator.node_of("p") == ""
    nominator.follow_status(None, info("p").pod)
    assert nominator.node_of("p") == ""
