"""What policies get wrong about built-in types."""

from __future__ import annotations

import pytest

from tiphys.api import apps_v1
from tiphys.api.admissionregistration_v1 import ValidatingAdmissionPolicy, Validation
from tiphys.controllers.policystatus import schema_of_type, warnings_of

KIND = "apps/v1, Kind=Deployment"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("object.spec.replicas > 1", ""),
        ("object.spec.template.spec.containers.all(c, c.image.startsWith('x'))", ""),
        ("object.metadata.labels.all(k, k != '') && has(object.spec.strategy)", ""),
        (
            "object.spec.replicas > '1'",
            "found no matching overload for '_>_' applied to '(int, string)'",
        ),
        ("object.spec.replica > 1", "undefined field 'replica'"),
        ("object.spec.replicas", "must evaluate to a bool"),
    ],
)
def test_expressions_are_checked_against_the_type(text: str, error: str) -> None:
    policy = ValidatingAdmissionPolicy()
    policy.spec.validations = [Validation(expression=text)]
    found = warnings_of(policy, {KIND: schema_of_type(apps_v1.Deployment)})
    assert [w.field_ref for w in found] == (["spec.validations[0].expression"] if error else [])
    assert all(w.warning.startswith(KIND) and error in w.warning for w in found)
