"""The parts of a job that queues need: sets of pods with their templates, and counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tiphys.api.base import JSON
from tiphys.api.catalog import Resource
from tiphys.api.meta_v1 import Object

Manifest = dict[str, Any]


class AnyJob(Object):
    """An object of any kind that has a spec and a status."""

    spec: JSON = None
    status: JSON = None


class Part(NamedTuple):
    """A set of pods of a job. `template` is the pod template within the spec, to change it there;
    `set_count` writes another count, where a job may run with fewer pods than it asks for. `path`
    is that of the template's metadata, for errors; `groups` is of how many jobs they are, where
    that is not one."""

    name: str
    template: Manifest
    size: int
    least: int | None = None
    set_count: Callable[[int], None] | None = None
    path: str = "spec.template.metadata"
    groups: int | None = None


class Finish(NamedTuple):
    succeeded: bool
    message: str


@dataclass(frozen=True)
class JobKind:
    """A kind of job.

    resource:  what serves it
    parts:     (metadata, spec) → its sets of pods
    suspend:   the path of the field in the spec that stops it
    finished:  status → how it has ended, None while it has not
    is_active: status → whether pods of it may still run
    is_ready:  (spec, status) → whether all its pods are ready, or done
    reclaimable: (spec, status) → pods by part that will not be started again
    index_label, group_label: labels in which pods have their index, and that of their job, of jobs
        that are several
    place:     for kinds whose templates are another object's: writes placements into the spec
    """

    resource: Resource
    parts: Callable[[Manifest, Manifest], list[Part]]
    finished: Callable[[Manifest], Finish | None]
    suspend: tuple[str, ...] = ("suspend",)
    is_active: Callable[[Manifest], bool] = lambda status: False
    is_ready: Callable[[Manifest, Manifest], bool] = lambda spec, status: False
    reclaimable: Callable[[Manifest, Manifest], dict[str, int]] = lambda spec, status: {}
    index_label: str = ""
    group_label: str = ""
    place: Callable[[Manifest, list[Placement]], None] | None = None

    @property
    def kind(self) -> str:
        return self.resource.kind


@dataclass
class Placement:
    """Where the pods of a part go: what its flavors, and checks, add to the template."""

    name: str
    count: int
    node_selector: dict[str, str]
    tolerations: list[Manifest]
    labels: dict[str, str]
    annotations: dict[str, str]
    gates: list[str] = field(default_factory=list)


def dig(value: Any, *path: str) -> Any:
    """The value at a path of plain data; None where there is none."""
    for name in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def mapping(value: Any, *path: str) -> Manifest:
    field = dig(value, *path)
    return field if isinstance(field, dict) else {}


def items(value: Any, *path: str) -> list[Manifest]:
    field = dig(value, *path)
    return [one for one in field if isinstance(one, dict)] if isinstance(field, list) else []


def number(value: Any, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def is_suspended(kind: JobKind, spec: Manifest) -> bool:
    return dig(spec, *kind.suspend) is True


def set_suspended(kind: JobKind, spec: Manifest, value: bool) -> None:
    *above, name = kind.suspend
    for step in above:
        spec = spec.setdefault(step, {})
    spec[name] = value


def by_conditions(succeeded: str, failed: str) -> Callable[[Manifest], Finish | None]:
    """How a job has ended, by the names of its conditions."""

    def finished(status: Manifest) -> Finish | None:
        for condition in items(status, "conditions"):
            if condition.get("status") == "True" and condition.get("type") in (succeeded, failed):
                message = condition.get("message") or "Job finished"
                return Finish(condition["type"] == succeeded, str(message))
        return None

    return finished
