"""Shorthand for tests about devices: slices, classes and claims, and an allocation checked against
their rules."""

from __future__ import annotations

from typing import Any

from tiphys.api import resource_v1 as v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta

DRIVER = "gpu.example.com"


def device(name: str, **more: Any) -> dict[str, Any]:
    """`more` are fields; attributes and capacities are given plainly: ``attributes={"model":
    "a"}``."""
    kinds = {bool: "bool", int: "int", str: "string"}
    plain = {
        key: value if isinstance(value, dict) else {kinds[type(value)]: value}
        for key, value in more.pop("attributes", {}).items()
    }
    sizes = {
        key: value if isinstance(value, dict) else {"value": value}
        for key, value in more.pop("capacity", {}).items()
    }
    return {"name": name, "attributes": plain, "capacity": sizes, **more}


def slice_of(
    node: str, *devices: dict[str, Any], pool: str = "", name: str = "", **spec: Any
) -> v1.ResourceSlice:
    """A slice of the pool of a node; a node of "" leaves it to `spec` who can reach it."""
    pool = pool or node
    said = {
        "driver": DRIVER,
        "pool": {"name": pool, "generation": 1, "resourceSliceCount": 1},
        "devices": list(devices),
        **({"nodeName": node} if node else {}),
        **spec,
    }
    return v1.ResourceSlice(
        metadata=ObjectMeta(name=name or pool), spec=from_builtins(said, v1.ResourceSliceSpec)
    )


def class_of(name: str = "gpu", *expressions: str, **spec: Any) -> v1.DeviceClass:
    said = {"selectors": [{"cel": {"expression": text}} for text in expressions], **spec}
    return v1.DeviceClass(
        metadata=ObjectMeta(name=name), spec=from_builtins(said, v1.DeviceClassSpec)
    )


def ask(name: str = "r", *expressions: str, **more: Any) -> dict[str, Any]:
    """A request for exactly one device, unless `more` says otherwise."""
    exactly = {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1, **more}
    if exactly["allocationMode"] == "All":
        del exactly["count"]
    exactly["selectors"] = [{"cel": {"expression": text}} for text in expressions]
    return {"name": name, "exactly": exactly}


def claim(name: str, *requests: dict[str, Any], uid: str = "", **devices: Any) -> v1.ResourceClaim:
    said = {"devices": {"requests": list(requests), **devices}}
    meta = ObjectMeta(name=name, namespace="default", uid=uid or name)
    return v1.ResourceClaim(metadata=meta, spec=from_builtins(said, v1.ResourceClaimSpec))
