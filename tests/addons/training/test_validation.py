"""What is wrong with a job, with the path of its field: by the schema, or by the webhook."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.addons.training.builders import job, job_body
from tiphys.addons.training.protocol import ProtocolError, read_status, reason_of
from tiphys.addons.training.types import HyperPodPyTorchJob
from tiphys.addons.training.validation import errors_of, groups_of_numbers
from tiphys.addons.training.webhook import review, webhooks

RULES = "spec.runPolicy.logMonitoringConfiguration[0]"


def rule(**fields: Any) -> dict[str, Any]:
    """A job with one rule for logs."""
    made = {"name": "r", "logPattern": "loss=(.*)", **fields}
    return {"runPolicy": {"logMonitoringConfiguration": [made]}}


@pytest.mark.parametrize(
    ("spec", "path", "words"),
    [
        (rule(logPattern="loss=("), f"{RULES}.logPattern", "is no regular expression: missing )"),
        (rule(logPattern="(a)(b)"), f"{RULES}.logPattern", "at most one capturing group"),
        (rule(logPattern="a" * 2049), f"{RULES}.logPattern", "no more than 2048 characters"),
        (rule(logPattern=""), f"{RULES}.logPattern", "Required value"),
        (rule(stopPattern="[z-a]"), f"{RULES}.stopPattern", "bad character range"),
        (
            rule(operator="ge", metricThreshold=3),
            f"{RULES}.operator",
            'Unsupported value: "ge": supported values: "gt", "lt", "eq", "gteq", "lteq"',
        ),
        (rule(operator="gt"), f"{RULES}.metricThreshold", "must be set when operator is"),
        (rule(metricThreshold=3), f"{RULES}.operator", "must be set when metricThreshold is"),
        (
            rule(logPattern="loss", operator="gt", metricThreshold=3),
            f"{RULES}.logPattern",
            "must have a group",
        ),
        # One mistake is told once.
        (
            rule(logPattern="(", operator="gt", metricThreshold=3),
            f"{RULES}.logPattern",
            "is no regular expression",
        ),
        (rule(name=""), f"{RULES}.name", "Required value"),
        ({"nprocPerNode": "many"}, "spec.nprocPerNode", 'Invalid value: "many"'),
        ({"nprocPerNode": "0"}, "spec.nprocPerNode", 'Invalid value: "0"'),
        ({"nprocPerNode": "10000"}, "spec.nprocPerNode", 'Invalid value: "10000"'),
        (
            {"elasticPolicy": {"minReplicas": 5, "maxReplicas": 4}},
            "spec.elasticPolicy.minReplicas",
            "must not be greater than maxReplicas (4)",
        ),
        (
            {"elasticPolicy": {"maxReplicas": 3}},
            "spec.replicaSpecs[0].replicas",
            "must not be greater than elasticPolicy.maxReplicas (3)",
        ),
        (
            {"elasticPolicy": {"replicaIncrementStep": 1, "replicaDiscreteValues": [4]}},
            "spec.elasticPolicy.replicaDiscreteValues",
            "Forbidden: may not be set with replicaIncrementStep",
        ),
        (
            {"elasticPolicy": {"maxReplicas": 4, "replicaDiscreteValues": [4, 8]}},
            "spec.elasticPolicy.replicaDiscreteValues[1]",
            "Invalid value: 8",
        ),
    ],
)
def test_what_cannot_run(spec: dict[str, Any], path: str, words: str) -> None:
    errors = errors_of(job(**spec))
    assert [error.field for error in errors] == [path]
    assert words in errors[0].detail


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"replicas": 0}, "spec.replicaSpecs[0].replicas"),
        ({"maxReplicas": 3}, "spec.replicaSpecs[0].replicas"),
        ({"name": "Pod"}, "spec.replicaSpecs[0].name"),
        ({"template": None}, "spec.replicaSpecs[0].template.spec.containers"),
    ],
)
def test_groups_that_cannot_be(change: dict[str, Any], path: str) -> None:
    body = job_body()
    body["spec"]["replicaSpecs"][0].update(change)
    made = msgspec.convert(body, HyperPodPyTorchJob)
    assert [error.field for error in errors_of(made)] == [path]


def test_a_stop_pattern_that_is_none_does_not_hide_what_else_is_wrong() -> None:
    wrong = rule(logPattern="loss", stopPattern="[", operator="gt", metricThreshold=3)
    assert [error.field for error in errors_of(job(**wrong))] == [
        f"{RULES}.stopPattern",
        f"{RULES}.logPattern",
    ]


def test_names_of_groups_and_rules_are_there_once() -> None:
    twice = job(runPolicy={"logMonitoringConfiguration": [{"name": "r", "logPattern": "a"}] * 2})
    assert [error.field for error in errors_of(twice)] == [
        "spec.runPolicy.logMonitoringConfiguration[1].name"
    ]
    groups = job()
    groups.spec.replica_specs *= 2
    assert [error.field for error in errors_of(groups)] == ["spec.replicaSpecs[1].name"]
    groups.spec.replica_specs = []
    assert [error.field for error in errors_of(groups)] == ["spec.replicaSpecs"]


@pytest.mark.parametrize("value", ["auto", "cpu", "gpu", "1", "9999"])
def test_processes_are_a_word_or_a_number(value: str) -> None:
    assert not errors_of(job(nprocPerNode=value))


@pytest.mark.parametrize(
    ("name", "replicas", "spares", "elastic", "is_fine"),
    [
        ("a" * 57, 10, 0, {}, True),
        ("a" * 57, 11, 0, {}, False),
        ("a" * 57, 10, 1, {}, False),
        ("a" * 57, 2, 0, {"maxReplicas": 10}, True),
        ("a" * 57, 2, 0, {"maxReplicas": 11}, False),
        ("A", 1, 0, {}, False),
        ("a.b", 1, 0, {}, False),
        ("-a", 1, 0, {}, False),
    ],
)
def test_the_last_pod_has_the_longest_name(
    name: str, replicas: int, spares: int, elastic: dict[str, int], is_fine: bool
) -> None:
    policy = {"elasticPolicy": elastic} if elastic else {}
    errors = errors_of(job(name, replicas, spares, **policy))
    assert [error.field for error in errors] == ([] if is_fine else ["metadata.name"])


@pytest.mark.parametrize(
    ("pattern", "groups"),
    [
        ("a", 0),
        ("(a)", 1),
        ("(a)(b)", 2),
        ("(a(b)(c))", 1),
        ("(?:a)(b)", 1),
        ("(?P<x>a)", 1),
        ("(?P=x)", 0),
        (r"\((a)\)", 1),
        ("[(](a)[)]", 1),
        ("[]()](a)", 1),
        ("(?:(a))(b)", 2),
        (")(a)", 1),
    ],
)
def test_groups_that_stand_beside_each_other_are_counted(pattern: str, groups: int) -> None:
    assert groups_of_numbers(pattern) == groups


@pytest.mark.parametrize(
    "pattern",
    [
        r".*\[Epoch 0 Batch \d+.*'training_loss_step': (\d+(\.\d+)?).*",  # the published example
        r"(?:a|b)=(\d+)",
        r"[(](\d+)[)]",
        r"\(a\) \(b\) (c)",
        r"[]()](x)",
        r"(?P<loss>\d+)",
    ],
)
def test_patterns_that_are_fine(pattern: str) -> None:
    assert not errors_of(job(**rule(logPattern=pattern)))


def test_a_name_leaves_room_for_its_pods() -> None:
    assert not errors_of(job("a" * 57))
    assert [error.field for error in errors_of(job("a" * 58))] == ["metadata.name"]


def test_the_webhook_names_all_fields() -> None:
    body = job_body(nprocPerNode="many", **rule(logPattern="("))
    asked = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
    asked["request"] = {"uid": "u", "object": body}  # type: ignore[assignment]
    response = msgspec.json.decode(review(msgspec.json.encode(asked)))["response"]
    assert (response["allowed"], response["status"]["code"]) == (False, 422)
    causes = [cause["field"] for cause in response["status"]["details"]["causes"]]
    assert causes == ["spec.nprocPerNode", f"{RULES}.logPattern"]


# --- what agents say ---


def test_a_status_is_read() -> None:
    said = read_status(
        b'{"status":"faulted","transitions":{"FAULTED":"2026-11-27T00:02:49.406010+00:00"},'
        b'"reason":"LogHang_my rule","message":"m","ipversion":"1-4","assigned_rank":"2"}'
    )
    assert (said.state, said.reason, said.rank, said.epoch) == (
        "faulted",
        "LogHang_my_rule",
        2,
        "1-4",
    )


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"status":1}', b'{"status":"ready","assigned_rank":"x"}']
)
def test_what_no_agent_says(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_status(body)


def test_what_agents_write_is_bounded() -> None:
    body = {"status": "faulted", "reason": "R" * 999, "message": "m" * 99999}
    said = read_status(msgspec.json.encode(body))
    assert (len(said.reason), len(said.message)) == (128, 1024)
    assert reason_of("0 rules, <b>") == "Agent_0_rules,_b"


# --- the webhook ---


def test_jobs_are_judged_when_they_are_written_and_a_webhook_that_is_away_stops_nobody() -> None:
    """The operator itself fails what cannot run, in the same words."""
    [hook] = webhooks("fd00::1", 9443, "root")
    assert hook.client_config.url == "https://[fd00::1]:9443/validate"
    assert hook.client_config.ca_bundle == b"root"
    assert (hook.failure_policy, hook.side_effects, hook.timeout_seconds) == ("Ignore", "None", 5)
    [written] = hook.rules
    assert (written.operations, written.resources) == (
        ["CREATE", "UPDATE"],
        ["hyperpodpytorchjobs"],
    )


@pytest.mark.parametrize(
    ("metadata", "asked", "allowed"),
    [
        ({"name": "train"}, "", True),
        ({"generateName": "train-"}, "", True),
        ({}, "train", True),
        ({"name": "Train"}, "", False),
        ({"name": "Train", "deletionTimestamp": "2026-01-01T00:00:00Z"}, "", True),
    ],
)
def test_a_job_that_leaves_or_has_no_name_yet_is_let_through(
    metadata: dict[str, Any], asked: str, allowed: bool
) -> None:
    body = {**job_body(), "metadata": metadata}
    review_of = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
    request = {"uid": "u", "name": asked, "object": body}
    answer = review(msgspec.json.encode({**review_of, "request": request}))
    assert msgspec.json.decode(answer)["response"]["allowed"] is allowed
