"""Which requests webhooks and policies are about, and what they see of one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.apiserver.admission.builders import JANE, Rights, attributes
from tests.apiserver.tables import each_row
from tests.builders import config_map, deployment
from tests.builders import node as node_named
from tests.builders import pod as pod_named
from tiphys.api import core_v1
from tiphys.api.admissionregistration_v1 import MatchCondition, NamedRuleWithOperations
from tiphys.api.base import from_builtins
from tiphys.api.catalog import BY_PATH
from tiphys.api.meta_v1 import DeleteOptions, LabelSelector, ObjectMeta
from tiphys.apiserver.admission.matching import (
    Rounds,
    Seen,
    conditions_hold,
    matching_resource,
    rule_matches,
    selects_namespace,
    selects_object,
)
from tiphys.apiserver.http.request import User
from tiphys.machinery.cel import CelError

PODS = BY_PATH["", "v1", "pods"]
NODES = BY_PATH["", "v1", "nodes"]
V1 = BY_PATH["autoscaling", "v1", "horizontalpodautoscalers"]
V2 = BY_PATH["autoscaling", "v2", "horizontalpodautoscalers"]


def rule(resources: str = "pods", **parts: Any) -> NamedRuleWithOperations:
    whole = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], **parts}
    return from_builtins({**whole, "resources": resources.split()}, NamedRuleWithOperations)


@each_row(
    [
        (rule(), True),
        (rule(operations=["*"]), True),
        (rule(operations=["UPDATE", "DELETE"]), False),
        (rule(apiGroups=["*"]), True),
        (rule(apiGroups=["apps"]), False),
        (rule(apiVersions=["*"]), True),
        (rule(apiVersions=["v2"]), False),
        (rule(scope="*"), True),
        (rule(scope="Namespaced"), True),
        (rule(scope="Cluster"), False),
        (rule(resourceNames=["p"]), True),
        (rule(resourceNames=["q"]), False),
        (rule("*"), True),
        (rule("*/*"), True),
        (rule("services pods"), True),
        (rule("pods/*"), True),
        (rule("pods/status"), False),
        (rule("pods/log"), False),
        (rule("services"), False),
        (rule("*/status"), False),
        (rule(""), False),
    ],
)
def test_which_creation_of_a_pod_a_rule_is_about(
    wanted: NamedRuleWithOperations, matches: bool
) -> None:
    made = attributes("CREATE", pod_named())
    assert rule_matches(wanted, made, PODS) == matches


@each_row(
    [
        ("pods/status", True),
        ("pods/*", True),
        ("*/*", True),
        ("*/status", True),
        ("pods", False),
        ("*", False),
        ("pods/log", False),
        ("nodes/status", False),
    ],
)
def test_which_status_of_a_pod_a_rule_is_about(resources: str, matches: bool) -> None:
    made = attributes("CREATE", pod_named(), subresource="status")
    assert rule_matches(rule(resources), made, PODS) == matches


def test_scopes_of_what_is_in_no_namespace() -> None:
    made = attributes("CREATE", node_named("n"))
    assert rule_matches(rule("nodes", scope="Cluster"), made, NODES)
    assert not rule_matches(rule("nodes", scope="Namespaced"), made, NODES)


def test_names_can_be_left_open() -> None:
    made = attributes("CREATE", pod_named())
    assert rule_matches(rule(resourceNames=["q"]), made, PODS, ignore_names=True)


@pytest.mark.parametrize(
    ("versions", "policy", "seen_as"),
    [
        (["v2"], "Exact", V2),
        (["v2"], "Equivalent", V2),
        (["v1"], "Equivalent", V1),
        (["v1"], None, V1),
        (["v1"], "Exact", None),
        (["v3"], "Equivalent", None),
    ],
)
def test_another_version_is_the_same_object(
    versions: list[str], policy: str | None, seen_as: Any
) -> None:
    wanted = rule(V2.plural, apiGroups=["autoscaling"], apiVersions=versions)
    made = attributes("CREATE", pod_named(), resource=V2)
    found = matching_resource([wanted], made, policy, lambda asked: [V1] if asked is V2 else [])
    assert found is seen_as


SELECTOR = LabelSelector(match_labels={"a": "b"})


def namespace(**labels: str) -> core_v1.Namespace:
    return core_v1.Namespace(metadata=ObjectMeta(name="n", labels=labels))


@each_row(
    [
        (pod_named(), None, {"a": "b"}, True),
        (pod_named(), None, {"a": "c"}, False),
        (pod_named(), None, None, False),
        (node_named("n"), None, {}, True),
        (namespace(a="b"), None, {}, True),
        (namespace(), None, {"a": "b"}, False),
        (None, namespace(a="b"), {}, True),
        (None, namespace(), {}, False),
        (namespace(), namespace(a="b"), {}, False),
    ],
)
def test_which_namespace_is_selected(obj: Any, old: Any, labels: Any, selected: bool) -> None:
    asked: list[str] = []

    def labels_of(name: str) -> Any:
        asked.append(name)
        return labels

    made = attributes("UPDATE", obj, old)
    assert selects_namespace(SELECTOR, made, labels_of) == selected
    assert asked in ([], ["default"])
    assert selects_namespace(None, made, labels_of)
    assert selects_namespace(LabelSelector(), made, labels_of)


@pytest.mark.parametrize(
    ("obj", "old", "selected"),
    [
        (pod_named(labels={"a": "b"}), None, True),
        (pod_named(), None, False),
        (pod_named(), pod_named(labels={"a": "b"}), True),
        (None, pod_named(labels={"a": "b"}), True),
        (pod_named(labels={"a": "c"}), pod_named(), False),
    ],
)
def test_an_object_is_selected_as_it_is_or_as_it_was(obj: Any, old: Any, selected: bool) -> None:
    made = attributes("UPDATE", obj, old)
    assert selects_object(SELECTOR, made) == selected
    assert selects_object(None, made)


# --- what is seen ---


def request_of(operation: str, obj: Any, old: Any = None, **more: Any) -> dict[str, Any]:
    made = attributes(operation, obj, old, **more)
    return Seen(made, Rights(), uid="u").request()  # type: ignore[arg-type]


def test_a_request_is_seen_whole() -> None:
    kind = {"group": "", "version": "v1", "kind": "ConfigMap"}
    resource = {"group": "", "version": "v1", "resource": "configmaps"}
    assert request_of("CREATE", config_map("c")) == {
        "uid": "u",
        "kind": kind,
        "resource": resource,
        "requestKind": kind,
        "requestResource": resource,
        "name": "c",
        "namespace": "default",
        "operation": "CREATE",
        "userInfo": {"username": "jane", "groups": list(JANE.groups)},
        "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    }


@each_row(
    [
        (request_of("CREATE", node_named("n")), "namespace", None),
        (request_of("CREATE", namespace(), namespace="n"), "namespace", "n"),
        (request_of("UPDATE", pod_named(), subresource="status"), "subResource", "status"),
        (request_of("UPDATE", pod_named(), subresource="status"), "requestSubResource", "status"),
        (request_of("UPDATE", pod_named()), "subResource", None),
        (request_of("CONNECT", pod_named()), "options", None),
        (request_of("CREATE", pod_named(), kind="policy/v1/Eviction"), "kind", {"group": "policy", "version": "v1", "kind": "Eviction"}),
        (request_of("CREATE", pod_named(), kind="v1/Binding"), "kind", {"group": "", "version": "v1", "kind": "Binding"}),
        (request_of("UPDATE", pod_named(), dry_run=True), "options", {"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1", "dryRun": ["All"]}),
        (request_of("DELETE", None, pod_named(), options=DeleteOptions(grace_period_seconds=5)), "options", {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", "gracePeriodSeconds": 5}),
        (request_of("CREATE", pod_named(), user=User("x", uid="7", extra={"k": ["v"]})), "userInfo", {"username": "x", "groups": [], "uid": "7", "extra": {"k": ["v"]}}),
        (request_of("CREATE", pod_named(), resource=V1, requested=V2), "requestResource", {"group": "autoscaling", "version": "v2", "resource": V2.plural}),
    ],
)  # fmt: skip
def test_what_is_seen_of_a_request(request_: dict[str, Any], field: str, value: Any) -> None:
    assert request_.get(field) == value


def test_what_was_matched_as_another_version_says_both() -> None:
    seen = Seen(attributes("CREATE", pod_named(), resource=V2), Rights())  # type: ignore[arg-type]
    request = seen.request(V1)
    assert (request["kind"]["version"], request["requestKind"]["version"]) == ("v1", "v2")
    assert (request["resource"]["version"], request["requestResource"]["version"]) == ("v1", "v2")


def test_an_object_is_made_plain_again_when_it_changes() -> None:
    made = attributes("CREATE", config_map("c", k="v"))
    seen = Seen(made, Rights())  # type: ignore[arg-type]
    first = seen.plain("obj")
    assert seen.plain("obj") is first and first["data"] == {"k": "v"}
    assert seen.plain("old") is None
    made.obj = config_map("c", k="w")
    assert seen.plain("obj")["data"] == {"k": "w"}
    assert seen.variables()["object"]["data"] == {"k": "w"}


# --- conditions ---


def conditions(*expressions: str) -> list[MatchCondition]:
    return [MatchCondition(name="c", expression=text) for text in expressions]


@pytest.mark.parametrize(
    ("expressions", "holds"),
    [
        ([], True),
        (["true"], True),
        (["true", "false"], False),
        (["object.x == 1", "false"], False),
        (["false", "object.x == 1"], False),
        (["1"], False),
    ],
)
async def test_all_conditions_hold(expressions: list[str], holds: bool) -> None:
    assert await conditions_hold(conditions(*expressions), {"object": {}}) == holds


async def test_a_condition_that_fails_counts_where_none_is_false() -> None:
    with pytest.raises(CelError, match="no such key: x"):
        await conditions_hold(conditions("true", "object.x == 1", "object.y == 1"), {"object": {}})


# --- rounds ---


def test_who_asks_for_it_sees_an_object_once_more_after_a_change() -> None:
    made: Any = SimpleNamespace(notes={}, second=False, changed=False)
    rounds = Rounds.of(made, "hooks", {"a": 1})
    assert all(rounds.wanted(made, name) for name in ("once", "again", "last"))
    rounds.done(made, "once", "Never", changed=True)
    rounds.done(made, "again", "IfNeeded", changed=True)
    assert made.changed
    rounds.done(made, "last", "IfNeeded", changed=True)
    rounds.left({"a": 2})
    made.second = True
    rounds = Rounds.of(made, "hooks", {"a": 2})
    assert [name for name in ("once", "again", "last") if rounds.wanted(made, name)] == ["again"]


@pytest.mark.parametrize(("found", "wanted"), [({"a": 2}, False), ({"a": 3}, True)])
def test_a_change_between_the_rounds_is_one(found: dict[str, int], wanted: bool) -> None:
    made: Any = SimpleNamespace(notes={}, second=False, changed=False)
    rounds = Rounds.of(made, "hooks", {"a": 1})
    rounds.done(made, "again", "IfNeeded", changed=False)
    assert not made.changed
    rounds.left({"a": 2})
    made.second = True
    assert Rounds.of(made, "hooks", found).wanted(made, "again") == wanted


def test_a_deployment_is_no_pod() -> None:
    made = attributes("CREATE", deployment())
    assert not rule_matches(rule("*"), made, made.resource)
    assert rule_matches(rule("deployments", apiGroups=["apps"]), made, made.resource)
