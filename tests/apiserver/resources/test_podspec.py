"""A pod's spec, on both sides of each rule: the fields that are found wrong, in order."""

from __future__ import annotations

from typing import Any

from tests.apiserver.kit import container, spec
from tests.apiserver.rules import fields, wrong_with
from tests.apiserver.tables import each_row

IN_C = "spec.containers[0]"


def judged(parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with("pods", parts)) == wrong


# --- containers ---


def restarts(policy: str | None, *rules: dict[str, Any]) -> dict[str, Any]:
    parts = {"restartPolicy": policy} if policy else {}
    return container(**parts, restartPolicyRules=list(rules))


def on_exit(*codes: int, operator: str = "In", action: str = "Restart") -> dict[str, Any]:
    return {"action": action, "exitCodes": {"operator": operator, "values": list(codes)}}


RULES = f"{IN_C}.restartPolicyRules"


@each_row(
    [
        (restarts("Always"), []),
        (restarts("OnFailure"), []),
        (restarts("Never", on_exit(1)), []),
        (restarts("Never", on_exit(1, operator="NotIn", action="RestartAllContainers")), []),
        (restarts(None, on_exit(1)), [f"{IN_C}.restartPolicy"]),
        (restarts("Never", *[on_exit(1)] * 20), []),
        (restarts("Never", *[on_exit(1)] * 21), [RULES]),
        (restarts("Never", {"action": "Restart"}), [f"{RULES}[0].exitCodes"]),
        (restarts("Never", {}), [f"{RULES}[0].action", f"{RULES}[0].exitCodes"]),
        (restarts("Never", on_exit()), [f"{RULES}[0].exitCodes.values"]),
        (restarts("Never", on_exit(*range(255))), []),
        (restarts("Never", on_exit(*range(256))), [f"{RULES}[0].exitCodes.values"]),
        (restarts("Never", on_exit(0, 255)), []),
        (restarts("Never", on_exit(-1, 256)), [f"{RULES}[0].exitCodes.values[{n}]" for n in (0, 1)]),
        (restarts("Never", on_exit(1), on_exit(1, operator="Like")), [f"{RULES}[1].exitCodes.operator"]),
    ],
)  # fmt: skip
def test_when_a_container_restarts(parts: dict[str, Any], wrong: list[str]) -> None:
    """As upstream's validateContainerRestartPolicy."""
    judged(parts, wrong)


PORT = {"containerPort": 80}


@each_row(
    [
        (container(image=" i"), [f"{IN_C}.image"]),
        (container(image="i "), [f"{IN_C}.image"]),
        (container(name="A"), [f"{IN_C}.name"]),
        (spec(containers=[{"name": "A", "image": "i"}] * 2), [f"spec.containers[{n}].name" for n in (0, 1)]),
        (spec(initContainers=[{"name": "a", "image": "i"}] * 2), ["spec.initContainers[1].name"]),
        (spec(initContainers=[{"name": "c", "image": "i"}]), ["spec.initContainers[0].name"]),
        (container(ports=[{**PORT, "hostPort": 65535}]), []),
        (container(ports=[{**PORT, "hostPort": 65536}]), [f"{IN_C}.ports[0].hostPort"]),
        (container(ports=[{**PORT, "protocol": "SCTP"}]), []),
        (container(ports=[{**PORT, "name": "a"}, {**PORT, "name": "b"}, {**PORT, "name": "a"}]), [f"{IN_C}.ports[2].name"]),
        (container(ports=[PORT, PORT]), []),
        (container(ports=[{**PORT, "hostPort": 81}]), []),
        (spec(hostNetwork=True, containers=[{"name": "c", "image": "i", "ports": [PORT, {**PORT, "hostPort": 81}]}]), [f"{IN_C}.ports[1].hostPort"]),
        (spec(hostNetwork=True, containers=[{"name": "c", "image": "i", "ports": [{**PORT, "hostPort": 80}]}]), []),
    ],
)  # fmt: skip
def test_names_images_and_ports_of_containers(parts: dict[str, Any], wrong: list[str]) -> None:
    judged(parts, wrong)


# --- handlers ---

DOES = {"exec": {"command": ["x"]}}


def hooked(grace: int | None = None, os: str = "", **lifecycle: Any) -> dict[str, Any]:
    more: dict[str, Any] = {"terminationGracePeriodSeconds": grace} if grace is not None else {}
    more |= {"os": {"name": os}} if os else {}
    return spec(containers=[{"name": "c", "image": "i", "lifecycle": lifecycle}], **more)


def initial(restart: str | None = None, **parts: Any) -> dict[str, Any]:
    policy = {"restartPolicy": restart} if restart else {}
    return spec(initContainers=[{"name": "x", "image": "i", **policy, **parts}])


def sleep(seconds: int) -> dict[str, Any]:
    return {"sleep": {"seconds": seconds}}


@each_row(
    [
        (container(livenessProbe={**DOES, "terminationGracePeriodSeconds": 1}), []),
        (container(livenessProbe={**DOES, "terminationGracePeriodSeconds": 0}), [f"{IN_C}.livenessProbe.terminationGracePeriodSeconds"]),
        (container(startupProbe={**DOES, "terminationGracePeriodSeconds": 1}), []),
        (container(startupProbe={**DOES, "successThreshold": 2}), [f"{IN_C}.startupProbe.successThreshold"]),
        (container(readinessProbe={**DOES, "successThreshold": -1}), [f"{IN_C}.readinessProbe.successThreshold"]),
        (container(readinessProbe={**DOES, "terminationGracePeriodSeconds": 1}), [f"{IN_C}.readinessProbe.terminationGracePeriodSeconds"]),
        (container(livenessProbe={"grpc": {"port": 65535}}), []),
        (container(livenessProbe={"grpc": {"port": 65536}}), [f"{IN_C}.livenessProbe.grpc.port"]),
        (container(livenessProbe={"httpGet": {"port": 80, "scheme": "HTTPS"}}), []),
        (container(livenessProbe={**DOES, "grpc": {"port": 1}, "tcpSocket": {"port": 0}}), [f"{IN_C}.livenessProbe.{end}" for end in ("tcpSocket", "grpc", "tcpSocket.port")]),
        (hooked(postStart=DOES, preStop={"httpGet": {"port": 1}}), []),
        (hooked(postStart={"tcpSocket": {"port": 0}}), [f"{IN_C}.lifecycle.postStart.tcpSocket.port"]),
        (hooked(postStart={**DOES, "sleep": {"seconds": 1}}), [f"{IN_C}.lifecycle.postStart.sleep"]),
        (hooked(preStop=sleep(0)), []),
        (hooked(preStop=sleep(30)), []),
        (hooked(preStop=sleep(31)), [f"{IN_C}.lifecycle.preStop.sleep"]),
        (hooked(preStop=sleep(-1)), [f"{IN_C}.lifecycle.preStop.sleep"]),
        (hooked(grace=5, postStart=sleep(5)), []),
        (hooked(grace=5, postStart=sleep(6)), [f"{IN_C}.lifecycle.postStart.sleep"]),
        (hooked(os="linux", stopSignal="SIGRTMIN+15"), []),
        (hooked(os="linux", stopSignal="SIGRTMIN+16"), [f"{IN_C}.lifecycle.stopSignal"]),
        (hooked(os="linux", stopSignal="SIGRTMAX-14"), []),
        (hooked(os="linux", stopSignal="SIGRTMAX-15"), [f"{IN_C}.lifecycle.stopSignal"]),
        (hooked(os="linux", stopSignal="SIGRTMIN+1"), []),
        (hooked(os="linux", stopSignal="SIGRTMAX-1"), []),
        (hooked(os="linux", stopSignal="SIGRTMIN+0"), [f"{IN_C}.lifecycle.stopSignal"]),
        (hooked(os="linux", stopSignal="SIGRTMAX-0"), [f"{IN_C}.lifecycle.stopSignal"]),
        (hooked(os="linux", stopSignal="SIGUSR1"), []),
        (hooked(os="windows", stopSignal="SIGTERM"), []),
        (hooked(os="windows", stopSignal="SIGUSR1"), [f"{IN_C}.lifecycle.stopSignal"]),
        (initial(livenessProbe=DOES), ["spec.initContainers[0].livenessProbe"]),
        (initial("Always", livenessProbe=DOES, readinessProbe=DOES, startupProbe=DOES, lifecycle={"preStop": DOES}), []),
        (initial("Always", livenessProbe={}), ["spec.initContainers[0].livenessProbe"]),
        (initial(lifecycle={"preStop": {}}), ["spec.initContainers[0].lifecycle", "spec.initContainers[0].lifecycle.preStop"]),
    ],
)  # fmt: skip
def test_probes_hooks_and_signals(parts: dict[str, Any], wrong: list[str]) -> None:
    judged(parts, wrong)


# --- ephemeral containers: EphemeralContainerCommon, and what it has not ---


def debugger(**parts: Any) -> dict[str, Any]:
    return spec(
        ephemeralContainers=[{"name": "x", "image": "i", **parts}],
        initContainers=[{"name": "first", "image": "i"}],
        volumes=[{"name": "v", "emptyDir": {}}],
    )


@each_row(
    [
        ({}, []),
        ({"targetContainerName": "c"}, []),
        ({"targetContainerName": "first"}, []),
        ({"targetContainerName": "x"}, ["targetContainerName"]),
        ({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}, []),
        ({"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "a"}]}, ["volumeMounts[0].subPath"]),
        ({"volumeMounts": [{"name": "v", "mountPath": "/v", "subPathExpr": "a"}]}, ["volumeMounts[0].subPathExpr"]),
        ({"resources": {"requests": {"cpu": "1"}}}, ["resources"]),
        ({"livenessProbe": DOES, "readinessProbe": DOES, "startupProbe": DOES}, ["livenessProbe", "readinessProbe", "startupProbe"]),
        ({"lifecycle": {"preStop": DOES}}, ["lifecycle"]),
        ({"restartPolicy": "Always"}, ["restartPolicy"]),
        ({"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}]}, ["resizePolicy"]),
        ({"image": ""}, ["image"]),
        ({"name": "first"}, ["name"]),
    ],
)  # fmt: skip
def test_what_a_debugging_container_may_not_ask_for(
    parts: dict[str, Any], names: list[str]
) -> None:
    not_at_creation = "spec.ephemeralContainers"
    at = [f"spec.ephemeralContainers[0].{name}" for name in names]
    judged(debugger(**parts), [*at, not_at_creation])


# --- environment ---


def variable(source: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    one = {"name": "E", **parts, **({"valueFrom": source} if source is not None else {})}
    files = [{"name": "v", "emptyDir": {}}, {"name": "s", "secret": {"secretName": "s"}}]
    return spec(containers=[{"name": "c", "image": "i", "env": [one]}], volumes=files)


def told(path: str, version: str = "v1") -> dict[str, Any]:
    return {"fieldRef": {"fieldPath": path, "apiVersion": version}}


def amount(resource: str, divisor: str = "0") -> dict[str, Any]:
    return {"resourceFieldRef": {"resource": resource, "divisor": divisor}}


def from_file(**parts: Any) -> dict[str, Any]:
    return {"fileKeyRef": {"volumeName": "v", "path": "p", "key": "K", **parts}}


KEY = {"name": "n", "key": "k"}
FROM = f"{IN_C}.env[0].valueFrom"


@each_row(
    [
        (variable(name="a b"), []),
        (variable(name="a\tb"), [f"{IN_C}.env[0].name"]),
        (variable(name="é"), [f"{IN_C}.env[0].name"]),
        (variable({"configMapKeyRef": KEY}), []),
        (variable({"secretKeyRef": KEY}), []),
        (variable({"configMapKeyRef": KEY, "secretKeyRef": KEY}), [FROM]),
        (variable({"fieldRef": {"fieldPath": "metadata.name"}, "secretKeyRef": KEY}), [FROM]),
        (variable({**amount("limits.cpu"), "secretKeyRef": KEY}), [FROM]),
        (variable({**from_file(), "secretKeyRef": KEY}), [FROM]),
        (variable({"configMapKeyRef": {"name": "", "key": "k"}}), [f"{FROM}.configMapKeyRef.name"]),
        (variable({"secretKeyRef": {"name": "n", "key": "a/b"}}), [f"{FROM}.secretKeyRef.key"]),
        (variable(from_file()), []),
        (variable(from_file(path="a..b/c")), []),
        (variable(from_file(path="")), [f"{FROM}.fileKeyRef.path"]),
        (variable(from_file(key="")), [f"{FROM}.fileKeyRef.key"]),
        (variable(from_file(key="a=b")), [f"{FROM}.fileKeyRef.key"]),
        (variable(from_file(volumeName="s")), [f"{FROM}.fileKeyRef.volumeName"]),
        (variable(from_file(volumeName="w")), [f"{FROM}.fileKeyRef.volumeName"]),
        (variable(from_file(volumeName="V")), [f"{FROM}.fileKeyRef.volumeName"] * 2),
        (container(envFrom=[{"prefix": "A_", "secretRef": {"name": "a"}}, {"configMapRef": {"name": "b"}}]), []),
        (container(envFrom=[{"configMapRef": {"name": "A_"}}]), [f"{IN_C}.envFrom[0].configMapRef.name"]),
        (container(envFrom=[{"secretRef": {"name": ""}}]), [f"{IN_C}.envFrom[0].secretRef.name"]),
    ],
)  # fmt: skip
def test_where_variables_come_from(parts: dict[str, Any], wrong: list[str]) -> None:
    judged(parts, wrong)


def test_every_kind_of_container_reads_files_of_empty_dirs() -> None:
    reading = {"image": "i", "env": [{"name": "E", "valueFrom": from_file(volumeName="s")}]}
    parts = spec(
        containers=[{"name": "c", **reading}],
        initContainers=[{"name": "i", **reading}],
        ephemeralContainers=[{"name": "e", **reading}],
        volumes=[{"name": "s", "secret": {"secretName": "s"}}],
    )
    kinds = ("initContainers", "containers", "ephemeralContainers")
    at = [f"spec.{kind}[0].env[0].valueFrom.fileKeyRef.volumeName" for kind in kinds]
    judged(parts, [*at, "spec.ephemeralContainers"])


TOLD_PATH = "fieldRef.fieldPath"


@each_row(
    [
        (told("metadata.name"), []),
        (told("status.podIPs"), []),
        (told("spec.nodeName"), []),
        (told("spec.host"), []),
        (told("metadata.labels['a']"), []),
        (told("metadata.annotations['A']"), []),
        (told("metadata.labels['a b']"), ["fieldRef"]),
        (told("metadata.labels['']"), ["fieldRef"] * 2),
        (told("metadata.labels"), [TOLD_PATH]),
        (told("metadata.labels[]"), [TOLD_PATH]),
        (told("metadata.labels']"), [TOLD_PATH]),
        (told("spec.restartPolicy"), [TOLD_PATH]),
        (told("metadata.name", "v2"), [TOLD_PATH]),
        (told(""), [TOLD_PATH]),
        (amount("limits.cpu"), []),
        (amount("limits.cpu", "1m"), []),
        (amount("limits.cpu", "1"), []),
        (amount("limits.cpu", "1k"), ["resourceFieldRef.divisor"]),
        (amount("requests.memory", "1Ki"), []),
        (amount("requests.memory", "1m"), ["resourceFieldRef.divisor"]),
        (amount("limits.hugepages-2Mi", "1Mi"), []),
        (amount("limits.hugepages-2Mi", "1m"), ["resourceFieldRef.divisor"]),
        (amount("cards", "1m"), ["resourceFieldRef.resource"]),
        (amount(""), ["resourceFieldRef.resource"]),
    ],
)
def test_what_a_pod_is_told_of_itself(source: dict[str, Any], wrong: list[str]) -> None:
    """Fields as upstream's validEnvDownwardAPIFieldPathExpressions, divisors by resource."""
    judged(variable(source), [f"{FROM}.{end}" for end in wrong])
