"""Jobs and cron jobs: upstream's batch/validation, both sides of each rule."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.kit import SERVED
from tests.apiserver.rules import built, fields, wrong_with, wrong_with_change
from tests.apiserver.tables import each_row
from tiphys.api.base import from_builtins
from tiphys.api.batch_v1 import CronJob, Job
from tiphys.apiserver.resources.cronjobs import CronJobStrategy
from tiphys.apiserver.resources.jobs import JobStrategy

JOB = "jobs.batch"
CRON = "cronjobs.batch"
INDEXED = {"completionMode": "Indexed", "completions": 5}
HUGE = {"completionMode": "Indexed", "backoffLimitPerIndex": 1}


def job(**spec: Any) -> dict[str, Any]:
    return {"spec": spec}


@each_row(
    [
        ({"parallelism": -1}, ["parallelism"]),
        ({"completions": -1}, ["completions"]),
        ({"backoffLimit": -1}, ["backoffLimit"]),
        ({"activeDeadlineSeconds": -1}, ["activeDeadlineSeconds"]),
        ({"ttlSecondsAfterFinished": -1}, ["ttlSecondsAfterFinished"]),
        ({"completionMode": "Other"}, ["completionMode"]),
        ({"podReplacementPolicy": "Failed"}, []),
        ({"podReplacementPolicy": "Never"}, ["podReplacementPolicy"]),
        ({"managedBy": "a.b/c"}, []),
        ({"managedBy": "abc"}, ["managedBy"]),
        ({"managedBy": "a.b/" + "c" * 59}, []),
        ({"managedBy": "a.b/" + "c" * 60}, ["managedBy"]),
        ({"managedBy": ""}, ["managedBy"]),
        # --- of indexed jobs alone ---
        ({"backoffLimitPerIndex": 0}, ["backoffLimitPerIndex"]),
        ({"maxFailedIndexes": 0}, ["maxFailedIndexes"]),
        ({"successPolicy": {"rules": [{"succeededCount": 1}]}}, ["successPolicy"]),
        ({"completionMode": "Indexed", "parallelism": 1}, ["completions"]),
        (INDEXED, []),
        ({**INDEXED, "backoffLimitPerIndex": 0}, []),
        ({**INDEXED, "backoffLimitPerIndex": -1}, ["backoffLimitPerIndex"]),
        ({**INDEXED, "backoffLimitPerIndex": 0, "maxFailedIndexes": 5}, []),
        ({**INDEXED, "backoffLimitPerIndex": 0, "maxFailedIndexes": 6}, ["maxFailedIndexes"]),
        ({**INDEXED, "parallelism": 100_000}, []),
        ({**INDEXED, "parallelism": 100_001}, ["parallelism"]),
        ({**HUGE, "completions": 100_000}, []),
        ({**HUGE, "completions": 100_001}, ["maxFailedIndexes"]),
        ({**HUGE, "completions": 100_001, "maxFailedIndexes": 10_000}, []),
        ({**HUGE, "completions": 100_001, "maxFailedIndexes": 10_001}, ["maxFailedIndexes"]),
        ({**HUGE, "completions": 100_000, "maxFailedIndexes": 10_001}, []),
        ({**HUGE, "completions": 100_001, "maxFailedIndexes": 1, "parallelism": 10_000}, []),
        ({**HUGE, "completions": 100_001, "maxFailedIndexes": 1, "parallelism": 10_001}, ["parallelism"]),
        ({"completionMode": "Indexed", "completions": 100_001}, []),
        ({"selector": {"matchLabels": {"a": "b"}}, "manualSelector": True, "template": {"metadata": {"labels": {"a": "b"}}}}, []),
        ({"selector": {"matchLabels": {"a": "b"}}, "manualSelector": True}, ["template.metadata.labels"]),
    ],
)  # fmt: skip
def test_numbers_and_indexes(spec: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(JOB, job(**spec))) == [f"spec.{field}" for field in wrong]


def succeeding(*rules: dict[str, Any]) -> dict[str, Any]:
    return job(**INDEXED, successPolicy={"rules": list(rules)})


def when(indexes: str | None = None, count: int | None = None) -> dict[str, Any]:
    parts = {"succeededIndexes": indexes, "succeededCount": count}
    return {name: value for name, value in parts.items() if value is not None}


@each_row(
    [
        (succeeding(when(count=5)), []),
        (succeeding(when(count=6)), ["[0].succeededCount"]),
        (succeeding(when(count=0)), []),
        (succeeding(when(count=-1)), ["[0].succeededCount"]),
        (succeeding(when("0-2")), []),
        (succeeding(when("0-2", 3)), []),
        (succeeding(when("0-2", 4)), ["[0].succeededCount"]),
        (succeeding(when("4")), []),
        (succeeding(when("5")), ["[0].succeededIndexes"]),
        (succeeding(when("x", 5)), ["[0].succeededIndexes"]),
        (succeeding(when("")), []),
        (succeeding(when("0-1-2")), ["[0].succeededIndexes"]),
        (succeeding(when(count=1), {}), ["[1]"]),
        (succeeding(), [""]),
        (succeeding(*[when(count=1)] * 20), []),
        (succeeding(*[when(count=1)] * 21), [""]),
    ],
)
def test_when_a_job_has_succeeded(parts: dict[str, Any], wrong: list[str]) -> None:
    path = "spec.successPolicy.rules"
    assert fields(wrong_with(JOB, parts)) == [path + end for end in wrong]


def failing(rule: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return job(podFailurePolicy={"rules": [{"action": "Ignore", **rule}]}, **spec)


def exits(*values: int, operator: str = "In", **more: Any) -> dict[str, Any]:
    return {"onExitCodes": {"operator": operator, "values": list(values), **more}}


def conditions(*types: str, status: str = "True") -> dict[str, Any]:
    return {"onPodConditions": [{"type": kind, "status": status} for kind in types]}


CODES = ".onExitCodes"


@each_row(
    [
        (failing(exits(1, 2)), []),
        (failing(exits(0, operator="NotIn")), []),
        (failing(exits(0)), [f"{CODES}.values[0]"]),
        (failing(exits()), [f"{CODES}.values"]),
        (failing(exits(*range(1, 256))), []),
        (failing(exits(*range(1, 257))), [f"{CODES}.values"]),
        (failing(exits(2, 1)), [f"{CODES}.values"]),
        (failing(exits(1, 1)), [f"{CODES}.values[1]"]),
        (failing(exits(1, operator="Like")), [f"{CODES}.operator"]),
        (failing(exits(1, operator="")), [f"{CODES}.operator"]),
        (failing(exits(1, containerName="c")), []),
        (failing(exits(1, containerName="d")), [f"{CODES}.containerName"]),
        (failing(conditions("A", "b.c/D")), []),
        (failing(conditions(*["A"] * 20)), []),
        (failing(conditions(*["A"] * 21)), [".onPodConditions"]),
        (failing(conditions("a b")), [".onPodConditions[0].type"]),
        (failing(conditions("A", status="Maybe")), [".onPodConditions[0].status"]),
        (failing({}), [""]),
        (failing({**exits(1), **conditions("A")}), [""]),
        (failing({**exits(1), "action": ""}), [".action"]),
        (failing({**exits(1), "action": "Retry"}), [".action"]),
        (failing({**exits(1), "action": "FailIndex"}), [".action"]),
        (failing({**exits(1), "action": "FailIndex"}, **INDEXED, backoffLimitPerIndex=0), []),
    ],
)
def test_which_failures_count(parts: dict[str, Any], wrong: list[str]) -> None:
    path = "spec.podFailurePolicy.rules[0]"
    assert fields(wrong_with(JOB, parts)) == [path + end for end in wrong]


@pytest.mark.parametrize(
    ("policy", "wrong"),
    [
        (None, []),
        ("Failed", []),
        ("TerminatingOrFailed", ["spec.podReplacementPolicy"]),
    ],
)
def test_failures_that_count_are_replaced_when_they_have_failed(
    policy: str | None, wrong: list[str]
) -> None:
    more = {"podReplacementPolicy": policy} if policy else {}
    assert fields(wrong_with(JOB, failing(exits(1), **more))) == wrong


def test_the_name_of_an_init_container_is_one_of_a_policy() -> None:
    init = {"spec": {"initContainers": [{"name": "i", "image": "i"}]}}
    assert wrong_with(JOB, failing(exits(1, containerName="i"), template=init)) == []


# --- defaults ---


@each_row(
    [
        ({}, {"completions": 1, "parallelism": 1, "backoff_limit": 6, "completion_mode": "NonIndexed", "suspend": False, "pod_replacement_policy": "TerminatingOrFailed"}),
        ({"parallelism": 3}, {"completions": None, "parallelism": 3}),
        ({"completions": 3}, {"completions": 3, "parallelism": 1}),
        ({"parallelism": 0, "completions": 0}, {"completions": 0, "parallelism": 0}),
        ({"backoffLimit": 0}, {"backoff_limit": 0}),
        ({**INDEXED, "backoffLimitPerIndex": 0}, {"backoff_limit": 2**31 - 1, "completion_mode": "Indexed"}),
        ({"suspend": True, "podReplacementPolicy": "Failed"}, {"suspend": True, "pod_replacement_policy": "Failed"}),
        ({"podFailurePolicy": {"rules": []}}, {"pod_replacement_policy": "Failed"}),
    ],
)  # fmt: skip
def test_what_a_job_does_not_say(spec: dict[str, Any], after: dict[str, Any]) -> None:
    made = built(SERVED[JOB], job(**spec)).spec
    assert {name: getattr(made, name) for name in after} == after


def test_a_condition_counts_when_it_is_true() -> None:
    [rule] = built(SERVED[JOB], failing(conditions("A", status=""))).spec.pod_failure_policy.rules
    assert rule.on_pod_conditions[0].status == "True"
    [rule] = built(SERVED[JOB], failing(conditions("A", status="False"))).spec.pod_failure_policy.rules  # fmt: skip
    assert rule.on_pod_conditions[0].status == "False"


# --- changes ---

IMAGE = {"template": {"spec": {"containers": [{"name": "c", "image": "j"}]}}}


@pytest.mark.parametrize(
    ("before", "after", "wrong"),
    [
        (job(), job(parallelism=5, suspend=True), []),
        (job(), job(completionMode="Indexed"), ["spec.completionMode"]),
        (job(), job(completions=7), ["spec.completions"]),
        (job(**INDEXED), job(completions=7), []),
        (job(), job(**IMAGE), ["spec.template"]),
        (job(suspend=True), job(**IMAGE), []),
    ],
)
def test_what_of_a_job_changes(
    before: dict[str, Any], after: dict[str, Any], wrong: list[str]
) -> None:
    assert fields(wrong_with_change(JOB, before, after)) == wrong


# --- columns ---


def cells(strategy: Any, obj: Any) -> dict[str, Any]:
    return {column.name: column.cell(obj) for column in strategy.columns if column.name != "Age"}


STARTED = "2026-01-01T00:00:00Z"


@each_row(
    [
        ({}, ("Running", "0/1", "")),
        ({"spec": {"parallelism": 1}}, ("Running", "0/1", "")),
        ({"spec": {"parallelism": 2}}, ("Running", "0/1 of 2", "")),
        ({"spec": {"completions": 3, "suspend": True}, "status": {"succeeded": 2}}, ("Suspended", "2/3", "")),
        ({"metadata": {"deletionTimestamp": STARTED}}, ("Terminating", "0/1", "")),
        (
            {"status": {"conditions": [{"type": "Complete", "status": "True"}], "startTime": STARTED, "completionTime": "2026-01-01T00:01:30Z"}},
            ("Complete", "0/1", "90s"),
        ),
        ({"status": {"conditions": [{"type": "Failed", "status": "True"}]}}, ("Failed", "0/1", "")),
        ({"status": {"conditions": [{"type": "Failed", "status": "False"}]}}, ("Running", "0/1", "")),
    ],
)  # fmt: skip
def test_how_a_job_is_shown(body: dict[str, Any], text: tuple[str, ...]) -> None:
    shown = cells(JobStrategy, from_builtins(body, Job))
    assert (shown["Status"], shown["Completions"], shown["Duration"]) == text


def test_how_a_cron_job_is_shown() -> None:
    body: dict[str, Any] = {"spec": {"schedule": "* * * * *"}}
    shown = cells(CronJobStrategy, from_builtins(body, CronJob))
    assert [shown[name] for name in ("Schedule", "Timezone", "Suspend", "Active", "Last Schedule")] == ["* * * * *", "<none>", "False", 0, "<none>"]  # fmt: skip
    body["spec"] |= {"timeZone": "Etc/UTC", "suspend": True}
    body["status"] = {"active": [{"name": "a"}], "lastScheduleTime": STARTED}
    shown = cells(CronJobStrategy, from_builtins(body, CronJob))
    assert (shown["Timezone"], shown["Suspend"], shown["Active"]) == ("Etc/UTC", "True", 1)
    assert shown["Last Schedule"] != "<none>"


# --- cron jobs ---

SELECTOR = {"jobTemplate": {"spec": {"selector": {"matchLabels": {"a": "b"}}}}}


@each_row(
    [
        ({"schedule": ""}, ["schedule"]),
        ({"schedule": "* * * *"}, ["schedule"]),
        ({"schedule": "TZ=UTC * * * * *"}, ["schedule"]),
        ({"timeZone": ""}, ["timeZone"]),
        ({"timeZone": "Local"}, ["timeZone"]),
        ({"timeZone": "Nowhere/At"}, ["timeZone"]),
        ({"concurrencyPolicy": "Replace"}, []),
        ({"concurrencyPolicy": "Queue"}, ["concurrencyPolicy"]),
        ({"startingDeadlineSeconds": -1}, ["startingDeadlineSeconds"]),
        ({"successfulJobsHistoryLimit": -1}, ["successfulJobsHistoryLimit"]),
        ({"failedJobsHistoryLimit": -1}, ["failedJobsHistoryLimit"]),
        (SELECTOR, ["jobTemplate.spec.selector"]),
        ({"jobTemplate": {"spec": {"parallelism": -1}}}, ["jobTemplate.spec.parallelism"]),
    ],
)
def test_cron_jobs(spec: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(CRON, {"spec": spec})) == [f"spec.{field}" for field in wrong]


@pytest.mark.parametrize(("length", "wrong"), [(52, []), (53, ["metadata.name"])])
def test_the_name_of_a_cron_job_leaves_room_for_its_jobs(length: int, wrong: list[str]) -> None:
    assert fields(wrong_with(CRON, {"metadata": {"name": "a" * length}})) == wrong
