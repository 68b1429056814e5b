"""A deployment's steps, one by one: what each does to its replica sets and says in its status."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.builders import deployment
from tests.controllers.bench import Bench
from tiphys.api.apps_v1 import Deployment, DeploymentCondition, ReplicaSet, ReplicaSetCondition
from tiphys.api.base import to_builtins
from tiphys.controllers.deployment import DeploymentController
from tiphys.controllers.rollout import DESIRED, MAXIMUM, REVISION
from tiphys.machinery.errors import StatusError, is_already_exists

pytestmark = pytest.mark.asyncio(loop_scope="package")

IMAGE_2 = {"template": {"spec": {"containers": [{"name": "c", "image": "img:2"}]}}}


async def sizes(bench: Bench) -> dict[str, int | None]:
    """The sizes of the replica sets by the image they run."""
    sets = await bench.all(ReplicaSet)
    return {rs.spec.template.spec.containers[0].image: rs.spec.replicas for rs in sets}


async def set_of(bench: Bench, image: str) -> ReplicaSet:
    [found] = [
        rs
        for rs in await bench.all(ReplicaSet)
        if rs.spec.template.spec.containers[0].image == image
    ]
    return found


async def fill(bench: Bench, image: str, count: int | None = None, **status: Any) -> None:
    """Has the replica set of an image report that many pods, all available."""
    found = await set_of(bench, image)
    pods = found.spec.replicas if count is None else count
    numbers = {"replicas": pods, "readyReplicas": pods, "availableReplicas": pods, **status}
    await bench.say(found, **numbers)


async def conditions_of(bench: Bench) -> dict[str, tuple[str, str]]:
    found = await bench.get(Deployment, "web")
    assert found is not None
    return {each.type: (each.status, each.reason) for each in found.status.conditions}


async def message_of(bench: Bench, kind: str) -> str:
    found = await bench.get(Deployment, "web")
    assert found is not None
    return next(each.message for each in found.status.conditions if each.type == kind)


@pytest_asyncio.fixture(loop_scope="package")
async def controller(bench: Bench) -> DeploymentController:
    return bench.start(DeploymentController)


async def rolled_out(bench: Bench, controller: DeploymentController, **spec: Any) -> Deployment:
    """A deployment of three pods that are all there."""
    made = await bench.add(deployment())
    if spec:
        made = await bench.change(made, spec=spec)
    await bench.step(controller, "web")
    await fill(bench, "img:1")
    await bench.step(controller, "web")
    bench.reasons()
    return made


async def test_the_first_step_makes_a_replica_set_of_the_whole_size(
    bench: Bench, controller: DeploymentController
) -> None:
    await bench.add(deployment())
    wait = await bench.step(controller, "web")
    assert wait is not None and 595 < wait <= 601
    made = await set_of(bench, "img:1")
    notes = {REVISION: "1", DESIRED: "3", MAXIMUM: "4"}
    assert made.spec.replicas == 3 and made.metadata.annotations == notes
    assert bench.reasons() == ["ScalingReplicaSet"]
    assert await conditions_of(bench) == {
        "Available": ("False", "MinimumReplicasUnavailable"),
        "Progressing": ("True", "NewReplicaSetCreated"),
    }
    says = f'Created new replica set "{made.metadata.name}"'
    assert await message_of(bench, "Progressing") == says
    web = await bench.get(Deployment, "web")
    assert web is not None and web.metadata.annotations[REVISION] == "1"
    assert (web.status.replicas, web.status.unavailable_replicas) == (0, 3)


async def test_one_without_pods_is_done_at_once_and_says_nothing_of_scaling(
    bench: Bench, controller: DeploymentController
) -> None:
    await bench.add(deployment(replicas=0))
    assert await bench.step(controller, "web") is None
    assert bench.reasons() == [] and await sizes(bench) == {"img:1": 0}
    assert await conditions_of(bench) == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }


async def test_all_pods_available_is_success_and_nothing_is_written_again(
    bench: Bench, controller: DeploymentController
) -> None:
    await rolled_out(bench, controller)
    assert await conditions_of(bench) == {
        "Available": ("True", "MinimumReplicasAvailable"),
        "Progressing": ("True", "NewReplicaSetAvailable"),
    }
    made = await set_of(bench, "img:1")
    says = f'ReplicaSet "{made.metadata.name}" has successfully progressed.'
    assert await message_of(bench, "Progressing") == says
    before = await bench.get(Deployment, "web")
    assert await bench.step(controller, "web") is None
    assert await bench.get(Deployment, "web") == before
    assert (await set_of(bench, "img:1")).metadata == made.metadata


@pytest.mark.parametrize(("available", "enough"), [(2, False), (3, True), (4, True)])
async def test_minimum_availability_is_what_may_not_be_missing(
    bench: Bench, controller: DeploymentController, available: int, enough: bool
) -> None:
    await bench.add(deployment(replicas=4))
    await bench.step(controller, "web")
    await fill(bench, "img:1", 4, availableReplicas=available)
    await bench.step(controller, "web")
    assert (await conditions_of(bench))["Available"][0] == str(enough)


async def test_a_new_template_takes_over_step_by_step_and_history_is_kept(
    bench: Bench, controller: DeploymentController
) -> None:
    made = await rolled_out(bench, controller, revisionHistoryLimit=0)
    await bench.change(made, spec=IMAGE_2)
    await bench.step(controller, "web")
    assert await sizes(bench) == {"img:1": 3, "img:2": 1}
    await fill(bench, "img:2")
    await bench.step(controller, "web")
    assert await sizes(bench) == {"img:1": 2, "img:2": 1}
    assert "Scaled down" in bench.events.recorded[-1].message
    assert bench.events.recorded[-1].message.endswith("from 3 to 2")
    await fill(bench, "img:1")
    for image in ("img:2", "img:1", "img:2", "img:1"):
        await bench.step(controller, "web")
        await fill(bench, image)
    assert await sizes(bench) == {"img:1": 0, "img:2": 3}
    await bench.step(controller, "web")
    assert await sizes(bench) == {"img:2": 3}, "the history keeps none"
    assert (await set_of(bench, "img:2")).metadata.annotations[REVISION] == "2"


async def test_an_earlier_template_is_the_newest_again_with_a_new_number(
    bench: Bench, controller: DeploymentController
) -> None:
    made = await rolled_out(bench, controller)
    await bench.change(made, spec=IMAGE_2)
    await bench.step(controller, "web")
    image = {"template": {"spec": {"containers": [{"name": "c", "image": "img:1"}]}}}
    await bench.change(made, spec={**image, "minReadySeconds": 5})
    await bench.step(controller, "web")
    again = await set_of(bench, "img:1")
    assert (again.metadata.annotations[REVISION], again.spec.min_ready_seconds) == ("3", 5)
    web = await bench.get(Deployment, "web")
    assert web is not None and web.metadata.annotations[REVISION] == "3"


async def test_with_recreate_nothing_new_is_there_before_all_that_is_old_has_gone(
    bench: Bench, controller: DeploymentController
) -> None:
    recreate = {"type": "Recreate", "rollingUpdate": None}
    made = await rolled_out(bench, controller, strategy=recreate)
    await bench.change(made, spec=IMAGE_2)
    await bench.step(controller, "web")
    assert await sizes(bench) == {"img:1": 0}
    await bench.step(controller, "web")
    assert await sizes(bench) == {"img:1": 0}, "its pods are there still"
    await fill(bench, "img:1", 0, terminatingReplicas=1)
    await bench.step(controller, "web")
    assert await sizes(bench) == {"img:1": 0}, "one is on its way out"
    await fill(bench, "img:1", 0, terminatingReplicas=0)
    await bench.step(controller, "web")
    assert await sizes(bench) == {"img:1": 0, "img:2": 3}
    await fill(bench, "img:1", 1)
    await bench.step(controller, "web")
    assert await sizes(bench) == {"img:1": 0, "img:2": 3}, "what has begun goes on"


async def test_a_paused_one_is_scaled_and_not_rolled(
    bench: Bench, controller: DeploymentController
) -> None:
    made = await rolled_out(bench, controller)
    await bench.change(made, spec={**IMAGE_2, "paused": True})
    assert await bench.step(controller, "web") is None
    assert await sizes(bench) == {"img:1": 3}
    assert (await conditions_of(bench))["Progressing"] == ("Unknown", "DeploymentPaused")
    await bench.change(made, spec={"replicas": 5})
    await bench.step(controller, "web")
    assert await sizes(bench) == {"img:1": 5}
    assert (await set_of(bench, "img:1")).metadata.annotations[DESIRED] == "5"
    assert "from 3 to 5" in bench.events.recorded[-1].message
    assert "Scaled up" in bench.events.recorded[-1].message
    await fill(bench, "img:1")
    await bench.change(made, spec={"paused": False})
    await bench.step(controller, "web")
    assert (await conditions_of(bench))["Progressing"][0] == "True"
    assert await sizes(bench) == {"img:1": 4, "img:2": 2}


async def test_who_gives_no_deadline_has_no_progress_to_note(
    bench: Bench, controller: DeploymentController
) -> None:
    made = await bench.add(deployment())
    await bench.change(made, spec={"progressDeadlineSeconds": 2147483647})
    assert await bench.step(controller, "web") is None
    reasons = {kind: reason for kind, (_, reason) in (await conditions_of(bench)).items()}
    assert reasons["Progressing"] == "NewReplicaSetCreated"


async def test_a_rollout_that_stands_still_is_late_after_its_deadline_and_once(
    bench: Bench, controller: DeploymentController
) -> None:
    await bench.add(deployment())
    await bench.step(controller, "web")
    bench.later = 500
    wait = await bench.step(controller, "web")
    assert wait is not None and 95 < wait <= 101
    assert (await conditions_of(bench))["Progressing"] == ("True", "NewReplicaSetCreated")
    bench.later = 602
    assert await bench.step(controller, "web") is None
    late = ("False", "ProgressDeadlineExceeded")
    assert (await conditions_of(bench))["Progressing"] == late
    assert "has timed out progressing" in await message_of(bench, "Progressing")
    assert await bench.step(controller, "web") is None
    assert (await conditions_of(bench))["Progressing"] == late
    await fill(bench, "img:1", 1)
    assert await bench.step(controller, "web") == 601, "it moves again"
    assert (await conditions_of(bench))["Progressing"] == ("True", "ReplicaSetUpdated")
    assert "is progressing" in await message_of(bench, "Progressing")


async def test_a_failure_of_the_newest_set_is_told_first_and_goes_when_it_is_over(
    bench: Bench, controller: DeploymentController
) -> None:
    made = await rolled_out(bench, controller)
    await bench.change(made, spec=IMAGE_2)
    await bench.step(controller, "web")
    for image, reason in (("img:1", "Old"), ("img:2", "New")):
        failure = ReplicaSetCondition(type="ReplicaFailure", status="True", reason=reason)
        await bench.say(await set_of(bench, image), conditions=[to_builtins(failure)])
    await bench.step(controller, "web")
    assert (await conditions_of(bench))["ReplicaFailure"] == ("True", "New")
    await bench.say(await set_of(bench, "img:2"), conditions=None)
    await bench.step(controller, "web")
    assert (await conditions_of(bench))["ReplicaFailure"] == ("True", "Old")
    await bench.say(await set_of(bench, "img:1"), conditions=None)
    await bench.step(controller, "web")
    assert "ReplicaFailure" not in await conditions_of(bench)


async def test_a_name_that_somebody_else_has_is_left_for_another(
    bench: Bench, controller: DeploymentController
) -> None:
    await bench.add(deployment())
    await bench.step(controller, "web")
    mine = await set_of(bench, "img:1")
    await bench.remove(mine)
    mine.metadata.owner_references = []
    mine.metadata.labels = mine.spec.template.metadata.labels = {"app": "other"}
    mine.spec.selector.match_labels = {"app": "other"}  # type: ignore[union-attr]
    mine.metadata.resource_version = ""
    await bench.add(mine)
    with pytest.raises(StatusError) as refusal:
        await bench.step(controller, "web")
    assert is_already_exists(refusal.value)
    web = await bench.get(Deployment, "web")
    assert web is not None and web.status.collision_count == 1
    await bench.step(controller, "web")
    names = [rs.metadata.name for rs in await bench.all(ReplicaSet)]
    assert len(names) == 2 and mine.metadata.name in names


async def test_a_set_that_the_informer_does_not_show_yet_is_taken_for_what_it_is(
    bench: Bench, controller: DeploymentController
) -> None:
    await bench.add(deployment())
    await bench.step(controller, "web")
    unseen = controller._sets._objects
    await bench.seen()
    controller._sets._objects = {}
    controller._sets._indexes["owner"].objects.clear()
    await controller.reconcile(f"{bench.namespace}/web")
    controller._sets._objects = unseen
    assert await sizes(bench) == {"img:1": 3}
    web = await bench.get(Deployment, "web")
    assert web is not None and not web.status.collision_count


async def test_one_that_is_being_deleted_is_only_counted(
    bench: Bench, controller: DeploymentController
) -> None:
    made = await rolled_out(bench, controller)
    await bench.change(made, spec={"replicas": 1}, metadata={"finalizers": ["a.b/c"]})
    await bench.remove(made)
    await bench.step(controller, "web")
    assert await sizes(bench) == {"img:1": 3}
    web = await bench.get(Deployment, "web")
    assert web is not None and web.status.replicas == 3
    assert await bench.step(controller, "none") is None


async def test_a_change_of_a_replica_set_leads_to_its_deployment(
    bench: Bench, controller: DeploymentController
) -> None:
    await rolled_out(bench, controller)
    assert await bench.queued(controller) == ["web"]
    await bench.change(await set_of(bench, "img:1"), metadata={"labels": {"more": "x"}})
    assert await bench.queued(controller) == ["web"]


@pytest.mark.parametrize(
    ("standing", "value", "touch", "changes"),
    [
        (("True", "R"), ("True", "R"), False, False),
        (("True", "R"), ("True", "R"), True, True),
        (("True", "R"), ("False", "R"), False, True),
        (("True", "R"), ("True", "S"), False, True),
    ],
)
async def test_a_condition_stays_as_it_was_written_first(
    bench: Bench,
    controller: DeploymentController,
    standing: tuple[str, str],
    value: tuple[str, str],
    touch: bool,
    changes: bool,
) -> None:
    web = deployment()
    status, reason = standing
    web.status.conditions = [
        DeploymentCondition(type="A", status=status, reason=reason, message="old")
    ]
    controller._condition(web, "A", *value, "new", touch)
    assert [each.message for each in web.status.conditions] == ["new" if changes else "old"]
