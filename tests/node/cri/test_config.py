"""What CRI is told of sandboxes and containers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.builders import pod
from tiphys.api import core_v1
from tiphys.node.abilities import EVERYTHING, NOTHING, IdRange
from tiphys.node.cri import messages as m
from tiphys.node.cri.config import (
    SandboxPlace,
    container_config,
    container_resources,
    container_security,
    oom_score,
    sandbox_config,
)
from tiphys.node.cri.runtime import abilities_of, applies_cdi
from tiphys.node.naming import Resolver
from tiphys.node.profiles import Profile
from tiphys.node.runtime import Confinement, ContainerPlan, DeviceNode, Mount

POD, CONTAINER, NODE, TARGET = range(4)  # NamespaceMode
RUNTIME_DEFAULT, UNCONFINED, LOCALHOST = range(3)  # SecurityProfile.ProfileType


def one(own: dict[str, Any] | None = None, **spec: Any) -> core_v1.Pod:
    """A pod of one container with `own` settings."""
    made = pod(containers=[{"name": "c", "image": "i", **(own or {})}], **spec)
    made.metadata.uid = "u"
    return made


@pytest.mark.parametrize(
    ("requests", "limits", "shares", "quota", "memory"),
    [
        ({}, {}, 2, 0, 0),
        ({"cpu": "1m"}, {}, 2, 0, 0),
        ({"cpu": "500m"}, {}, 512, 0, 0),
        ({"cpu": "500m"}, {"cpu": "2"}, 512, 200_000, 0),
        ({}, {"cpu": "250m"}, 256, 25_000, 0),
        ({"cpu": "0"}, {"cpu": "250m"}, 2, 25_000, 0),
        ({}, {"cpu": "1m"}, 2, 1000, 0),
        ({}, {"memory": "64Mi"}, 2, 0, 64 << 20),
    ],
)
def test_resources(
    requests: dict[str, str], limits: dict[str, str], shares: int, quota: int, memory: int
) -> None:
    made = one({"resources": {"requests": requests, "limits": limits}})
    told = container_resources(made, made.spec.containers[0])
    assert (told.cpu_shares, told.cpu_quota, told.memory_limit_in_bytes) == (shares, quota, memory)
    assert told.cpu_period == (100_000 if quota else 0)


def test_a_container_that_is_alone_on_its_cores_has_no_quota() -> None:
    made = one({"resources": {"limits": {"cpu": "2"}}})
    container = made.spec.containers[0]
    where = Confinement("1-2", "0", is_alone=True)
    plan = ContainerPlan(container, 0, "i", [], [], {}, [], confinement=where)
    linux = container_config(made, plan).linux
    assert linux is not None
    assert linux.resources is not None
    assert (linux.resources.cpuset_cpus, linux.resources.cpuset_mems) == ("1-2", "0")
    assert linux.resources.cpu_quota == -1


@pytest.mark.parametrize(
    ("qos", "request_", "score"),
    [
        ("Guaranteed", "1Gi", -997),
        ("BestEffort", "", 1000),
        ("Burstable", "", 999),
        ("Burstable", "1Gi", 750),
        ("Burstable", "1Mi", 999),
        ("Burstable", "4Gi", 3),
    ],
)
def test_who_is_killed_first_when_memory_runs_out(qos: str, request_: str, score: int) -> None:
    made = one({"resources": {"requests": {"memory": request_} if request_ else {}}})
    made.status.qos_class = qos
    assert oom_score(made, made.spec.containers[0], memory=4 << 30) == score


@pytest.mark.parametrize(
    ("spec", "target", "network", "pid", "ipc"),
    [
        ({}, "", POD, CONTAINER, POD),
        ({"shareProcessNamespace": True}, "", POD, POD, POD),
        ({"hostPID": True, "shareProcessNamespace": True}, "", POD, NODE, POD),
        ({"hostNetwork": True}, "", NODE, CONTAINER, POD),
        ({"hostIPC": True}, "", POD, CONTAINER, NODE),
        ({}, "other", POD, TARGET, POD),
    ],
)
def test_namespaces(spec: dict[str, Any], target: str, network: int, pid: int, ipc: int) -> None:
    made = one(**spec)
    plan = plan_of(made, target=target)
    options = container_security(made.spec, plan).namespace_options
    assert options is not None
    assert (options.network, options.pid, options.ipc) == (network, pid, ipc)
    assert options.target_id == target


def plan_of(made: core_v1.Pod, **more: Any) -> ContainerPlan:
    return ContainerPlan(made.spec.containers[0], 0, "i", [], [], {}, [], **more)


def security(own: dict[str, Any], shared: dict[str, Any] | None = None, **more: Any) -> Any:
    made = one({"securityContext": own}, securityContext=shared or {})
    return container_security(made.spec, plan_of(made, **more))


@pytest.mark.parametrize(
    ("own", "shared", "user", "group"),
    [
        ({}, {}, None, None),
        ({"runAsUser": 0}, {"runAsUser": 5}, 0, None),
        ({}, {"runAsUser": 5, "runAsGroup": 6}, 5, 6),
        ({"runAsUser": 1, "runAsGroup": 0}, {"runAsGroup": 6}, 1, 0),
        ({"runAsGroup": 6}, {}, None, None),
    ],
)
def test_users(
    own: dict[str, int], shared: dict[str, int], user: int | None, group: int | None
) -> None:
    told = security(own, shared)
    assert (told.run_as_user and told.run_as_user.value) == user
    assert (told.run_as_group and told.run_as_group.value) == group


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        (Profile("Unconfined"), (UNCONFINED, "")),
        (Profile("RuntimeDefault"), (RUNTIME_DEFAULT, "")),
        (Profile("Localhost", "/p"), (LOCALHOST, "/p")),
    ],
)
def test_seccomp(profile: Profile, expected: tuple[int, str]) -> None:
    told = security({}, seccomp=profile)
    assert (told.seccomp.profile_type, told.seccomp.localhost_ref) == expected


@pytest.mark.parametrize(
    ("own", "expected", "older"),
    [
        ({"type": "Localhost", "localhostProfile": "p"}, (LOCALHOST, "p"), "localhost/p"),
        ({"type": "Unconfined"}, (UNCONFINED, ""), "unconfined"),
        (None, (RUNTIME_DEFAULT, ""), "runtime/default"),
    ],
)
def test_app_armor(own: Any, expected: tuple[int, str], older: str) -> None:
    shared = {"appArmorProfile": {"type": "RuntimeDefault"}}
    told = security({"appArmorProfile": own} if own else {}, shared)
    assert (told.apparmor.profile_type, told.apparmor.localhost_ref) == expected
    assert told.apparmor_profile == older
    assert security({}).apparmor is None and security({}).apparmor_profile == ""


def test_users_of_a_pod_are_mapped_in_its_sandbox_and_its_mounts() -> None:
    users = IdRange(131072, 65536)
    made = one({"securityContext": {"procMount": "Unmasked"}}, hostUsers=False)
    place = SandboxPlace("", "", users)
    sandbox = sandbox_config(made, 0, Resolver([], [], []), "h", place).linux
    assert sandbox is not None and sandbox.security_context is not None
    plan = plan_of(made, users=users)
    plan.mounts.append(Mount("/a", "/b"))
    told = container_config(made, plan)
    assert told.linux is not None and told.linux.security_context is not None
    for context in (sandbox.security_context, told.linux.security_context):
        namespaces = context.namespace_options
        assert namespaces is not None and namespaces.userns_options is not None
        assert namespaces.userns_options.mode == POD
        assert shown(namespaces.userns_options.uids) == shown(namespaces.userns_options.gids)
        assert shown(namespaces.userns_options.uids) == [(131072, 0, 65536)]
    assert shown(told.mounts[0].uidMappings) == shown(told.mounts[0].gidMappings)
    assert shown(told.mounts[0].uidMappings) == [(131072, 0, 65536)]
    assert told.linux.security_context.masked_paths == []
    assert told.linux.security_context.readonly_paths == []


def shown(mappings: Any) -> list[tuple[int, int, int]]:
    return [(each.host_id, each.container_id, each.length) for each in mappings]


def test_groups_of_the_image_may_be_left_out() -> None:
    assert security({}).supplemental_groups_policy == 0
    assert security({}, {"supplementalGroupsPolicy": "Strict"}).supplemental_groups_policy == 1


def test_a_runtime_says_what_it_can_do() -> None:
    features = m.RuntimeHandlerFeatures(recursive_read_only_mounts=True, user_namespaces=True)
    handlers = [m.RuntimeHandler(name="", features=features), m.RuntimeHandler(name="old")]
    told = m.StatusResponse(
        runtime_handlers=handlers, features=m.RuntimeFeatures(supplemental_groups_policy=True)
    )
    abilities = abilities_of(told, app_armor=True)
    assert (abilities.of(""), abilities.of("old")) == (EVERYTHING, NOTHING)
    assert (abilities.strict_groups, abilities.app_armor) == (True, True)
    silent = abilities_of(m.StatusResponse(), app_armor=False)
    assert (silent.of(""), silent.strict_groups, silent.handlers) == (NOTHING, None, {})


@pytest.mark.parametrize(
    ("own", "no_new_privs", "read_only", "masked"),
    [
        ({}, False, False, True),
        ({"allowPrivilegeEscalation": True}, False, False, True),
        ({"allowPrivilegeEscalation": False}, True, False, True),
        ({"readOnlyRootFilesystem": True}, False, True, True),
        ({"privileged": True}, False, False, False),
    ],
)
def test_privileges(
    own: dict[str, bool], no_new_privs: bool, read_only: bool, masked: bool
) -> None:
    told = security(own)
    assert (told.no_new_privs, told.readonly_rootfs) == (no_new_privs, read_only)
    assert bool(told.masked_paths) is bool(told.readonly_paths) is masked
    assert told.privileged is (not masked)


def test_groups_and_capabilities() -> None:
    told = security(
        {"capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]}},
        {"supplementalGroups": [7], "fsGroup": 0},
    )
    assert told.supplemental_groups == [7, 0]
    assert told.capabilities.add_capabilities == ["NET_ADMIN"]
    assert told.capabilities.drop_capabilities == ["ALL"]


def test_a_sandbox() -> None:
    sysctls = {"sysctls": [{"name": "net.ipv4.tcp_rmem", "value": "1"}]}
    made = one(
        {"securityContext": {"privileged": True}}, labels={"a": "b"}, securityContext=sysctls
    )
    told = sandbox_config(
        made, 2, Resolver(["s"], ["d"], ["o"]), "host", SandboxPlace("/logs", "/c")
    )
    assert told.metadata is not None and told.metadata.attempt == 2
    assert (told.hostname, told.log_directory) == ("host", "/logs")
    assert told.labels == {
        "a": "b",
        "io.kubernetes.pod.name": "p",
        "io.kubernetes.pod.namespace": "default",
        "io.kubernetes.pod.uid": "u",
    }
    assert told.linux is not None and told.linux.security_context is not None
    assert told.linux.security_context.privileged
    assert told.linux.sysctls == {"net.ipv4.tcp_rmem": "1"}
    on_host = sandbox_config(
        one(hostNetwork=True), 0, Resolver([], [], []), "h", SandboxPlace("", "")
    )
    assert on_host.hostname == ""


def test_a_container() -> None:
    made = one({"stdin": True, "workingDir": "/w"})
    env = {"RAW": "\udcff", "TEXT": "ü"}
    mounts = [Mount("/host", "/inside", True, 1)]
    plan = ContainerPlan(made.spec.containers[0], 3, "img", ["sh"], ["-c"], env, mounts)
    told = container_config(made, plan)
    assert told.metadata is not None and told.metadata.attempt == 3
    assert (told.log_path, told.working_dir, told.stdin, told.tty) == ("c/3.log", "/w", True, False)
    assert {one.key: one.value for one in told.envs} == {"RAW": b"\xff", "TEXT": "ü".encode()}
    [mount] = told.mounts
    assert (mount.host_path, mount.container_path) == ("/host", "/inside")
    assert (mount.readonly, mount.propagation) == (True, 1)
    assert told.labels["io.kubernetes.container.name"] == "c"


def test_a_container_with_devices() -> None:
    devices = [DeviceNode("/dev/null", "/dev/it", "rw")]
    plan = ContainerPlan(
        one().spec.containers[0],
        0,
        "i",
        [],
        [],
        {},
        [],
        devices=devices,
        annotations={"a": "b"},
        cdi=["example.com/gpu=one"],
    )
    told = container_config(one(), plan)
    assert [(d.host_path, d.container_path, d.permissions) for d in told.devices] == [
        ("/dev/null", "/dev/it", "rw")
    ]
    assert [device.name for device in told.CDI_devices] == ["example.com/gpu=one"]
    assert told.annotations == {"a": "b", "tiphys.dev/image": "i"}


@pytest.mark.parametrize(
    ("version", "does"),
    [("1.6.20", False), ("1.7.0", True), ("2.0.0-rc.1", True), ("unknown", False)],
)
def test_a_runtime_applies_cdi_from_1_7_on(version: str, does: bool) -> None:
    assert applies_cdi(version) is does
