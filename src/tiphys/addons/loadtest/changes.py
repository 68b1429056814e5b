"""What becomes of an application during a test (pure, on plain specs of Deployments)."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from tiphys.addons.loadtest.types import Application
from tiphys.api.base import to_builtins

Plain = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Original:
    """How an application is in production: `images` by container, or the `version` of a local
    service."""

    replicas: int
    images: dict[str, str] = field(default_factory=dict)
    version: str = ""


def original_of(spec: Plain) -> Original:
    """Of a Deployment's spec."""
    pod = spec["template"]["spec"]
    containers = [*pod.get("initContainers", ()), *pod["containers"]]
    images = {one["name"]: one["image"] for one in containers}
    return Original(spec.get("replicas", 1), images)


def replicas_of(application: Application, before: int, original: Original | None) -> int:
    """What is requested, else what production has, else what there is."""
    if application.replicas is not None:
        return application.replicas
    return original.replicas if original is not None else before


def for_test(
    spec: Plain, application: Application, original: Original | None, pool: dict[str, str]
) -> Plain:
    """The spec of a Deployment during the test."""
    changed = copy.deepcopy(spec)
    changed["replicas"] = replicas_of(application, spec.get("replicas", 1), original)
    pod = changed["template"]["spec"]
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        image = original.images.get(container["name"]) if original is not None else None
        container["image"] = image or container["image"]
    if application.resources is not None:
        pod["containers"][0]["resources"] = to_builtins(application.resources)
    if pool:
        pod["nodeSelector"] = {**pod.get("nodeSelector", {}), **pool}
        pod["tolerations"] = [*pod.get("tolerations", ()), *tolerations(pool)]
    return changed


def tolerations(pool: dict[str, str]) -> list[Plain]:
    """Of the taints by which a pool is usually kept for itself: those that say what its labels
    say."""
    return [
        {"key": key, "operator": "Equal", "value": value, "effect": effect}
        for key, value in sorted(pool.items())
        for effect in ("NoSchedule", "NoExecute")
    ]


def missing(deployment: Plain) -> str:
    """What a Deployment lacks until all of it is there in its newest form; nothing: it is ready."""
    spec = deployment["spec"]
    status = deployment.get("status", {})
    name = deployment["metadata"]["name"]
    wanted = spec.get("replicas", 1)
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return f"{name} has not been looked at"
    updated = status.get("updatedReplicas", 0)
    available = status.get("availableReplicas", 0)
    if updated < wanted or available < wanted:
        return f"{name} has {min(updated, available)} of {wanted} replicas"
    if status.get("replicas", 0) > updated:
        return f"{name} has replicas of its older form"
    return ""
