"""Webhook configurations, admission policies and their bindings: upstream's
admissionregistration/validation, both sides of each rule."""

from __future__ import annotations

from typing import Any

from tests.apiserver.kit import HOOK, RULE, SERVED
from tests.apiserver.rules import built, fields, wrong_with
from tests.apiserver.tables import each_row
from tiphys.api.base import to_builtins
from tiphys.apiserver.resources.admissionpolicies import ValidatingAdmissionPolicyStrategy
from tiphys.apiserver.resources.admissionpolicybindings import (
    ValidatingAdmissionPolicyBindingStrategy,
)

GROUP = "admissionregistration.k8s.io"
HOOKS = f"validatingwebhookconfigurations.{GROUP}"
MUTATING_HOOKS = f"mutatingwebhookconfigurations.{GROUP}"
POLICY = f"validatingadmissionpolicies.{GROUP}"
MUTATING = f"mutatingadmissionpolicies.{GROUP}"
BINDING = f"validatingadmissionpolicybindings.{GROUP}"
BAD_SELECTOR = {"matchLabels": {"a b": "c"}}


def hook(**parts: Any) -> dict[str, Any]:
    return {"webhooks": [{**HOOK, **parts}]}


def rule(**parts: Any) -> dict[str, Any]:
    return {**RULE, **parts}


def conditions(*expressions: str) -> list[dict[str, str]]:
    return [{"name": f"c{n}", "expression": text} for n, text in enumerate(expressions)]


@each_row(
    [
        (rule(), []),
        (rule(operations=["*"]), []),
        (rule(operations=["CREATE", "UPDATE", "DELETE", "CONNECT"]), []),
        (rule(operations=["*", "CREATE"]), ["operations"]),
        (rule(operations=[]), ["operations"]),
        (rule(operations=["CREATE", "GET"]), ["operations[1]"]),
        (rule(apiGroups=["*"]), []),
        (rule(apiGroups=["", "*"]), ["apiGroups"]),
        (rule(apiGroups=[]), ["apiGroups"]),
        (rule(apiVersions=["v1", "*"]), ["apiVersions"]),
        (rule(apiVersions=[]), ["apiVersions"]),
        (rule(resources=[]), ["resources"]),
        (rule(scope="Cluster"), []),
        (rule(scope="World"), ["scope"]),
    ],
)
def test_rules(rules: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(HOOKS, hook(rules=[rules]))) == [f"webhooks[0].rules[0].{field}" for field in wrong]  # fmt: skip
    for name in ("resourceRules", "excludeResourceRules"):
        constraints = {"resourceRules": [RULE], name: [rules]}
        found = fields(wrong_with(POLICY, {"spec": {"matchConstraints": constraints}}))
        assert found == [f"spec.matchConstraints.{name}[0].{field}" for field in wrong]
        found = fields(wrong_with(BINDING, {"spec": {"matchResources": constraints}}))
        assert found == [f"spec.matchResources.{name}[0].{field}" for field in wrong]


MANY = ["true"] * 65


@each_row(
    [
        (conditions("true", "object.a == 1 && request.name == '' && oldObject == null"), []),
        (conditions("authorizer.path('/').check('get').allowed()"), []),
        (conditions("1"), ["[0].expression"]),
        (conditions("true", " "), ["[1].expression"]),
        (conditions("variables.a"), ["[0].expression"]),
        (conditions("object."), ["[0].expression"]),
        ([{"name": "", "expression": "true"}], ["[0].name"]),
        ([{"name": "a b", "expression": "true"}], ["[0].name"]),
        ([{"name": "a.b/c", "expression": "true"}] * 2, ["[1].name"]),
        (conditions(*MANY[:64]), []),
        (conditions(*MANY), [""]),
    ],
)
def test_match_conditions(listed: list[dict[str, str]], wrong: list[str]) -> None:
    found = fields(wrong_with(HOOKS, hook(matchConditions=listed)))
    assert found == [f"webhooks[0].matchConditions{end}" for end in wrong]
    found = fields(wrong_with(POLICY, {"spec": {"matchConditions": listed}}))
    assert found == [f"spec.matchConditions{end}" for end in wrong]


def test_policies_conditions_see_parameters_and_webhooks_do_not() -> None:
    listed = conditions("params == null")
    assert wrong_with(POLICY, {"spec": {"matchConditions": listed}}) == []
    assert fields(wrong_with(HOOKS, hook(matchConditions=listed))) == ["webhooks[0].matchConditions[0].expression"]  # fmt: skip


@each_row(
    [
        ({"name": "a.b"}, ["name"]),
        ({"name": "A.b.c"}, ["name"]),
        ({"name": ""}, ["name"]),
        ({"sideEffects": "NoneOnDryRun"}, []),
        ({"sideEffects": "Some"}, ["sideEffects"]),
        ({"sideEffects": None}, ["sideEffects"]),
        ({"failurePolicy": "Ignore"}, []),
        ({"failurePolicy": "Maybe"}, ["failurePolicy"]),
        ({"matchPolicy": "Exact"}, []),
        ({"timeoutSeconds": 1}, []),
        ({"timeoutSeconds": 30}, []),
        ({"timeoutSeconds": 0}, ["timeoutSeconds"]),
        ({"timeoutSeconds": 31}, ["timeoutSeconds"]),
        ({"admissionReviewVersions": ["v2", "v1beta1"]}, []),
        ({"admissionReviewVersions": ["v2"]}, ["admissionReviewVersions"]),
        ({"admissionReviewVersions": []}, ["admissionReviewVersions"]),
        ({"namespaceSelector": BAD_SELECTOR}, ["namespaceSelector.matchLabels"]),
        ({"objectSelector": BAD_SELECTOR}, ["objectSelector.matchLabels"]),
        ({"clientConfig": {}}, ["clientConfig"]),
    ],
)
def test_webhooks(parts: dict[str, Any], wrong: list[str]) -> None:
    for kind in (HOOKS, MUTATING_HOOKS):
        found = fields(wrong_with(kind, hook(**parts)))
        assert found == [f"webhooks[0].{field}" for field in wrong]


def test_webhooks_of_one_configuration_have_names_of_their_own() -> None:
    assert fields(wrong_with(HOOKS, {"webhooks": [HOOK, HOOK]})) == ["webhooks[1].name"]
    assert wrong_with(HOOKS, {"webhooks": [HOOK, {**HOOK, "name": "b.b.c"}]}) == []


def test_only_webhooks_that_mutate_are_asked_again() -> None:
    found = fields(wrong_with(MUTATING_HOOKS, hook(reinvocationPolicy="Often")))
    assert found == ["webhooks[0].reinvocationPolicy"]
    assert wrong_with(MUTATING_HOOKS, hook(reinvocationPolicy="IfNeeded")) == []


def test_what_a_webhook_does_not_say() -> None:
    service = {"service": {"name": "s", "namespace": "n"}}
    bare = hook(clientConfig=service, rules=[RULE])
    [made] = to_builtins(built(SERVED[MUTATING_HOOKS], bare))["webhooks"]
    assert made == {
        **HOOK,
        "clientConfig": {"service": {"name": "s", "namespace": "n", "port": 443}},
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": {},
        "reinvocationPolicy": "Never",
        "rules": [{**RULE, "scope": "*"}],
        "timeoutSeconds": 10,
    }
    said = {
        "failurePolicy": "Ignore",
        "matchPolicy": "Exact",
        "namespaceSelector": {"matchLabels": {"a": "b"}},
        "objectSelector": {"matchLabels": {"a": "b"}},
        "reinvocationPolicy": "IfNeeded",
        "rules": [{**RULE, "scope": "Cluster"}],
        "timeoutSeconds": 5,
        "clientConfig": {"service": {"name": "s", "namespace": "n", "port": 8443}},
    }
    [made] = to_builtins(built(SERVED[MUTATING_HOOKS], hook(**said)))["webhooks"]
    assert made == {**HOOK, **said}


# --- policies ---


def validation(**parts: Any) -> dict[str, Any]:
    return {"validations": [{"expression": "true", **parts}]}


def annotation(key: str = "k", text: str = "'x'") -> dict[str, Any]:
    return {"auditAnnotations": [{"key": key, "valueExpression": text}]}


def variable(name: str = "v", text: str = "1") -> dict[str, Any]:
    return {"variables": [{"name": name, "expression": text}]}


def kind(version: str = "v1", name: str = "ConfigMap") -> dict[str, Any]:
    return {"paramKind": {"apiVersion": version, "kind": name}}


@each_row(
    [
        (validation(reason="Forbidden", message="m", messageExpression="'m' + object.a"), []),
        (validation(expression="variables.a && params.b && namespaceObject.c"), []),
        (validation(expression=" "), ["validations[0].expression"]),
        (validation(expression="'a'"), ["validations[0].expression"]),
        (validation(expression="unknown"), ["validations[0].expression"]),
        (validation(reason="Other"), ["validations[0].reason"]),
        (validation(message="a\nb"), ["validations[0].message"]),
        (validation(messageExpression="1"), ["validations[0].messageExpression"]),
        ({"validations": []}, ["validations"]),
        ({"validations": [], **annotation()}, []),
        (annotation("a b"), ["auditAnnotations[0].key"]),
        (annotation(text=" "), ["auditAnnotations[0].valueExpression"]),
        (annotation(text="object."), ["auditAnnotations[0].valueExpression"]),
        (variable(), []),
        (variable(name=""), ["variables[0].name"]),
        (variable(text="1 +"), ["variables[0].expression"]),
        (kind(), []),
        (kind(version=""), ["paramKind.apiVersion"]),
        (kind(name=""), ["paramKind.kind"]),
        ({"failurePolicy": "Ignore"}, []),
        ({"failurePolicy": "Maybe"}, ["failurePolicy"]),
        ({"matchConstraints": None}, ["matchConstraints"]),
        ({"matchConstraints": {"resourceRules": []}}, ["matchConstraints.resourceRules"]),
        ({"matchConstraints": {"matchPolicy": "Almost"}}, ["matchConstraints.matchPolicy"]),
        ({"matchConstraints": {"namespaceSelector": BAD_SELECTOR}}, ["matchConstraints.namespaceSelector.matchLabels"]),
        ({"matchConstraints": {"objectSelector": BAD_SELECTOR}}, ["matchConstraints.objectSelector.matchLabels"]),
    ],
)  # fmt: skip
def test_validating_policies(spec: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(POLICY, {"spec": spec})) == [f"spec.{field}" for field in wrong]


def mutation(kind: str = "JSONPatch", **parts: Any) -> dict[str, Any]:
    return {"mutations": [{"patchType": kind, **parts}]}


@each_row(
    [
        (mutation(jsonPatch={"expression": "[]"}), []),
        (mutation(jsonPatch={"expression": "["}), ["mutations[0].jsonPatch.expression"]),
        (mutation("ApplyConfiguration", applyConfiguration={"expression": "object"}), []),
        (mutation("ApplyConfiguration", applyConfiguration={"expression": "{"}), ["mutations[0].applyConfiguration.expression"]),
        (mutation("Merge"), ["mutations[0].patchType"]),
        ({"mutations": []}, ["mutations"]),
        ({"reinvocationPolicy": "IfNeeded"}, []),
        ({"reinvocationPolicy": "Often"}, ["reinvocationPolicy"]),
        ({"failurePolicy": "Maybe"}, ["failurePolicy"]),
    ],
)  # fmt: skip
def test_mutating_policies(spec: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(MUTATING, {"spec": spec})) == [f"spec.{field}" for field in wrong]


def test_what_a_policy_does_not_say() -> None:
    spec = to_builtins(built(SERVED[POLICY], {}).spec)
    assert spec["failurePolicy"] == "Fail"
    assert spec["matchConstraints"] == {
        "matchPolicy": "Equivalent",
        "namespaceSelector": {},
        "objectSelector": {},
        "resourceRules": [{**RULE, "scope": "*"}],
    }
    said = {
        "matchPolicy": "Exact",
        "namespaceSelector": {"matchLabels": {"a": "b"}},
        "objectSelector": {"matchLabels": {"a": "b"}},
        "resourceRules": [{**RULE, "scope": "Cluster"}],
        "excludeResourceRules": [{**RULE, "scope": "Namespaced"}],
    }
    parts = {"spec": {"failurePolicy": "Ignore", "matchConstraints": said}}
    spec = to_builtins(built(SERVED[POLICY], parts).spec)
    assert spec["failurePolicy"] == "Ignore" and spec["matchConstraints"] == said


# --- bindings ---


@each_row(
    [
        ({"policyName": ""}, ["policyName"]),
        ({"validationActions": []}, ["validationActions"]),
        ({"validationActions": ["Deny", "Audit"]}, []),
        ({"validationActions": ["Warn", "Audit"]}, []),
        ({"validationActions": ["Deny", "Warn"]}, ["validationActions"]),
        ({"validationActions": ["Deny", "Shout"]}, ["validationActions[1]"]),
        ({"paramRef": {"name": "a", "parameterNotFoundAction": "Deny"}}, []),
        ({"paramRef": {"selector": {}, "parameterNotFoundAction": "Allow"}}, []),
        ({"paramRef": {"name": "a", "selector": {}, "parameterNotFoundAction": "Deny"}}, ["paramRef.name"]),
        ({"paramRef": {"parameterNotFoundAction": "Deny"}}, ["paramRef.name"]),
        ({"paramRef": {"name": "a"}}, ["paramRef.parameterNotFoundAction"]),
        ({"matchResources": {"matchPolicy": "Almost"}}, ["matchResources.matchPolicy"]),
    ],
)  # fmt: skip
def test_bindings(spec: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(BINDING, {"spec": spec})) == [f"spec.{field}" for field in wrong]


def test_what_tables_say_of_parameters() -> None:
    def cell(strategy: Any, name: str, obj: Any) -> Any:
        return next(column.cell(obj) for column in strategy.columns if column.name == name)

    policy = built(SERVED[POLICY], {"spec": kind()})
    assert cell(ValidatingAdmissionPolicyStrategy, "ParamKind", policy) == "v1/ConfigMap"
    assert cell(ValidatingAdmissionPolicyStrategy, "Validations", policy) == 1
    bare = built(SERVED[POLICY], {})
    assert cell(ValidatingAdmissionPolicyStrategy, "ParamKind", bare) == "<unset>"
    for ref, text in (({"paramRef": {"name": "a"}}, "a"), ({}, "<unset>")):
        binding = built(SERVED[BINDING], {"spec": ref})
        assert cell(ValidatingAdmissionPolicyBindingStrategy, "ParamRef", binding) == text
