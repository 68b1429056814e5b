"""Events keep to their budget, and count what repeats."""

from __future__ import annotations

import pytest

from tests.builders import config_map, deployment
from tiphys.api import core_v1
from tiphys.client.events import EventBudget, EventRecorder
from tiphys.testing import LocalCluster


def test_a_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    now = [0.0]
    budget = EventBudget(rate=10.0, burst=3, clock=lambda: now[0])
    assert [budget.wait() for _ in range(3)] == [0.0, 0.0, 0.0]
    assert round(budget.wait(), 6) == 0.1 and round(budget.wait(), 6) == 0.2
    now[0] = 0.5
    assert [round(budget.wait(), 6) for _ in range(4)] == [0.0, 0.0, 0.0, 0.1]
    now[0] = 100.0
    assert [budget.wait() for _ in range(3)] == [0.0, 0.0, 0.0] and budget.wait() > 0


async def test_events_name_the_controller_that_speaks(cluster: LocalCluster) -> None:
    await cluster.client.create(deployment())
    wanted = {
        ("ScalingReplicaSet", "deployment-controller"),
        ("SuccessfulCreate", "replicaset-controller"),
    }

    async def recorded() -> bool:
        events = (await cluster.client.list(core_v1.Event, "default")).items
        return wanted <= {(event.reason, event.source.component) for event in events}

    await cluster.eventually(recorded)


class Recording:
    """A recorder on a server, and a clock of its own."""

    def __init__(self, server: LocalCluster) -> None:
        self.server = server
        self.time = 1_000.0
        self.recorder = EventRecorder(server.client, "me", "here", now=lambda: self.time)
        server.tasks.start(self.recorder.run(), "events")

    async def events(self) -> list[core_v1.Event]:
        found = (await self.server.client.list(core_v1.Event, "default")).items
        return sorted(found, key=lambda event: event.message)

    async def counts(self) -> list[tuple[str, int]]:
        return [(event.message, event.count) for event in await self.events()]

    async def until(self, counts: list[tuple[str, int]]) -> None:
        async def reached() -> bool:
            return await self.counts() == counts

        await self.server.eventually(reached)


@pytest.fixture
async def recording(server: LocalCluster) -> Recording:
    return Recording(server)


async def test_repeats_are_counted_and_others_are_events_of_their_own(recording: Recording) -> None:
    obj = config_map("a")
    recording.recorder.record(obj, "Normal", "Reason", "x")
    recording.time += 60
    recording.recorder.record(obj, "Normal", "Reason", "x")
    recording.recorder.record(obj, "Normal", "Reason", "y")
    await recording.until([("x", 2), ("y", 1)])
    first, second = await recording.events()
    assert (first.first_timestamp, first.last_timestamp) == (
        "1970-01-01T00:16:40Z",
        "1970-01-01T00:17:40Z",
    )
    assert (second.involved_object.name, second.source.host) == ("a", "here")


async def test_what_repeats_after_its_event_was_deleted_is_a_new_one(recording: Recording) -> None:
    obj = config_map("a")
    recording.recorder.record(obj, "Normal", "Reason", "x")
    await recording.until([("x", 1)])
    [event] = await recording.events()
    await recording.server.client.delete(core_v1.Event, event.metadata.name, "default")
    recording.time += 60
    recording.recorder.record(obj, "Normal", "Reason", "x")
    recording.recorder.record(obj, "Normal", "Reason", "x")
    await recording.until([("x", 2)])


async def test_a_component_of_several_has_its_own_name(recording: Recording) -> None:
    other = recording.recorder.as_component("other")
    other.record(config_map("a"), "Warning", "Reason", "x" * 2000, "spec.part")
    await recording.until([("x" * 1024, 1)])
    [event] = await recording.events()
    assert (event.source.component, event.type) == ("other", "Warning")
    assert event.involved_object.field_path == "spec.part"


async def test_events_that_cannot_wait_are_dropped_and_nobody_is_held_up(
    server: LocalCluster,
) -> None:
    recorder = EventRecorder(server.client, "me")
    for number in range(1_100):
        recorder.record(config_map("a"), "Normal", "Reason", str(number))
    assert recorder._queue.qsize() == 1_000


async def test_events_that_nobody_wants_to_know_any_more_are_dropped(recording: Recording) -> None:
    recording.recorder.record(config_map("a"), "Normal", "Reason", "late")
    recording.time += 61
    recording.recorder.record(config_map("a"), "Normal", "Reason", "now")
    await recording.until([("now", 1)])


async def test_actions_are_told_in_the_form_of_the_newer_api_and_repeats_are_a_series(
    recording: Recording,
) -> None:
    victim, preemptor = config_map("a"), config_map("b")
    for obj in (victim, preemptor):
        obj.metadata.uid = obj.metadata.name
    say = recording.recorder.record_action
    say(victim, "Normal", "Preempted", "x", "Preempting", preemptor)
    recording.time += 59.5
    say(victim, "Normal", "Preempted", "x", "Preempting", preemptor)

    async def repeated() -> bool:
        return any(event.series is not None for event in await recording.events())

    await recording.server.eventually(repeated)
    [event] = await recording.events()
    assert event.series is not None
    assert (event.series.count, event.series.last_observed_time) == (
        2,
        "1970-01-01T00:17:39.500000Z",
    )
    assert event.event_time == "1970-01-01T00:16:40.000000Z" and event.action == "Preempting"
    assert (event.reporting_component, event.reporting_instance) == ("me", "me-here")
    assert event.related is not None and event.related.name == "b"
    assert (event.count, event.first_timestamp, event.source.component) == (0, None, "")


async def test_another_action_or_related_object_is_another_event(recording: Recording) -> None:
    obj, others = config_map("a"), [config_map("b"), config_map("c")]
    for other in others:
        other.metadata.uid = other.metadata.name
        recording.recorder.record_action(obj, "Normal", "R", "x", "Binding", other)
        recording.time += 1
    recording.recorder.record_action(obj, "Normal", "R", "x", "Scheduling")
    recording.time += 1
    recording.recorder.record(obj, "Normal", "R", "x")

    async def recorded() -> bool:
        return len(await recording.events()) == 4

    await recording.server.eventually(recorded)
    assert sorted(event.action for event in await recording.events()) == [
        "",
        "Binding",
        "Binding",
        "Scheduling",
    ]
