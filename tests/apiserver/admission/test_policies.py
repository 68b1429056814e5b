"""Policies in CEL over a store in memory: which are evaluated with what, and what becomes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.apiserver.access.builders import remove, stored, write
from tests.apiserver.admission.builders import Record, Rights, attributes, refusal, registry_of
from tests.builders import config_map, node
from tiphys.api import admissionregistration_v1 as v1
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.apiserver.admission.validatingpolicies import ValidatingPolicies
from tiphys.apiserver.http.request import collect_annotations, collect_warnings
from tiphys.apiserver.registry.admission import Attributes
from tiphys.machinery.errors import StatusError

RULE = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}
EVERYTHING = {"resourceRules": [RULE]}
DENIED = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: "


def policy(*validations: dict[str, Any], name: str = "p", **spec: Any) -> v1.ValidatingAdmissionPolicy:  # fmt: skip
    body = {"matchConstraints": EVERYTHING, "validations": list(validations), **spec}
    return from_builtins({"metadata": {"name": name}, "spec": body}, v1.ValidatingAdmissionPolicy)  # type: ignore[no-any-return]


def bound(*actions: str, name: str = "b", of: str = "p", **spec: Any) -> v1.ValidatingAdmissionPolicyBinding:  # fmt: skip
    body = {"policyName": of, "validationActions": list(actions or ("Deny",)), **spec}
    return from_builtins({"metadata": {"name": name}, "spec": body}, v1.ValidatingAdmissionPolicyBinding)  # type: ignore[no-any-return]  # fmt: skip


def check(expression: str, **parts: Any) -> dict[str, Any]:
    return {"expression": expression, **parts}


NO = check("false", message="no")


def plugin_with(*existing: Any, rights: tuple[str, ...] = ()) -> ValidatingPolicies:
    registry = registry_of(stored(*existing))
    return ValidatingPolicies(lambda: registry, lambda: Rights(*rights))  # type: ignore[arg-type,return-value]


async def judged(made: Attributes, *existing: Any, rights: tuple[str, ...] = ()) -> tuple[str, list[str]]:  # fmt: skip
    """(what is said against a write, warnings)."""
    warnings: list[str] = []
    collect_warnings(warnings)
    said = await refusal(plugin_with(*existing, rights=rights).validate(made))
    return said.partition(" is forbidden: ")[2] or said, warnings


def creation() -> Attributes:
    return attributes("CREATE", config_map("c", k="v"))


# --- what is said ---


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        (check("true"), ""),
        (check("object.data.k == 'v'"), ""),
        (check("false"), "failed expression: false"),
        (check(" false "), "failed expression: false"),
        (check("1"), "failed expression: 1"),
        (NO, "no"),
        (check("false", message=" no "), "no"),
        (check("false", message="no", messageExpression="object.data.k + '!'"), "v!"),
        (check("false", message="no", messageExpression="'a\\nb'"), "no"),
        (check("false", message="no", messageExpression="'  '"), "no"),
        (check("false", message="no", messageExpression="1"), "no"),
        (check("false", message="no", messageExpression="object.x"), "no"),
        (check("object.x == 1"), "expression 'object.x == 1' resulted in error: no such key: x"),
    ],
)
async def test_what_a_refusal_says(validation: dict[str, Any], message: str) -> None:
    said, warnings = await judged(creation(), policy(validation), bound())
    assert said == (DENIED + message if message else "") and warnings == []


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        (None, "Invalid", 422),
        ("Forbidden", "Forbidden", 403),
        ("Unauthorized", "Unauthorized", 401),
        ("RequestEntityTooLarge", "RequestEntityTooLarge", 413),
        ("Other", "Other", 422),
    ],
)
async def test_the_reason_has_its_code(reason: str | None, status: str, code: int) -> None:
    more = {"reason": reason} if reason else {}
    with pytest.raises(StatusError) as error:
        await plugin_with(policy({**NO, **more}), bound()).validate(creation())
    assert (error.value.status.reason, error.value.status.code) == (status, code)
    assert error.value.status.details is not None
    assert [cause.message for cause in error.value.status.details.causes] == ["no"]


@pytest.mark.parametrize(
    ("actions", "denied", "warned"),
    [
        (("Deny",), True, False),
        (("Warn",), False, True),
        (("Audit",), False, False),
        (("Deny", "Audit"), True, False),
        (("Warn", "Audit"), False, True),
    ],
)
async def test_a_binding_says_what_becomes_of_it(
    actions: tuple[str, ...], denied: bool, warned: bool
) -> None:
    said, warnings = await judged(creation(), policy(NO), bound(*actions))
    told = "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': no"
    assert said == (f"{DENIED}no" if denied else "") and warnings == [told] * warned


async def test_the_first_refusal_is_told() -> None:
    second = check("false", message="second")
    assert (await judged(creation(), policy(check("true"), NO, second), bound()))[
        0
    ] == f"{DENIED}no"


# --- failures ---


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"auditAnnotations": [{"key": "k", "valueExpression": "'x'"}]}, ""),
        ({"auditAnnotations": [{"key": "k", "valueExpression": "object.x"}]}, "no such key: x"),
        ({"matchConditions": [{"name": "m", "expression": "object.x == 1"}]}, "failed to configure binding: no such key: x"),
        ({"paramKind": {"apiVersion": "a.b/v1", "kind": "Other"}}, "failed to configure binding: failed to find resource referenced by paramKind: 'a.b/v1, Kind=Other'"),
        ({"variables": [{"name": "a", "expression": "object.x"}], "validations": [check("variables.a == 1")]}, "expression 'variables.a == 1' resulted in error: no such key: x"),
        ({"validations": [check("variables.b == 1")]}, "expression 'variables.b == 1' resulted in error: no such key: b"),
    ],
)  # fmt: skip
async def test_what_fails_refuses_unless_it_is_ignored(spec: dict[str, Any], message: str) -> None:
    ref = {"paramRef": {"name": "x"}}
    said, _ = await judged(creation(), policy(**spec), bound(**ref))
    assert said == (DENIED + message if message else "")
    said, _ = await judged(creation(), policy(**spec, failurePolicy="Ignore"), bound(**ref))
    assert said == ""


async def test_an_annotation_that_fails_denies_whatever_the_binding_says() -> None:
    broken = policy(auditAnnotations=[{"key": "k", "valueExpression": "object.x"}])
    assert (await judged(creation(), broken, bound("Audit")))[0] == f"{DENIED}no such key: x"
    broken = policy(check("object.x == 1"))
    assert (await judged(creation(), broken, bound("Audit")))[0] == ""


async def test_audit_events_say_what_failed_and_what_policies_say() -> None:
    record = Record()
    collect_annotations(record)
    texts = ("' said '", "'x' + ' ' ", "'  '", "null", "'" + "y" * 10241 + "'")
    annotations = [{"key": f"k{n}", "valueExpression": text} for n, text in enumerate(texts)]
    await judged(
        creation(), policy(check("true"), NO, auditAnnotations=annotations), bound("Audit")
    )
    failure = record.annotations.pop("validation.policy.admission.k8s.io/validation_failure")
    assert json.loads(failure) == [
        {
            "message": "no",
            "policy": "p",
            "binding": "b",
            "expressionIndex": 1,
            "validationActions": ["Audit"],
        }
    ]
    assert record.annotations == {"p/k0": "said", "p/k1": "x", "p/k4": "y" * 10240}


# --- which are evaluated ---

NAMESPACE = core_v1.Namespace(metadata=ObjectMeta(name="default", labels={"a": "b"}))
LABELLED = {"matchLabels": {"a": "b"}}
OTHER = {"matchLabels": {"a": "c"}}


@pytest.mark.parametrize(
    ("constraints", "matched"),
    [
        (EVERYTHING, True),
        ({}, True),
        ({"resourceRules": [{**RULE, "resources": ["pods"]}]}, False),
        ({**EVERYTHING, "excludeResourceRules": [RULE]}, False),
        ({**EVERYTHING, "excludeResourceRules": [{**RULE, "resourceNames": ["d"]}]}, True),
        ({**EVERYTHING, "namespaceSelector": LABELLED}, True),
        ({**EVERYTHING, "namespaceSelector": OTHER}, False),
        ({**EVERYTHING, "objectSelector": LABELLED}, False),
        ({**EVERYTHING, "objectSelector": {}}, True),
    ],
)
async def test_what_a_policy_or_its_binding_is_about(
    constraints: dict[str, Any], matched: bool
) -> None:
    said, _ = await judged(creation(), policy(NO, matchConstraints=constraints), bound(), NAMESPACE)
    assert bool(said) == matched
    said, _ = await judged(creation(), policy(NO), bound(matchResources=constraints), NAMESPACE)
    assert bool(said) == matched


@pytest.mark.parametrize(
    ("existing", "matched"),
    [
        ((policy(NO), bound()), True),
        ((policy(NO),), False),
        ((bound(),), False),
        ((policy(NO), bound(of="q")), False),
        ((policy(NO, matchConstraints=None), bound()), False),
        ((policy(NO, matchConditions=[check("false", name="m")]), bound()), False),
        ((policy(NO, matchConditions=[check("true", name="m")]), bound()), True),
    ],
)
async def test_a_policy_counts_when_it_is_bound(existing: tuple[Any, ...], matched: bool) -> None:
    assert bool((await judged(creation(), *existing))[0]) == matched


async def test_policies_are_not_asked_about_policies() -> None:
    made = attributes("CREATE", policy(name="other"))
    assert await judged(made, policy(NO), bound()) == ("", [])


async def test_a_binding_that_comes_or_goes_counts_at_once() -> None:
    held = stored(policy(NO), bound())
    registry = registry_of(held)
    plugin = ValidatingPolicies(lambda: registry, lambda: Rights())  # type: ignore[arg-type,return-value]
    assert await refusal(plugin.validate(creation()))
    remove(held, bound())
    assert not await refusal(plugin.validate(creation()))
    write(held, bound())
    assert await refusal(plugin.validate(creation()))


# --- what an expression sees ---


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("request.name == 'c' && request.operation == 'CREATE'", True),
        ("oldObject == null", True),
        ("namespaceObject.metadata.labels.a == 'b'", True),
        ("params == null", True),
        ("authorizer.group('').resource('pods').namespace('n').name('x').check('get').allowed()", True),
        ("authorizer.group('').resource('pods').namespace('m').name('x').check('get').allowed()", False),
        ("authorizer.group('apps').resource('pods').namespace('n').name('x').check('get').allowed()", False),
        ("authorizer.path('/healthz').check('get').allowed()", True),
        ("authorizer.path('/metrics').check('get').allowed()", False),
        ("authorizer.path('/healthz').check('get').reason() == 'because'", True),
        ("authorizer.path('/healthz').check('get').errored()", False),
        ("authorizer.path('/healthz').check('get').error() == ''", True),
        ("authorizer.requestResource.check('delete').allowed()", True),
        ("authorizer.requestResource.check('patch').allowed()", False),
        ("authorizer.requestResource.subresource('status').check('delete').allowed()", True),
    ],
)  # fmt: skip
async def test_what_an_expression_sees(expression: str, holds: bool) -> None:
    rights = ("get /pods n/x", "get /healthz /", "delete /configmaps default/c")
    said, _ = await judged(creation(), policy(check(expression)), bound(), NAMESPACE, rights=rights)
    assert (said == "") == holds, said


async def test_an_account_is_asked_about_as_itself() -> None:
    asking = "authorizer.serviceAccount('n', 'robot').path('/x').check('get').allowed()"
    authorizer = Rights()
    registry = registry_of(stored(policy(check(asking)), bound()))
    plugin = ValidatingPolicies(lambda: registry, lambda: authorizer)  # type: ignore[arg-type,return-value]
    await refusal(plugin.validate(creation()))
    assert authorizer.asked == ["system:serviceaccount:n:robot: get /x /"]


async def test_what_is_in_no_namespace_has_no_namespace_object() -> None:
    made = attributes("CREATE", node("n"))
    assert (await judged(made, policy(check("namespaceObject == null")), bound()))[0] == ""


# --- parameters ---

MAPS = {"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}}
NODES = {"paramKind": {"apiVersion": "v1", "kind": "Node"}}
ASK = check("params.data.limit == 'x'")


def parameter(name: str, namespace: str = "default", limit: str = "x", **labels: str) -> Any:
    made = config_map(name, namespace, limit=limit)
    made.metadata.labels = labels
    return made


NOT_FOUND = "no params found for policy binding with `Deny` parameterNotFoundAction"


@pytest.mark.parametrize(
    ("ref", "existing", "message"),
    [
        ({"name": "a"}, [parameter("a")], ""),
        ({"name": "a"}, [parameter("a", limit="y")], "failed expression: params.data.limit == 'x'"),
        ({"name": "a"}, [parameter("a", "other")], f"failed to configure binding: {NOT_FOUND}"),
        ({"name": "a", "namespace": "other"}, [parameter("a", "other")], ""),
        ({"name": "a", "parameterNotFoundAction": "Deny"}, [], f"failed to configure binding: {NOT_FOUND}"),
        ({"name": "a", "parameterNotFoundAction": "Allow"}, [], ""),
        ({"selector": LABELLED}, [parameter("a", a="b"), parameter("z", limit="y")], ""),
        ({"selector": LABELLED}, [parameter("a", a="b"), parameter("z", limit="y", a="b")], "failed expression: params.data.limit == 'x'"),
        ({"selector": OTHER}, [parameter("a", a="b")], f"failed to configure binding: {NOT_FOUND}"),
    ],
)  # fmt: skip
async def test_parameters(ref: dict[str, Any], existing: list[Any], message: str) -> None:
    said, _ = await judged(creation(), policy(ASK, **MAPS), bound(paramRef=ref), *existing)
    assert said == (DENIED + message if message else "")


async def test_parameters_in_namespaces_and_in_none() -> None:
    made = attributes("CREATE", node("n"))
    said, _ = await judged(made, policy(ASK, **MAPS), bound(paramRef={"name": "a"}))
    assert "cannot use namespaced paramRef in policy binding that matches cluster-scoped" in said
    named = policy(check("params.metadata.name == 'm'"), **NODES)
    assert (await judged(creation(), named, bound(paramRef={"name": "m"}), node("m")))[0] == ""


@pytest.mark.parametrize(("kind", "ref"), [(MAPS, None), ({}, {"name": "a"})])
async def test_without_both_there_are_none(kind: dict[str, Any], ref: Any) -> None:
    made = bound(**({"paramRef": ref} if ref else {}))
    assert (await judged(creation(), policy(check("params == null"), **kind), made))[0] == ""
