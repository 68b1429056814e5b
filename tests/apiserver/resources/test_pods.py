"""A pod's own rules, as rows: how long it stays, how its table shows it, which node it can be bound
to."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tiphys.api.base import from_builtins
from tiphys.api.core_v1 import Binding, Pod, PodStatus
from tiphys.apiserver.resources.base import Settings
from tiphys.apiserver.resources.pods.binding import _why_not
from tiphys.apiserver.resources.pods.columns import COLUMNS, pod_reason
from tiphys.apiserver.resources.pods.ephemeral import with_ephemeral_containers
from tiphys.apiserver.resources.pods.mirror import mirror_errors, mirror_update_errors
from tiphys.apiserver.resources.pods.quality import qos_class
from tiphys.apiserver.resources.pods.strategy import PodStrategy
from tiphys.machinery.errors import StatusError
from tiphys.machinery.podrefs import MIRROR

STRATEGY = PodStrategy(Settings())


def having(status: dict[str, Any], **spec: Any) -> Pod:
    made = pod(**spec)
    made.status = from_builtins(status, PodStatus)
    return made


def state(**kind: Any) -> dict[str, Any]:
    return {"name": "c", "state": kind}


@pytest.mark.parametrize(
    ("requested", "spec", "phase", "seconds"),
    [
        (None, {}, "Running", 30),
        (None, {"terminationGracePeriodSeconds": 5}, "Running", 5),
        (7, {"terminationGracePeriodSeconds": 5}, "Running", 7),
        (0, {}, "Running", 0),
        (-4, {}, "Running", 1),
        (1 << 40, {}, "Running", (1 << 31) - 1),
        (9, {}, "Failed", 0),
        (9, {}, "Succeeded", 0),
        (9, {"nodeName": ""}, "Pending", 0),
    ],
)
def test_a_deleted_pod_stays_as_long_as_its_node_needs(
    requested: int | None, spec: dict[str, Any], phase: str, seconds: int
) -> None:
    running = having({"phase": phase}, **{"nodeName": "n", **spec})
    assert STRATEGY.grace(running, requested) == seconds


@pytest.mark.parametrize(("requested", "seconds"), [(3, 3), (10, 10), (60, 10), (None, 10)])
def test_a_pod_that_is_being_deleted_may_only_go_sooner(
    requested: int | None, seconds: int
) -> None:
    going = having({"phase": "Running"}, nodeName="n")
    going.metadata.deletion_timestamp = "2020-01-01T00:00:00Z"
    going.metadata.deletion_grace_period_seconds = 10
    assert STRATEGY.grace(going, requested) == seconds


WAITING = state(waiting={"reason": "ImagePullBackOff"})
RUNNING = {**state(running={}), "ready": True}
EXITED = state(terminated={"exitCode": 3})
KILLED = state(terminated={"exitCode": 137, "signal": 9})
COMPLETED = state(terminated={"exitCode": 0, "reason": "Completed"})
READY = [{"type": "Ready", "status": "True"}]
INIT = {"initContainers": [{"name": "c", "image": "i"}, {"name": "d", "image": "i"}]}
SIDECAR = {"initContainers": [{"name": "c", "image": "i", "restartPolicy": "Always"}]}
GATED = [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]


@pytest.mark.parametrize(
    ("status", "spec", "reason"),
    [
        ({"phase": "Pending"}, {}, "Pending"),
        ({"phase": "Failed", "reason": "Evicted"}, {}, "Evicted"),
        ({"phase": "Pending", "conditions": GATED}, {}, "SchedulingGated"),
        ({"phase": "Running", "containerStatuses": [WAITING]}, {}, "ImagePullBackOff"),
        ({"phase": "Running", "containerStatuses": [EXITED]}, {}, "ExitCode:3"),
        ({"phase": "Running", "containerStatuses": [KILLED]}, {}, "Signal:9"),
        ({"phase": "Running", "containerStatuses": [WAITING, EXITED]}, {}, "ImagePullBackOff"),
        ({"phase": "Running", "containerStatuses": [COMPLETED]}, {}, "Completed"),
        ({"phase": "Running", "containerStatuses": [COMPLETED, RUNNING]}, {}, "NotReady"),
        (
            {
                "phase": "Running",
                "containerStatuses": [COMPLETED, RUNNING],
                "conditions": READY,
            },
            {},
            "Running",
        ),
        ({"phase": "Pending", "initContainerStatuses": [RUNNING]}, INIT, "Init:0/2"),
        (
            {"phase": "Pending", "initContainerStatuses": [{**RUNNING, "started": True}]},
            INIT,
            "Init:0/2",
        ),
        ({"phase": "Pending", "initContainerStatuses": [EXITED]}, INIT, "Init:ExitCode:3"),
        (
            {
                "phase": "Pending",
                "initContainerStatuses": [EXITED],
                "containerStatuses": [WAITING],
            },
            INIT,
            "Init:ExitCode:3",
        ),
        (
            {
                "phase": "Running",
                "initContainerStatuses": [EXITED],
                "containerStatuses": [WAITING],
                "conditions": [{"type": "Initialized", "status": "True"}],
            },
            INIT,
            "ImagePullBackOff",
        ),
        (
            {"phase": "Pending", "initContainerStatuses": [COMPLETED, EXITED]},
            INIT,
            "Init:ExitCode:3",
        ),
        ({"phase": "Pending", "initContainerStatuses": [WAITING]}, INIT, "Init:ImagePullBackOff"),
        (
            {"phase": "Running", "initContainerStatuses": [{**RUNNING, "started": True}]},
            SIDECAR,
            "Running",
        ),
    ],
)
def test_one_word_says_how_a_pod_does(
    status: dict[str, Any], spec: dict[str, Any], reason: str
) -> None:
    assert pod_reason(having(status, **spec)) == reason


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"phase": "Running"}, "Terminating"),
        ({"phase": "Running", "reason": "NodeLost"}, "Unknown"),
        ({"phase": "Succeeded"}, "Succeeded"),
    ],
)
def test_a_pod_that_is_being_deleted_says_so(status: dict[str, Any], reason: str) -> None:
    going = having(status)
    going.metadata.deletion_timestamp = "2020-01-01T00:00:00Z"
    assert pod_reason(going) == reason


FAILED = state(terminated={"exitCode": 2, "reason": "Error"})
ENDED = state(terminated={"exitCode": 0, "reason": "Completed"})


@pytest.mark.parametrize(
    ("statuses", "reason"),
    [([FAILED, ENDED], "Error"), ([ENDED, FAILED], "Error"), ([ENDED, ENDED], "Completed")],
)
def test_a_container_that_failed_says_more_than_one_that_has_completed(
    statuses: list[dict[str, Any]], reason: str
) -> None:
    assert pod_reason(having({"containerStatuses": statuses})) == reason


SIDECAR = {"name": "s", "restartPolicy": "Always"}
INITIALIZED = [{"type": "Initialized", "status": "True"}]


@pytest.mark.parametrize(
    ("init_state", "conditions", "restarts"),
    [
        ({"terminated": {"exitCode": 0}}, INITIALIZED, "7"),
        ({"terminated": {"exitCode": 1}}, [], "6"),
        ({"terminated": {"exitCode": 1}}, INITIALIZED, "7"),
    ],
)
def test_restarts_are_those_of_init_containers_until_they_are_done(
    init_state: dict[str, Any], conditions: list[dict[str, str]], restarts: str
) -> None:
    """A sidecar's count beside those of the main containers; an init container's do not."""
    sidecar = {"name": "s", "restartCount": 2, "started": True, "state": {"running": {}}}
    init = {"name": "i", "restartCount": 4, "state": init_state}
    one = having(
        {
            "initContainerStatuses": [sidecar, init],
            "containerStatuses": [{"name": "c", "restartCount": 5}],
            "conditions": conditions,
        },
        initContainers=[SIDECAR, {"name": "i"}],
    )
    shown = next(column for column in COLUMNS if column.name == "Restarts")
    assert shown.cell(one) == restarts


def sized(requests: dict[str, str], limits: dict[str, str]) -> dict[str, Any]:
    return {"name": "c", "image": "i", "resources": {"requests": requests, "limits": limits}}


BOTH = {"cpu": "1", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("containers", "quality"),
    [
        ([sized({}, {})], "BestEffort"),
        ([sized({"cpu": "0"}, {})], "BestEffort"),
        ([sized(BOTH, BOTH)], "Guaranteed"),
        ([sized({}, BOTH)], "Guaranteed"),
        ([sized(BOTH, {"cpu": "1000m", "memory": "1024Mi"})], "Guaranteed"),
        ([sized({"cpu": "1"}, {"cpu": "1"})], "Burstable"),
        ([sized({"cpu": "500m", "memory": "1Gi"}, BOTH)], "Burstable"),
        ([sized(BOTH, BOTH), sized({}, {})], "Burstable"),
        ([sized({"cpu": "1"}, {})], "Burstable"),
        ([sized({}, {"cpu": "0", "memory": "1Gi"})], "Burstable"),
    ],
)
def test_the_quality_of_service_follows_requests_and_limits(
    containers: list[dict[str, Any]], quality: str
) -> None:
    assert qos_class(pod(containers=containers).spec) == quality


@pytest.mark.parametrize(
    ("whole", "quality"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"requests": BOTH, "limits": {"cpu": "2", "memory": "1Gi"}}, "Burstable"),
        ({"requests": BOTH, "limits": BOTH}, "Guaranteed"),
    ],
)
def test_what_a_pod_asks_for_as_a_whole_decides(whole: dict[str, Any], quality: str) -> None:
    containers = [sized({}, {}), sized(BOTH, {})]
    assert qos_class(pod(containers=containers, resources=whole).spec) == quality


@pytest.mark.parametrize(
    ("spec", "uid", "reason"),
    [
        ({}, "", ""),
        ({}, "u", ""),
        ({}, "other", "Precondition failed: UID in precondition: other, UID in object meta: u"),
        ({"nodeName": "m"}, "", 'pod p is already assigned to node "m"'),
        ({"schedulingGates": [{"name": "g"}]}, "", "pod p has non-empty .spec.schedulingGates"),
    ],
)
def test_a_pod_is_bound_once_and_when_it_may_be(
    spec: dict[str, Any], uid: str, reason: str
) -> None:
    waiting = pod(**spec)
    waiting.metadata.uid = "u"
    binding = Binding()
    binding.metadata.uid = uid
    assert _why_not(waiting, binding) == reason


def test_a_mirror_needs_a_node_and_stays_one() -> None:
    plain, mirror = pod(), pod(nodeName="n")
    mirror.metadata.annotations[MIRROR] = "x"
    assert mirror_errors(plain) == [] and mirror_errors(mirror) == []
    mirror.spec.node_name = ""
    assert [error.field for error in mirror_errors(mirror)] == [f"metadata.annotations[{MIRROR}]"]
    assert mirror_update_errors(mirror, mirror) == []
    assert "may not add" in mirror_update_errors(mirror, plain)[0].detail
    assert "may not remove" in mirror_update_errors(plain, mirror)[0].detail


DEBUGGERS = [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]


@pytest.mark.parametrize(
    ("after", "refusal"),
    [
        (DEBUGGERS, ""),
        ([*DEBUGGERS, {"name": "c", "image": "i"}], ""),
        (DEBUGGERS[:1], '"b" may not be removed'),
        ([DEBUGGERS[0], {"name": "b", "image": "j"}], "may not be changed"),
    ],
)
def test_ephemeral_containers_are_only_added(after: list[dict[str, Any]], refusal: str) -> None:
    old = pod(ephemeralContainers=DEBUGGERS)
    new = pod(ephemeralContainers=after, hostname="changed")
    if refusal:
        with pytest.raises(StatusError, match=refusal):
            with_ephemeral_containers(new, old)
        return
    changed = with_ephemeral_containers(new, old)
    assert len(changed.spec.ephemeral_containers) == len(after)
    assert changed.spec.hostname == old.spec.hostname


def test_a_status_that_does_not_say_what_it_observed_keeps_it() -> None:
    ready = {"type": "Ready", "status": "True", "observedGeneration": 3}
    other = {"type": "Other", "status": "True"}
    old = having({"observedGeneration": 4, "conditions": [ready, other]})
    silent = [{"type": "Ready", "status": "False"}, {**other, "observedGeneration": 2}]
    new = having({"conditions": [*silent, {"type": "Ready", "status": "True"}]})
    STRATEGY.prepare_for_status(new, old)
    assert new.status.observed_generation == 4
    assert [one.observed_generation for one in new.status.conditions] == [3, 2, 0]


GPU = "example.com/gpu"


@pytest.mark.parametrize(
    ("mapping", "name", "fields"),
    [
        ({"requestName": "r"}, "claim", []),
        ({"requestName": "r"}, "", ["resourceClaimName"]),
        ({"requestName": "r"}, "No", ["resourceClaimName"]),
        ({"requestName": "R"}, "claim", ["requestName"]),
        ({"containerName": "d"}, "claim", ["requestMappings[0].containerName"]),
        ({"resourceName": "cpu"}, "claim", ["requestMappings[0].resourceName"]),
        (None, "claim", ["requestMappings"]),
    ],
)
def test_a_status_names_devices_of_containers_that_request_them(
    mapping: dict[str, str] | None, name: str, fields: list[str]
) -> None:
    usual = {"containerName": "c", "resourceName": GPU, "requestName": "r"}
    mappings = [{**usual, **mapping}] if mapping is not None else []
    status = {"requestMappings": mappings, "resourceClaimName": name}
    containers = [{"name": "c", "image": "i", "resources": {"requests": {GPU: "1"}}}]
    said = having({"extendedResourceClaimStatus": status}, containers=containers)
    violations = STRATEGY.validate_status(said, said)
    path = "status.extendedResourceClaimStatus."
    assert [violation.field for violation in violations] == [path + field for field in fields]


def test_a_status_names_claims_of_its_pod_once() -> None:
    statuses = [{"name": name, "resourceClaimName": "x"} for name in ("gpu", "gpu", "other")]
    claims = [{"name": "gpu", "resourceClaimTemplateName": "t"}]
    said = having({"resourceClaimStatuses": statuses}, resourceClaims=claims)
    violations = STRATEGY.validate_status(said, said)
    assert [(one.reason, one.field) for one in violations] == [
        ("FieldValueDuplicate", "status.resourceClaimStatuses[1].name"),
        ("FieldValueInvalid", "status.resourceClaimStatuses[2].name"),
    ]
