"""What policies get wrong about built-in types."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.controllers.bench import Bench
from tiphys.api import apps_v1
from tiphys.api.admissionregistration_v1 import ValidatingAdmissionPolicy, Validation
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.base import from_builtins
from tiphys.controllers.policystatus import PolicyStatusController, schema_of_type, warnings_of

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


# --- step by step ---

together = pytest.mark.asyncio(loop_scope="package")


@pytest_asyncio.fixture(loop_scope="package")
async def policies(bench: Bench) -> PolicyStatusController:
    return bench.start(PolicyStatusController)


def about(
    bench: Bench, expression: str, message: str = "", **rule: list[str]
) -> ValidatingAdmissionPolicy:
    given = {"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"], **rule}
    validation = {"expression": expression, "messageExpression": message}
    rules = [{**given, "operations": ["CREATE"]}]
    spec = {"matchConstraints": {"resourceRules": rules}, "validations": [validation]}
    body = {"metadata": {"name": bench.namespace}, "spec": spec}
    return from_builtins(body, ValidatingAdmissionPolicy)


async def checked(bench: Bench, policies: PolicyStatusController) -> list[tuple[str, int]]:
    """The fields that are warned of, and how many kinds each time."""
    await bench.seen()
    assert await policies.reconcile(bench.namespace) is None
    found = await bench.get(ValidatingAdmissionPolicy, bench.namespace)
    assert found is not None and found.status.type_checking is not None
    assert found.status.observed_generation == found.metadata.generation
    warnings = found.status.type_checking.expression_warnings
    return [(each.field_ref, each.warning.count("Kind=")) for each in warnings]


@pytest.mark.parametrize(
    ("rule", "kinds"),
    [
        ({}, 1),
        ({"resources": ["deployments", "daemonsets"]}, 2),
        ({"resources": ["*"]}, 0),
        ({"apiGroups": [""], "resources": ["pods"]}, 1),
        ({"apiGroups": ["unheard.example.com"]}, 0),
    ],
)
@together
async def test_a_policy_is_checked_against_every_kind_it_names(
    bench: Bench, policies: PolicyStatusController, rule: dict[str, list[str]], kinds: int
) -> None:
    await bench.add(about(bench, "object.spec.nonsense == 1", **rule))
    expected = [("spec.validations[0].expression", kinds)] if kinds else []
    assert await checked(bench, policies) == expected


@together
async def test_a_message_is_checked_for_being_text(
    bench: Bench, policies: PolicyStatusController
) -> None:
    await bench.add(about(bench, "object.spec.paused == true", "object.spec.nonsense"))
    assert await checked(bench, policies) == [("spec.validations[0].messageExpression", 1)]


@together
async def test_a_policy_is_checked_again_when_it_changes(
    bench: Bench, policies: PolicyStatusController
) -> None:
    made = await bench.add(about(bench, "object.spec.nonsense == 1"))
    assert bench.namespace in await bench.queued(policies)
    await checked(bench, policies)
    await bench.queued(policies)
    await bench.change(made, metadata={"labels": {"a": "b"}})
    assert bench.namespace not in await bench.queued(policies)
    await bench.change(made, spec={"validations": [{"expression": "true"}]})
    assert bench.namespace in await bench.queued(policies)
    assert await checked(bench, policies) == []
    await bench.remove(made)
    await bench.seen()
    assert await policies.reconcile(bench.namespace) is None


CRD = {
    "metadata": {"name": "tabs.example.com"},
    "spec": {
        "group": "example.com",
        "names": {"kind": "Tab", "plural": "tabs"},
        "versions": [
            {
                "name": "v1",
                "schema": {
                    "openAPIV3Schema": {"type": "object", "properties": {"n": {"type": "integer"}}}
                },
            },
            {"name": "v2"},
        ],
    },
}


@pytest.mark.parametrize(
    ("group", "version", "plural", "name"),
    [
        ("example.com", "v1", "tabs", "example.com/v1, Kind=Tab"),
        ("example.com", "v2", "tabs", ""),
        ("example.com", "v3", "tabs", ""),
        ("example.com", "v1", "other", ""),
        ("apps", "v1", "deployments", "apps/v1, Kind=Deployment"),
        ("", "v1", "pods", "v1, Kind=Pod"),
    ],
)
@together
async def test_custom_kinds_have_the_schema_of_their_version(
    bench: Bench, policies: PolicyStatusController, group: str, version: str, plural: str, name: str
) -> None:
    definition = from_builtins(CRD, CustomResourceDefinition)
    policies._definitions._objects["tabs.example.com"] = definition
    found = policies._schema(group, version, plural)
    assert list(found) == ([name] if name else [])
