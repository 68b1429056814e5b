"""A rule with a case that breaks it, and short ways to write one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Parts = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """`parts` replace fields of a valid object (a merge patch). `says` is what the answer says of `field`. With
    `before` the object is made with those parts first, and then changed: a rule of updates."""

    resource: str
    field: str
    parts: Parts
    says: str
    before: Parts | None = None


@dataclass(frozen=True)
class Rules:
    """What is known of one part of a type: the cases, and rules of upstream's that are not kept yet."""

    title: str
    source: str
    cases: list[Case]
    gaps: tuple[str, ...] = ()


def pod(field: str, says: str, **spec: Any) -> Case:
    return Case("pods", f"spec.{field}", {"spec": spec}, says)


def told(field: str, says: str, **parts: Any) -> Case:
    return Case("events.events.k8s.io", field, parts, says)


def container(field: str, says: str, more: Parts | None = None, **parts: Any) -> Case:
    one = {"name": "c", "image": "i", **parts}
    return Case("pods", f"spec.containers[0].{field}", {"spec": {"containers": [one], **(more or {})}}, says)


def volume(field: str, says: str, **source: Any) -> Case:
    return Case("pods", f"spec.volumes[0].{field}", {"spec": {"volumes": [{"name": "v", **source}]}}, says)


def probe(field: str, says: str, **parts: Any) -> Case:
    return container(f"livenessProbe.{field}", says, livenessProbe={"exec": {"command": ["x"]}, **parts})


def service(field: str, says: str, **spec: Any) -> Case:
    return Case("services", f"spec.{field}", {"spec": spec}, says)


def workload(resource: str, field: str, says: str, **spec: Any) -> Case:
    return Case(resource, f"spec.{field}", {"spec": spec}, says)


def change(resource: str, field: str, says: str, before: Parts, after: Parts) -> Case:
    return Case(resource, field, after, says, before)


def claim(field: str, says: str, exactly: Parts | None = None, **devices: Any) -> Case:
    request = {"name": "one", "exactly": {"deviceClassName": "gpu", **(exactly or {})}}
    return Case(CLAIMS, f"spec.devices.{field}", {"spec": {"devices": {"requests": [request], **devices}}}, says)


def device(field: str, says: str, **parts: Any) -> Case:
    return Case(SLICES, f"spec.devices[0]{field}", {"spec": {"devices": [{"name": "d", **parts}]}}, says)


def shared(field: str, says: str, **policy: Any) -> Case:
    """A device whose 10Gi of memory are shared as the policy says."""
    memory = {"value": "10Gi", "requestPolicy": policy}
    return device(f".capacity[memory].requestPolicy{field}", says, allowMultipleAllocations=True, capacity={"memory": memory})


def slice_(field: str, says: str, **spec: Any) -> Case:
    return Case(SLICES, f"spec{field}", {"spec": spec}, says)


CLAIMS, SLICES, CLASSES = (f"{plural}.resource.k8s.io" for plural in ("resourceclaims", "resourceslices", "deviceclasses"))
LABEL = "a lowercase RFC 1123 label must consist of"
SUBDOMAIN = "a lowercase RFC 1123 subdomain must consist of"
NATURAL = "must be greater than or equal to 0"
IMMUTABLE = "field is immutable"
MEASURED = {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}
TERM = {"topologyKey": "zone", "labelSelector": {}}


def affinity(kind: str, **term: Any) -> Parts:
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [{**TERM, **term}]}}
