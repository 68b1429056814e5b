"""Templates of resource claims."""

from __future__ import annotations

from tiphys.api import resource_v1 as v1
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.claimspec import admin_errors, claim_errors, default_claim
from tiphys.apiserver.resources.columns import AGE, NAME
from tiphys.apiserver.resources.lookups import Objects
from tiphys.machinery.errors import FieldError


class ResourceClaimTemplateStrategy(Strategy[v1.ResourceClaimTemplate]):
    columns = (NAME, AGE)

    def default(self, obj: v1.ResourceClaimTemplate) -> None:
        default_claim(obj.spec.spec)

    def validate(self, obj: v1.ResourceClaimTemplate) -> list[FieldError]:
        return claim_errors(obj.spec.spec, "spec.spec")

    def validate_new(self, obj: v1.ResourceClaimTemplate, objects: Objects) -> list[FieldError]:
        return self.validate(obj) + admin_errors(obj.spec.spec, obj.metadata.namespace, objects)

    def validate_update(
        self, new: v1.ResourceClaimTemplate, old: v1.ResourceClaimTemplate
    ) -> list[FieldError]:
        return immutable("spec", new.spec, old.spec)
