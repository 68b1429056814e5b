"""What is said of an endpoint, from how its Deployment is: pure."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.inference.world import endpoint, read
from tiphys.addons.inference.endpoint import Endpoint
from tiphys.addons.inference.statuses import (
    Finding,
    findings_of,
    state_of,
    status_of,
    with_findings,
)
from tiphys.addons.inference.types.status import CertificateStatus, StatusV1
from tiphys.api import apps_v1
from tiphys.api.base import from_builtins, to_builtins

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"


def deployment(wanted: int | None = 2, generation: int = 3, **status: Any) -> apps_v1.Deployment:
    spec: dict[str, Any] = {"selector": {}, "template": {}}
    if wanted is not None:
        spec["replicas"] = wanted
    return from_builtins(
        {
            "metadata": {"name": "model", "generation": generation},
            "spec": spec,
            "status": status,
        },
        apps_v1.Deployment,
    )


DONE = {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
STUCK = {"type": "Progressing", "status": "False", "reason": "R", "message": "took too long"}
WELL = {**STUCK, "status": "True"}
ALONE = {**DONE, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}


@pytest.mark.parametrize(
    "found, wanted",
    [
        (None, ("DeploymentPending", "the Deployment is not there yet")),
        (deployment(**DONE), ("DeploymentComplete", "2 of 2 replicas are ready")),
        (
            deployment(**{**DONE, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3}),
            ("DeploymentComplete", "3 of 2 replicas are ready"),
        ),
        (
            deployment(**{**DONE, "readyReplicas": 1}, generation=4),
            ("DeploymentInProgress", "1 of 2 replicas are ready"),
        ),
        (
            deployment(**{**DONE, "updatedReplicas": 1}),
            ("DeploymentInProgress", "0 of 2 replicas are ready"),
        ),
        (
            deployment(**{**DONE, "replicas": 3}),
            ("DeploymentInProgress", "0 of 2 replicas are ready"),
        ),
        (
            deployment(**{**DONE, "availableReplicas": 1}),
            ("DeploymentInProgress", "0 of 2 replicas are ready"),
        ),
        (deployment(**DONE, conditions=[STUCK]), ("DeploymentFailed", "took too long")),
        (
            deployment(**DONE, conditions=[WELL]),
            ("DeploymentComplete", "2 of 2 replicas are ready"),
        ),
        (deployment(None, **ALONE), ("DeploymentComplete", "1 of 1 replicas are ready")),
        (
            deployment(0, observedGeneration=3),
            ("DeploymentComplete", "0 of 0 replicas are ready"),
        ),
    ],
)
def test_where_a_deployment_is(found: Any, wanted: tuple[str, str]) -> None:
    assert state_of(found) == wanted


@pytest.mark.parametrize(
    "state, addresses, ok",
    [
        ("DeploymentComplete", ["10.0.0.1", "::1"], {"DeploymentComplete", "Routed", "Ready"}),
        ("DeploymentComplete", [], {"DeploymentComplete"}),
        ("DeploymentInProgress", ["10.0.0.1"], {"DeploymentInProgress", "Routed"}),
        ("DeploymentFailed", [], {"DeploymentFailed"}),
        ("DeploymentPending", [], set()),
    ],
)
def test_one_phase_is_true(state: Any, addresses: list[str], ok: set[str]) -> None:
    found = {one.type: one for one in findings_of(state, "so it is", addresses)}
    assert list(found) == [
        *("DeploymentComplete", "DeploymentInProgress", "DeploymentFailed", "Routed", "Ready")
    ]
    assert {name for name, one in found.items() if one.ok} == ok
    assert found["Ready"].message == "so it is"
    if state in found:
        assert (found[state].reason, found[state].message) == (state, "so it is")
    routed = found["Routed"]
    where = ("Addressed", ", ".join(addresses)) if addresses else None
    nowhere = ("NoAddress", "the router has no address for it")
    assert (routed.reason, routed.message) == (where or nowhere)


def asked(**spec: Any) -> Endpoint:
    return Endpoint("model", "default", read(endpoint(**spec)).spec)


def test_a_status_says_where_everything_is() -> None:
    before = StatusV1(tls_certificate=CertificateStatus(certificate_name="c"))
    made = status_of(asked(), deployment(**DONE), NOW, before)
    assert (made.state, made.replicas, made.selector) == ("DeploymentComplete", 2, "app=model")
    assert made.tls_certificate == before.tls_certificate
    assert made.endpoints is None
    summary = made.deployment_status
    assert summary is not None
    assert to_builtins(summary) == {
        "name": "model",
        "lastUpdated": NOW,
        "deploymentObjectOverallState": "DeploymentComplete",
        "message": "2 of 2 replicas are ready",
        "reason": "DeploymentComplete",
        "status": to_builtins(deployment(**DONE).status),
    }


def test_without_a_deployment_there_is_no_summary() -> None:
    made = status_of(asked(endpointName="e"), None, NOW, StatusV1())
    assert made.state == "DeploymentPending"
    assert made.deployment_status is None and made.replicas == 0
    assert made.endpoints is not None and made.endpoints.sagemaker is not None
    assert made.endpoints.sagemaker.state == "NotRegistered"


def test_the_time_of_a_summary_is_that_of_its_change() -> None:
    first = status_of(asked(), deployment(**DONE), NOW, StatusV1())
    same = status_of(asked(), deployment(**DONE), LATER, first)
    assert same.deployment_status == first.deployment_status
    other = status_of(asked(), deployment(**ALONE), LATER, first)
    assert other.deployment_status is not None and other.deployment_status.last_updated == LATER


@pytest.mark.parametrize(
    "own, prefill, wanted",
    [
        (DONE, DONE, ("DeploymentComplete", "prefill: 2 of 2 replicas are ready")),
        (DONE, ALONE, ("DeploymentInProgress", "prefill: 0 of 2 replicas are ready")),
        (ALONE, DONE, ("DeploymentInProgress", "0 of 2 replicas are ready")),
    ],
)
def test_both_halves_have_to_be_there(own: Any, prefill: Any, wanted: tuple[str, str]) -> None:
    made = status_of(asked(), deployment(**own), NOW, StatusV1(), deployment(**prefill))
    assert made.deployment_status is not None
    assert (made.state, made.deployment_status.message) == wanted


@pytest.mark.parametrize(
    "metrics, wanted",
    [
        (None, None),
        ({"enabled": False}, {"enabled": False, "state": "Disabled"}),
        (
            {
                "enabled": True,
                "metricsScrapeIntervalSeconds": 20,
                "modelMetrics": {"path": "/m", "port": 9000},
            },
            {
                "enabled": True,
                "state": "Enabled",
                "metricsScrapeIntervalSeconds": 20,
                "modelMetrics": {"path": "/m", "port": 9000},
            },
        ),
    ],
)
def test_what_is_said_of_metrics(metrics: Any, wanted: Any) -> None:
    spec = asked(**({"metrics": metrics} if metrics is not None else {}))
    found = status_of(spec, None, NOW, StatusV1()).metrics_status
    if wanted is None:
        assert found is None
    else:
        made = to_builtins(found)
        assert {key: made.get(key) for key in wanted} == wanted
        assert bool(made.get("modelMetrics")) is bool(wanted.get("modelMetrics"))


def test_conditions_keep_their_time_and_go_with_what_they_were_of() -> None:
    first = with_findings([], [Finding("A", True, "R", "m"), Finding("B", False, "R", "m")], 1, 0)
    assert [(one.type, one.status, one.observed_generation) for one in first] == [
        ("A", "True", 1),
        ("B", "False", 1),
    ]
    second = with_findings(first, [Finding("A", True, "S", "n")], 2, 100)
    (one,) = second
    assert (one.reason, one.message, one.observed_generation) == ("S", "n", 2)
    assert one.last_transition_time == first[0].last_transition_time
    (changed,) = with_findings(second, [Finding("A", False, "S", "n")], 2, 100)
    assert changed.last_transition_time != one.last_transition_time
