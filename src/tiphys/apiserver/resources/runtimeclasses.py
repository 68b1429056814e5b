"""Runtime classes."""

from __future__ import annotations

from tiphys.api.node_v1 import RuntimeClass
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.base import Strategy, immutable
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.apiserver.resources.podspec.placement import validate_tolerations
from tiphys.machinery.errors import FieldError
from tiphys.machinery.labelrules import validate_labels
from tiphys.machinery.names import dns_label_errors


class RuntimeClassStrategy(Strategy[RuntimeClass]):
    create_on_update = True
    unconditional_update = False
    columns = (NAME, Column("Handler", lambda o: o.handler), AGE)

    def validate(self, obj: RuntimeClass) -> list[FieldError]:
        violations = checks.obeys(obj.handler, dns_label_errors, "handler")
        if obj.overhead is not None:
            violations += checks.amounts(obj.overhead.pod_fixed, "overhead.limits")
        scheduling = obj.scheduling
        if scheduling is not None:
            violations += validate_labels(scheduling.node_selector, "scheduling.nodeSelector")
            violations += validate_tolerations(scheduling.tolerations, "scheduling.tolerations")
        return violations

    def validate_update(self, new: RuntimeClass, old: RuntimeClass) -> list[FieldError]:
        return immutable("handler", new.handler, old.handler)
