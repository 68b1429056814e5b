"""What the pod security standards forbid, a row a rule. Texts are upstream's."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.machinery.podsecurity import LevelVersion, Policy, policy_of, violations

HARDENED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod(
    spec: dict[str, Any],
    context: dict[str, Any] | None = None,
    annotations: dict[str, str] | None = None,
    **container: Any,
) -> core_v1.Pod:
    """A pod of one container that the level restricted allows, but for what is given."""
    row = {"name": "c", "image": "img", **container}
    row["securityContext"] = HARDENED | (context or {})
    made = core_v1.Pod(spec=from_builtins({"containers": [row], **spec}, core_v1.PodSpec))
    made.metadata.annotations = annotations or {}
    return made


def context(**fields: Any) -> core_v1.Pod:
    return pod({}, fields)


def told(pod: core_v1.Pod, level: str, version: str = "latest") -> list[str]:
    return [str(violation) for violation in violations(pod, LevelVersion(level, version))]


def reasons(pod: core_v1.Pod, level: str, version: str = "latest") -> list[str]:
    return [violation.reason for violation in violations(pod, LevelVersion(level, version))]


BASELINE = [
    (
        pod({"hostNetwork": True, "hostIPC": True}),
        "host namespaces (hostNetwork=true, hostIPC=true)",
    ),
    (pod({"hostPID": True}), "host namespaces (hostPID=true)"),
    (
        context(privileged=True),
        'privileged (container "c" must not set securityContext.privileged=true)',
    ),
    (
        context(capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
        'non-default capabilities (container "c" must not include "SYS_ADMIN" in'
        " securityContext.capabilities.add)",
    ),
    (
        pod({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
        'hostPath volumes (volume "v")',
    ),
    (
        pod({}, ports=[{"containerPort": 1, "hostPort": 9}, {"containerPort": 2, "hostPort": 80}]),
        'hostPort (container "c" uses hostPorts 80, 9)',
    ),
    (
        pod({}, readinessProbe={"httpGet": {"port": 1, "host": "10.0.0.1"}}),
        'probe or lifecycle host (container "c" uses probe or lifecycle host "10.0.0.1")',
    ),
    (
        pod({}, lifecycle={"preStop": {"tcpSocket": {"port": 1, "host": "a"}}}),
        'probe or lifecycle host (container "c" uses probe or lifecycle host "a")',
    ),
    (
        context(procMount="Unmasked"),
        'procMount (container "c" must not set securityContext.procMount to "Unmasked")',
    ),
    (
        context(seLinuxOptions={"type": "x", "user": "u"}),
        'seLinuxOptions (container "c" set forbidden securityContext.seLinuxOptions: type "x"; user'
        " may not be set)",
    ),
    (
        pod({"securityContext": {"seLinuxOptions": {"role": "r"}}}),
        "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: role may not be set)",
    ),
    (
        pod({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}),
        "forbidden sysctls (kernel.msgmax)",
    ),
    (
        context(windowsOptions={"hostProcess": True}),
        'hostProcess (container "c" must not set securityContext.windowsOptions.hostProcess=true)',
    ),
    (
        pod(
            {"securityContext": {"appArmorProfile": {"type": "Unconfined"}}},
            annotations={"container.apparmor.security.beta.kubernetes.io/c": "unconfined"},
        ),
        "forbidden AppArmor profiles (pod and annotation must not set AppArmor profile type to"
        ' "Unconfined", "container.apparmor.security.beta.kubernetes.io/c="unconfined"")',
    ),
]
UNCONFINED = (
    'seccompProfile (pod and container "c" must not set securityContext.seccompProfile.type to'
    ' "Unconfined")'
)


@pytest.mark.parametrize(("pod", "violation"), BASELINE)
def test_what_baseline_forbids_restricted_does_too(pod: core_v1.Pod, violation: str) -> None:
    assert told(pod, "baseline") == [violation]
    reason = violation.partition(" (")[0]
    own = {  # restricted has rules of its own
        "non-default capabilities": "unrestricted capabilities",
        "hostPath volumes": "restricted volume types",
    }
    assert own.get(reason, reason) in reasons(pod, "restricted")
    assert told(pod, "privileged") == []


def test_an_unconfined_seccomp_profile_is_forbidden_by_both() -> None:
    profile = {"seccompProfile": {"type": "Unconfined"}}
    made = pod({"securityContext": profile}, profile)
    assert told(made, "baseline") == told(made, "restricted") == [UNCONFINED]


@pytest.mark.parametrize(
    ("pod", "violation"),
    [
        (
            context(allowPrivilegeEscalation=None),
            'allowPrivilegeEscalation != false (container "c" must set'
            " securityContext.allowPrivilegeEscalation=false)",
        ),
        (
            context(capabilities={"drop": ["CHOWN"], "add": ["NET_BIND_SERVICE"]}),
            'unrestricted capabilities (container "c" must set'
            ' securityContext.capabilities.drop=["ALL"])',
        ),
        (
            context(capabilities={"drop": ["ALL"], "add": ["CHOWN"]}),
            'unrestricted capabilities (container "c" must not include "CHOWN" in'
            " securityContext.capabilities.add)",
        ),
        (
            pod({"volumes": [{"name": "v", "nfs": {"server": "a", "path": "/"}}]}),
            'restricted volume types (volume "v" uses restricted volume type "nfs")',
        ),
        (
            context(runAsNonRoot=None),
            'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true)',
        ),
        (
            pod({"securityContext": {"runAsNonRoot": True}}, {"runAsNonRoot": False}),
            'runAsNonRoot != true (container "c" must not set securityContext.runAsNonRoot=false)',
        ),
        (
            pod({"securityContext": {"runAsUser": 0}}),
            "runAsUser=0 (pod must not set runAsUser=0)",
        ),
        (
            context(seccompProfile=None),
            'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to'
            ' "RuntimeDefault" or "Localhost")',
        ),
    ],
)
def test_what_restricted_alone_forbids(pod: core_v1.Pod, violation: str) -> None:
    assert told(pod, "baseline") == []
    assert told(pod, "restricted") == [violation]


@pytest.mark.parametrize(
    "allowed",
    [
        pod({}),
        pod({"securityContext": {"runAsNonRoot": True}}, {"runAsNonRoot": None}),
        pod(
            {"securityContext": {"seccompProfile": {"type": "Localhost"}}}, {"seccompProfile": None}
        ),
        pod({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_rmem", "value": "1"}]}}),
        pod({"volumes": [{"name": "v", "emptyDir": {}}]}),
        pod({}, readinessProbe={"httpGet": {"port": 1, "host": ""}}),
        pod({}, ports=[{"containerPort": 1}]),
        pod({}, {"procMount": "Default", "runAsUser": 1, "windowsOptions": {"hostProcess": False}}),
        pod({}, annotations={"container.apparmor.security.beta.kubernetes.io/c": "localhost/x"}),
        context(seLinuxOptions={"type": "container_t", "level": "s0"}),
    ],
)
def test_what_restricted_allows(allowed: core_v1.Pod) -> None:
    assert told(allowed, "restricted") == told(allowed, "baseline") == []


@pytest.mark.parametrize("kind", ["initContainers", "ephemeralContainers"])
def test_every_kind_of_container_counts(kind: str) -> None:
    made = pod({kind: [{"name": "x", "image": "img", "securityContext": {"privileged": True}}]})
    assert reasons(made, "baseline") == ["privileged"]


def test_a_volume_of_a_host_is_told_once() -> None:
    made = pod({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]})
    assert told(made, "restricted") == [
        'restricted volume types (volume "v" uses restricted volume type "hostPath")'
    ]


def test_the_rules_of_baseline_come_first() -> None:
    made = pod({"hostNetwork": True}, {"allowPrivilegeEscalation": None, "privileged": True})
    assert reasons(made, "restricted") == [
        "host namespaces",
        "privileged",
        "allowPrivilegeEscalation != false",
    ]


def sysctl(name: str) -> core_v1.Pod:
    return pod({"securityContext": {"sysctls": [{"name": name, "value": "1"}]}})


@pytest.mark.parametrize(
    ("pod", "version", "reason"),
    [
        (sysctl("net.ipv4.tcp_rmem"), "v1.31", "forbidden sysctls"),
        (sysctl("net.ipv4.tcp_keepalive_time"), "v1.28", "forbidden sysctls"),
        (sysctl("net.ipv4.ip_local_reserved_ports"), "v1.26", "forbidden sysctls"),
        (context(seLinuxOptions={"type": "container_engine_t"}), "v1.30", "seLinuxOptions"),
        (pod({"hostUsers": False}, {"runAsNonRoot": None}), "v1.34", "runAsNonRoot != true"),
        (pod({"hostUsers": False}, {"runAsUser": 0}), "v1.34", "runAsUser=0"),
        (
            pod({"os": {"name": "windows"}}, {"seccompProfile": None}),
            "v1.24",
            "seccompProfile",
        ),
    ],
)
def test_what_an_older_release_forbade(pod: core_v1.Pod, version: str, reason: str) -> None:
    assert reasons(pod, "restricted", version) == [reason]
    assert reasons(pod, "restricted") == []


@pytest.mark.parametrize(
    ("pod", "version"),
    [
        (context(runAsUser=0), "v1.22"),
        (context(capabilities={"add": ["CHOWN"]}), "v1.21"),
        (context(allowPrivilegeEscalation=None), "v1.7"),
        (pod({}, readinessProbe={"tcpSocket": {"port": 1, "host": "a"}}), "v1.33"),
    ],
)
def test_what_an_older_release_allowed(pod: core_v1.Pod, version: str) -> None:
    assert reasons(pod, "restricted", version) == []
    assert len(reasons(pod, "restricted", "v1.99")) == 1


def test_in_a_user_namespace_baseline_allows_to_see_all_of_proc() -> None:
    made = pod({"hostUsers": False}, {"procMount": "Unmasked", "runAsUser": 0})
    assert reasons(made, "baseline") == []
    assert reasons(made, "restricted") == ["procMount"]


def test_seccomp_was_an_annotation_before_it_was_a_field() -> None:
    annotations = {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}
    made = pod({}, {"seccompProfile": {"type": "Unconfined"}}, annotations)
    assert told(made, "baseline", "v1.18") == [
        "seccompProfile (forbidden annotation"
        ' seccomp.security.alpha.kubernetes.io/pod="unconfined")'
    ]


# --- the policy of a namespace ---


def labels(**modes: str) -> dict[str, str]:
    return {f"pod-security.kubernetes.io/{k.replace('_', '-')}": v for k, v in modes.items()}


RESTRICTED = LevelVersion("restricted")


def test_who_enforces_a_level_is_warned_by_it() -> None:
    policy, problems = policy_of(labels(enforce="restricted", enforce_version="v1.30"))
    assert policy.enforce == policy.warn == LevelVersion("restricted", "v1.30")
    assert policy.audit == LevelVersion()
    assert problems == ()


def test_a_label_or_a_stricter_default_says_what_is_warned_of() -> None:
    policy, _ = policy_of(labels(enforce="restricted", warn="baseline"))
    assert policy.warn == LevelVersion("baseline")
    policy, _ = policy_of(labels(enforce="baseline"), Policy(warn=RESTRICTED))
    assert policy.warn == RESTRICTED


def test_labels_that_cannot_be_read_enforce_the_strictest_and_warn_of_nothing() -> None:
    policy, problems = policy_of(labels(enforce="x", audit="y", warn="z", enforce_version="v1.01"))
    assert policy == Policy(enforce=RESTRICTED)
    assert [problem.field.partition("/")[2] for problem in problems] == [
        "enforce]",
        "enforce-version]",
        "audit]",
        "warn]",
    ]


def test_a_version_alone_is_of_the_level_by_default() -> None:
    policy, _ = policy_of(labels(enforce_version="v1.20"), Policy(enforce=RESTRICTED))
    assert policy.enforce == LevelVersion("restricted", "v1.20")
