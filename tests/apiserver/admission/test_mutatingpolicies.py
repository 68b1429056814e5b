"""Mutating policies over a store in memory: what becomes of a mutation that fails, or does nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.access.builders import stored
from tests.apiserver.admission.builders import Rights, attributes, refusal, registry_of
from tests.builders import config_map
from tiphys.api import admissionregistration_v1 as v1
from tiphys.api.base import from_builtins
from tiphys.apiserver.admission.mutatingpolicies import MutatingPolicies
from tiphys.apiserver.registry.admission import Attributes

RULE = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}
EVERYTHING = {"resourceRules": [RULE]}


def creation() -> Attributes:
    return attributes("CREATE", config_map("c", k="v"))


def mutation(expression: str, kind: str = "JSONPatch") -> dict[str, Any]:
    name = "jsonPatch" if kind == "JSONPatch" else "applyConfiguration"
    return {"patchType": kind, name: {"expression": expression}}


def mutating(*mutations: dict[str, Any], **spec: Any) -> v1.MutatingAdmissionPolicy:
    body = {"matchConstraints": EVERYTHING, "mutations": list(mutations), **spec}
    return from_builtins({"metadata": {"name": "p"}, "spec": body}, v1.MutatingAdmissionPolicy)  # type: ignore[no-any-return]


BINDING = from_builtins({"metadata": {"name": "b"}, "spec": {"policyName": "p"}}, v1.MutatingAdmissionPolicyBinding)  # fmt: skip
BROKEN = "policy 'p' with binding 'b' denied request: "


async def mutated(made: Attributes, *existing: Any) -> str:
    registry = registry_of(stored(*existing, BINDING))
    plugin = MutatingPolicies(lambda: registry, lambda: Rights())  # type: ignore[arg-type,return-value]
    return (await refusal(plugin.mutate(made))).partition(" is forbidden: ")[2]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (mutation("object.x"), "no such key: x"),
        (mutation("1", "ApplyConfiguration"), "must evaluate to Object"),
        ({"patchType": "Other"}, "unsupported patchType 'Other'"),
        ({"patchType": "JSONPatch"}, "unsupported patchType 'JSONPatch'"),
        ({"patchType": "ApplyConfiguration"}, "unsupported patchType 'ApplyConfiguration'"),
    ],
)
async def test_a_mutation_that_fails_refuses_unless_it_is_ignored(
    broken: dict[str, Any], message: str
) -> None:
    assert await mutated(creation(), mutating(broken)) == BROKEN + message
    assert await mutated(creation(), mutating(broken, failurePolicy="Ignore")) == ""


async def test_a_mutation_that_changes_nothing_writes_nothing() -> None:
    made = creation()
    before = made.obj
    assert await mutated(made, mutating(mutation("[]"))) == ""
    assert made.obj is before and not made.changed


async def test_what_is_deleted_and_policies_are_not_mutated() -> None:
    gone = attributes("DELETE", None, config_map("c"))
    assert await mutated(gone, mutating(mutation("object.x"))) == ""
    other = attributes("CREATE", mutating())
    assert await mutated(other, mutating(mutation("object.x"))) == ""


async def test_a_binding_that_fails_refuses() -> None:
    broken = mutating(
        mutation("[]"), matchConditions=[{"name": "m", "expression": "object.x == 1"}]
    )
    assert await mutated(creation(), broken) == f"{BROKEN}no such key: x"
