"""Deployments, stateful sets and daemon sets: upstream's apps/validation, both sides of each rule."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.kit import SERVED, changed
from tests.apiserver.rules import STRATEGIES, built, fields, wrong_with, wrong_with_change
from tests.apiserver.tables import each_row
from tiphys.api.apps_v1 import DaemonSet
from tiphys.api.base import from_builtins, to_builtins

DEPLOYMENT = "deployments.apps"
STATEFUL = "statefulsets.apps"
DAEMON = "daemonsets.apps"


def of(**spec: Any) -> dict[str, Any]:
    return {"spec": spec}


def template(**spec: Any) -> dict[str, Any]:
    return of(template={"spec": spec})


def rolling(**parts: Any) -> dict[str, Any]:
    return of(strategy={"type": "RollingUpdate", "rollingUpdate": parts})


@pytest.mark.parametrize("kind", [DEPLOYMENT, STATEFUL, DAEMON])
@pytest.mark.parametrize(
    ("parts", "wrong"),
    [
        (of(minReadySeconds=0), []),
        (of(minReadySeconds=-1), ["minReadySeconds"]),
        (of(revisionHistoryLimit=0), []),
        (of(revisionHistoryLimit=-1), ["revisionHistoryLimit"]),
        (of(selector=None), ["selector"]),
        (of(selector={"matchLabels": None}), ["selector"]),
        (of(selector={"matchLabels": {"a": "c"}}), ["template.metadata.labels"]),
        (of(selector={"matchLabels": {"a b": "c"}}), ["selector.matchLabels"]),
        (of(selector={"matchLabels": None, "matchExpressions": [{"key": "a", "operator": "Exists"}]}), []),
        (template(restartPolicy="Never"), ["template.spec.restartPolicy"]),
        (template(containers=[]), ["template.spec.containers"]),
        (of(template={"metadata": {"annotations": {"a b": "c"}}}), ["template.annotations"]),
    ],
)  # fmt: skip
def test_what_all_of_them_say(kind: str, parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(kind, parts)) == [f"spec.{field}" for field in wrong]


@each_row(
    [
        (rolling(maxUnavailable=0, maxSurge=1), []),
        (rolling(maxUnavailable="0%", maxSurge="1%"), []),
        (rolling(maxUnavailable=1, maxSurge=0), []),
        (rolling(maxUnavailable=0, maxSurge="0%"), [".rollingUpdate.maxUnavailable"]),
        (rolling(maxUnavailable=-1), [".rollingUpdate.maxUnavailable"]),
        (rolling(maxSurge="x"), [".rollingUpdate.maxSurge"]),
        (of(strategy={"type": "Recreate"}), []),
        (of(strategy={"type": "Recreate", "rollingUpdate": {}}), [".rollingUpdate"]),
        (of(strategy={"type": "Other"}), [""]),
    ],
)
def test_how_a_deployment_rolls(parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(DEPLOYMENT, parts)) == [f"spec.strategy{end}" for end in wrong]


def updated(kind: str = "RollingUpdate", **parts: Any) -> dict[str, Any]:
    return of(updateStrategy={"type": kind, **({"rollingUpdate": parts} if parts else {})})


@each_row(
    [
        (of(podManagementPolicy="Parallel"), []),
        (of(podManagementPolicy="Any"), ["podManagementPolicy"]),
        (updated("OnDelete"), []),
        (updated("Recreate"), ["updateStrategy"]),
        (updated(partition=0, maxUnavailable="50%"), []),
        (updated(partition=-1), ["updateStrategy.rollingUpdate.partition"]),
        (updated(maxUnavailable="x"), ["updateStrategy.rollingUpdate.maxUnavailable"]),
        (of(ordinals={"start": 0}), []),
        (of(ordinals={"start": -1}), ["ordinals.start"]),
        (of(serviceName="A"), ["serviceName"]),
        (of(serviceName=""), []),
        (of(replicas=-1), ["replicas"]),
        (of(persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"}), []),
        (of(persistentVolumeClaimRetentionPolicy={"whenDeleted": "Keep"}), ["persistentVolumeClaimRetentionPolicy.whenDeleted"]),
        (of(persistentVolumeClaimRetentionPolicy={"whenScaled": "Keep"}), ["persistentVolumeClaimRetentionPolicy.whenScaled"]),
    ],
)  # fmt: skip
def test_stateful_sets(parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(STATEFUL, parts)) == [f"spec.{field}" for field in wrong]


MOUNTING = {"containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "data", "mountPath": "/d"}]}]}  # fmt: skip


def test_volumes_of_claims_are_there_for_mounts() -> None:
    claim = {"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    mounting = {"spec": MOUNTING}
    assert wrong_with(STATEFUL, of(template=mounting, volumeClaimTemplates=[claim])) == []
    assert fields(wrong_with(STATEFUL, of(template=mounting))) == [
        "spec.template.spec.containers[0].volumeMounts[0].name"
    ]
    own = {"spec": {**MOUNTING, "volumes": [{"name": "data", "emptyDir": {}}]}}
    assert wrong_with(STATEFUL, of(template=own, volumeClaimTemplates=[claim])) == []


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        (of(replicas=9, minReadySeconds=3, revisionHistoryLimit=2, ordinals={"start": 2}), []),
        (updated("OnDelete"), []),
        (template(priorityClassName="x"), []),
        (of(persistentVolumeClaimRetentionPolicy={"whenScaled": "Delete"}), []),
        (of(serviceName="y"), ["spec"]),
        (of(podManagementPolicy="Parallel"), ["spec"]),
    ],
)
def test_what_of_a_stateful_set_changes(change: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with_change(STATEFUL, {}, change)) == wrong


@pytest.mark.parametrize(
    ("parts", "wrong"),
    [
        (of(updateStrategy={"type": "OnDelete"}), []),
        (of(updateStrategy={"type": "Recreate"}), ["spec.updateStrategy"]),
        (template(activeDeadlineSeconds=5), ["spec.template.spec.activeDeadlineSeconds"]),
    ],
)
def test_daemon_sets(parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(DAEMON, parts)) == wrong


SELECTED = {
    "selector": {"matchLabels": {"a": "c"}},
    "template": {"metadata": {"labels": {"a": "c"}}},
}


@pytest.mark.parametrize("kind", [DEPLOYMENT, DAEMON])
def test_a_selector_stays(kind: str) -> None:
    assert fields(wrong_with_change(kind, {}, {"spec": SELECTED})) == ["spec.selector"]


# --- defaults ---


@each_row(
    [
        (DEPLOYMENT, {}, {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}}),
        (DEPLOYMENT, {"replicas": 0, "revisionHistoryLimit": 0, "progressDeadlineSeconds": 5}, {"replicas": 0, "revisionHistoryLimit": 0, "progressDeadlineSeconds": 5}),
        (DEPLOYMENT, {"strategy": {"type": "Recreate"}}, {"strategy": {"type": "Recreate"}}),
        (DEPLOYMENT, {"strategy": {"rollingUpdate": {"maxSurge": 0}}}, {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": 0}}}),
        (DEPLOYMENT, {"strategy": {"rollingUpdate": {"maxUnavailable": 0}}}, {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}}}),
        (STATEFUL, {}, {"replicas": 1, "revisionHistoryLimit": 10, "podManagementPolicy": "OrderedReady", "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}, "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"}}),
        (STATEFUL, {"replicas": 0, "revisionHistoryLimit": 0, "podManagementPolicy": "Parallel"}, {"replicas": 0, "revisionHistoryLimit": 0, "podManagementPolicy": "Parallel"}),
        (STATEFUL, {"updateStrategy": {"type": "OnDelete"}}, {"updateStrategy": {"type": "OnDelete"}}),
        (STATEFUL, {"updateStrategy": {"rollingUpdate": {"partition": 3}}}, {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 3}}}),
        (STATEFUL, {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete"}}, {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Delete"}}),
        (DAEMON, {}, {"revisionHistoryLimit": 10, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}}),
        (DAEMON, {"revisionHistoryLimit": 0, "updateStrategy": {"type": "OnDelete"}}, {"revisionHistoryLimit": 0, "updateStrategy": {"type": "OnDelete"}}),
        (DAEMON, {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}}, {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}}),
    ],
)  # fmt: skip
def test_what_they_do_not_say(kind: str, spec: dict[str, Any], after: dict[str, Any]) -> None:
    made = to_builtins(built(SERVED[kind], {"spec": spec}).spec)
    assert {name: made.get(name) for name in after} == after


@pytest.mark.parametrize(
    ("claim", "after"),
    [
        ({}, ("Filesystem", "Pending")),
        ({"spec": {"volumeMode": "Block"}, "status": {"phase": "Bound"}}, ("Block", "Bound")),
    ],
)
def test_the_claims_of_a_set_are_whole(claim: dict[str, Any], after: tuple[str, str]) -> None:
    [made] = built(SERVED[STATEFUL], of(volumeClaimTemplates=[claim])).spec.volume_claim_templates
    assert (made.api_version, made.kind) == ("v1", "PersistentVolumeClaim")
    assert (made.spec.volume_mode, made.status.phase) == after


# --- daemon sets count their templates ---

COUNT = "deprecated.daemonset.template.generation"


@pytest.mark.parametrize(
    ("text", "count"), [(None, 1), ("3", 3), ("0", 1), ("x", 1), ("-2", 1), ("²", 1)]
)
def test_a_new_daemon_set_has_had_one_template(text: str | None, count: int) -> None:
    parts = {"metadata": {"annotations": {COUNT: text}}} if text else {}
    made = built(SERVED[DAEMON], parts)
    STRATEGIES.of(SERVED[DAEMON]).prepare_for_create(made)
    assert made.metadata.annotations[COUNT] == str(count)


@pytest.mark.parametrize(
    ("change", "count"),
    [(of(minReadySeconds=5), 3), (template(priorityClassName="x"), 4), ({}, 3)],
)
def test_a_changed_template_counts(change: dict[str, Any], count: int) -> None:
    old = built(SERVED[DAEMON], {"metadata": {"annotations": {COUNT: "3"}}})
    sent = changed(to_builtins(old), {"metadata": {"annotations": {COUNT: "77"}}})
    new = from_builtins(changed(sent, change), DaemonSet)
    STRATEGIES.of(SERVED[DAEMON]).prepare_for_update(new, old)
    assert new.metadata.annotations[COUNT] == str(count)
