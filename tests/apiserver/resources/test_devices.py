"""Slices of devices and claims for them: upstream's resource/validation, both sides of each rule."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.kit import SERVED
from tests.apiserver.rules import built, fields, wrong_with
from tests.apiserver.tables import each_row

SLICE = "resourceslices.resource.k8s.io"
CLAIM = "resourceclaims.resource.k8s.io"
CLASS = "deviceclasses.resource.k8s.io"


def device(**parts: Any) -> dict[str, Any]:
    return {"spec": {"devices": [{"name": "d", **parts}]}}


def attributes(**values: dict[str, Any]) -> dict[str, Any]:
    return device(attributes=values)


def shared(value: str = "10", **policy: Any) -> dict[str, Any]:
    capacity = {"m": {"value": value, "requestPolicy": policy}}
    return device(allowMultipleAllocations=True, capacity=capacity)


def ranged(default: str = "2", **bounds: str) -> dict[str, Any]:
    return shared(default=default, validRange=bounds)


ONE = "spec.devices[0]"
POLICY = f"{ONE}.capacity[m].requestPolicy"
TERM = {"matchExpressions": [{"key": "a", "operator": "Exists"}]}
COUNTERS = {"counters": {"c": {"value": "1"}}}


def consuming(*sets: str) -> dict[str, Any]:
    return device(consumesCounters=[{"counterSet": name, **COUNTERS} for name in sets])


@each_row(
    [
        ({"spec": {"driver": "a" * 63}}, []),
        ({"spec": {"driver": "A.b"}}, []),
        ({"spec": {"pool": {"name": "a/b"}}}, []),
        ({"spec": {"pool": {"name": ""}}}, ["spec.pool.name"]),
        ({"spec": {"pool": {"name": "/".join("a" * 127)}}}, []),
        ({"spec": {"pool": {"name": "/".join("a" * 128)}}}, ["spec.pool.name"]),
        ({"spec": {"pool": {"generation": 0, "resourceSliceCount": 1}}}, []),
        # --- where devices are ---
        ({"spec": {"nodeName": None, "allNodes": True}}, []),
        ({"spec": {"nodeName": None, "nodeSelector": {"nodeSelectorTerms": [TERM]}}}, []),
        ({"spec": {"nodeName": None, "perDeviceNodeSelection": True}}, []),
        ({"spec": {"nodeName": ""}}, ["spec.nodeName", "spec"]),
        ({"spec": {"nodeName": "A"}}, ["spec.nodeName"]),
        ({"spec": {"perDeviceNodeSelection": False}}, ["spec.perDeviceNodeSelection"]),
        ({"spec": {"nodeName": None, "perDeviceNodeSelection": True, "devices": [{"name": "d", "nodeName": "n"}]}}, []),
        ({"spec": {"nodeName": None, "perDeviceNodeSelection": True, "devices": [{"name": "d", "allNodes": True}]}}, []),
        ({"spec": {"nodeName": None, "perDeviceNodeSelection": True, "devices": [{"name": "d"}]}}, [ONE]),
        ({"spec": {"nodeName": None, "perDeviceNodeSelection": True, "devices": [{"name": "d", "nodeName": "n", "allNodes": True}]}}, [ONE]),
        (device(nodeName="n"), [ONE]),
        ({"spec": {"devices": [{"name": "d"}], "sharedCounters": [{"name": "s", **COUNTERS}]}}, ["spec"]),
        ({"spec": {"sharedCounters": [{"name": "s", **COUNTERS}]}}, []),
        ({"spec": {"sharedCounters": [{"name": "s", **COUNTERS}] * 2}}, ["spec.sharedCounters[1].name"]),
        ({"spec": {"sharedCounters": [{"name": "S", **COUNTERS}]}}, ["spec.sharedCounters[0].name"]),
        ({"spec": {"sharedCounters": [{"name": "s", "counters": {f"c{n}": {"value": "1"} for n in range(32)}}]}}, []),
        ({"spec": {"sharedCounters": [{"name": "s", "counters": {f"c{n}": {"value": "1"} for n in range(33)}}]}}, ["spec.sharedCounters[0].counters"]),
        # --- how many ---
        ({"spec": {"devices": [{"name": f"d{n}", "taints": [{"key": "a", "effect": "None"}]} for n in range(64)]}}, []),
        ({"spec": {"devices": [{"name": f"d{n}", "consumesCounters": [{"counterSet": "s", **COUNTERS}]} for n in range(65)]}}, ["spec.devices"]),
        ({"spec": {"devices": [{"name": f"d{n}", "attributes": {"a": {"ints": [1]}}} for n in range(65)]}}, ["spec.devices"]),
        ({"spec": {"devices": [{"name": f"d{n}", "attributes": {"a": {"int": 1}}} for n in range(65)]}}, []),
        (device(attributes={f"a{n}": {"int": n} for n in range(31)}, capacity={"m": {"value": "1"}}), []),
        (device(attributes={f"a{n}": {"int": n} for n in range(32)}, capacity={"m": {"value": "1"}}), [ONE]),
        (device(taints=[{"key": "a", "effect": "NoExecute"}] * 16), []),
        (device(taints=[{"key": "a", "effect": "NoExecute"}] * 17), [f"{ONE}.taints"]),
        (device(taints=[{"key": "a", "value": "b c", "effect": "NoSchedule"}]), [f"{ONE}.taints[0].value"]),
        (device(taints=[{"key": "a", "effect": ""}]), [f"{ONE}.taints[0].effect"]),
        (consuming("a", "b"), []),
        (consuming("a", "b", "c"), [f"{ONE}.consumesCounters"]),
        (consuming("a", "a"), [f"{ONE}.consumesCounters[1].counterSet"]),
        (consuming("A"), [f"{ONE}.consumesCounters[0].counterSet"]),
        (device(bindingConditions=[f"a{n}" for n in range(4)]), []),
        (device(bindingConditions=[f"a{n}" for n in range(5)]), [f"{ONE}.bindingConditions"]),
        (device(bindingFailureConditions=["a", "a"]), [f"{ONE}.bindingFailureConditions[1]"]),
        # --- what they are ---
        (attributes(a={"string": "x" * 64}), []),
        (attributes(a={"strings": ["x" * 64, "x" * 65]}), [f"{ONE}.attributes[a].strings[1]"]),
        (attributes(a={"version": "1.2.3-rc.1+b"}), []),
        (attributes(a={"versions": ["1.2.3", "v1.2.3"]}), [f"{ONE}.attributes[a].versions[1]"]),
        (attributes(a={"version": "01.2.3"}), [f"{ONE}.attributes[a].version"]),
        (device(attributes={"a.b/c": {"bool": False}}), []),
        (device(attributes={"a.b/": {"int": 1}}), [f"{ONE}.attributes[a.b/]"]),
        (device(attributes={"a" * 32: {"int": 1}}), []),
        (device(attributes={"a" * 33: {"int": 1}}), [f"{ONE}.attributes[{'a' * 33}]"]),
        (device(attributes={"1a": {"int": 1}}), [f"{ONE}.attributes[1a]"]),
        (device(attributes={"": {"int": 1}}), [f"{ONE}.attributes[]"]),
        (device(capacity={"a-b": {"value": "1"}}), [f"{ONE}.capacity[a-b]"]),
    ],
)  # fmt: skip
def test_slices(parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(SLICE, parts)) == wrong


@each_row(
    [
        (shared(), []),
        (shared(default="10"), []),
        (shared(default="11"), [".default"]),
        (shared(default="1", validValues=["1", "10"]), []),
        (shared(default="1", validValues=["1", "11"]), [".validValues[1]"]),
        (shared(default="1", validValues=["1", "1"]), [".validValues[1]"]),
        (shared(default="2", validValues=["1"]), [".validValues"]),
        (shared(validValues=["1"]), [".default"]),
        (shared("20", default="1", validValues=[str(n) for n in range(1, 11)]), []),
        (shared("20", default="1", validValues=[str(n) for n in range(1, 12)]), [".validValues"]),
        (shared(default="1", validValues=["1"], validRange={"min": "1"}), [""]),
        (ranged(min="2"), []),
        (ranged(min="2", max="2"), []),
        (ranged(min="1", max="10"), []),
        (ranged(max="3"), [".validRange.min"]),
        (ranged(min="1", max="11"), [".validRange.max"]),
        (ranged(min="3"), [".validRange.min"]),
        (ranged(min="1", max="1"), [".validRange.max"]),
        (ranged(min="3", max="2"), [".validRange.min", ".validRange.min"]),
        (ranged("10", min="10"), []),
        (ranged("10", min="11"), [".validRange.min", ".validRange.min"]),
        (ranged(min="2", step="8"), []),
        (ranged(min="2", step="9"), [".validRange.step"]),
        (ranged("4", min="2", max="8", step="2"), []),
        (ranged("3", min="2", step="2"), [".validRange.step"]),
        (ranged("2", min="2", max="7", step="2"), [".validRange.step"]),
        (ranged("2", min="2", step="0"), []),
    ],
)
def test_how_a_capacity_is_shared(parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(SLICE, parts)) == [POLICY + end for end in wrong]


# --- claims ---


def asks(**exactly: Any) -> dict[str, Any]:
    request = {"name": "one", "exactly": {"deviceClassName": "gpu", **exactly}}
    return {"spec": {"devices": {"requests": [request]}}}


def first(*subrequests: dict[str, Any]) -> dict[str, Any]:
    request = {"name": "one", "firstAvailable": list(subrequests)}
    return {"spec": {"devices": {"requests": [request]}}}


def claims(**devices: Any) -> dict[str, Any]:
    requests = [
        {"name": "one", "exactly": {"deviceClassName": "gpu"}},
        {"name": "two", "firstAvailable": [{"name": "sub", "deviceClassName": "gpu"}]},
    ]
    return {"spec": {"devices": {"requests": requests, **devices}}}


def tolerates(**toleration: Any) -> dict[str, Any]:
    return asks(tolerations=[toleration])


EXACTLY = "requests[0].exactly"
OPAQUE = {"driver": "d.com", "parameters": {"a": 1}}


@each_row(
    [
        (asks(count=1), []),
        (asks(allocationMode="All"), []),
        (asks(allocationMode="All", count=1), [f"{EXACTLY}.count"]),
        (asks(selectors=[{"cel": {"expression": "device.driver == 'a'"}}] * 32), []),
        (asks(selectors=[{"cel": {"expression": "true"}}] * 33), [f"{EXACTLY}.selectors"]),
        (asks(selectors=[{"cel": {"expression": "true" + " " * 10236}}]), []),
        (asks(selectors=[{"cel": {"expression": "cel.bind(x, device, x.driver == 'a')"}}]), []),
        (asks(selectors=[{"cel": {"expression": "cel.bind(x, device"}}]), [f"{EXACTLY}.selectors[0].cel.expression"]),
        (asks(selectors=[{"cel": {"expression": "device.attributes['a'].b == 1"}}]), []),
        (asks(tolerations=[{"key": "a", "operator": "Exists"}] * 16), []),
        (asks(tolerations=[{"key": "a", "operator": "Exists"}] * 17), [f"{EXACTLY}.tolerations"]),
        (tolerates(operator="Exists"), []),
        (tolerates(key="a", value="b"), []),
        (tolerates(key="a", value="b c"), [f"{EXACTLY}.tolerations[0].value"]),
        (tolerates(key="a b", operator="Exists"), [f"{EXACTLY}.tolerations[0].key"]),
        (tolerates(key="a", operator="Exists", effect="NoSchedule"), []),
        (asks(capacity={"requests": {"a.b/m": "1", "m": "0"}}), []),
        (asks(capacity={"requests": {"m": "-1"}}), [f"{EXACTLY}.capacity.requests[m]"]),
        (first({"name": "a", "deviceClassName": "gpu"}, {"name": "b", "deviceClassName": "gpu"}), []),
        (first(*[{"name": "a", "deviceClassName": "gpu"}] * 2), ["requests[0].firstAvailable[1].name"]),
        (first(*[{"name": f"a{n}", "deviceClassName": "gpu"} for n in range(8)]), []),
        (first(*[{"name": f"a{n}", "deviceClassName": "gpu"} for n in range(9)]), ["requests[0].firstAvailable"]),
        (first({"name": "A", "deviceClassName": "gpu"}), ["requests[0].firstAvailable[0].name"]),
        (first({"name": "a", "deviceClassName": "gpu", "count": -1}), ["requests[0].firstAvailable[0].count"]),
        # --- constraints ---
        (claims(constraints=[{"requests": ["one", "two", "two/sub"], "matchAttribute": "a.b/c"}]), []),
        (claims(constraints=[{"distinctAttribute": "a.b/c"}]), []),
        (claims(constraints=[{"matchAttribute": "a.b/c", "distinctAttribute": "a.b/c"}]), ["constraints[0]"]),
        (claims(constraints=[{"requests": ["two/other"], "matchAttribute": "a.b/c"}]), ["constraints[0].requests[0]"]),
        (claims(constraints=[{"requests": ["one", "one"], "matchAttribute": "a.b/c"}]), ["constraints[0].requests[1]"]),
        (claims(constraints=[{"matchAttribute": ""}]), ["constraints[0].matchAttribute"]),
        (claims(constraints=[{"matchAttribute": "a.b/c"}] * 32), []),
        (claims(constraints=[{"matchAttribute": "a.b/c"}] * 33), ["constraints"]),
        # --- configuration ---
        (claims(config=[{"requests": ["one"], "opaque": OPAQUE}]), []),
        (claims(config=[{"requests": ["other"], "opaque": OPAQUE}]), ["config[0].requests[0]"]),
        (claims(config=[{"opaque": OPAQUE}] * 33), ["config"]),
        (claims(config=[{"opaque": {"driver": "d.com"}}]), ["config[0].opaque.parameters"]),
        (claims(config=[{"opaque": {"driver": "d.com", "parameters": {"a": "x" * 10232}}}]), []),
        (claims(config=[{"opaque": {"driver": "d.com", "parameters": {"a": "x" * 10233}}}]), ["config[0].opaque.parameters"]),
    ],
)  # fmt: skip
def test_claims(parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(CLAIM, parts)) == [f"spec.devices.{field}" for field in wrong]


@pytest.mark.parametrize(
    ("exactly", "after"),
    [
        ({}, ("ExactCount", 1)),
        ({"count": 2}, ("ExactCount", 2)),
        ({"allocationMode": "All"}, ("All", 0)),
    ],
)
def test_one_device_is_asked_for(exactly: dict[str, Any], after: tuple[str, int]) -> None:
    [request] = built(SERVED[CLAIM], asks(**exactly)).spec.devices.requests
    assert (request.exactly.allocation_mode, request.exactly.count) == after
    subrequest = {"name": "a", "deviceClassName": "gpu", **exactly}
    [request] = built(SERVED[CLAIM], first(subrequest)).spec.devices.requests
    [sub] = request.first_available
    assert (sub.allocation_mode, sub.count) == after


def test_a_toleration_is_of_a_value() -> None:
    [request] = built(SERVED[CLAIM], tolerates(key="a")).spec.devices.requests
    assert request.exactly.tolerations[0].operator == "Equal"
    [request] = built(SERVED[CLAIM], tolerates(key="a", operator="Exists")).spec.devices.requests
    assert request.exactly.tolerations[0].operator == "Exists"


def test_a_taint_has_its_time() -> None:
    [made] = built(SERVED[SLICE], device(taints=[{"key": "a", "effect": "None"}])).spec.devices
    assert made.taints[0].time_added
    told = "2026-01-01T00:00:00Z"
    parts = device(taints=[{"key": "a", "effect": "None", "timeAdded": told}])
    [made] = built(SERVED[SLICE], parts).spec.devices
    assert made.taints[0].time_added == told
