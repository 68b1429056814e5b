"""What the owners of a pod template share: deployments, replica sets, stateful sets, daemon
sets, jobs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar, TypeVar

from tiphys.api.apps_v1 import DaemonSet, Deployment, ReplicaSet, StatefulSet
from tiphys.api.batch_v1 import Job
from tiphys.api.core_v1 import PodTemplateSpec
from tiphys.api.meta_v1 import LabelSelector
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.columns import WIDE, Column, joined, selector_text
from tiphys.apiserver.resources.podspec.defaults import default_pod_spec
from tiphys.apiserver.resources.podspec.rules import validate_template
from tiphys.apiserver.resources.podspec.warnings import hostname_warnings, template_warnings
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.machinery.selectors import from_label_selector

W = TypeVar("W", bound=Deployment | ReplicaSet | StatefulSet | DaemonSet | Job)

_PERCENT = re.compile(r"\d+%\Z")
_PERCENT_DETAIL = (
    "a valid percent string must be a numeric string followed by an ending '%'"
    " (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
)

# --- columns ---


def container_names(template: PodTemplateSpec) -> str:
    return joined(container.name for container in template.spec.containers)


def container_images(template: PodTemplateSpec) -> str:
    return joined(container.image for container in template.spec.containers)


TEMPLATE_COLUMNS = (
    Column("Containers", lambda o: container_names(o.spec.template), priority=WIDE),
    Column("Images", lambda o: container_images(o.spec.template), priority=WIDE),
)
SELECTOR_COLUMN = Column("Selector", lambda o: selector_text(o.spec.selector), priority=WIDE)

# --- rules ---


def count_or_percent(value: int | str | None, path: str) -> list[FieldError]:
    """``3`` or ``25%``. What is absent is no error."""
    if not isinstance(value, str):
        return checks.natural(value, path)
    return [] if _PERCENT.match(value) else [errors.invalid_value(path, value, _PERCENT_DETAIL)]


def is_zero(value: int | str | None) -> bool:
    return value in (0, "0%")


def replica_errors(spec: Any) -> list[FieldError]:
    """Of a spec with a number of pods, and the time for which each has to be ready."""
    violations = checks.natural(getattr(spec, "replicas", None), "spec.replicas")
    seconds = getattr(spec, "min_ready_seconds", None)
    return violations + checks.natural(seconds, "spec.minReadySeconds")


def unselected_labels(template: PodTemplateSpec) -> FieldError:
    """The error of a workload that would not find its own pods."""
    detail = "`selector` does not match template `labels`"
    labels = template.metadata.labels
    return errors.invalid_value("spec.template.metadata.labels", labels, detail)


def _selector_errors(
    selector: LabelSelector | None, template: PodTemplateSpec, noun: str
) -> list[FieldError]:
    if selector is None:
        return [errors.required("spec.selector")]
    violations = checks.label_selector(selector, "spec.selector")
    if not selector.match_labels and not selector.match_expressions:
        detail = f"empty selector is invalid for {noun}"
        violations.append(errors.invalid_value("spec.selector", {}, detail))
    if violations:
        return violations
    matcher = from_label_selector(selector)
    if matcher is not None and not matcher.matches(template.metadata.labels):
        return [unselected_labels(template)]
    return []


class WorkloadStrategy(Strategy[W]):
    generation = True
    restart_policies: ClassVar[tuple[str, ...]] = ("Always",)
    noun: ClassVar[str] = "deployment"
    """How messages call it."""
    names_pods: ClassVar[bool] = False
    """Whether upstream warns of names that its pods' hostnames cannot hold."""

    def default(self, obj: W) -> None:
        default_pod_spec(obj.spec.template.spec, template=True)

    def validate(self, obj: W) -> list[FieldError]:
        spec = obj.spec
        violations = replica_errors(spec)
        violations += _selector_errors(spec.selector, spec.template, self.noun)
        violations += self.template_errors(obj)
        policy = spec.template.spec.restart_policy
        return violations + self.restart_errors(policy, "spec.template.spec.restartPolicy")

    def template_errors(self, obj: W) -> list[FieldError]:
        return validate_template(obj.spec.template, "spec.template")

    def restart_errors(self, policy: str, path: str) -> list[FieldError]:
        if policy in self.restart_policies:
            return []
        return [errors.not_supported(path, policy, self.restart_policies)]

    def validate_update(self, new: W, old: W) -> list[FieldError]:
        return immutable("spec.selector", new.spec.selector, old.spec.selector)

    def warnings(self, new: W, old: W | None) -> Iterator[str]:
        if old is None and self.names_pods:
            yield from hostname_warnings(new.metadata.name, "Pod names and hostnames")
        before = old.spec.template if old is not None else None
        yield from template_warnings(new.spec.template, before, "spec.template")
