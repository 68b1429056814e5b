"""Which rule of a policy is about a request, and what is wrong with a policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.apiserver.audit.builders import policy_file
from tiphys.apiserver.audit.policy import Level, Rules, load
from tiphys.apiserver.http.request import User, parse
from tiphys.machinery.configfiles import ConfigFileError

JANE = User("jane", ("devs", "system:authenticated"))
PODS = {"group": "", "resources": ["pods"]}


def level_of(tmp_path: Path, rule: dict[str, Any], method: str, path: str) -> Level:
    rules = Rules(load(policy_file(tmp_path, {"level": "Request", **rule})))
    return rules.applied_to(JANE, parse(method, path, {})).level


@pytest.mark.parametrize(
    ("rule", "method", "path", "about"),
    [
        ({}, "GET", "/healthz", True),
        ({"users": ["jane"]}, "GET", "/api/v1/pods", True),
        ({"users": ["joe"]}, "GET", "/api/v1/pods", False),
        ({"userGroups": ["devs"]}, "GET", "/api/v1/pods", True),
        ({"userGroups": ["ops"]}, "GET", "/api/v1/pods", False),
        ({"verbs": ["list"]}, "GET", "/api/v1/pods", True),
        ({"verbs": ["get"]}, "GET", "/api/v1/pods", False),
        ({"namespaces": ["a"]}, "GET", "/api/v1/namespaces/a/pods", True),
        ({"namespaces": ["a"]}, "GET", "/api/v1/namespaces/b/pods", False),
        ({"namespaces": [""]}, "GET", "/api/v1/nodes", True),
        ({"namespaces": ["a"]}, "GET", "/healthz", False),
        ({"resources": [PODS]}, "GET", "/api/v1/pods", True),
        ({"resources": [PODS]}, "GET", "/api/v1/namespaces/a/pods/p/log", False),
        ({"resources": [PODS]}, "GET", "/apis/metrics.k8s.io/v1beta1/pods", False),
        ({"resources": [{"group": "*"}]}, "GET", "/apis/metrics.k8s.io/v1beta1/pods", True),
        (
            {"resources": [{"resources": ["pods/*"]}]},
            "GET",
            "/api/v1/namespaces/a/pods/p/log",
            True,
        ),
        ({"resources": [{"resources": ["*/log"]}]}, "GET", "/api/v1/namespaces/a/pods/p/log", True),
        ({"resources": [{"resources": ["*/log"]}]}, "GET", "/api/v1/namespaces/a/pods/p", False),
        ({"resources": [{"resources": ["*"]}]}, "GET", "/api/v1/namespaces/a/pods/p/log", True),
        (
            {"resources": [{**PODS, "resourceNames": ["p"]}]},
            "GET",
            "/api/v1/namespaces/a/pods/p",
            True,
        ),
        (
            {"resources": [{**PODS, "resourceNames": ["p"]}]},
            "GET",
            "/api/v1/namespaces/a/pods/q",
            False,
        ),
        ({"nonResourceURLs": ["/healthz"]}, "GET", "/healthz", True),
        ({"nonResourceURLs": ["/healthz*"]}, "GET", "/healthz/etcd", True),
        ({"nonResourceURLs": ["*"]}, "GET", "/version", True),
        ({"nonResourceURLs": ["*"]}, "GET", "/api/v1/pods", False),
    ],
)
def test_a_rule_is_about_some_requests(
    tmp_path: Path, rule: dict[str, Any], method: str, path: str, about: bool
) -> None:
    expected = Level.REQUEST if about else Level.NONE
    assert level_of(tmp_path, rule, method, path) is expected


def test_the_first_rule_decides_and_stages_add_up(tmp_path: Path) -> None:
    first = {"level": "None", "verbs": ["get"]}
    second = {"level": "Metadata", "omitStages": ["Panic"], "omitManagedFields": False}
    file = policy_file(
        tmp_path, first, second, omitStages=["RequestReceived"], omitManagedFields=True
    )
    rules = Rules(load(file))
    assert rules.applied_to(JANE, parse("GET", "/api/v1/nodes/n", {})).level is Level.NONE
    applied = rules.applied_to(JANE, parse("DELETE", "/api/v1/nodes/n", {}))
    assert applied == (Level.METADATA, {"RequestReceived", "Panic"}, False)


def test_who_is_unknown_is_in_no_rule_of_users(tmp_path: Path) -> None:
    rules = Rules(load(policy_file(tmp_path, {"level": "Request", "userGroups": ["a"]})))
    assert rules.applied_to(None, parse("GET", "/api/v1/nodes", {})).level is Level.NONE


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, "rules[0].level: Required value"),
        (
            {"level": "All"},
            'rules[0].level: Unsupported value: "All": supported values: "Metadata", "None", '
            '"Request", "RequestResponse"',
        ),
        (
            {"level": "None", "nonResourceURLs": ["a*b"]},
            '[rules[0].nonResourceURLs[0]: Invalid value: "a*b": non-resource URL rules must begin '
            "with a '/' character, rules[0].nonResourceURLs[0]: Invalid value: \"a*b\": non-resource "
            "URL wildcards '*' must be the final character of the rule]",
        ),
        (
            {"level": "None", "nonResourceURLs": ["*"], "namespaces": ["a"]},
            'rules[0].nonResourceURLs: Invalid value: ["*"]: rules cannot apply to both regular '
            "resources and non-resource URLs",
        ),
        (
            {"level": "None", "resources": [{"resourceNames": ["a"]}]},
            'rules[0].resources.resourceNames: Invalid value: ["a"]: using resourceNames requires at '
            "least one resource",
        ),
        (
            {"level": "None", "omitStages": ["Late"]},
            'rules[0].omitStages[0]: Invalid value: "Late": allowed stages are '
            "RequestReceived,ResponseStarted,ResponseComplete,Panic",
        ),
    ],
)
def test_what_is_wrong_with_a_policy_is_said(
    tmp_path: Path, rule: dict[str, Any], expected: str
) -> None:
    file = policy_file(tmp_path, rule)
    with pytest.raises(ConfigFileError) as raised:
        load(file)
    assert str(raised.value) == f"loading audit policy file: {expected}: from file {file}"


def test_a_policy_without_rules_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigFileError, match="loaded illegal policy with 0 rules"):
        load(policy_file(tmp_path))
