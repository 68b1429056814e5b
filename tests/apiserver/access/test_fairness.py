"""Which requests a flow schema is about, and how many seats a level has and lends."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.access.builders import stored, write
from tiphys.api import flowcontrol_v1 as v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.apiserver.access.fairness import Fairness
from tiphys.apiserver.access.flowschemas import matches
from tiphys.apiserver.access.prioritylevel import Level
from tiphys.apiserver.http.request import User, parse

JANE = User("jane", ("devs", "system:authenticated"))
ROBOT = User("system:serviceaccount:ns:robot", ("system:serviceaccounts",))


def schema(name: str = "s", precedence: int = 1000, **rule: Any) -> v1.FlowSchema:
    spec = {
        "matchingPrecedence": precedence,
        "priorityLevelConfiguration": {"name": "level"},
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [rule] if rule else [],
    }
    made = v1.FlowSchema(metadata=ObjectMeta(name=name, uid=f"{name}-uid"))
    made.spec = from_builtins(spec, v1.FlowSchemaSpec)
    return made


def user(name: str) -> dict[str, Any]:
    return {"kind": "User", "user": {"name": name}}


def group(name: str) -> dict[str, Any]:
    return {"kind": "Group", "group": {"name": name}}


def account(namespace: str, name: str) -> dict[str, Any]:
    return {"kind": "ServiceAccount", "serviceAccount": {"namespace": namespace, "name": name}}


EVERY_PATH = [{"verbs": ["*"], "nonResourceURLs": ["*"]}]


@pytest.mark.parametrize(
    ("subject", "who", "matching"),
    [
        (user("jane"), JANE, True),
        (user("joe"), JANE, False),
        (user("*"), JANE, True),
        (user("devs"), JANE, False),
        (group("devs"), JANE, True),
        (group("ops"), JANE, False),
        (group("*"), JANE, True),
        (account("ns", "robot"), ROBOT, True),
        (account("ns", "*"), ROBOT, True),
        (account("ns", "rob"), ROBOT, False),
        (account("n", "*"), ROBOT, False),
        (account("other", "robot"), ROBOT, False),
        (account("ns", "*"), JANE, False),
        ({"kind": "User"}, JANE, False),
        ({"kind": "Team", "user": {"name": "*"}}, JANE, False),
    ],
)
def test_whom_a_schema_is_about(subject: dict[str, Any], who: User, matching: bool) -> None:
    about = schema(subjects=[subject], nonResourceRules=EVERY_PATH)
    assert matches(about, who, parse("GET", "/version", {})) == matching


def test_a_schema_without_rules_is_about_nobody() -> None:
    assert not matches(schema(), JANE, parse("GET", "/version", {}))
    assert not matches(schema(subjects=[user("*")]), JANE, parse("GET", "/version", {}))


PODS: dict[str, Any] = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}


@pytest.mark.parametrize(
    ("rule", "request_line", "matching"),
    [
        (PODS | {"namespaces": ["a"]}, "GET /api/v1/namespaces/a/pods/p", True),
        (PODS | {"namespaces": ["*"]}, "GET /api/v1/namespaces/a/pods/p", True),
        (PODS | {"namespaces": ["b"]}, "GET /api/v1/namespaces/a/pods/p", False),
        (PODS | {"namespaces": ["a"]}, "DELETE /api/v1/namespaces/a/pods/p", False),
        (PODS | {"namespaces": ["a"]}, "GET /api/v1/namespaces/a/pods/p/log", False),
        (PODS | {"namespaces": ["a"]}, "GET /api/v1/namespaces/a/services/p", False),
        (PODS | {"namespaces": ["a"]}, "GET /apis/apps/v1/namespaces/a/pods/p", False),
        (PODS | {"clusterScope": True}, "GET /api/v1/namespaces/a/pods/p", False),
        (PODS | {"resources": ["nodes"], "clusterScope": True}, "GET /api/v1/nodes/n", True),
        (PODS | {"resources": ["nodes"], "namespaces": ["*"]}, "GET /api/v1/nodes/n", False),
        (PODS | {"resources": ["*"], "clusterScope": True}, "GET /api/v1/nodes/n/status", True),
        (PODS | {"resources": ["*"], "clusterScope": True}, "GET /version", False),
    ],
)
def test_which_resources_a_schema_is_about(
    rule: dict[str, Any], request_line: str, matching: bool
) -> None:
    method, path = request_line.split()
    about = schema(subjects=[user("*")], resourceRules=[rule])
    assert matches(about, JANE, parse(method, path, {})) == matching


@pytest.mark.parametrize(
    ("url", "path", "matching"),
    [
        ("/healthz", "/healthz", True),
        ("/healthz", "/healthz/ping", False),
        ("/healthz/*", "/healthz/ping", True),
        ("/healthz/*", "/healthz", False),
        ("*", "/metrics", True),
        ("*", "/api/v1/nodes", False),
    ],
)
def test_which_paths_a_schema_is_about(url: str, path: str, matching: bool) -> None:
    rules = [{"verbs": ["get"], "nonResourceURLs": [url]}]
    about = schema(subjects=[user("*")], nonResourceRules=rules)
    assert matches(about, JANE, parse("GET", path, {})) == matching
    assert not matches(about, JANE, parse("POST", "/healthz", {}))


# --- levels ---


def level(name: str, shares: int | None = None, **limited: Any) -> v1.PriorityLevelConfiguration:
    limited.setdefault("limitResponse", {"type": "Reject"})
    if shares is not None:
        limited["nominalConcurrencyShares"] = shares
    made = v1.PriorityLevelConfiguration(metadata=ObjectMeta(name=name, uid=f"{name}-uid"))
    spec = {"type": "Limited", "limited": limited}
    made.spec = from_builtins(spec, v1.PriorityLevelConfigurationSpec)
    return made


def levels(*configured: v1.PriorityLevelConfiguration, seats: int = 100) -> dict[str, Level]:
    fairness = Fairness(stored(*configured), seats)
    fairness.flow_of(JANE, parse("GET", "/version", {}))
    return fairness.levels


def test_levels_share_the_seats() -> None:
    shared = levels(level("a", 10), level("b", 30), level("c", 0))
    assert {name: one.nominal for name, one in shared.items()} == {"a": 25, "b": 75, "c": 0}


def test_a_level_has_thirty_shares_when_it_says_nothing() -> None:
    assert levels(level("a"), level("b", 10))["a"].nominal == 75


def test_what_a_level_lends_and_borrows() -> None:
    shared = levels(
        level("a", 1, lendablePercent=50, borrowingLimitPercent=25), level("b", 1), seats=80
    )
    assert (shared["a"].nominal, shared["a"].lendable, shared["a"].borrowing) == (40, 20, 10)
    assert (shared["b"].lendable, shared["b"].borrowing) == (0, 80)


def test_a_levels_queues() -> None:
    queuing = {"queues": 8, "handSize": 3, "queueLengthLimit": 5}
    waiting = {"type": "Queue", "queuing": queuing}
    shared = levels(level("a", 1, limitResponse=waiting), level("b", 1))
    assert (len(shared["a"].queues), shared["a"].hand, shared["a"].length) == (8, 3, 5)
    assert (len(shared["b"].queues), shared["b"].hand, shared["b"].length) == (0, 1, 0)


def test_the_first_schema_in_order_decides() -> None:
    about = {"subjects": [user("*")], "nonResourceRules": EVERY_PATH}
    store = stored(level("level", 1), schema("b", 5, **about), schema("c", 7, **about))
    fairness = Fairness(store)
    version = parse("GET", "/version", {})
    assert fairness.flow_of(JANE, version).schema == "b"
    write(store, schema("a", 5, **about))
    assert fairness.flow_of(JANE, version).schema == "a"
    assert fairness.flow_of(JANE, version).key == "a/jane"


def test_a_schema_without_its_level_is_passed_over() -> None:
    about = {"subjects": [user("*")], "nonResourceRules": EVERY_PATH}
    fairness = Fairness(stored(level("other", 1), schema("a", 5, **about)))
    assert fairness.flow_of(JANE, parse("GET", "/version", {})).level.exempt
