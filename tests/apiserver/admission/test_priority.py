"""Priority: the number behind a pod's class, and that there is one default."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.access.builders import remove, stored, write
from tests.apiserver.admission.builders import attributes, refusal, registry_of
from tests.builders import pod
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.api.scheduling_v1 import PriorityClass
from tiphys.apiserver.admission.priority import Priority


def priority_class(name: str, value: int, default: bool = False, **more: Any) -> PriorityClass:
    return PriorityClass(metadata=ObjectMeta(name=name), value=value, global_default=default, **more)  # fmt: skip


def plugin_with(*classes: PriorityClass) -> Priority:
    registry = registry_of(stored(*classes))
    return Priority(lambda: registry)


HIGH = priority_class("high", 100, preemption_policy="Never")
LOW = priority_class("low", 5)
USUAL = priority_class("usual", 7, default=True)
COMPUTED = "priority admission controller computed"


@pytest.mark.parametrize(
    ("classes", "spec", "after", "refused"),
    [
        ([], {}, ("", 0, "PreemptLowerPriority"), ""),
        ([USUAL, LOW], {}, ("usual", 7, "PreemptLowerPriority"), ""),
        ([USUAL, LOW], {"priorityClassName": "low"}, ("low", 5, "PreemptLowerPriority"), ""),
        ([HIGH], {"priorityClassName": "high"}, ("high", 100, "Never"), ""),
        ([HIGH], {"priorityClassName": "high", "priority": 100, "preemptionPolicy": "Never"}, ("high", 100, "Never"), ""),
        ([], {"priority": 0}, ("", 0, "PreemptLowerPriority"), ""),
        ([USUAL, priority_class("other", 3, default=True)], {}, ("other", 3, "PreemptLowerPriority"), ""),
        ([HIGH], {"priorityClassName": "low"}, None, "no PriorityClass with name low was found"),
        ([HIGH], {"priorityClassName": "high", "priority": 1}, None, f"priority (1) must not be provided in pod spec; {COMPUTED} 100"),
        ([HIGH], {"priority": 1}, None, f"(1) must not be provided in pod spec; {COMPUTED} 0"),
        ([HIGH], {"priorityClassName": "high", "preemptionPolicy": "PreemptLowerPriority"}, None, f"PreemptionPolicy (PreemptLowerPriority) must not be provided in pod spec; {COMPUTED} Never"),
    ],
)  # fmt: skip
async def test_what_a_new_pod_gets(
    classes: list[PriorityClass], spec: dict[str, Any], after: Any, refused: str
) -> None:
    made = pod(**spec)
    said = await refusal(plugin_with(*classes).mutate(attributes("CREATE", made)))
    assert refused in said and bool(refused) == bool(said)
    if after is not None:
        got = made.spec
        assert (got.priority_class_name, got.priority, got.preemption_policy) == after


async def test_an_update_that_leaves_it_out_keeps_it() -> None:
    old = pod(priority=7, preemptionPolicy="Never")
    for spec, after in (
        ({}, (7, "Never")),
        ({"priority": 0, "preemptionPolicy": "PreemptLowerPriority"}, (0, "PreemptLowerPriority")),
    ):
        new = pod(**spec)
        await plugin_with(USUAL).mutate(attributes("UPDATE", new, old))
        assert (new.spec.priority, new.spec.preemption_policy) == after


async def test_a_part_of_a_pod_is_left_alone() -> None:
    made = pod()
    await plugin_with(USUAL).mutate(attributes("CREATE", made, subresource="binding"))
    await plugin_with(USUAL).mutate(attributes("DELETE", None, made))
    assert made.spec.priority is None


MARKED = "PriorityClass usual is already marked as default. Only one default can exist"


@pytest.mark.parametrize(
    ("operation", "obj", "refused"),
    [
        ("CREATE", priority_class("new", 1), ""),
        ("CREATE", priority_class("new", 1, default=True), MARKED),
        ("UPDATE", priority_class("low", 5, default=True), MARKED),
        ("UPDATE", priority_class("usual", 7, default=True), ""),
        ("UPDATE", priority_class("low", 6), ""),
    ],
)
async def test_one_class_is_the_default(operation: str, obj: PriorityClass, refused: str) -> None:
    said = await refusal(plugin_with(USUAL, LOW).validate(attributes(operation, obj)))
    assert refused in said and bool(refused) == bool(said)


async def test_the_default_is_the_one_of_now() -> None:
    held = stored(USUAL)
    registry = registry_of(held)
    plugin = Priority(lambda: registry)
    first = pod()
    await plugin.mutate(attributes("CREATE", first))
    remove(held, USUAL)
    write(held, priority_class("next", 9, default=True))
    second = pod()
    await plugin.mutate(attributes("CREATE", second))
    assert (first.spec.priority, second.spec.priority) == (7, 9)
