"""Pod templates."""

from __future__ import annotations

from collections.abc import Iterator

from tiphys.api.core_v1 import PodTemplate, PodTemplateSpec
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import NAME, Column, selector_text
from tiphys.apiserver.resources.podspec.defaults import default_pod_spec
from tiphys.apiserver.resources.podspec.rules import validate_template
from tiphys.apiserver.resources.podspec.warnings import template_warnings
from tiphys.apiserver.resources.workloads import container_images, container_names
from tiphys.machinery.errors import FieldError


class PodTemplateStrategy(Strategy[PodTemplate]):
    columns = (
        NAME,
        Column("Containers", lambda o: container_names(o.template)),
        Column("Images", lambda o: container_images(o.template)),
        Column("Pod Labels", lambda o: selector_text(o.template.metadata.labels)),
    )
    generation = True
    returns_deleted = True

    def default(self, obj: PodTemplate) -> None:
        default_pod_spec(obj.template.spec, template=True)

    def validate(self, obj: PodTemplate) -> list[FieldError]:
        return validate_template(obj.template, "template")

    def desired(self, obj: PodTemplate) -> PodTemplateSpec:
        return obj.template

    def warnings(self, new: PodTemplate, old: PodTemplate | None) -> Iterator[str]:
        before = old.template if old is not None else None
        yield from template_warnings(new.template, before, "template")
