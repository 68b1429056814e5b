"""What Kueue's webhooks refuse beyond the definitions: an object, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.kueue.builders import queue
from tiphys.addons.kueue.jobs.kinds import kind_of
from tiphys.addons.kueue.rules.jobs import of_changed_job, of_new_job
from tiphys.addons.kueue.rules.pods import of_new_pod
from tiphys.addons.kueue.rules.quotas import of_cluster_queue, of_cohort, of_flavor
from tiphys.addons.kueue.rules.topologies import of_annotations
from tiphys.addons.kueue.rules.workloads import of_workload
from tiphys.addons.kueue.types.quotas import ClusterQueue, Cohort, ResourceFlavor
from tiphys.addons.kueue.types.workloads import Workload
from tiphys.api.base import from_builtins

Said = list[str]
FLAVOR = "spec.resourceGroups[0].flavors[0]"
QUOTA = f"{FLAVOR}.resources[0]"
NEGATIVE = 'Invalid value: "-1": must be greater than or equal to 0'
PREFIX = "kueue.x-k8s.io"


def said(problems: Any) -> Said:
    return [str(problem) for problem in problems]


# --- cluster queues and cohorts ---


def group(covered: str, **flavors: str) -> dict[str, Any]:
    """Of flavors by name, each with resources by name."""
    return {
        "coveredResources": covered.split(),
        "flavors": [
            {"name": name, "resources": [{"name": r, "nominalQuota": "0"} for r in has.split()]}
            for name, has in flavors.items()
        ],
    }


def groups(*of: dict[str, Any], **spec: Any) -> ClusterQueue:
    return from_builtins({"spec": {"resourceGroups": list(of), **spec}}, ClusterQueue)


MANY = [group(f"r{i}", **{f"f{i}-{j}": f"r{i}" for j in range(64)}) for i in range(5)]
WIDE = " ".join(f"r{i}" for i in range(64))
CHECKS = {"admissionChecks": [{"name": "ac", "onFlavors": ["x"]}]}
ON_FLAVORS = "spec.admissionChecksStrategy.admissionChecks[0].onFlavors[0]"


@pytest.mark.parametrize(
    "made, problems",
    [
        (queue("q", {"x": {"cpu": "0"}}), []),
        (queue("q", {"x": {"example.com/gpu": 1}}), []),
        (queue("q", {"x": {"cpu": ("1", "0", "0")}}, "cohort"), []),
        (queue("q", {"x": {"cpu": "-1"}}), [f"{QUOTA}.nominalQuota: {NEGATIVE}"]),
        (
            queue("q", {"x": {"cpu": ("1", "-1", None)}}, "cohort"),
            [f"{QUOTA}.borrowingLimit: {NEGATIVE}"],
        ),
        (
            queue("q", {"x": {"cpu": ("1", None, "-1")}}, "cohort"),
            [f"{QUOTA}.lendingLimit: {NEGATIVE}"],
        ),
        (
            queue("q", {"x": {"cpu": ("1", None, "1")}}),
            [f'{QUOTA}.lendingLimit: Invalid value: "1": must be nil when cohort is empty'],
        ),
        (
            queue("q", {"x": {"cpu": ("1", None, "2")}}, "cohort"),
            [
                f'{QUOTA}.lendingLimit: Invalid value: "2": must be less than or equal to the '
                "nominalQuota"
            ],
        ),
        (
            groups(group("cpu memory", alpha="cpu memory", beta="memory cpu")),
            [
                f'spec.resourceGroups[0].flavors[1].resources[{index}].name: Invalid value: "{name}"'
                ": must match the name in coveredResources"
                for index, name in enumerate(("memory", "cpu"))
            ],
        ),
        (
            groups(group("cpu memory", alpha="cpu memory"), group("memory", beta="memory")),
            ['spec.resourceGroups[1].coveredResources[0]: Duplicate value: "memory"'],
        ),
        (
            groups(group("cpu", beta="cpu"), group("memory", beta="memory")),
            ['spec.resourceGroups[1].flavors[0].name: Duplicate value: "beta"'],
        ),
        (
            groups(*MANY),
            [
                "spec.resourceGroups: Invalid value: 320: total number of flavors across all "
                "resourceGroups must be ≤ 256, got 320"
            ],
        ),
        (
            groups(group(WIDE, **{f"f{i}": WIDE for i in range(9)})),
            [
                "spec.resourceGroups[0]: Invalid value: 576: number of flavor-resource combinations"
                " in a resourceGroup must be ≤ 512, got 576"
            ],
        ),
        (
            groups(fairSharing={"weight": "-1"}),
            [f"spec.fairSharing: {NEGATIVE}"],
        ),
        (
            groups(fairSharing={"weight": "1n"}),
            ['spec.fairSharing: Invalid value: "1n": When not 0, weight must be > 10e-9'],
        ),
        (groups(fairSharing={"weight": "0"}), []),
        (groups(group("cpu", x="cpu"), admissionChecksStrategy=CHECKS), []),
        (
            groups(group("cpu", y="cpu"), admissionChecksStrategy=CHECKS),
            [f'{ON_FLAVORS}: Unsupported value: "x": supported values: "y"'],
        ),
        (
            queue(
                "q", {}, namespaceSelector={"matchExpressions": [{"key": "k", "operator": "In"}]}
            ),
            [
                "spec.namespaceSelector.matchExpressions[0].values: Required value: must be "
                "specified when `operator` is 'In' or 'NotIn'"
            ],
        ),
    ],
)
def test_a_cluster_queue_makes_sense(made: ClusterQueue, problems: Said) -> None:
    assert said(of_cluster_queue(made)) == problems


def test_the_name_of_a_resource_is_one() -> None:
    (problem,) = said(of_cluster_queue(queue("q", {"x": {"@cpu": 1}})))
    assert problem.startswith('spec.resourceGroups[0].coveredResources[0]: Invalid value: "@cpu"')


def test_a_check_of_a_flavor_that_was_not_there_before_may_stay() -> None:
    old = groups(group("cpu", y="cpu"), admissionChecksStrategy=CHECKS)
    new = groups(group("cpu", y="cpu"), admissionChecksStrategy=CHECKS, stopPolicy="Hold")
    assert of_cluster_queue(new, old) == []
    other = groups(group("cpu", z="cpu"), admissionChecksStrategy=CHECKS)
    assert len(of_cluster_queue(other, old)) == 1


def test_how_flavors_are_tried_side_by_side_stays() -> None:
    policy = {"migration": {"mode": "RetainFirstAdmission"}}
    (problem,) = said(of_cluster_queue(groups(concurrentAdmissionPolicy=policy), groups()))
    assert problem.startswith("spec.concurrentAdmissionPolicy: Invalid value:")
    assert problem.endswith("field is immutable")


@pytest.mark.parametrize(
    "spec, problems",
    [
        ({"parentName": "root", "resourceGroups": [group("cpu", x="cpu")]}, []),
        ({"fairSharing": {"weight": "-1"}}, [f"spec.fairSharing: {NEGATIVE}"]),
        (
            {"resourceGroups": [group("cpu", x="cpu"), group("cpu", y="cpu")]},
            ['spec.resourceGroups[1].coveredResources[0]: Duplicate value: "cpu"'],
        ),
    ],
)
def test_a_cohort_makes_sense(spec: Any, problems: Said) -> None:
    assert said(of_cohort(from_builtins({"spec": spec}, Cohort))) == problems


def test_the_root_of_a_tree_has_nobody_to_lend_to_and_others_lend_more_than_they_have() -> None:
    of = group("cpu", x="cpu")
    of["flavors"][0]["resources"][0]["lendingLimit"] = "2"
    root = from_builtins({"spec": {"resourceGroups": [of]}}, Cohort)
    below = from_builtins({"spec": {"parentName": "root", "resourceGroups": [of]}}, Cohort)
    expected = f'{QUOTA}.lendingLimit: Invalid value: "2": must be nil when parent is empty'
    assert (said(of_cohort(root)), of_cohort(below)) == ([expected], [])


# --- flavors ---

TAINT = {"key": "spot", "value": "yes", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    "spec, problems",
    [
        ({"nodeLabels": {"kind": "spot"}, "nodeTaints": [TAINT]}, []),
        (
            {"nodeTaints": [TAINT, TAINT]},
            [
                'spec.nodeTaints[1]: Duplicate value: {"effect":"NoSchedule","key":"spot",'
                '"value":"yes"}: taints must be unique by key and effect pair'
            ],
        ),
    ],
)
def test_a_flavor_makes_sense(spec: Any, problems: Said) -> None:
    found = said(of_flavor(from_builtins({"spec": spec}, ResourceFlavor)))
    assert [sorted(one) for one in found] == [sorted(one) for one in problems]


@pytest.mark.parametrize(
    "spec, path",
    [
        ({"nodeLabels": {"@": "x"}}, "spec.nodeLabels"),
        ({"nodeLabels": {"a": "@"}}, "spec.nodeLabels"),
        ({"nodeTaints": [{**TAINT, "key": "@"}]}, "spec.nodeTaints[0].key"),
        ({"nodeTaints": [{**TAINT, "value": "@"}]}, "spec.nodeTaints[0].value"),
        ({"tolerations": [{"key": "@", "operator": "Exists"}]}, "spec.tolerations[0].key"),
    ],
)
def test_labels_of_a_flavor_are_such(spec: Any, path: str) -> None:
    (problem,) = of_flavor(from_builtins({"spec": spec}, ResourceFlavor))
    assert (problem.field, problem.reason) == (path, "FieldValueInvalid")


# --- workloads ---


def pods(name: str = "main", count: int = 2, cpu: str = "1", **more: Any) -> dict[str, Any]:
    container = {"name": "c", "resources": {"requests": {"cpu": cpu}}}
    return {"name": name, "count": count, "template": {"spec": {"containers": [container]}}, **more}


RESERVED = [
    {
        "type": "QuotaReserved",
        "status": "True",
        "reason": "QuotaReserved",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
]


def workload(*pod_sets: dict[str, Any], **status: Any) -> Workload:
    spec = {"podSets": list(pod_sets) or [pods()]}
    return from_builtins({"spec": spec, "status": status}, Workload)


def held(*pod_sets: dict[str, Any], cpu: str = "2", name: str = "main", **status: Any) -> Workload:
    assignment = {"name": name, "count": 2, "flavors": {"cpu": "x"}, "resourceUsage": {"cpu": cpu}}
    admission = {"clusterQueue": "q", "podSetAssignments": [assignment]}
    return workload(*pod_sets, conditions=RESERVED, admission=admission, **status)


def updates(name: str = "main", state: str = "Ready", **update: Any) -> dict[str, Any]:
    return {"name": "ac", "state": state, "podSetUpdates": [{"name": name, **update}]}


REQUESTS = "spec.podSets[0].template.spec.containers[0].resources.requests"


@pytest.mark.parametrize(
    "made, problems",
    [
        (workload(), []),
        (held(), []),
        (
            workload(pods(minCount=1), pods("other", minCount=1)),
            ["spec.podSets: Invalid value: 2: at most one podSet can use minCount"],
        ),
        (workload(pods(cpu="-1")), [f"{REQUESTS}[cpu]: {NEGATIVE}"]),
        (
            workload(pods(topologyRequest={"podSetSliceRequiredTopology": "rack"})),
            [
                "spec.podSets[0].topologyRequest.podSetSliceSize: Required value: must be set when "
                "podSetSliceRequiredTopology is specified"
            ],
        ),
        (
            workload(pods(topologyRequest={"podSetSliceSize": 2})),
            [
                "spec.podSets[0].topologyRequest.podSetSliceSize: Forbidden: may not be set when "
                "podSetSliceRequiredTopology is not specified"
            ],
        ),
        (
            workload(conditions=RESERVED),
            [
                "status.admission: Required value: must be set while the QuotaReserved condition is true"
            ],
        ),
        (
            held(name="other"),
            ['status.admission.podSetAssignments[0].name: Not found: "other"'],
        ),
        (
            held(cpu="1001m"),
            [
                "status.admission.podSetAssignments[0].resourceUsage[cpu]: Invalid value: "
                '"1001m": is not a multiple of 2'
            ],
        ),
        (
            workload(reclaimablePods=[{"name": "other", "count": 1}]),
            [
                'status.reclaimablePods[other].name: Unsupported value: "other": supported values: '
                '"main"'
            ],
        ),
        (
            workload(reclaimablePods=[{"name": "main", "count": 3}]),
            ["status.reclaimablePods[main].count: Invalid value: 3: should be less or equal to 2"],
        ),
        (
            workload(admissionChecks=[updates("other")]),
            [
                'status.admissionChecks[0].podSetUpdates[0].name: Unsupported value: "other": '
                'supported values: "main"'
            ],
        ),
    ],
)
def test_a_workload_makes_sense(made: Workload, problems: Said) -> None:
    assert said(of_workload(made)) == problems


def test_pods_are_not_requested_by_containers() -> None:
    of = pods()
    of["template"]["spec"]["initContainers"] = [{"resources": {"limits": {"pods": "1"}}}]
    assert said(of_workload(workload(of))) == [
        "spec.podSets[0].template.spec.initContainers[0].resources.limits[pods]: Invalid value: "
        '"pods": the key is reserved for internal kueue use'
    ]


@pytest.mark.parametrize(
    "old, new, problems",
    [
        (held(), held(pods(cpu="3")), ["spec.podSets.0"]),
        (held(), held(pods(), pods("more")), ["spec.podSets"]),
        (workload(), workload(pods(cpu="3")), []),
        (held(), held(cpu="4"), ["status.admission"]),
        (held(), workload(), []),
        (
            held(reclaimablePods=[{"name": "main", "count": 2}]),
            held(reclaimablePods=[{"name": "main", "count": 1}]),
            ["status.reclaimablePods[main].count"],
        ),
        (
            held(reclaimablePods=[{"name": "main", "count": 2}]),
            held(),
            ["status.reclaimablePods[main]"],
        ),
        (
            held(admissionChecks=[updates()]),
            held(admissionChecks=[updates(labels={"a": "b"})]),
            ["status.admissionChecks[0].podSetUpdates"],
        ),
        (
            held(admissionChecks=[updates(state="Pending")]),
            held(admissionChecks=[updates(labels={"a": "b"})]),
            [],
        ),
        (workload(), workload(clusterName="other"), ["status.clusterName"]),
        (workload(nominatedClusterNames=["other"]), workload(clusterName="other"), []),
        (workload(conditions=RESERVED), workload(conditions=RESERVED), []),
    ],
)
def test_what_holds_quota_stays_as_it_is(old: Workload, new: Workload, problems: Said) -> None:
    assert [one.field for one in of_workload(new, old)] == problems


# --- jobs ---

JOB = kind_of("batch/v1", "Job")


def job(
    labels: dict[str, str] | None = None, annotations: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    meta = {"labels": labels or {}, "annotations": annotations or {}, "namespace": "team"}
    return {"metadata": meta, "spec": {"suspend": True, **spec}}


QUEUE, SECONDS = f"{PREFIX}/queue-name", f"{PREFIX}/max-exec-time-seconds"
CLASS, LEAST = f"{PREFIX}/priority-class", f"{PREFIX}/job-min-parallelism"
FOLLOWS = f"{PREFIX}/job-completions-equal-parallelism"


@pytest.mark.parametrize(
    "made, problems",
    [
        (job({QUEUE: "q"}), []),
        (
            job({SECONDS: "x"}),
            [
                f'metadata.labels[{SECONDS}]: Invalid value: "x": strconv.Atoi: parsing "x": '
                "invalid syntax"
            ],
        ),
        (
            job({SECONDS: "0"}),
            [f"metadata.labels[{SECONDS}]: Invalid value: 0: should be greater than 0"],
        ),
        (
            job(annotations={LEAST: "4"}, parallelism=4),
            [f"metadata.annotations[{LEAST}]: Invalid value: 4: should be between 0 and 3"],
        ),
        (
            job(annotations={FOLLOWS: "yes"}),
            [
                f'metadata.annotations[{FOLLOWS}]: Invalid value: "yes": strconv.ParseBool: '
                'parsing "yes": invalid syntax'
            ],
        ),
        (
            job(annotations={FOLLOWS: "true"}, parallelism=2, completions=3),
            [
                f'metadata.annotations[{FOLLOWS}]: Invalid value: "true": should not be enabled '
                "for NonIndexed jobs",
                "spec.completions: Invalid value: 3: should be equal to parallelism when "
                f"{FOLLOWS} annotation is true",
            ],
        ),
    ],
)
def test_a_job_says_what_can_be_done(made: Any, problems: Said) -> None:
    assert JOB is not None
    assert said(of_new_job(JOB, made)) == problems


def test_the_name_of_a_queue_is_one() -> None:
    assert JOB is not None
    (problem,) = of_new_job(JOB, job({QUEUE: "A B"}))
    assert problem.field == f"metadata.labels[{QUEUE}]"


@pytest.mark.parametrize(
    "old, new, problems",
    [
        (job({QUEUE: "a"}), job({QUEUE: "b"}), []),
        (job({QUEUE: "a"}), job({QUEUE: "b"}, suspend=False), [f"metadata.labels[{QUEUE}]"]),
        (job({QUEUE: "a"}), job(), [f"metadata.labels[{QUEUE}]"]),
        (job({SECONDS: "1"}), job({SECONDS: "2"}), []),
        (job({SECONDS: "1"}), job({SECONDS: "2"}, suspend=False), [f"metadata.labels[{SECONDS}]"]),
        (job(suspend=False), job({CLASS: "c"}, suspend=False), [f"metadata.labels[{CLASS}]"]),
        (job(), job({CLASS: "c"}), []),
        (job({CLASS: "c"}), job(), [f"metadata.labels[{CLASS}]"]),
        (
            job(annotations={LEAST: "1"}, parallelism=3, suspend=False),
            job(annotations={LEAST: "1"}, parallelism=2, suspend=False),
            ["spec.parallelism"],
        ),
        (
            job(suspend=False, completionMode="Indexed"),
            job(annotations={FOLLOWS: "true"}, suspend=False, completionMode="Indexed"),
            [f"metadata.annotations[{FOLLOWS}]"],
        ),
    ],
)
def test_a_job_that_runs_stays_as_it_is(old: Any, new: Any, problems: Said) -> None:
    assert JOB is not None
    assert [one.field for one in of_changed_job(JOB, new, old, lambda _: True)] == problems


# --- topologies ---

NEEDED, PREFERRED = f"{PREFIX}/podset-required-topology", f"{PREFIX}/podset-preferred-topology"
FREE, SLICE = f"{PREFIX}/podset-unconstrained-topology", f"{PREFIX}/podset-slice-required-topology"
SIZE, LAYERS = f"{PREFIX}/podset-slice-size", f"{SLICE}-constraints"
TOGETHER = f"{PREFIX}/podset-group-name"


@pytest.mark.parametrize(
    "annotations, problems",
    [
        ({NEEDED: "cloud.com/rack"}, []),
        ({SLICE: "cloud.com/rack", SIZE: "4"}, []),
        ({LAYERS: '[{"topology":"block","size":4},{"topology":"rack","size":2}]'}, []),
        (
            {NEEDED: "a", PREFERRED: "b"},
            [
                "annotations: Invalid value: must not contain more than one topology annotation: "
                f'["{NEEDED}", "{PREFERRED}", "{FREE}"]'
            ],
        ),
        (
            {FREE: "maybe"},
            [f'annotations[{FREE}]: Invalid value: "maybe": must be a boolean value'],
        ),
        (
            {SLICE: "rack"},
            [f"annotations[{SIZE}]: Required value: must be set when '{SLICE}' is specified"],
        ),
        (
            {SIZE: "2"},
            [f"annotations[{SIZE}]: Forbidden: may not be set when '{SLICE}' is not specified"],
        ),
        (
            {SLICE: "rack", SIZE: "x"},
            [f'annotations[{SIZE}]: Invalid value: "x": must be a numeric value'],
        ),
        (
            {SLICE: "rack", SIZE: "0"},
            [f'annotations[{SIZE}]: Invalid value: "0": must be greater than or equal to 1'],
        ),
        (
            {SLICE: "rack", SIZE: "9"},
            [f'annotations[{SIZE}]: Invalid value: "9": must not be greater than pod set count 8'],
        ),
        (
            {TOGETHER: "7", NEEDED: "rack"},
            [f'annotations[{TOGETHER}]: Invalid value: "7": must not be a number'],
        ),
        (
            {TOGETHER: "g"},
            [
                f"annotations[{TOGETHER}]: Forbidden: may not be set when neither '{PREFERRED}' nor"
                f" '{NEEDED}' is specified"
            ],
        ),
        (
            {LAYERS: "[]"},
            [
                f'annotations[{LAYERS}]: Invalid value: "[]": topology constraints must contain '
                "between 1 and 3 entries"
            ],
        ),
        (
            {LAYERS: '[{"topology":"a","size":4},{"topology":"a","size":3}]'},
            [
                f'annotations[{LAYERS}][1].topology: Duplicate value: "a (also at index 0)"',
                f"annotations[{LAYERS}][1].size: Invalid value: 3: must evenly divide the parent "
                "layer size 4",
            ],
        ),
        (
            {LAYERS: '[{"topology":"a","size":9}]'},
            [f"annotations[{LAYERS}]: Invalid value: 9: must not be greater than pod set count 8"],
        ),
    ],
)
def test_pods_are_kept_near_each_other_in_one_way(annotations: Any, problems: Said) -> None:
    found = said(of_annotations(annotations, "metadata", count=8))
    assert [one.removeprefix("metadata.") for one in found] == problems


def test_the_path_of_a_job_set_names_the_part() -> None:
    kind = kind_of("jobset.x-k8s.io/v1alpha2", "JobSet")
    template = {"metadata": {"annotations": {FREE: "x"}}}
    jobs = [{"name": "a"}, {"name": "b", "template": {"spec": {"template": template}}}]
    assert kind is not None
    (problem,) = of_new_job(kind, {"spec": {"replicatedJobs": jobs}})
    assert problem.field == f"spec.replicatedJobs[1].template.metadata.annotations[{FREE}]"


# --- pods ---

GROUP, TOTAL = f"{PREFIX}/pod-group-name", f"{PREFIX}/pod-group-total-count"
BOTH = f"both the '{TOTAL}' annotation and the '{GROUP}' label should be set"


@pytest.mark.parametrize(
    "labels, annotations, problems",
    [
        ({QUEUE: "q"}, {}, []),
        ({GROUP: "g"}, {TOTAL: "3"}, []),
        ({}, {TOTAL: "3"}, [f"metadata.labels[{GROUP}]: Required value: {BOTH}"]),
        ({GROUP: "g"}, {}, [f"metadata.annotations[{TOTAL}]: Required value: {BOTH}"]),
        (
            {GROUP: "g"},
            {TOTAL: "x"},
            [
                f'metadata.annotations[{TOTAL}]: Invalid value: "x": strconv.Atoi: parsing "x": '
                "invalid syntax"
            ],
        ),
        (
            {GROUP: "g"},
            {TOTAL: "0"},
            [
                f'metadata.annotations[{TOTAL}]: Invalid value: "0": incorrect annotation value '
                f"'{TOTAL}=0': group total count should be greater than zero"
            ],
        ),
        (
            {f"{PREFIX}/managed": "no"},
            {},
            [
                f"metadata.labels[{PREFIX}/managed]: Forbidden: managed label value can only be "
                "'true'"
            ],
        ),
        (
            {},
            {FREE: "x"},
            [f'metadata.annotations[{FREE}]: Invalid value: "x": must be a boolean value'],
        ),
    ],
)
def test_a_group_of_pods_has_a_name_and_a_size(
    labels: Any, annotations: Any, problems: Said
) -> None:
    assert (
        said(of_new_pod({"metadata": {"labels": labels, "annotations": annotations}})) == problems
    )
