"""Labels of a pod's own that its affinity and spread ask for, merged when it is created."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.builders import call, refused
from tests.builders import pod
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import LabelSelector, ObjectMeta
from tiphys.apiserver.resources.podspec.labelkeys import label_key_errors
from tiphys.testing import LocalCluster

PODS = "/api/v1/namespaces/default/pods"
APP: dict[str, Any] = {"matchLabels": {"app": "web"}}
KEYS = {"matchLabelKeys": ["pod-template-hash", "none"], "mismatchLabelKeys": ["tenant"]}


def expression(key: str, operator: str, value: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": [value]}


SAME = expression("pod-template-hash", "In", "1")
OTHER = expression("tenant", "NotIn", "t")


@pytest.fixture
async def account(server: LocalCluster) -> None:
    made = core_v1.ServiceAccount(metadata=ObjectMeta(name="default", namespace="default"))
    await server.client.create(made)


async def created(server: LocalCluster, **spec: Any) -> dict[str, Any]:
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "labels": {"pod-template-hash": "1", "tenant": "t"}},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }
    answer: dict[str, Any] = (await call(server, "POST", PODS, body))["spec"]
    return answer


@pytest.mark.parametrize("kind", ["podAffinity", "podAntiAffinity"])
async def test_terms_get_requirements_for_the_pods_own_values(
    server: LocalCluster, account: None, kind: str
) -> None:
    term = {"topologyKey": "zone", "labelSelector": APP, **KEYS}
    rules = {
        "requiredDuringSchedulingIgnoredDuringExecution": [term],
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": term}],
    }
    affinity = (await created(server, affinity={kind: rules}))["affinity"][kind]
    [required] = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
    [preferred] = affinity["preferredDuringSchedulingIgnoredDuringExecution"]
    for merged in (required, preferred["podAffinityTerm"]):
        assert merged["labelSelector"] == {**APP, "matchExpressions": [SAME, OTHER]}
        assert merged["matchLabelKeys"] == KEYS["matchLabelKeys"]


async def test_constraints_get_them_too_and_none_where_they_choose_nothing(
    server: LocalCluster, account: None
) -> None:
    spread = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    merging = {**spread, "labelSelector": APP, "matchLabelKeys": ["pod-template-hash"]}
    plain = {**spread, "topologyKey": "rack"}
    spec = await created(server, topologySpreadConstraints=[merging, plain])
    first, second = spec["topologySpreadConstraints"]
    assert first["labelSelector"] == {**APP, "matchExpressions": [SAME]}
    assert "labelSelector" not in second


def selector(**fields: Any) -> LabelSelector:
    return from_builtins(fields, LabelSelector)


TWICE = "exists in both matchLabelKeys and labelSelector"


@pytest.mark.parametrize(
    ("match", "mismatch", "chosen", "expected"),
    [
        (["a"], [], selector(), []),
        (["a"], ["b"], selector(), []),
        ([], [], None, []),
        (
            ["a"],
            ["b"],
            None,
            [
                ("t.matchLabelKeys", "must not be specified when labelSelector is not set"),
                ("t.mismatchLabelKeys", "must not be specified when labelSelector is not set"),
            ],
        ),
        (
            ["b", "a"],
            ["a"],
            selector(),
            [("t.matchLabelKeys[1]", "exists in both matchLabelKeys and mismatchLabelKeys")],
        ),
        # The requirement that was merged is there once; another one with the key is the user's.
        (["a"], [], selector(matchExpressions=[expression("a", "In", "1")]), []),
        (
            ["b", "a"],
            [],
            selector(matchLabels={"a": "1"}, matchExpressions=[expression("a", "In", "1")]),
            [("t[1]", TWICE)],
        ),
        (
            ["a"],
            [],
            selector(matchExpressions=[expression("a", "Exists", "1"), expression("a", "In", "1")]),
            [("t[0]", TWICE)],
        ),
        ([], ["a"], selector(matchExpressions=[expression("a", "NotIn", "1")] * 2), []),
    ],
)
def test_keys_that_cannot_be(
    match: list[str], mismatch: list[str], chosen: LabelSelector | None, expected: list[Any]
) -> None:
    violations = label_key_errors("t", match, mismatch, chosen)
    assert [(one.field, one.detail.rpartition(": ")[2]) for one in violations] == expected


@pytest.mark.parametrize("key", ["", "-", "a b", "a/b/c"])
def test_keys_are_names_of_labels(key: str) -> None:
    assert {one.field for one in label_key_errors("t", [key], [], selector())} == {
        "t.matchLabelKeys[0]"
    }


async def test_a_pod_that_names_a_label_twice_is_refused(
    server: LocalCluster, account: None
) -> None:
    made = pod("p")
    made.metadata.labels = {"app": "web"}
    made.spec.topology_spread_constraints = [
        core_v1.TopologySpreadConstraint(
            max_skew=1,
            topology_key="zone",
            when_unsatisfiable="DoNotSchedule",
            label_selector=selector(**APP),
            match_label_keys=["app"],
        )
    ]
    error = await refused(server.client.create(made))
    assert error.code == 422
    assert error.status.message == (
        'Pod "p" is invalid: spec.topologySpreadConstraints[0][0]: Invalid value: "app": ' + TWICE
    )
