"""Nodes that fall silent."""

from __future__ import annotations

from tests.controllers.builders import NOW, ago, node_that_is, running
from tiphys.controllers.nodelifecycle import silenced, without_readiness
from tiphys.controllers.pods import is_ready


def test_a_silent_node_is_known_of_no_more() -> None:
    node = node_that_is("True", MemoryPressure="Unknown", Mine="True")
    node.metadata.creation_timestamp = ago(500)
    for condition in node.status.conditions:
        condition.last_heartbeat_time = ago(90)
        condition.last_transition_time = ago(400)
    found = {condition.type: condition for condition in silenced(node, NOW).status.conditions}
    assert list(found) == ["Ready", "MemoryPressure", "Mine", "DiskPressure", "PIDPressure"]
    assert (found["Ready"].status, found["Ready"].reason) == ("Unknown", "NodeStatusUnknown")
    assert found["Ready"].last_transition_time == ago(0)
    assert found["Ready"].last_heartbeat_time == ago(90)
    assert found["MemoryPressure"].last_transition_time == ago(400), "it was unknown before"
    assert found["DiskPressure"].reason == "NodeStatusNeverUpdated"
    assert found["DiskPressure"].last_heartbeat_time == ago(500)
    assert found["Mine"].status == "True" and node.status.conditions[0].status == "True"


def test_a_pod_of_a_silent_node_is_not_ready_any_more() -> None:
    pod = running("p")
    changed = without_readiness(pod, NOW)
    assert changed is not None and not is_ready(changed) and is_ready(pod)
    assert changed.status.conditions[0].last_transition_time == ago(0)
    assert without_readiness(changed, NOW) is None
