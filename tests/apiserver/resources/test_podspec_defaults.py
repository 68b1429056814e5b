"""What a pod's spec is when its author does not say, and what its author is warned of."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.tables import each_row
from tests.builders import pod
from tiphys.api.base import to_builtins
from tiphys.apiserver.resources.podspec.defaults import default_pod_spec
from tiphys.apiserver.resources.podspec.omissions import NOT_CARRIED_OUT
from tiphys.apiserver.resources.podspec.warnings import pod_warnings


def defaulted(template: bool = False, **parts: Any) -> dict[str, Any]:
    """As JSON, with the names of containers and volumes as they are."""
    spec = pod(**parts).spec
    default_pod_spec(spec, template)
    return to_builtins(spec)  # type: ignore[no-any-return]


def container(template: bool = False, host: bool = False, **parts: Any) -> dict[str, Any]:
    one = {"name": "c", "image": "i", **parts}
    return defaulted(template, hostNetwork=host, containers=[one])["containers"][0]  # type: ignore[no-any-return]


def volume(**source: Any) -> dict[str, Any]:
    [one] = defaulted(volumes=[{"name": "v", **source}])["volumes"]
    del one["name"]
    return one  # type: ignore[no-any-return]


def test_a_pod_is_restarted_and_has_half_a_minute() -> None:
    spec = defaulted()
    del spec["containers"]
    assert spec == {
        "dnsPolicy": "ClusterFirst",
        "enableServiceLinks": True,
        "restartPolicy": "Always",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "terminationGracePeriodSeconds": 30,
    }
    assert "enableServiceLinks" not in defaulted(template=True)


@pytest.mark.parametrize(
    "said",
    [
        {"dnsPolicy": "None"},
        {"enableServiceLinks": False},
        {"restartPolicy": "Never"},
        {"schedulerName": "own"},
        {"securityContext": {"runAsUser": 0}},
        {"terminationGracePeriodSeconds": 0},
    ],
)
def test_what_is_said_of_a_pod_stays(said: dict[str, Any]) -> None:
    [(name, value)] = said.items()
    assert defaulted(**said)[name] == value


def test_how_nodes_are_counted_stays() -> None:
    [constraint] = defaulted(topologySpreadConstraints=[{"nodeAffinityPolicy": "Ignore"}])[
        "topologySpreadConstraints"
    ]
    assert constraint["nodeAffinityPolicy"] == "Ignore"


@pytest.mark.parametrize(
    ("said", "account"),
    [
        ({"serviceAccountName": "a"}, "a"),
        ({"serviceAccount": "b"}, "b"),
        ({"serviceAccountName": "a", "serviceAccount": "b"}, "a"),
    ],
)
def test_the_account_has_two_names(said: dict[str, str], account: str) -> None:
    spec = defaulted(**said)
    assert (spec["serviceAccountName"], spec["serviceAccount"]) == (account, account)


@each_row(
    [
        ("i", "Always"),
        ("i:latest", "Always"),
        ("host:5000/i", "Always"),
        ("i:1", "IfNotPresent"),
        ("host:5000/i:1", "IfNotPresent"),
        ("i@sha256:00", "IfNotPresent"),
        ("i:latest@sha256:00", "IfNotPresent"),
        ("i:notlatest", "IfNotPresent"),
    ],
)
def test_what_is_called_latest_is_pulled_each_time(image: str, policy: str) -> None:
    assert container(image=image)["imagePullPolicy"] == policy
    assert container(image=image, imagePullPolicy="Never")["imagePullPolicy"] == "Never"


PORT = {"containerPort": 80, "protocol": "TCP"}


@pytest.mark.parametrize(
    ("host", "template", "port", "after"),
    [
        (False, False, {"containerPort": 80}, PORT),
        (True, False, {"containerPort": 80}, {**PORT, "hostPort": 80}),
        (True, False, {"containerPort": 80, "hostPort": 81}, {**PORT, "hostPort": 81}),
        (True, True, {"containerPort": 80}, PORT),
        (False, False, {"containerPort": 80, "protocol": "UDP"}, {**PORT, "protocol": "UDP"}),
    ],
)
def test_ports_in_the_nodes_network_are_the_nodes(
    host: bool, template: bool, port: dict[str, Any], after: dict[str, Any]
) -> None:
    assert container(template, host, ports=[port])["ports"] == [after]
    [initial] = defaulted(template, hostNetwork=host, initContainers=[{"name": "i", "ports": [port]}])["initContainers"]  # fmt: skip
    assert initial["ports"] == [after]


def test_a_debugging_container_takes_no_port_of_the_node() -> None:
    [one] = defaulted(hostNetwork=True, ephemeralContainers=[{"name": "e", "image": "i"}])[
        "ephemeralContainers"
    ]
    assert one["imagePullPolicy"] == "Always" and one["terminationMessagePolicy"] == "File"


def test_a_limit_is_a_request_but_in_templates() -> None:
    resources = {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "1"}}
    assert container(resources=resources)["resources"]["requests"] == {"cpu": "1", "memory": "1Gi"}
    assert container(True, resources=resources)["resources"]["requests"] == {"cpu": "1"}


def test_where_a_container_says_how_it_ended() -> None:
    made = container()
    said = container(terminationMessagePath="/x", terminationMessagePolicy="FallbackToLogsOnError")
    assert made["terminationMessagePath"] == "/dev/termination-log"
    assert made["terminationMessagePolicy"] == "File"
    assert said["terminationMessagePath"] == "/x"
    assert said["terminationMessagePolicy"] == "FallbackToLogsOnError"


TIMES = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
OTHERS = {"timeoutSeconds": 2, "periodSeconds": 3, "successThreshold": 4, "failureThreshold": 5}


@pytest.mark.parametrize("name", ["livenessProbe", "readinessProbe", "startupProbe"])
def test_probes(name: str) -> None:
    assert container(**{name: {"httpGet": {"port": 80}}})[name] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        **TIMES,
    }
    said = {"httpGet": {"port": 80, "path": "/x", "scheme": "HTTPS"}, **OTHERS}
    assert container(**{name: said})[name] == said
    assert container(**{name: {"grpc": {"port": 80}}})[name]["grpc"] == {"port": 80, "service": ""}
    service = {"port": 80, "service": "s"}
    assert container(**{name: {"grpc": service}})[name]["grpc"] == service


@pytest.mark.parametrize("hook", ["postStart", "preStop"])
def test_hooks(hook: str) -> None:
    made = container(lifecycle={hook: {"httpGet": {"port": 80}}})["lifecycle"][hook]
    assert made == {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP"}}
    assert container(lifecycle={hook: {"exec": {}}})["lifecycle"] == {hook: {"exec": {}}}


def test_fields_are_those_of_the_version_that_there_is() -> None:
    def variable(**reference: str) -> dict[str, Any]:
        return {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name", **reference}}}

    secret = {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
    made = container(env=[variable(), variable(apiVersion="v2"), secret, {"name": "C"}])["env"]
    references = [one["valueFrom"]["fieldRef"]["apiVersion"] for one in made[:2]]
    assert references == ["v1", "v2"] and made[2] == secret


FIELD = {"path": "p", "fieldRef": {"fieldPath": "metadata.name"}}
WHOLE = {"path": "p", "fieldRef": {"fieldPath": "metadata.name", "apiVersion": "v1"}}
AMOUNT = {"path": "p", "resourceFieldRef": {"resource": "limits.cpu"}}
RBD = {"monitors": ["m"], "image": "i"}
DISK = {"diskName": "d", "diskURI": "u"}
SCALE = {"gateway": "g", "system": "s", "secretRef": {"name": "s"}}
ISCSI = {"targetPortal": "t", "iqn": "i", "lun": 0}


@each_row(
    [
        ({}, {"emptyDir": {}}),
        ({"hostPath": {"path": "/p"}}, {"hostPath": {"path": "/p", "type": ""}}),
        ({"hostPath": {"path": "/p", "type": "File"}}, {"hostPath": {"path": "/p", "type": "File"}}),
        ({"secret": {"secretName": "s"}}, {"secret": {"secretName": "s", "defaultMode": 0o644}}),
        ({"secret": {"secretName": "s", "defaultMode": 0}}, {"secret": {"secretName": "s", "defaultMode": 0}}),
        ({"configMap": {"name": "c"}}, {"configMap": {"name": "c", "defaultMode": 0o644}}),
        ({"configMap": {"name": "c", "defaultMode": 0}}, {"configMap": {"name": "c", "defaultMode": 0}}),
        ({"downwardAPI": {"items": [FIELD]}}, {"downwardAPI": {"items": [WHOLE], "defaultMode": 0o644}}),
        ({"downwardAPI": {"defaultMode": 0}}, {"downwardAPI": {"defaultMode": 0}}),
        ({"projected": {"sources": [{"downwardAPI": {"items": [FIELD]}}]}}, {"projected": {"sources": [{"downwardAPI": {"items": [WHOLE]}}], "defaultMode": 0o644}}),
        (
            {"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}], "defaultMode": 0}},
            {"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}], "defaultMode": 0}},
        ),
        (
            {"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 600}}], "defaultMode": 0}},
            {"projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 600}}], "defaultMode": 0}},
        ),
        ({"iscsi": ISCSI}, {"iscsi": {**ISCSI, "iscsiInterface": "default"}}),
        ({"iscsi": {**ISCSI, "iscsiInterface": "i"}}, {"iscsi": {**ISCSI, "iscsiInterface": "i"}}),
        ({"rbd": RBD}, {"rbd": {**RBD, "pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"}}),
        ({"rbd": {**RBD, "pool": "p", "user": "u", "keyring": "k"}}, {"rbd": {**RBD, "pool": "p", "user": "u", "keyring": "k"}}),
        ({"azureDisk": DISK}, {"azureDisk": {**DISK, "cachingMode": "ReadWrite", "kind": "Shared", "fsType": "ext4", "readOnly": False}}),
        (
            {"azureDisk": {**DISK, "cachingMode": "None", "kind": "Managed", "fsType": "xfs", "readOnly": True}},
            {"azureDisk": {**DISK, "cachingMode": "None", "kind": "Managed", "fsType": "xfs", "readOnly": True}},
        ),
        ({"scaleIO": SCALE}, {"scaleIO": {**SCALE, "storageMode": "ThinProvisioned", "fsType": "xfs"}}),
        ({"scaleIO": {**SCALE, "storageMode": "Thick", "fsType": "ext4"}}, {"scaleIO": {**SCALE, "storageMode": "Thick", "fsType": "ext4"}}),
    ],
)  # fmt: skip
def test_volumes(source: dict[str, Any], after: dict[str, Any]) -> None:
    assert volume(**source) == after


def test_amounts_of_resources_have_no_version() -> None:
    [item] = volume(downwardAPI={"items": [AMOUNT]})["downwardAPI"]["items"]
    assert "fieldRef" not in item


@pytest.mark.parametrize(("said", "mode"), [({}, "Filesystem"), ({"volumeMode": "Block"}, "Block")])
def test_a_volume_of_the_pods_own_is_a_file_system(said: dict[str, str], mode: str) -> None:
    template = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {}, **said}}
    made = volume(ephemeral={"volumeClaimTemplate": template})
    assert made["ephemeral"]["volumeClaimTemplate"]["spec"]["volumeMode"] == mode
    assert volume(ephemeral={}) == {"ephemeral": {}}


# --- warnings ---

OLD = "beta.kubernetes.io/arch"
INSTEAD = 'deprecated since v1.14; use "kubernetes.io/arch" instead'
NULL = "a null labelSelector results in matching no pod"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
TERM = {"matchExpressions": [{"key": "a"}, {"key": OLD, "operator": "Exists"}]}
TOPOLOGY = {"topologyKey": "zone"}
SELECTOR = {"labelSelector": {}}


def wish(term: dict[str, Any]) -> dict[str, Any]:
    return {"weight": 1, "podAffinityTerm": term}


def with_container(kind: str = "containers", **parts: Any) -> dict[str, Any]:
    return {kind: [{"name": "c", "image": "i", **parts}]}


@each_row(
    [
        ({}, []),
        ({"nodeSelector": {"kubernetes.io/arch": "x"}}, []),
        ({"nodeSelector": {OLD: "x"}}, [f"spec.nodeSelector[{OLD}]: {INSTEAD}"]),
        ({"affinity": {"nodeAffinity": {PREFERRED: [{"weight": 1, "preference": TERM}]}}}, [f"spec.affinity.nodeAffinity.{PREFERRED}[0].preference.matchExpressions[1].key: {OLD} is {INSTEAD}"]),
        ({"affinity": {"podAffinity": {REQUIRED: [{**TOPOLOGY, **SELECTOR}, TOPOLOGY]}}}, [f"spec.affinity.podAffinity.{REQUIRED}[1].labelSelector: {NULL}"]),
        ({"affinity": {"podAntiAffinity": {PREFERRED: [wish(TOPOLOGY), wish({**TOPOLOGY, **SELECTOR})]}}}, [f"spec.affinity.podAntiAffinity.{PREFERRED}[0].podAffinityTerm.labelSelector: {NULL}"]),
        ({"topologySpreadConstraints": [{**TOPOLOGY, **SELECTOR}]}, []),
        ({"topologySpreadConstraints": [TOPOLOGY]}, [f"spec.topologySpreadConstraints[0].labelSelector: {NULL}"]),
        ({"topologySpreadConstraints": [{"topologyKey": OLD, **SELECTOR}]}, [f"spec.topologySpreadConstraints[0].topologyKey: {OLD} is {INSTEAD}"]),
        ({"imagePullSecrets": [{"name": "s"}]}, []),
        ({"terminationGracePeriodSeconds": 0}, []),
        ({"volumes": [{"name": "v", "glusterfs": {}}, {"name": "w", "emptyDir": {}}]}, ["spec.volumes[0].glusterfs: deprecated in v1.25, non-functional in v1.26+"]),
        (with_container(env=[{"name": "A"}, {"name": "B"}]), []),
        (with_container("initContainers", env=[{"name": "A"}, {"name": "A"}]), ['spec.initContainers[0].env[1]: hides previous definition of "A", which may be dropped when using apply']),
        (with_container(resources={"limits": {"ephemeral-storage": "1500m"}}), ['spec.containers[0].resources.limits[ephemeral-storage]: fractional byte value "1500m" is invalid, must be an integer']),
        (with_container(resources={"requests": {"memory": "2", "cpu": "1500m"}}), []),
        (with_container(ports=[{"containerPort": 1}, {"containerPort": 1, "protocol": "UDP"}]), []),
        (with_container(ports=[{"containerPort": 1}, {"containerPort": 1, "hostPort": 1}]), []),
        (with_container(ports=[{"containerPort": 1}, {"containerPort": 1, "hostIP": "1.1.1.1"}]), []),
        (with_container(ports=[{"containerPort": 1}] * 3), [f"spec.containers[0].ports[{n}]: duplicate port definition with spec.containers[0].ports[0]" for n in (1, 2)]),
        ({"securityContext": {"seLinuxOptions": {}}}, [f"spec.securityContext.seLinuxOptions: {NOT_CARRIED_OUT}"]),
        (with_container("initContainers", securityContext={"seLinuxOptions": {}}), [f"spec.initContainers[0].securityContext.seLinuxOptions: {NOT_CARRIED_OUT}"]),
        (with_container(securityContext={"runAsUser": 1}), []),
        (with_container(lifecycle={"stopSignal": "SIGINT"}), []),
        ({"volumes": [{"name": "v", "emptyDir": {"medium": "HugePages-2Mi"}}]}, []),
        ({"volumes": [{"name": "v", "emptyDir": {"medium": "Memory"}}]}, []),
    ],
)  # fmt: skip
def test_warnings(spec: dict[str, Any], told: list[str]) -> None:
    assert list(pod_warnings({}, pod(**spec).spec, "metadata", "spec")) == told


SECCOMP = "seccomp.security.alpha.kubernetes.io/pod"


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("a", ""),
        (SECCOMP, 'non-functional in v1.27+; use the "seccompProfile" field instead'),
        (f"{SECCOMP}s", ""),
        ("container.seccomp.security.alpha.kubernetes.io/c", 'non-functional in v1.27+; use the "seccompProfile" field instead'),
        ("container.apparmor.security.beta.kubernetes.io/c", 'deprecated since v1.30; use the "appArmorProfile" field instead'),
        ("scheduler.alpha.kubernetes.io/critical-pod", 'non-functional in v1.16+; use the "priorityClassName" field instead'),
    ],
)  # fmt: skip
def test_warnings_of_annotations(key: str, told: str) -> None:
    warnings = list(pod_warnings({key: "x"}, pod().spec, "metadata", "spec"))
    assert warnings == ([f"metadata.annotations[{key}]: {told}"] if told else [])
