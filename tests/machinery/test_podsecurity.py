"""What the pod security standards forbid, a row a rule. Texts are upstream's."""

from __future__ import annotations

from typing import Any

import pytest

from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.machinery.podsecurity import violations

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


def told(pod: core_v1.Pod, level: str) -> list[str]:
    return [str(violation) for violation in violations(pod, level)]


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
        pod({}, ports=[{"containerPort": 1, "hostPort": 81}, {"containerPort": 2, "hostPort": 80}]),
        'hostPort (container "c" uses hostPorts 80, 81)',
    ),
    (
        pod({}, readinessProbe={"httpGet": {"port": 1, "host": "10.0.0.1"}}),
        'probe or lifecycle host (container "c" must not set a host in probes or lifecycle'
        " handlers)",
    ),
    (
        pod({}, lifecycle={"preStop": {"tcpSocket": {"port": 1, "host": "a"}}}),
        'probe or lifecycle host (container "c" must not set a host in probes or lifecycle'
        " handlers)",
    ),
    (
        context(procMount="Unmasked"),
        'procMount (container "c" must not set securityContext.procMount)',
    ),
    (
        context(seLinuxOptions={"type": "x", "user": "u"}),
        'seLinuxOptions (type "x"; user "u")',
    ),
    (
        pod({"securityContext": {"seLinuxOptions": {"role": "r"}}}),
        'seLinuxOptions (role "r")',
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
        "forbidden AppArmor profiles (container.apparmor.security.beta.kubernetes.io/c, pod must"
        ' not set AppArmor profile type to "Unconfined")',
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
    if reason == "non-default capabilities":  # restricted has a rule of its own
        reason = "unrestricted capabilities"
    assert reason in [row.reason for row in violations(pod, "restricted")]
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
        pod({}, readinessProbe={"httpGet": {"port": 1, "host": "127.0.0.1"}}),
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
    assert [row.reason for row in violations(made, "baseline")] == ["privileged"]
