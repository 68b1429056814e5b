"""What is just allowed, and what is just not: the fields that an object's rules find wrong."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.kit import container, spec
from tests.apiserver.rules import fields, wrong_with, wrong_with_change, wrong_with_status

CSR = "certificatesigningrequests.certificates.k8s.io"
SERVICES = "apiservices.apiregistration.k8s.io"
CLAIM = "resourceclaims.resource.k8s.io"
POLICY = "networkpolicies.networking.k8s.io"
BINDING = "rolebindings.rbac.authorization.k8s.io"
EVERYWHERE = "clusterrolebindings.rbac.authorization.k8s.io"
HPA = "horizontalpodautoscalers.autoscaling"
CLASS = "ingressclasses.networking.k8s.io"
HOOKS = "validatingwebhookconfigurations.admissionregistration.k8s.io"


def api_service(**parts: Any) -> dict[str, Any]:
    given = {"group": "g.io", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}
    return {"metadata": {"name": "v1.g.io"}, "spec": {**given, **parts}}


SERVICE = {"namespace": "n", "name": "s"}


def policy(*ports: dict[str, Any]) -> dict[str, Any]:
    return {"spec": {"podSelector": {}, "egress": [{"ports": list(ports)}]}}


def subject(**parts: Any) -> dict[str, Any]:
    return {"subjects": [{"kind": "User", "name": "u", **parts}]}


def parameters(**parts: Any) -> dict[str, Any]:
    return {"spec": {"parameters": {"kind": "K", "name": "n", **parts}}}


def hook(**client: Any) -> dict[str, Any]:
    one = {"name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"]}
    return {"webhooks": [{**one, "clientConfig": client}]}


def measured(**parts: Any) -> dict[str, Any]:
    return container(resources=parts)


def resource(target: dict[str, Any]) -> dict[str, Any]:
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
    return {"spec": {"metrics": [metric]}}


@pytest.mark.parametrize(
    ("kind", "parts", "wrong"),
    [
        # --- served by others ---
        (SERVICES, api_service(), []),
        (SERVICES, api_service(groupPriorityMinimum=20000), []),
        (SERVICES, api_service(groupPriorityMinimum=20001), ["spec.groupPriorityMinimum"]),
        (SERVICES, api_service(groupPriorityMinimum=0), ["spec.groupPriorityMinimum"]),
        (SERVICES, api_service(versionPriority=1000), []),
        (SERVICES, api_service(versionPriority=1001), ["spec.versionPriority"]),
        (SERVICES, api_service(versionPriority=0), ["spec.versionPriority"]),
        (SERVICES, api_service(version="v2"), ["metadata.name"]),
        (SERVICES, api_service(caBundle="eA=="), ["spec.caBundle"]),
        (SERVICES, api_service(insecureSkipTLSVerify=True), ["spec.insecureSkipTLSVerify"]),
        (SERVICES, api_service(service={**SERVICE, "port": 0}), ["spec.service.port"]),
        (SERVICES, api_service(service={**SERVICE, "port": 65536}), ["spec.service.port"]),
        (SERVICES, api_service(service={**SERVICE, "port": 65535}), []),
        (SERVICES, {**api_service(group=""), "metadata": {"name": "v1."}}, []),
        (SERVICES, {**api_service(group="", version="v2"), "metadata": {"name": "v2."}}, ["spec.group"]),
        (SERVICES, {**api_service(group="A"), "metadata": {"name": "v1.A"}}, ["spec.group"]),
        (SERVICES, {**api_service(version="1"), "metadata": {"name": "1.g.io"}}, ["spec.version"]),
        (SERVICES, api_service(service=SERVICE, insecureSkipTLSVerify=True), []),
        (SERVICES, api_service(service={"name": "s"}), ["spec.service.namespace"]),
        (SERVICES, api_service(service={"namespace": "s"}), ["spec.service.name"]),
        (
            SERVICES,
            api_service(service=SERVICE, insecureSkipTLSVerify=True, caBundle="eA=="),
            ["spec.insecureSkipTLSVerify"],
        ),
        # --- network policies ---
        (POLICY, policy({"port": 80, "endPort": 80}), []),
        (POLICY, policy({"port": 80, "endPort": 79}), ["spec.egress[0].ports[0].endPort"]),
        (POLICY, policy({"port": 80, "endPort": 65536}), ["spec.egress[0].ports[0].endPort"]),
        (POLICY, policy({"endPort": 80}), ["spec.egress[0].ports[0].endPort"]),
        (POLICY, policy({"port": "web", "endPort": 80}), ["spec.egress[0].ports[0].endPort"]),
        (POLICY, policy({"port": "web"}, {}), []),
        (POLICY, policy({"port": "WEB"}), ["spec.egress[0].ports[0].port"] * 2),
        (POLICY, policy({"protocol": "SCTP"}), []),
        (POLICY, {"spec": {"podSelector": {}, "policyTypes": ["Egress", "Ingress"]}}, []),
        # --- who has a role ---
        (BINDING, subject(), []),
        (BINDING, subject(kind="Group"), []),
        (BINDING, subject(kind="ServiceAccount"), []),
        (BINDING, subject(kind="ServiceAccount", name="A"), ["subjects[0].name"]),
        (BINDING, subject(kind="ServiceAccount", apiGroup="x"), ["subjects[0].apiGroup"]),
        (BINDING, subject(name=""), ["subjects[0].name"]),
        (BINDING, subject(kind="Robot"), ["subjects[0].kind"]),
        (BINDING, {"roleRef": {"kind": "ClusterRole", "name": "x"}}, []),
        (BINDING, {"roleRef": {"kind": "Other", "name": "x"}}, ["roleRef.kind"]),
        (EVERYWHERE, {"roleRef": {"kind": "Role", "name": "x"}}, ["roleRef.kind"]),
        (EVERYWHERE, subject(kind="ServiceAccount"), ["subjects[0].namespace"]),
        (EVERYWHERE, subject(kind="ServiceAccount", namespace="n"), []),
        # --- classes of ingresses ---
        (CLASS, parameters(), []),
        (CLASS, parameters(scope="Namespace", namespace="n"), []),
        (CLASS, parameters(scope="Namespace"), ["spec.parameters.namespace"]),
        (CLASS, parameters(scope="Cluster", namespace="n"), ["spec.parameters.namespace"]),
        (CLASS, parameters(scope="World"), ["spec.parameters.scope"]),
        (CLASS, parameters(kind="a/b"), ["spec.parameters.kind"]),
        (CLASS, parameters(name=".."), ["spec.parameters.name"]),
        (CLASS, {"spec": {"controller": "a.b/" + "c" * 246}}, []),
        (CLASS, {"spec": {"controller": "a.b/" + "c" * 247}}, ["spec.controller"]),
        # --- webhooks ---
        (HOOKS, hook(url="https://h/p"), []),
        (HOOKS, hook(url="https://u@h/p"), ["webhooks[0].clientConfig.url"]),
        (HOOKS, hook(url="https://h/p?a=b"), ["webhooks[0].clientConfig.url"]),
        (HOOKS, hook(url="https://h/p#a"), ["webhooks[0].clientConfig.url"]),
        (HOOKS, hook(url="https:///p"), ["webhooks[0].clientConfig.url"]),
        (HOOKS, hook(url="https://[::1"), ["webhooks[0].clientConfig.url"]),
        (HOOKS, hook(), ["webhooks[0].clientConfig"]),
        (HOOKS, hook(url="https://h", service=SERVICE), ["webhooks[0].clientConfig"]),
        (HOOKS, hook(service={**SERVICE, "port": 65535, "path": "/a/b/"}), []),
        (HOOKS, hook(service={**SERVICE, "port": 65536}), ["webhooks[0].clientConfig.service.port"]),
        (HOOKS, hook(service={**SERVICE, "port": 0}), ["webhooks[0].clientConfig.service.port"]),
        (HOOKS, hook(service={**SERVICE, "path": "/"}), []),
        (HOOKS, hook(service={**SERVICE, "path": "//"}), ["webhooks[0].clientConfig.service.path"]),
        (HOOKS, hook(service={**SERVICE, "path": "/a//b"}), ["webhooks[0].clientConfig.service.path"]),
        (HOOKS, hook(service={**SERVICE, "path": "/A"}), ["webhooks[0].clientConfig.service.path"]),
        # --- resources of containers ---
        ("pods", measured(requests={"cpu": "1"}, limits={"cpu": "1"}), []),
        ("pods", measured(requests={"cpu": "1001m"}, limits={"cpu": "1"}), ["spec.containers[0].resources.requests"]),
        ("pods", measured(requests={"memory": "1Gi"}, limits={"memory": "1Gi"}), []),
        ("pods", measured(requests={"hugepages-2Mi": "2Mi", "cpu": "1"}, limits={"hugepages-2Mi": "2Mi"}), []),
        ("pods", measured(limits={"example.com/gpu": "2"}), []),
        # --- pods ---
        ("pods", spec(activeDeadlineSeconds=1), []),
        ("pods", spec(activeDeadlineSeconds=0), ["spec.activeDeadlineSeconds"]),
        ("pods", spec(activeDeadlineSeconds=2147483647), []),
        ("pods", spec(terminationGracePeriodSeconds=0), []),
        ("pods", spec(securityContext={"runAsUser": 0, "runAsGroup": 0, "fsGroup": 0}), []),
        ("pods", spec(securityContext={"runAsUser": -1}), ["spec.securityContext.runAsUser"]),
        ("pods", spec(securityContext={"runAsGroup": -1}), ["spec.securityContext.runAsGroup"]),
        ("pods", spec(securityContext={"fsGroup": -1}), ["spec.securityContext.fsGroup"]),
        ("pods", spec(securityContext={"supplementalGroups": [0, -1]}), ["spec.securityContext.supplementalGroups[1]"]),
        ("pods", spec(hostAliases=[{"ip": "1.2.3.4", "hostnames": ["a.b"]}]), []),
        ("pods", spec(hostNetwork=True), []),
        ("pods", container(ports=[{"containerPort": 65535, "name": "a-b", "protocol": "UDP"}]), []),
        ("pods", container(ports=[{"containerPort": 1}, {"containerPort": 1, "protocol": "UDP"}]), []),
        ("pods", container(env=[{"name": "A", "value": "x"}, {"name": "B"}]), []),
        ("pods", container(livenessProbe={"exec": {"command": ["x"]}, "timeoutSeconds": 1}), []),
        ("pods", container(livenessProbe={"exec": {"command": ["x"]}, "successThreshold": 1}), []),
        ("pods", container(readinessProbe={"exec": {"command": ["x"]}, "successThreshold": 2}), []),
        ("pods", container(livenessProbe={"httpGet": {"port": 65535, "path": "/"}}), []),
        ("pods", container(livenessProbe={"tcpSocket": {"port": "web"}}), []),
        # --- autoscalers ---
        (HPA, {"spec": {"minReplicas": 1, "maxReplicas": 1}}, []),
        (HPA, {"spec": {"minReplicas": 0}}, ["spec.minReplicas"]),
        (HPA, {"spec": {"minReplicas": 2, "maxReplicas": 1}}, ["spec.maxReplicas"]),
        (HPA, resource({"type": "Utilization", "averageUtilization": 1}), []),
        (HPA, resource({"type": "AverageValue", "averageValue": "1"}), []),
        (HPA, {"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 3600}}}}, []),
        (
            HPA,
            {"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 3601}}}},
            ["spec.behavior.scaleDown.stabilizationWindowSeconds"],
        ),
        (HPA, {"spec": {"behavior": {"scaleUp": {"stabilizationWindowSeconds": 0}}}}, []),
        (
            HPA,
            {"spec": {"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1800}]}}}},
            [],
        ),
        (
            HPA,
            {"spec": {"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1801}]}}}},
            ["spec.behavior.scaleUp.policies[0].periodSeconds"],
        ),
        # --- requests for certificates ---
        (CSR, {"spec": {"expirationSeconds": 600}}, []),
        (CSR, {"spec": {"expirationSeconds": 599}}, ["spec.expirationSeconds"]),
        (CSR, {"spec": {"signerName": "a.b/c.d"}}, []),
        (CSR, {"spec": {"signerName": "a/b"}}, ["spec.signerName"]),
        (CSR, {"spec": {"signerName": "a.b/c/d"}}, ["spec.signerName"]),
        (CSR, {"spec": {"signerName": "A.b/c"}}, ["spec.signerName"]),
        (CSR, {"spec": {"signerName": "a.b/C"}}, ["spec.signerName"]),
        (CSR, {"spec": {"signerName": ""}}, ["spec.signerName"]),
        (CSR, {"spec": {"signerName": "kubernetes.io/legacy-unknown"}}, ["spec.signerName"]),
        (CSR, {"spec": {"usages": []}}, ["spec.usages"]),
        (CSR, {"spec": {"usages": ["x"]}}, ["spec.usages[0]"]),
        (CSR, {"spec": {"usages": ["client auth", "client auth"]}}, ["spec.usages[1]"]),
        (CSR, {"spec": {"request": "eA=="}}, ["spec.request"]),
        # --- smaller ones ---
        ("limitranges", {"spec": {"limits": [{"type": "Container", "min": {"cpu": "1"}, "max": {"cpu": "1"}}]}}, []),
        ("services", {"spec": {"ports": [{"port": 1}]}}, []),
        ("services", {"spec": {"ports": [{"port": 65535}]}}, []),
        ("services", {"spec": {"ports": [{"port": 1, "name": "a"}, {"port": 1, "name": "b", "protocol": "UDP"}]}}, []),
        ("deployments.apps", {"spec": {"minReadySeconds": 5, "progressDeadlineSeconds": 6}}, []),
        ("deployments.apps", {"spec": {"minReadySeconds": 5, "progressDeadlineSeconds": 5}}, ["spec.progressDeadlineSeconds"]),
        ("deployments.apps", {"spec": {"replicas": 0}}, []),
        ("deployments.apps", {"spec": {"replicas": -1}}, ["spec.replicas"]),
        ("deployments.apps", {"spec": {"revisionHistoryLimit": -1}}, ["spec.revisionHistoryLimit"]),
        ("jobs.batch", {"spec": {"parallelism": 0, "backoffLimit": 0, "ttlSecondsAfterFinished": 0}}, []),
        ("cronjobs.batch", {"spec": {"startingDeadlineSeconds": 0, "timeZone": "Europe/Berlin"}}, []),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_object(kind: str, parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with(kind, parts)) == wrong


# --- changes ---

TOLERATION = {"key": "a", "operator": "Exists", "effect": "NoExecute"}
GATE = {"schedulingGates": [{"name": "a.b/c"}, {"name": "a.b/d"}]}
PATH = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"


def near(*keys: str) -> dict[str, Any]:
    """Node affinity for terms with the keys, parted by commas."""
    terms = [
        {"matchExpressions": [{"key": key, "operator": "Exists"} for key in term.split(",")]}
        for term in keys
    ]
    required = {"nodeSelectorTerms": terms}
    return {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    }


@pytest.mark.parametrize(
    ("before", "after", "wrong"),
    [
        ({}, {"containers": [{"name": "c", "image": "j"}]}, []),
        ({}, {"containers": [{"name": "d", "image": "i"}]}, ["spec"]),
        ({}, {"containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "i"}]}, ["spec.containers"]),
        ({"initContainers": [{"name": "i", "image": "i"}]}, {"initContainers": None}, ["spec.initContainers"]),
        ({}, {"activeDeadlineSeconds": 5}, []),
        ({"activeDeadlineSeconds": 5}, {"activeDeadlineSeconds": 4}, []),
        ({"activeDeadlineSeconds": 5}, {"activeDeadlineSeconds": 6}, ["spec.activeDeadlineSeconds"]),
        ({"activeDeadlineSeconds": 5}, {"activeDeadlineSeconds": None}, ["spec.activeDeadlineSeconds"]),
        ({}, {"tolerations": [TOLERATION]}, []),
        ({"tolerations": [TOLERATION]}, {"tolerations": [{**TOLERATION, "tolerationSeconds": 5}]}, []),
        ({"tolerations": [TOLERATION]}, {"tolerations": [{**TOLERATION, "key": "b"}]}, ["spec.tolerations"]),
        ({"tolerations": [TOLERATION]}, {"tolerations": []}, ["spec.tolerations"]),
        (GATE, {"schedulingGates": [{"name": "a.b/d"}]}, []),
        (GATE, {"schedulingGates": [{"name": "a.b/e"}]}, ["spec.schedulingGates[0].name"]),
        ({}, {"nodeSelector": {"a": "b"}}, ["spec"]),
        (GATE, {"nodeSelector": {"a": "b"}}, []),
        ({**GATE, "nodeSelector": {"a": "b"}}, {"nodeSelector": {"a": "b", "c": "d"}}, []),
        ({**GATE, "nodeSelector": {"a": "b"}}, {"nodeSelector": {"a": "c"}}, ["spec.nodeSelector"]),
        ({**GATE, "nodeSelector": {"a": "b"}}, {"nodeSelector": None}, ["spec.nodeSelector"]),
        (GATE, near("a"), []),
        ({}, near("a"), ["spec"]),
        ({**GATE, **near("a")}, near("a,b"), []),
        ({**GATE, **near("a")}, near("b"), [f"{PATH}[0]"]),
        ({**GATE, **near("a", "b")}, near("a", "c"), [f"{PATH}[1]"]),
        ({**GATE, **near("a")}, near("a", "b"), [PATH]),
        ({**GATE, **near("a")}, {"affinity": None}, [PATH]),
        ({}, {"terminationGracePeriodSeconds": 5}, ["spec"]),
        ({}, {"restartPolicy": "Never"}, ["spec"]),
    ],
)  # fmt: skip
def test_what_may_change_of_a_pod(
    before: dict[str, Any], after: dict[str, Any], wrong: list[str]
) -> None:
    assert fields(wrong_with_change("pods", {"spec": before}, {"spec": after})) == wrong


@pytest.mark.parametrize(
    ("kind", "before", "after", "wrong"),
    [
        (BINDING, {}, {"roleRef": {"name": "y"}}, ["roleRef"]),
        (BINDING, {}, subject(), []),
        (CLASS, {}, {"spec": {"controller": "a.b/d"}}, ["spec.controller"]),
        (CLASS, {}, parameters(), []),
        (CLAIM, {}, {"spec": {"devices": {"requests": []}}}, ["spec"]),
        (CLAIM, {}, {"metadata": {"labels": {"a": "b"}}}, []),
    ],
)
def test_what_may_change_of_an_object(
    kind: str, before: dict[str, Any], after: dict[str, Any], wrong: list[str]
) -> None:
    assert fields(wrong_with_change(kind, before, after)) == wrong


# --- statuses ---

USER = {"resource": "pods", "name": "p", "uid": "u"}
RESULT = {"request": "one", "driver": "gpu.example.com", "pool": "p", "device": "d"}


def allocated(*results: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return {"allocation": {"devices": {"results": list(results), **parts}}}


GIVEN = allocated(RESULT)
ALLOCATED = "status.allocation.devices.results[0]"
DEVICE = {"driver": "gpu.example.com", "pool": "p", "device": "d"}
UUID = "01234567-89ab-cdef-0123-456789abcdef"


def shown(**parts: Any) -> dict[str, Any]:
    return {**GIVEN, "devices": [{**DEVICE, **parts}]}


@pytest.mark.parametrize(
    ("status", "before", "wrong"),
    [
        ({}, {}, []),
        (GIVEN, {}, []),
        (GIVEN, GIVEN, []),
        (allocated({**RESULT, "device": "e"}), GIVEN, ["status.allocation"]),
        ({}, GIVEN, []),
        ({"reservedFor": [USER]}, {}, ["status.reservedFor"]),
        ({**GIVEN, "reservedFor": [USER]}, {}, []),
        ({**GIVEN, "reservedFor": [USER, USER]}, {}, ["status.reservedFor[1].uid"]),
        ({**GIVEN, "reservedFor": [{**USER, "name": ""}]}, {}, ["status.reservedFor[0].name"]),
        ({**GIVEN, "reservedFor": [{**USER, "resource": ""}]}, {}, ["status.reservedFor[0].resource"]),
        ({**GIVEN, "reservedFor": [{**USER, "uid": ""}]}, {}, ["status.reservedFor[0].uid"]),
        ({**GIVEN, "reservedFor": [{**USER, "uid": str(n)} for n in range(256)]}, {}, []),
        ({**GIVEN, "reservedFor": [{**USER, "uid": str(n)} for n in range(257)]}, {}, ["status.reservedFor"]),
        (allocated({**RESULT, "request": "two"}), {}, [f"{ALLOCATED}.request"]),
        (allocated({**RESULT, "driver": "A b"}), {}, [f"{ALLOCATED}.driver"]),
        (allocated({**RESULT, "pool": "a//b"}), {}, [f"{ALLOCATED}.pool"]),
        (allocated({**RESULT, "device": "A"}), {}, [f"{ALLOCATED}.device"]),
        (allocated({**RESULT, "shareID": UUID}), {}, []),
        (allocated({**RESULT, "shareID": UUID.upper()}), {}, [f"{ALLOCATED}.shareID"]),
        (allocated(config=[{"source": "FromClaim", "requests": ["one"], "opaque": {"driver": "d.io", "parameters": {"a": 1}}}]), {}, []),
        (allocated(config=[{"source": "FromSky", "opaque": {"driver": "d.io", "parameters": {"a": 1}}}]), {}, ["status.allocation.devices.config[0].source"]),
        (allocated(config=[{"source": "FromClass", "requests": ["two"], "opaque": {"driver": "d.io", "parameters": {"a": 1}}}]), {}, ["status.allocation.devices.config[0].requests[0]"]),
        (shown(), {}, []),
        (shown(pool=""), {}, ["status.devices[0].pool"]),
        (shown(conditions=[{"type": f"t{n}"} for n in range(8)]), {}, []),
        (shown(conditions=[{"type": f"t{n}"} for n in range(9)]), {}, ["status.devices[0].conditions"]),
        (shown(networkData={"interfaceName": "x" * 256, "hardwareAddress": "x" * 128}), {}, []),
        (shown(networkData={"interfaceName": "x" * 257}), {}, ["status.devices[0].networkData.interfaceName"]),
        (shown(networkData={"hardwareAddress": "x" * 129}), {}, ["status.devices[0].networkData.hardwareAddress"]),
        (shown(networkData={"ips": [f"10.0.0.{n}/24" for n in range(16)]}), {}, []),
        (shown(networkData={"ips": [f"10.0.0.{n}/24" for n in range(17)]}), {}, ["status.devices[0].networkData.ips"]),
        ({**GIVEN, "devices": [DEVICE, DEVICE]}, {}, ["status.devices[1]"]),
        ({**GIVEN, "devices": [DEVICE, {**DEVICE, "shareID": UUID}]}, {}, []),
    ],
)  # fmt: skip
def test_what_may_be_said_of_an_allocation(
    status: dict[str, Any], before: dict[str, Any], wrong: list[str]
) -> None:
    assert fields(wrong_with_status(CLAIM, status, {"status": before})) == wrong


def test_nobody_gets_a_claim_that_is_being_deleted() -> None:
    metadata = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    before = {"metadata": metadata, "status": {**GIVEN, "reservedFor": [USER]}}
    assert wrong_with_status(CLAIM, before["status"], before) == []
    more = {**GIVEN, "reservedFor": [USER, {**USER, "uid": "v"}]}
    assert fields(wrong_with_status(CLAIM, more, before)) == ["status.reservedFor"]
    assert wrong_with_status(CLAIM, GIVEN, before) == []


APPROVED = {"type": "Approved", "status": "True"}
DENIED = {"type": "Denied", "status": "True"}
FAILED = {"type": "Failed", "status": "True"}
SIGNED = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCnh4Ci0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K"


@pytest.mark.parametrize(
    ("status", "before", "wrong"),
    [
        ({}, {}, []),
        ({"conditions": [FAILED]}, {}, []),
        ({"conditions": [APPROVED]}, {"conditions": [APPROVED]}, []),
        ({"conditions": [APPROVED]}, {}, ["status.conditions"]),
        ({"conditions": [DENIED]}, {}, ["status.conditions"]),
        ({}, {"conditions": [APPROVED]}, ["status.conditions"]),
        ({"conditions": [{"type": "", "status": "True"}]}, {}, ["status.conditions[0].type"]),
        ({"conditions": [{"type": "X", "status": ""}]}, {}, ["status.conditions[0].status"]),
        ({"conditions": [{"type": "X", "status": "Unknown"}]}, {}, []),
        ({"conditions": [{"type": "X", "status": "Maybe"}]}, {}, ["status.conditions[0].status"]),
        ({"conditions": [{**FAILED, "status": "False"}]}, {}, ["status.conditions[0].status"]),
        ({"conditions": [FAILED, FAILED]}, {}, ["status.conditions[1].type"]),
        ({"certificate": "eA=="}, {}, ["status.certificate"]),
        ({"certificate": SIGNED}, {}, ["status.certificate"]),
        ({}, {"certificate": SIGNED}, ["status.certificate"]),
        ({"certificate": SIGNED}, {"certificate": SIGNED}, []),
    ],
)
def test_what_a_signer_may_say(
    status: dict[str, Any], before: dict[str, Any], wrong: list[str]
) -> None:
    assert fields(wrong_with_status(CSR, status, {"status": before})) == wrong
