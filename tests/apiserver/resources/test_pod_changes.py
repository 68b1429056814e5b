"""How pods are resized and changed: upstream's ValidatePodResize and ValidatePodUpdate."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.apiserver.tables import each_row
from tests.builders import pod
from tiphys.api.base import from_builtins, to_builtins
from tiphys.api.core_v1 import Pod, PodSpec, PodStatus
from tiphys.apiserver.resources.pods.quality import qos_class
from tiphys.apiserver.resources.pods.resize import resize_errors, resized
from tiphys.apiserver.resources.pods.updates import difference, update_errors
from tiphys.machinery.podrefs import MIRROR


def container(cpu: str = "1", name: str = "c", **parts: Any) -> dict[str, Any]:
    """One that asks for some CPU, and has as much."""
    resources = {"requests": {"cpu": cpu, "memory": "1Gi"}, "limits": {"cpu": cpu, "memory": "1Gi"}}
    return {"name": name, "image": "i", "resources": resources, **parts}


def asking(requests: Any = None, limits: Any = None, **parts: Any) -> dict[str, Any]:
    resources = {"requests": requests or {}, "limits": limits or {}}
    return {"name": "c", "image": "i", "resources": resources, **parts}


def sized(*containers: dict[str, Any], **spec: Any) -> Pod:
    made = pod(containers=list(containers), **spec)
    told = [{"name": "c", "resources": {}}]
    body = {"phase": "Running", "qosClass": qos_class(made.spec), "containerStatuses": told}
    made.status = from_builtins(body, PodStatus)
    return made


GPU = "example.com/gpu"
NO_RESTART = {"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}]}
RESTART = {"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]}


def initial(cpu: str = "1", **parts: Any) -> dict[str, Any]:
    return container(cpu, "i", **parts)


@each_row(
    [
        (sized(container()), sized(container("2")), []),
        (sized(container()), sized(container()), []),
        (sized(asking({"cpu": "1"})), sized(asking({"cpu": "2"})), []),
        (sized(asking({"cpu": "1"})), sized(asking({"cpu": "1"}, {"cpu": "1"})), []),
        (sized(container()), sized(asking({"cpu": "1"})), ["spec", "spec.containers[0].resources.requests", "spec.containers[0].resources.limits"]),
        (sized(asking({"cpu": "1"})), sized(asking({"memory": "1"})), ["spec.containers[0].resources.requests"]),
        (sized(asking({"cpu": "1"}, {"cpu": "2"})), sized(asking({"cpu": "1"})), ["spec.containers[0].resources.limits"]),
        (sized(asking({"cpu": "1"})), sized(asking({"cpu": "1", GPU: "1"}, {GPU: "1"})), ["spec"]),
        (sized(asking({"cpu": "1"})), sized(asking({"cpu": "2"}, **NO_RESTART)), ["spec"]),
        (sized(container()), sized(container("2"), container(name="d")), ["spec.containers"]),
        (sized(container()), sized(container("2", "d")), ["spec.containers[0].name"]),
        # --- init containers ---
        (sized(container(), initContainers=[initial()]), sized(container(), initContainers=[initial("2")]), []),
        (sized(container(), initContainers=[initial(**RESTART)]), sized(container(), initContainers=[initial("2", **RESTART)]), ["spec.initContainers[0]"]),
        (sized(container(), initContainers=[initial(**RESTART)]), sized(container(), initContainers=[initial(**RESTART)]), []),
        (sized(container(), initContainers=[initial(restartPolicy="Always", **RESTART)]), sized(container(), initContainers=[initial("2", restartPolicy="Always", **RESTART)]), []),
        (sized(container(), initContainers=[initial()]), sized(container(), initContainers=[initial(**NO_RESTART)]), ["spec.initContainers[0]"]),
        (sized(container(), initContainers=[initial()]), sized(container()), ["spec.initContainers"]),
        # --- of the whole pod ---
        (sized(asking(), resources={"requests": {"cpu": "1"}}), sized(asking(), resources={"requests": {"cpu": "2"}}), []),
        (sized(asking(), resources={"requests": {"cpu": "1", "memory": "1"}}), sized(asking(), resources={"requests": {"cpu": "1"}}), ["spec.resources.requests"]),
        (sized(asking(), resources={"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}), sized(asking(), resources={"requests": {"cpu": "1"}}), ["spec.resources.limits"]),
        (sized(asking({"cpu": "1"}), resources={"requests": {"cpu": "1"}}), sized(asking({"cpu": "1"})), ["spec.resources"]),
        (sized(asking({"cpu": "1"})), sized(asking({"cpu": "1"}), resources={"requests": {"cpu": "1"}}), []),
        (sized(asking(), resources={"requests": {"cpu": "1"}}), sized(asking(), resources={"requests": {"cpu": "1", "hugepages-2Mi": "2Mi"}}), ["spec"]),
    ],
)  # fmt: skip
def test_what_a_resize_may_change(old: Pod, new: Pod, wrong: list[str]) -> None:
    violations = resize_errors(new, old, qos_class(new.spec))
    assert [error.field for error in violations] == wrong


def test_a_running_pod_needs_a_node_that_resizes() -> None:
    old, new = sized(container()), sized(container("2"))
    old.status.container_statuses = []
    assert [error.field for error in resize_errors(new, old, "Guaranteed")] == ["spec"]
    old.status.phase = "Pending"
    assert resize_errors(new, old, "Guaranteed") == []
    old.status = from_builtins(
        {"phase": "Running", "qosClass": "Guaranteed", "initContainerStatuses": [{"name": "i", "resources": {}}]},
        PodStatus,
    )  # fmt: skip
    assert resize_errors(new, old, "Guaranteed") == []


def test_a_mirror_is_not_resized() -> None:
    old, new = sized(container()), sized(container("2"))
    old.metadata.annotations[MIRROR] = "x"
    [error] = resize_errors(new, old, "Guaranteed")
    assert error.detail.endswith("static pods cannot be resized")


def test_nothing_else_of_a_resize_counts() -> None:
    old = sized(container(), initContainers=[initial()])
    new = sized(
        container("2", image="other", **RESTART), initContainers=[initial("3")], hostname="h"
    )
    new.metadata.resource_version = "9"
    kept = resized(new, old)
    [one], [first] = kept.spec.containers, kept.spec.init_containers
    assert (one.image, one.resources.limits["cpu"], len(one.resize_policy)) == ("i", "2", 1)
    assert first.resources.limits["cpu"] == "3"
    assert (kept.spec.hostname, kept.metadata.resource_version) == ("", "9")
    assert old.spec.containers[0].resources.limits["cpu"] == "1"
    other = sized(container(name="d"))
    assert resized(other, old) is other


# --- other changes ---

TOLERATION = {"key": "a", "operator": "Exists"}
TERMS = (
    "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
)


def gated(**spec: Any) -> dict[str, Any]:
    return {"schedulingGates": [{"name": "a.b/c"}], **spec}


def required(*terms: Any) -> dict[str, Any]:
    rows = [{"matchExpressions": [{"key": key, "operator": "Exists"} for key in term]} for term in terms]  # fmt: skip
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": rows}}}  # fmt: skip


def preferring(weight: int) -> dict[str, Any]:
    preference = {"matchExpressions": [{"key": "a", "operator": "Exists"}]}
    rows = [{"weight": weight, "preference": preference}]
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": rows}}


def by_name(*names: str) -> dict[str, Any]:
    fields = [{"key": "metadata.name", "operator": "In", "values": [name]} for name in names]
    rows = [{"matchFields": fields}]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": rows}}}  # fmt: skip


SPREAD = {
    "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "z"}]}
}


@each_row(
    [
        ({}, {}, []),
        ({"initContainers": [{"name": "i", "image": "a"}]}, {"initContainers": [{"name": "i", "image": "b"}]}, []),
        ({"activeDeadlineSeconds": 5}, {"activeDeadlineSeconds": 5}, []),
        ({"tolerations": [TOLERATION]}, {"tolerations": [{"key": "b", "operator": "Exists"}, TOLERATION]}, []),
        ({"tolerations": [TOLERATION]}, {"tolerations": [TOLERATION, {"value": "x"}]}, ["spec.tolerations[1].operator"]),
        ({"tolerations": [TOLERATION]}, {"tolerations": [{**TOLERATION, "effect": "NoExecute"}]}, ["spec.tolerations"]),
        ({"terminationGracePeriodSeconds": -5}, {"terminationGracePeriodSeconds": 1}, []),
        ({"terminationGracePeriodSeconds": -5}, {"terminationGracePeriodSeconds": 2}, ["spec"]),
        ({"terminationGracePeriodSeconds": 0}, {"terminationGracePeriodSeconds": 1}, ["spec"]),
        (gated(), {}, []),
        ({}, gated(), ["spec.schedulingGates[0].name"]),
        # --- where a gated pod may go becomes narrower ---
        (gated(), gated(affinity=preferring(5)), []),
        (gated(affinity=preferring(5)), gated(affinity=preferring(6)), []),
        (gated(affinity=preferring(5)), gated(), []),
        (gated(affinity=required("a")), gated(affinity=required("a")), []),
        (gated(affinity=required("")), gated(affinity=required("a")), [f"{TERMS}[0]"]),
        (gated(affinity=by_name("n")), gated(affinity=by_name("n", "m")), []),
        (gated(affinity=by_name("n")), gated(affinity=by_name("m")), [f"{TERMS}[0]"]),
        (gated(affinity=by_name("n")), gated(affinity=required("a")), [f"{TERMS}[0]"]),
        (gated(affinity=required("a", "b")), gated(affinity=required("a")), [TERMS]),
        (gated(), gated(affinity=SPREAD), ["spec"]),
        (gated(affinity=SPREAD), gated(affinity={**SPREAD, **required("a")}), []),
        (gated(affinity=SPREAD), gated(affinity=required("a")), ["spec"]),
        (gated(), gated(nodeSelector={"a": "b"}, affinity=required("a")), []),
        (gated(nodeSelector={"a": "b"}), gated(nodeSelector={"c": "d"}), ["spec.nodeSelector"]),
        ({"affinity": preferring(5)}, {"affinity": preferring(6)}, ["spec"]),
    ],
)  # fmt: skip
def test_what_else_of_a_pod_changes(old: dict[str, Any], new: dict[str, Any], wrong: list[str]) -> None:  # fmt: skip
    before, now = pod(**old).spec, pod(**new).spec
    kept = json.dumps(to_builtins(now))
    assert [error.field for error in update_errors(now, before)] == wrong
    assert json.dumps(to_builtins(now)) == kept


def test_what_differs_is_shown_as_go_has_it() -> None:
    shown = difference(pod(hostname="a").spec, pod(hostname="b").spec)
    assert '- "Hostname": "a",' in shown and '+ "Hostname": "b",' in shown


@pytest.mark.parametrize("count", [10, 200])
def test_what_differs_in_much_is_cut_to_what_differs(count: int) -> None:
    def many(value: str) -> PodSpec:
        env = [{"name": f"E{number}", "value": "x"} for number in range(count)]
        one = {"name": "c", "image": "i", "env": [*env, {"name": "LAST", "value": value}]}
        return pod(containers=[one]).spec

    shown = difference(many("a"), many("b"))
    assert '"Value": "a"' in shown and '"Value": "b"' in shown and shown.count("\n") < 20
