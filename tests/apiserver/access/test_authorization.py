"""RBAC: which rules allow what, and which bindings give rules to whom. Refusals beside grants."""

from __future__ import annotations

import pytest

from tests.apiserver.access.builders import remove, stored, write
from tiphys.api import rbac_v1
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.apiserver.access.asked import Asked, refusal
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.access.rbacrules import aggregated, rule_allows
from tiphys.apiserver.http.request import MASTERS, User
from tiphys.store.store import Store

JANE = User("jane", ("devs", "system:authenticated"))
GROUP = "rbac.authorization.k8s.io"


def rule(verbs: str, resources: str, names: str = "", groups: str = "core") -> rbac_v1.PolicyRule:
    """`groups`: core is the group without a name."""
    api_groups = ["" if group == "core" else group for group in groups.split()]
    return rbac_v1.PolicyRule(verbs.split(), api_groups, resources.split(), names.split())


def question(text: str) -> Asked:
    """verb resource[.group][/subresource] [name]"""
    verb, what, *rest = text.split()
    resource, _, subresource = what.partition("/")
    plural, _, group = resource.partition(".")
    return Asked(verb, group, plural, subresource, "ns", rest[0] if rest else "")


@pytest.mark.parametrize(
    ("owned", "allowed", "refused"),
    [
        (
            rule("get list", "pods"),
            ["get pods", "list pods", "get pods a"],
            ["watch pods", "get services", "get pods.apps", "get pods/log", "* pods"],
        ),
        (rule("*", "pods"), ["delete pods a"], ["delete nodes a"]),
        (
            rule("get", "pods", "a b"),
            ["get pods a", "get pods b"],
            ["get pods", "get pods c", "list pods a", "get pods ab"],
        ),
        (rule("create", "pods", "a"), ["create pods a"], ["create pods"]),
        (rule("get", "pods/log"), ["get pods/log a"], ["get pods a", "get pods/exec a"]),
        (
            rule("update", "*/status"),
            ["update pods/status a", "update nodes/status"],
            ["update pods a", "update pods/scale"],
        ),
        (rule("get", "*"), ["get pods", "get pods/log a"], ["get pods.apps", "list pods"]),
        (rule("get", "pods/*"), [], ["get pods", "get pods/log"]),
        (rule("get", "deployments", groups="apps"), ["get deployments.apps"], ["get deployments"]),
        (rule("get", "things", groups="*"), ["get things.a", "get things"], ["get other.a"]),
        (rule("get", "pods", "*"), [], ["get pods", "get pods a"]),
        (rbac_v1.PolicyRule(["get"], non_resource_urls=["*"]), [], ["get pods"]),
        (rbac_v1.PolicyRule(["get"], [""], []), [], ["get pods"]),
        (rbac_v1.PolicyRule([], [""], ["pods"]), [], ["get pods"]),
        (rbac_v1.PolicyRule(["get"], [], ["pods"]), [], ["get pods"]),
    ],
)
def test_what_a_rule_allows(
    owned: rbac_v1.PolicyRule, allowed: list[str], refused: list[str]
) -> None:
    assert [text for text in allowed if not rule_allows(owned, question(text))] == []
    assert [text for text in refused if rule_allows(owned, question(text))] == []


@pytest.mark.parametrize(
    ("url", "allowed", "refused"),
    [
        ("/healthz", ["/healthz"], ["/healthz/", "/healthz/ping", "/health"]),
        ("/healthz/*", ["/healthz/", "/healthz/ping"], ["/healthz", "/livez/ping"]),
        ("*", ["/", "/metrics"], []),
        ("/a*", ["/a", "/ab/c"], ["/b"]),
        ("/*/a", [], ["/b/a"]),
    ],
)
def test_which_paths_a_rule_allows(url: str, allowed: list[str], refused: list[str]) -> None:
    owned = rbac_v1.PolicyRule(["get"], ["*"], ["*"], non_resource_urls=[url])
    assert [path for path in allowed if not rule_allows(owned, Asked("get", path=path))] == []
    assert [path for path in refused if rule_allows(owned, Asked("get", path=path))] == []
    assert not rule_allows(owned, Asked("put", path=allowed[0] if allowed else "/"))


def test_a_rule_of_resources_allows_no_path() -> None:
    assert not rule_allows(rule("*", "*", groups="*"), Asked("get", path="/metrics"))


# --- bindings ---


def role(name: str, *rules: rbac_v1.PolicyRule, namespace: str = "ns") -> rbac_v1.Role:
    return rbac_v1.Role(metadata=ObjectMeta(name=name, namespace=namespace), rules=list(rules))


def cluster_role(name: str, *rules: rbac_v1.PolicyRule, **labels: str) -> rbac_v1.ClusterRole:
    return rbac_v1.ClusterRole(metadata=ObjectMeta(name=name, labels=labels), rules=list(rules))


def subject(text: str) -> rbac_v1.Subject:
    """User:name, Group:name, or ServiceAccount:[namespace/]name."""
    kind, _, name = text.partition(":")
    namespace, _, name = name.rpartition("/")
    return rbac_v1.Subject(kind=kind, name=name, namespace=namespace)


def binding(subjects: str, to: str, namespace: str = "ns") -> rbac_v1.RoleBinding:
    """`to`: Role:name or ClusterRole:name."""
    kind, _, name = to.partition(":")
    return rbac_v1.RoleBinding(
        metadata=ObjectMeta(name="b", namespace=namespace),
        role_ref=rbac_v1.RoleRef(api_group=GROUP, kind=kind, name=name),
        subjects=[subject(text) for text in subjects.split()],
    )


def cluster_binding(subjects: str, to: str) -> rbac_v1.ClusterRoleBinding:
    return rbac_v1.ClusterRoleBinding(
        metadata=ObjectMeta(name="b"),
        role_ref=rbac_v1.RoleRef(api_group=GROUP, kind="ClusterRole", name=to),
        subjects=[subject(text) for text in subjects.split()],
    )


READ = rule("get", "pods")


def may_read(store: Store, user: User, namespace: str) -> bool:
    return Authorizer(store).authorize(user, Asked("get", "", "pods", "", namespace, "a"))[0]


@pytest.mark.parametrize(
    ("subjects", "user", "allowed"),
    [
        ("User:jane", JANE, True),
        ("User:joe", JANE, False),
        ("User:devs", JANE, False),
        ("Group:devs", JANE, True),
        ("Group:jane", JANE, False),
        ("Group:ops", JANE, False),
        ("ServiceAccount:jane", JANE, False),
        ("ServiceAccount:sa", User("system:serviceaccount:ns:sa"), True),
        ("ServiceAccount:sa", User("system:serviceaccount:other:sa"), False),
        ("ServiceAccount:other/sa", User("system:serviceaccount:other:sa"), True),
        ("ServiceAccount:other/sa", User("system:serviceaccount:ns:sa"), False),
        ("User:joe Group:devs", JANE, True),
        ("", JANE, False),
    ],
)
def test_whom_a_binding_is_about(subjects: str, user: User, allowed: bool) -> None:
    store = stored(role("r", READ), binding(subjects, "Role:r"))
    assert may_read(store, user, "ns") == allowed


def test_a_role_binding_holds_in_its_namespace_alone() -> None:
    store = stored(cluster_role("r", READ), binding("User:jane", "ClusterRole:r"))
    assert may_read(store, JANE, "ns")
    assert not may_read(store, JANE, "other")
    assert not may_read(store, JANE, "")


def test_a_role_binding_opens_no_paths() -> None:
    everything = rbac_v1.PolicyRule(["*"], ["*"], ["*"], non_resource_urls=["*"])
    store = stored(cluster_role("r", everything), binding("User:jane", "ClusterRole:r"))
    assert not Authorizer(store).authorize(JANE, Asked("get", path="/metrics"))[0]
    write(store, cluster_binding("User:jane", "r"))
    assert Authorizer(store).authorize(JANE, Asked("get", path="/metrics"))[0]


def test_a_role_of_another_namespace_is_not_meant() -> None:
    store = stored(role("r", READ, namespace="other"), binding("User:jane", "Role:r"))
    assert not may_read(store, JANE, "ns")
    assert not may_read(store, JANE, "other")


def test_a_role_is_no_cluster_role() -> None:
    store = stored(role("r", READ), binding("User:jane", "ClusterRole:r"))
    assert not may_read(store, JANE, "ns")
    write(store, cluster_binding("User:jane", "r"))
    assert not may_read(store, JANE, "ns")


def test_a_cluster_role_binding_holds_everywhere() -> None:
    store = stored(cluster_role("r", READ), cluster_binding("User:jane", "r"))
    assert may_read(store, JANE, "ns") and may_read(store, JANE, "")


def test_what_changes_counts_at_once() -> None:
    reader = cluster_role("r", READ)
    bound = cluster_binding("User:jane", "r")
    store = stored(reader, bound)
    authorizer = Authorizer(store)
    asked = Asked("get", "", "pods", "", "ns", "a")
    assert authorizer.authorize(JANE, asked)[0]
    write(store, cluster_role("r", rule("list", "pods")))
    assert not authorizer.authorize(JANE, asked)[0]
    write(store, reader)
    assert authorizer.authorize(JANE, asked)[0]
    write(store, cluster_binding("User:joe", "r"))
    assert not authorizer.authorize(JANE, asked)[0]
    write(store, bound)
    remove(store, reader)
    assert not authorizer.authorize(JANE, asked)[0]
    write(store, reader)
    remove(store, bound)
    assert not authorizer.authorize(JANE, asked)[0]


def test_masters_may_everything_and_nobody_else_without_a_rule() -> None:
    authorizer = Authorizer(stored())
    asked = Asked("delete", "", "nodes", name="n")
    assert authorizer.authorize(User("x", (MASTERS,)), asked)[0]
    assert not authorizer.authorize(User(MASTERS), asked)[0]


def test_only_nodes_are_judged_as_nodes() -> None:
    authorizer = Authorizer(stored(), nodes=lambda user, asked: asked.verb == "get")
    node = User("system:node:one", ("system:nodes",))
    assert authorizer.authorize(node, Asked("get", "", "nodes"))[0]
    assert not authorizer.authorize(node, Asked("list", "", "nodes"))[0]
    assert not authorizer.authorize(JANE, Asked("get", "", "nodes"))[0]


def test_a_node_has_what_rbac_gives_it_as_well() -> None:
    authorizer = Authorizer(stored(cluster_role("r", READ), cluster_binding("Group:ns", "r")))
    bound = stored(cluster_role("r", READ), cluster_binding("Group:system:nodes", "r"))
    node = User("system:node:one", ("system:nodes",))
    asked = Asked("get", "", "pods", "", "ns", "a")
    assert not authorizer.authorize(node, asked)[0]
    assert Authorizer(bound).authorize(node, asked)[0]


def test_an_answer_names_what_allows_it() -> None:
    store = stored(role("r", READ), binding("Group:devs ServiceAccount:sa", "Role:r"))
    asked = Asked("get", "", "pods", "", "ns", "a")
    assert Authorizer(store).authorize(JANE, asked) == (
        True,
        'RBAC: allowed by RoleBinding "b/ns" of Role "r" to Group "devs"',
    )
    account = User("system:serviceaccount:ns:sa")
    assert Authorizer(store).authorize(account, asked)[1].endswith('to ServiceAccount "sa/ns"')


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            Asked("get", "apps", "deployments", "scale", "ns", "web"),
            'deployments.apps "web" is forbidden: User "jane" cannot get resource '
            '"deployments/scale" in API group "apps" in the namespace "ns"',
        ),
        (
            Asked("list", "", "nodes"),
            'nodes is forbidden: User "jane" cannot list resource "nodes" in API group "" '
            "at the cluster scope",
        ),
        (
            Asked("get", path="/metrics"),
            'forbidden: User "jane" cannot get path "/metrics"',
        ),
    ],
)
def test_a_refusal_says_who_and_what(asked: Asked, message: str) -> None:
    error = refusal(JANE, asked)
    assert (error.code, error.status.message) == (403, message)


def test_an_aggregating_role_gathers_what_its_selectors_choose() -> None:
    wanted = LabelSelector(match_labels={"to": "view"})
    view = cluster_role("view", to="view")
    view.aggregation_rule = rbac_v1.AggregationRule(cluster_role_selectors=[wanted])
    view.rules = [rule("delete", "pods")]
    others = [
        cluster_role("b", rule("get", "b"), READ, to="view"),
        cluster_role("a", READ, to="view"),
        cluster_role("c", rule("get", "secrets"), to="edit"),
    ]
    assert aggregated(view, [view, *others]) == [READ, rule("get", "b")]
    assert aggregated(others[0], others) == []
