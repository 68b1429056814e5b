"""Resources that count as others."""

from __future__ import annotations

import msgspec
import pytest

from tiphys.addons.kueue import Settings
from tiphys.addons.kueue.core.building import item_of
from tiphys.addons.kueue.core.transforming import parse
from tiphys.addons.kueue.types.workloads import Workload
from tiphys.api.base import from_builtins

SLICE = "nvidia.com/mig-1g.5gb"


def test_a_resource_counts_as_its_outputs() -> None:
    counting = parse(f"{SLICE}=memory:5Gi,example.com/credits:10")
    assert counting({SLICE: 2, "memory": 1}) == {
        "memory": 10 * 2**30 + 1,
        "example.com/credits": 20,
    }


def test_a_retained_one_counts_as_itself_too() -> None:
    assert parse(f"{SLICE}+=b:1")({SLICE: 2}) == {SLICE: 2, "b": 2}


def test_one_without_outputs_is_not_counted() -> None:
    assert parse("a=")({"a": 2, "b": 1}) == {"b": 1}


def test_half_a_core_counts_as_half() -> None:
    counting = parse("cpu+=example.com/credits:10;a=cpu:100m")
    assert counting({"cpu": 500}) == {"cpu": 500, "example.com/credits": 5}
    assert counting({"a": 3}) == {"cpu": 300}


def test_outputs_are_not_transformed_again() -> None:
    assert parse("a=b:1;b=c:1")({"a": 1}) == {"b": 1}


def test_excluded_resources_need_no_quota() -> None:
    assert parse("a.com/x=b:1", "a.com/, c")({"a.com/x": 1, "cpu": 1, "d": 1}) == {"d": 1}


@pytest.mark.parametrize("text", ["a", "=b:1", "a=b", "a=b:x", "a=:1", "a=b:1;a=c:1"])
def test_what_is_no_transformation_refuses_the_settings(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        from_builtins({"transformations": text}, Settings)


def test_workloads_are_counted_so() -> None:
    container = {"name": "a", "resources": {"limits": {SLICE: "1"}}}
    pods = {"name": "main", "count": 3, "template": {"spec": {"containers": [container]}}}
    plain = {
        "metadata": {"name": "a", "namespace": "b", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"podSets": [pods]},
    }
    made = item_of(from_builtins(plain, Workload), "queue", parse(f"{SLICE}=memory:5Gi"))
    assert made.pod_sets[0].per_pod == {"memory": 5 * 2**30}
