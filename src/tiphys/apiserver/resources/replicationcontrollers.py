"""Replication controllers: their selectors are maps of labels, and their template may be
missing.
"""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.core_v1 import PodTemplateSpec, ReplicationController
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.apiserver.resources.podspec.defaults import default_pod_spec
from tiphys.apiserver.resources.podspec.rules import validate_template
from tiphys.apiserver.resources.podspec.warnings import hostname_warnings, template_warnings
from tiphys.apiserver.resources.scaleviews import CONTROLLER_SCALE
from tiphys.apiserver.resources.workloads import (
    SELECTOR_COLUMN,
    TEMPLATE_COLUMNS,
    replica_errors,
    unselected_labels,
)
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError
from tiphys.store.cache import Selectable


class ReplicationControllerStrategy(Strategy[ReplicationController]):
    columns = (
        NAME,
        Column("Desired", lambda o: o.spec.replicas, type="integer"),
        Column("Current", lambda o: o.status.replicas, type="integer"),
        Column("Ready", lambda o: o.status.ready_replicas, type="integer"),
        AGE,
        *TEMPLATE_COLUMNS,
        SELECTOR_COLUMN,
    )
    fields = (Selectable("status.replicas", "0"),)
    generation = True
    orphans_dependents = True
    scale = CONTROLLER_SCALE

    def default(self, obj: ReplicationController) -> None:
        spec = obj.spec
        if spec.template is not None:
            labels = spec.template.metadata.labels
            default_pod_spec(spec.template.spec, template=True)
            spec.selector = spec.selector or dict(labels)
            obj.metadata.labels = obj.metadata.labels or dict(labels)
        if spec.replicas is None:
            spec.replicas = 1

    def validate(self, obj: ReplicationController) -> list[FieldError]:
        spec = obj.spec
        if spec.template is None:
            return [errors.required("spec.template")]
        violations = replica_errors(spec)
        violations += _selector_errors(spec.selector, spec.template)
        violations += validate_template(spec.template, "spec.template")
        policy = spec.template.spec.restart_policy
        if policy != "Always":
            field = "spec.template.spec.restartPolicy"
            violations.append(errors.not_supported(field, policy, ("Always",)))
        return violations

    def warnings(
        self, new: ReplicationController, old: ReplicationController | None
    ) -> Iterator[str]:
        if old is None:
            yield from hostname_warnings(new.metadata.name, "Pod names and hostnames")
        template = new.spec.template
        if template is not None:
            before = old.spec.template if old is not None else None
            yield from template_warnings(template, before, "spec.template")


def _selector_errors(selector: dict[str, str], template: PodTemplateSpec) -> list[FieldError]:
    if not selector:
        return [errors.required("spec.selector")]
    labels = template.metadata.labels
    if any(labels.get(key) != value for key, value in selector.items()):
        return [unselected_labels(template)]
    return []
