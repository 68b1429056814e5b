"""The rules that objects have to follow, by type, each with a case that breaks it and what the answer then says.

The facts (which fields, which values, which words) are those of the release; `source` names where they are kept there,
below pkg/apis or the like. ``python -m tests.apiserver.validation`` writes docs/validation.md from this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Parts = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """`parts` replace fields of a valid object (a merge patch). `says` is what the answer says of `field`. With
    `before` the object is made with those parts first, and then changed: a rule of updates."""

    resource: str
    field: str
    parts: Parts
    says: str
    before: Parts | None = None


@dataclass(frozen=True)
class Rules:
    """What is known of one part of a type: the cases, and rules of upstream's that are not kept yet."""

    title: str
    source: str
    cases: list[Case]
    gaps: tuple[str, ...] = ()


def pod(field: str, says: str, **spec: Any) -> Case:
    return Case("pods", f"spec.{field}", {"spec": spec}, says)


def container(field: str, says: str, more: Parts | None = None, **parts: Any) -> Case:
    one = {"name": "c", "image": "i", **parts}
    return Case("pods", f"spec.containers[0].{field}", {"spec": {"containers": [one], **(more or {})}}, says)


def volume(field: str, says: str, **source: Any) -> Case:
    return Case("pods", f"spec.volumes[0].{field}", {"spec": {"volumes": [{"name": "v", **source}]}}, says)


def probe(field: str, says: str, **parts: Any) -> Case:
    return container(f"livenessProbe.{field}", says, livenessProbe={"exec": {"command": ["x"]}, **parts})


def service(field: str, says: str, **spec: Any) -> Case:
    return Case("services", f"spec.{field}", {"spec": spec}, says)


def workload(resource: str, field: str, says: str, **spec: Any) -> Case:
    return Case(resource, f"spec.{field}", {"spec": spec}, says)


def change(resource: str, field: str, says: str, before: Parts, after: Parts) -> Case:
    return Case(resource, field, after, says, before)


def claim(field: str, says: str, exactly: Parts | None = None, **devices: Any) -> Case:
    request = {"name": "one", "exactly": {"deviceClassName": "gpu", **(exactly or {})}}
    return Case(CLAIMS, f"spec.devices.{field}", {"spec": {"devices": {"requests": [request], **devices}}}, says)


def device(field: str, says: str, **parts: Any) -> Case:
    return Case(SLICES, f"spec.devices[0]{field}", {"spec": {"devices": [{"name": "d", **parts}]}}, says)


def shared(field: str, says: str, **policy: Any) -> Case:
    """A device whose 10Gi of memory are shared as the policy says."""
    memory = {"value": "10Gi", "requestPolicy": policy}
    return device(f".capacity[memory].requestPolicy{field}", says, allowMultipleAllocations=True, capacity={"memory": memory})


def slice_(field: str, says: str, **spec: Any) -> Case:
    return Case(SLICES, f"spec{field}", {"spec": spec}, says)


CLAIMS, SLICES, CLASSES = (f"{plural}.resource.k8s.io" for plural in ("resourceclaims", "resourceslices", "deviceclasses"))
LABEL = "a lowercase RFC 1123 label must consist of"
SUBDOMAIN = "a lowercase RFC 1123 subdomain must consist of"
NATURAL = "must be greater than or equal to 0"
IMMUTABLE = "field is immutable"
MEASURED = {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}
TERM = {"topologyKey": "zone", "labelSelector": {}}


def affinity(kind: str, **term: Any) -> Parts:
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [{**TERM, **term}]}}


TABLE: list[Rules] = [
    Rules("Metadata of every object", "apimachinery: api/validation/objectmeta.go", [
        Case("configmaps", "metadata.name", {"metadata": {"name": "A"}}, f'Invalid value: "A": {SUBDOMAIN}'),
        Case("services", "metadata.name", {"metadata": {"name": "1a"}}, 'Invalid value: "1a": a DNS-1035 label must consist of'),
        Case("namespaces", "metadata.name", {"metadata": {"name": "a.b"}}, f'Invalid value: "a.b": {LABEL}'),
        Case("configmaps", "metadata.name", {"metadata": {"name": None}}, "Required value: name or generateName is required"),
        Case("configmaps", "metadata.generateName", {"metadata": {"name": None, "generateName": "A-"}}, "Invalid value"),
        Case("configmaps", "metadata.labels", {"metadata": {"labels": {"a b": "c"}}}, 'Invalid value: "a b": name part must consist of alphanumeric characters'),
        Case("configmaps", "metadata.labels", {"metadata": {"labels": {"a": "b c"}}}, 'Invalid value: "b c": a valid label must be an empty string or consist of alphanumeric characters'),
        Case("configmaps", "metadata.labels", {"metadata": {"labels": {"a": "x" * 64}}}, "must be no more than 63 "),
        Case("configmaps", "metadata.annotations", {"metadata": {"annotations": {"a/b/c": "x"}}}, 'Invalid value: "a/b/c": a qualified name must consist of'),
        Case("configmaps", "metadata.annotations", {"metadata": {"annotations": {"a": "x" * 262145}}}, "Too long: may not be more than 262144 bytes"),
        Case("configmaps", "metadata.ownerReferences.uid", {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": ""}]}}, "must not be empty"),
        Case("configmaps", "metadata.ownerReferences", {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": n, "uid": n, "controller": True} for n in "xy"]}}, "Only one reference can have Controller set to true"),
        Case("configmaps", "metadata.finalizers", {"metadata": {"finalizers": ["plain"]}}, "name is neither a standard finalizer name nor is it fully qualified"),
        change("configmaps", "immutable", "field is immutable when `immutable` is set", {"immutable": True}, {"immutable": False}),
    ]),
    Rules("Pods", "core/validation: ValidatePodSpec", [
        pod("containers", "Required value", containers=[]),
        pod("containers[1].name", 'Duplicate value: "c"', containers=[{"name": "c", "image": "i"}, {"name": "c", "image": "i"}]),
        pod("initContainers[0].name", 'Duplicate value: "c"', initContainers=[{"name": "c", "image": "i"}]),
        pod("initContainers[0].lifecycle", "Forbidden: may not be set for init containers without restartPolicy=Always", initContainers=[{"name": "x", "image": "i", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}]),
        pod("initContainers[0].livenessProbe", "Forbidden: may not be set for init containers without restartPolicy=Always", initContainers=[{"name": "x", "image": "i", "livenessProbe": {"exec": {"command": ["x"]}}}]),
        pod("initContainers[0].readinessProbe", "Forbidden: may not be set for init containers without restartPolicy=Always", initContainers=[{"name": "x", "image": "i", "readinessProbe": {"exec": {"command": ["x"]}}}]),
        pod("initContainers[0].startupProbe", "Forbidden: may not be set for init containers without restartPolicy=Always", initContainers=[{"name": "x", "image": "i", "startupProbe": {"exec": {"command": ["x"]}}}]),
        pod("restartPolicy", 'Unsupported value: "No": supported values: "Always", "Never", "OnFailure"', restartPolicy="No"),
        pod("dnsPolicy", 'Unsupported value: "Own": supported values: "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"', dnsPolicy="Own"),
        pod("dnsConfig", "Required value: must provide `dnsConfig` when `dnsPolicy` is None", dnsPolicy="None"),
        pod("dnsConfig.nameservers", "Required value: must provide at least one DNS nameserver when `dnsPolicy` is None", dnsPolicy="None", dnsConfig={"searches": ["a"]}),
        pod("dnsConfig.nameservers[0]", "must be a valid IP address", dnsConfig={"nameservers": ["x"]}),
        pod("dnsConfig.nameservers", "must not have more than 3 nameservers", dnsConfig={"nameservers": ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"]}),
        pod("dnsConfig.options[0]", "Required value: must not be empty", dnsConfig={"options": [{"value": "1"}]}),
        pod("hostname", f'Invalid value: "A": {LABEL}', hostname="A"),
        pod("subdomain", f'Invalid value: "A": {LABEL}', subdomain="A"),
        pod("hostAliases[0].ip", "must be a valid IP address", hostAliases=[{"ip": "x", "hostnames": ["a"]}]),
        pod("hostAliases[0].hostnames[0]", f'Invalid value: "A_": {SUBDOMAIN}', hostAliases=[{"ip": "1.1.1.1", "hostnames": ["A_"]}]),
        pod("terminationGracePeriodSeconds", NATURAL, terminationGracePeriodSeconds=-1),
        pod("activeDeadlineSeconds", "must be between 1 and 2147483647, inclusive", activeDeadlineSeconds=0),
        pod("nodeName", SUBDOMAIN, nodeName="A"),
        pod("nodeSelector", "name part must consist of", nodeSelector={"a b": "c"}),
        workload("deployments.apps", "template.spec.priorityClassName", SUBDOMAIN, template={"spec": {"priorityClassName": "A"}}),
        workload("deployments.apps", "template.spec.runtimeClassName", SUBDOMAIN, template={"spec": {"runtimeClassName": "A"}}),
        workload("deployments.apps", "template.spec.preemptionPolicy", 'Unsupported value: "Maybe"', template={"spec": {"preemptionPolicy": "Maybe"}}),
        pod("imagePullSecrets[0].name", "Required value", imagePullSecrets=[{"name": ""}]),
        pod("readinessGates[0].conditionType", "name part must consist of", readinessGates=[{"conditionType": "a b"}]),
        pod("schedulingGates[0]", "name part must consist of", schedulingGates=[{"name": "a b"}]),
        pod("schedulingGates[1]", 'Duplicate value: "a.b/c"', schedulingGates=[{"name": "a.b/c"}, {"name": "a.b/c"}]),
        pod("os.name", 'Unsupported value: "dos": supported values: "linux", "windows"', os={"name": "dos"}),
        pod("os.name", "Required value", os={"name": ""}),
        pod("containers[0].ports[0].hostPort", "must match `containerPort` when `hostNetwork` is true", hostNetwork=True, containers=[{"name": "c", "image": "i", "ports": [{"containerPort": 80, "hostPort": 81}]}]),
        pod("shareProcessNamespace", "ShareProcessNamespace and HostPID cannot both be enabled", shareProcessNamespace=True, hostPID=True),
        pod("ephemeralContainers", "Forbidden: cannot be set on create", ephemeralContainers=[{"name": "x", "image": "i"}]),
        pod("ephemeralContainers[0].name", 'Duplicate value: "c"', ephemeralContainers=[{"name": "c", "image": "i"}]),
        pod("ephemeralContainers[0].targetContainerName", 'Not found: "z"', ephemeralContainers=[{"name": "x", "image": "i", "targetContainerName": "z"}]),
        pod("ephemeralContainers[0].ports", "Forbidden: cannot be set for an Ephemeral Container", ephemeralContainers=[{"name": "x", "image": "i", "ports": [{"containerPort": 1}]}]),
        pod("securityContext.fsGroupChangePolicy", 'Unsupported value: "x": supported values: "Always", "OnRootMismatch"', securityContext={"fsGroupChangePolicy": "x"}),
        pod("securityContext.supplementalGroupsPolicy", 'Unsupported value: "x": supported values: "Merge", "Strict"', securityContext={"supplementalGroupsPolicy": "x"}),
    ], ("resourceClaims", "pod-level resources", "hostUsers with host namespaces", "windows options")),
    Rules("Containers", "core/validation: validateContainers", [
        container("name", f'Invalid value: "A": {LABEL}', name="A"),
        container("name", "Required value", name=""),
        container("image", "Required value", image=""),
        container("image", "must not have leading or trailing whitespace", image=" i"),
        container("imagePullPolicy", 'Unsupported value: "Later": supported values: "Always", "IfNotPresent", "Never"', imagePullPolicy="Later"),
        container("terminationMessagePolicy", 'Unsupported value: "Mail": supported values: "FallbackToLogsOnError", "File"', terminationMessagePolicy="Mail"),
        container("ports[0].containerPort", "Required value", ports=[{"containerPort": 0}]),
        container("ports[0].containerPort", "must be between 1 and 65535, inclusive", ports=[{"containerPort": 65536}]),
        container("ports[0].hostPort", "must be between 1 and 65535, inclusive", ports=[{"containerPort": 1, "hostPort": -1}]),
        container("ports[0].protocol", 'Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"', ports=[{"containerPort": 1, "protocol": "ICMP"}]),
        container("ports[0].name", "must be no more than 15 characters", ports=[{"containerPort": 1, "name": "a" * 16}]),
        container("ports[1].name", 'Duplicate value: "a"', ports=[{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]),
        container("env[0].name", "Required value", env=[{"name": ""}]),
        container("env[0].name", "a valid environment variable name", env=[{"name": "a=b"}]),
        container("env[0].valueFrom", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef`", env=[{"name": "a", "valueFrom": {}}]),
        container("env[0].valueFrom", "may not be specified when `value` is not empty", env=[{"name": "a", "value": "b", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
        container("env[0].valueFrom.fieldRef.fieldPath", 'error converting fieldPath: field label not supported: x', env=[{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}]),
        container("env[0].valueFrom.configMapKeyRef.key", "Required value", env=[{"name": "a", "valueFrom": {"configMapKeyRef": {"name": "n", "key": ""}}}]),
        container("env[0].valueFrom.resourceFieldRef.resource", 'Unsupported value: "x"', env=[{"name": "a", "valueFrom": {"resourceFieldRef": {"resource": "x"}}}]),
        container("envFrom[0]", "must specify one of: `configMapRef` or `secretRef`", envFrom=[{}]),
        container("envFrom[0].configMapRef.name", "Required value", envFrom=[{"configMapRef": {"name": ""}}]),
        container("resources.requests", "must be less than or equal to cpu limit", resources=MEASURED),
        container("resources.limits[cpu]", NATURAL, resources={"limits": {"cpu": "-1"}}),
        container("resources.limits[gpu]", "must be a standard resource for containers", resources={"limits": {"gpu": "1"}}),
        container("resources.limits[example.com/gpu]", "must be an integer", resources={"limits": {"example.com/gpu": "1.5"}}),
        container("resources.requests", "must be equal to example.com/gpu limit", resources={"requests": {"example.com/gpu": "1"}, "limits": {"example.com/gpu": "2"}}),
        container("resources.limits", "Limit must be set for non overcommitable resources", resources={"requests": {"example.com/gpu": "1"}}),
        container("volumeMounts[0].name", 'Not found: "v"', volumeMounts=[{"name": "v", "mountPath": "/x"}]),
        container("volumeMounts[0].mountPath", "Required value", {"volumes": [{"name": "v", "emptyDir": {}}]}, volumeMounts=[{"name": "v", "mountPath": ""}]),
        container("volumeMounts[1].mountPath", "must be unique", {"volumes": [{"name": "v", "emptyDir": {}}]}, volumeMounts=[{"name": "v", "mountPath": "/x"}] * 2),
        container("volumeMounts[0].subPath", "must not contain '..'", {"volumes": [{"name": "v", "emptyDir": {}}]}, volumeMounts=[{"name": "v", "mountPath": "/x", "subPath": "../y"}]),
        container("volumeMounts[0].subPath", "must be a relative path", {"volumes": [{"name": "v", "emptyDir": {}}]}, volumeMounts=[{"name": "v", "mountPath": "/x", "subPath": "/y"}]),
        container("volumeMounts[0].subPathExpr", "subPathExpr and subPath are mutually exclusive", {"volumes": [{"name": "v", "emptyDir": {}}]}, volumeMounts=[{"name": "v", "mountPath": "/x", "subPath": "y", "subPathExpr": "z"}]),
        container("volumeMounts[0].mountPropagation", "Bidirectional mount propagation is available only to privileged containers", {"volumes": [{"name": "v", "emptyDir": {}}]}, volumeMounts=[{"name": "v", "mountPath": "/x", "mountPropagation": "Bidirectional"}]),
        container("securityContext", "cannot set `allowPrivilegeEscalation` to false and `privileged` to true", securityContext={"privileged": True, "allowPrivilegeEscalation": False}),
        container("securityContext.runAsUser", "must be between 0 and 2147483647, inclusive", securityContext={"runAsUser": -1}),
        container("securityContext.procMount", 'Unsupported value: "x"', securityContext={"procMount": "x"}),
        container("securityContext.seccompProfile.type", 'Unsupported value: "x": supported values: "Localhost", "RuntimeDefault", "Unconfined"', securityContext={"seccompProfile": {"type": "x"}}),
        container("securityContext.seccompProfile.localhostProfile", "Required value: must be set when seccomp type is Localhost", securityContext={"seccompProfile": {"type": "Localhost"}}),
        container("resizePolicy[0].restartPolicy", 'Unsupported value: "x"', resizePolicy=[{"resourceName": "cpu", "restartPolicy": "x"}]),
        container("lifecycle.stopSignal", "Forbidden: may not be set for containers with empty `spec.os.name`", lifecycle={"stopSignal": "SIGTERM"}),
        container("lifecycle.stopSignal", 'Unsupported value: "SIGFOO"', {"os": {"name": "linux"}}, lifecycle={"stopSignal": "SIGFOO"}),
        container("securityContext.appArmorProfile.type", 'Unsupported value: "x": supported values: "Localhost", "RuntimeDefault", "Unconfined"', securityContext={"appArmorProfile": {"type": "x"}}),
        container("securityContext.appArmorProfile.localhostProfile", "must be set when AppArmor type is Localhost", securityContext={"appArmorProfile": {"type": "Localhost"}}),
        container("securityContext.appArmorProfile.localhostProfile", "can only be set when AppArmor type is Localhost", securityContext={"appArmorProfile": {"type": "Unconfined", "localhostProfile": "p"}}),
    ], ("volumeDevices", "restartPolicyRules", "resource claims")),
    Rules("Probes and handlers", "core/validation: validateProbe, validateHandler", [
        probe("", "must specify a handler type", exec=None),
        probe("tcpSocket", "Forbidden: may not specify more than 1 handler type", tcpSocket={"port": 1}),
        probe("exec.command", "Required value", exec={"command": []}),
        probe("httpGet.scheme", 'Unsupported value: "FTP": supported values: "HTTP", "HTTPS"', exec=None, httpGet={"port": 80, "scheme": "FTP"}),
        probe("httpGet.port", "must be between 1 and 65535, inclusive", exec=None, httpGet={"port": 0}),
        probe("grpc.port", "must be between 1 and 65535, inclusive", exec=None, grpc={"port": 0}),
        probe("periodSeconds", NATURAL, periodSeconds=-1),
        probe("timeoutSeconds", NATURAL, timeoutSeconds=-1),
        probe("initialDelaySeconds", NATURAL, initialDelaySeconds=-1),
        probe("failureThreshold", NATURAL, failureThreshold=-1),
        probe("successThreshold", "must be 1", successThreshold=2),
        probe("terminationGracePeriodSeconds", "must be greater than 0", terminationGracePeriodSeconds=0),
        container("readinessProbe.terminationGracePeriodSeconds", "must not be set for readinessProbes", readinessProbe={"exec": {"command": ["x"]}, "terminationGracePeriodSeconds": 1}),
        container("lifecycle.preStop", "must specify a handler type", lifecycle={"preStop": {}}),
    ]),
    Rules("Volumes", "core/validation: ValidateVolumes", [
        volume("name", f'Invalid value: "V": {LABEL}', name="V", emptyDir={}),
        volume("name", "Required value", name="", emptyDir={}),
        Case("pods", "spec.volumes[1].name", {"spec": {"volumes": [{"name": "v", "emptyDir": {}}] * 2}}, 'Duplicate value: "v"'),
        volume("configMap", "may not specify more than 1 volume type", emptyDir={}, configMap={"name": "x"}),
        volume("hostPath.path", "Required value", hostPath={"path": ""}),
        volume("hostPath.path", "must not contain '..'", hostPath={"path": "/a/../b"}),
        volume("hostPath.type", 'Unsupported value: "Thing"', hostPath={"path": "/a", "type": "Thing"}),
        volume("secret.secretName", "Required value", secret={"secretName": ""}),
        volume("secret.defaultMode", "must be a number between 0 and 0777 (octal), both inclusive", secret={"secretName": "x", "defaultMode": 512}),
        volume("configMap.name", "Required value", configMap={"name": ""}),
        volume("configMap.items[0].path", "must be a relative path", configMap={"name": "x", "items": [{"key": "k", "path": "/p"}]}),
        volume("configMap.items[0].path", "must not contain '..'", configMap={"name": "x", "items": [{"key": "k", "path": "../p"}]}),
        volume("configMap.items[0].key", "Required value", configMap={"name": "x", "items": [{"key": "", "path": "p"}]}),
        volume("configMap.items[0].mode", "must be a number between 0 and 0777 (octal), both inclusive", configMap={"name": "x", "items": [{"key": "k", "path": "p", "mode": 512}]}),
        volume("emptyDir.sizeLimit", "Forbidden: SizeLimit field must be a valid resource quantity", emptyDir={"sizeLimit": "-1"}),
        volume("persistentVolumeClaim.claimName", "Required value", persistentVolumeClaim={"claimName": ""}),
        volume("nfs.path", "must be an absolute path", nfs={"server": "s", "path": "p"}),
        volume("nfs.server", "Required value", nfs={"server": "", "path": "/p"}),
        volume("downwardAPI", "one of fieldRef and resourceFieldRef is required", downwardAPI={"items": [{"path": "p"}]}),
        volume("projected.sources[0].serviceAccountToken.expirationSeconds", "may not specify a duration less than 10 minutes", projected={"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 5}}]}),
        volume("projected.sources[0].serviceAccountToken.path", "Required value", projected={"sources": [{"serviceAccountToken": {"path": ""}}]}),
        volume("projected.sources[0].configMap.name", "Required value", projected={"sources": [{"configMap": {"name": ""}}]}),
        volume("csi.driver", "Required value", csi={"driver": ""}),
        volume("image.reference", "Required value", image={"reference": ""}),
        volume("image.pullPolicy", 'Unsupported value: "x": supported values: "Always", "IfNotPresent", "Never"', image={"reference": "r", "pullPolicy": "x"}),
    ], ("providers that are gone: disks of clouds, Ceph, Gluster and the like",)),
    Rules("Where pods may run", "core/validation: validateAffinity, ValidateTolerations, ValidateTopologySpreadConstraints", [
        pod("affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms", "Required value: must have at least one node selector term", affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}}),
        pod("affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].operator", "not a valid selector operator", affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Like"}]}]}}}),
        pod("affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values", "must be specified when `operator` is 'In' or 'NotIn'", affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "In"}]}]}}}),
        pod("affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight", "must be in the range 1-100", affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 0, "preference": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}]}}),
        pod("affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey", "can not be empty", affinity=affinity("podAffinity", topologyKey="")),
        pod("affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].namespaces[0]", LABEL, affinity=affinity("podAntiAffinity", namespaces=["A"])),
        pod("affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight", "must be in the range 1-100", affinity={"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 101, "podAffinityTerm": TERM}]}}),
        pod("tolerations[0].operator", "operator must be Exists when `key` is empty, which means \"match all values and all keys\"", tolerations=[{"operator": "Equal", "value": "x"}]),
        pod("tolerations[0].operator", 'Unsupported value: "Like"', tolerations=[{"key": "a", "operator": "Like"}]),
        pod("tolerations[0].operator", "value must be empty when `operator` is 'Exists'", tolerations=[{"key": "a", "operator": "Exists", "value": "x"}]),
        pod("tolerations[0].effect", 'Unsupported value: "Never": supported values: "NoExecute", "NoSchedule", "PreferNoSchedule"', tolerations=[{"key": "a", "operator": "Exists", "effect": "Never"}]),
        pod("tolerations[0].effect", "effect must be 'NoExecute' when `tolerationSeconds` is set", tolerations=[{"key": "a", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 1}]),
        pod("topologySpreadConstraints[0].maxSkew", "must be greater than zero", topologySpreadConstraints=[{"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]),
        pod("topologySpreadConstraints[0].topologyKey", "can not be empty", topologySpreadConstraints=[{"maxSkew": 1, "topologyKey": "", "whenUnsatisfiable": "DoNotSchedule"}]),
        pod("topologySpreadConstraints[0].whenUnsatisfiable", 'Unsupported value: "Cry": supported values: "DoNotSchedule", "ScheduleAnyway"', topologySpreadConstraints=[{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "Cry"}]),
        pod("topologySpreadConstraints[0].minDomains", "can only use minDomains if whenUnsatisfiable=DoNotSchedule", topologySpreadConstraints=[{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2}]),
        pod("topologySpreadConstraints[0].nodeTaintsPolicy", 'Unsupported value: "x": supported values: "Honor", "Ignore"', topologySpreadConstraints=[{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule", "nodeTaintsPolicy": "x"}]),
        pod("topologySpreadConstraints[1].{topologyKey, whenUnsatisfiable}", "Duplicate value", topologySpreadConstraints=[{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}] * 2),
        pod("affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0].key", "not a valid field selector key", affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": [{"key": "spec.x", "operator": "In", "values": ["a"]}]}]}}}),
        pod("affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0].operator", "not a valid selector operator", affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "Gt", "values": ["1"]}]}]}}}),
        pod("affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0].values", "must be only one value when `operator` is 'In' or 'NotIn' for node field selector", affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": []}]}]}}}),
    ]),
    Rules("Changes of pods", "core/validation: ValidatePodUpdate", [
        change("pods", "spec", "Forbidden: pod updates may not change fields other than", {}, {"spec": {"restartPolicy": "Never"}}),
        change("pods", "spec.containers", "Forbidden: pod updates may not add or remove containers", {}, {"spec": {"containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "i"}]}}),
        change("pods", "spec.containers[0].image", "Required value", {}, {"spec": {"containers": [{"name": "c", "image": ""}]}}),
        change("pods", "spec.activeDeadlineSeconds", "must be less than or equal to previous value", {"spec": {"activeDeadlineSeconds": 5}}, {"spec": {"activeDeadlineSeconds": 9}}),
        change("pods", "spec.activeDeadlineSeconds", "must not update from a positive integer to nil value", {"spec": {"activeDeadlineSeconds": 5}}, {"spec": {"activeDeadlineSeconds": None}}),
    ]),
    Rules("Services", "core/validation: ValidateService", [
        service("ports", "Required value", ports=[]),
        service("ports[0].port", "must be between 1 and 65535, inclusive", ports=[{"port": 65536}]),
        service("ports[0].protocol", 'Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"', ports=[{"port": 1, "protocol": "ICMP"}]),
        service("ports[1].name", "Required value", ports=[{"name": "a", "port": 1}, {"port": 2}]),
        service("ports[1].name", 'Duplicate value: "a"', ports=[{"name": "a", "port": 1}, {"name": "a", "port": 2}]),
        service("ports[1]", "Duplicate value", ports=[{"name": "a", "port": 1}, {"name": "b", "port": 1}]),
        service("ports[0].targetPort", "must be between 1 and 65535, inclusive", ports=[{"port": 1, "targetPort": 65536}]),
        service("ports[0].nodePort", "may not be used when `type` is 'ClusterIP'", ports=[{"port": 1, "nodePort": 30100}]),
        service("type", 'Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"', type="Magic"),
        service("sessionAffinity", 'Unsupported value: "Cookie": supported values: "ClientIP", "None"', sessionAffinity="Cookie"),
        service("sessionAffinityConfig.clientIP.timeoutSeconds", "must be greater than 0 and less than 86400", sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 86401}}),
        service("clusterIPs[0]", "must be a valid IP address", clusterIP="x"),
        service("externalName", f'Invalid value: "A_": {SUBDOMAIN}', type="ExternalName", externalName="A_"),
        service("externalName", "Required value", type="ExternalName"),
        service("externalIPs[0]", "must be a valid IP address", externalIPs=["x"]),
        service("externalTrafficPolicy", 'Unsupported value: "Far": supported values: "Cluster", "Local"', type="NodePort", externalTrafficPolicy="Far"),
        service("internalTrafficPolicy", 'Unsupported value: "Far": supported values: "Cluster", "Local"', internalTrafficPolicy="Far"),
        service("selector", "name part must consist of", selector={"a b": "c"}),
        service("loadBalancerSourceRanges[0]", "must be a valid CIDR value", type="LoadBalancer", loadBalancerSourceRanges=["x"]),
        service("loadBalancerClass", "may only be used when `type` is 'LoadBalancer'", loadBalancerClass="a.b/c"),
        service("ipFamilies[0]", 'Unsupported value: "IPv5"', ipFamilies=["IPv5"]),
        change("services", "spec.clusterIPs[0]", "may not change once set", {}, {"spec": {"clusterIP": "10.0.0.9", "clusterIPs": ["10.0.0.9"]}}),
        service("ipFamilyPolicy", 'Unsupported value: "x": supported values: "PreferDualStack", "RequireDualStack", "SingleStack"', ipFamilyPolicy="x"),
    ]),
    Rules("Workloads", "apps/validation, batch/validation", [
        workload("deployments.apps", "replicas", NATURAL, replicas=-1),
        workload("deployments.apps", "selector", "Required value", selector=None),
        workload("deployments.apps", "selector", "empty selector is invalid for deployment", selector={"matchLabels": None}),
        workload("deployments.apps", "template.metadata.labels", "`selector` does not match template `labels`", selector={"matchLabels": {"a": "c"}}),
        workload("deployments.apps", "template.spec.restartPolicy", 'Unsupported value: "Never": supported values: "Always"', template={"spec": {"restartPolicy": "Never"}}),
        workload("deployments.apps", "strategy.type", 'Unsupported value: "Fast"', strategy={"type": "Fast"}),
        workload("deployments.apps", "strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'", strategy={"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}),
        workload("deployments.apps", "strategy.rollingUpdate.maxUnavailable", "may not be 0 when `maxSurge` is 0", strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
        workload("deployments.apps", "strategy.rollingUpdate.maxSurge", "a valid percent string must be a numeric string followed by an ending '%'", strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "x"}}),
        workload("deployments.apps", "minReadySeconds", NATURAL, minReadySeconds=-1),
        workload("deployments.apps", "revisionHistoryLimit", NATURAL, revisionHistoryLimit=-1),
        workload("deployments.apps", "progressDeadlineSeconds", "must be greater than minReadySeconds", progressDeadlineSeconds=5, minReadySeconds=5),
        change("deployments.apps", "spec.selector", IMMUTABLE, {}, {"spec": {"selector": {"matchLabels": {"x": "y"}}, "template": {"metadata": {"labels": {"x": "y"}}}}}),
        workload("replicasets.apps", "replicas", NATURAL, replicas=-1),
        workload("replicasets.apps", "template.metadata.labels", "`selector` does not match template `labels`", selector={"matchLabels": {"a": "c"}}),
        change("replicasets.apps", "spec.selector", IMMUTABLE, {}, {"spec": {"selector": {"matchLabels": {"x": "y"}}, "template": {"metadata": {"labels": {"x": "y"}}}}}),
        workload("replicationcontrollers", "replicas", NATURAL, replicas=-1),
        workload("replicationcontrollers", "selector", "Required value", selector=None, template={"metadata": {"labels": None}}),
        workload("statefulsets.apps", "podManagementPolicy", "must be 'OrderedReady' or 'Parallel'", podManagementPolicy="Random"),
        workload("statefulsets.apps", "updateStrategy", "must be 'RollingUpdate' or 'OnDelete'", updateStrategy={"type": "Fast"}),
        workload("statefulsets.apps", "replicas", NATURAL, replicas=-1),
        workload("statefulsets.apps", "ordinals.start", NATURAL, ordinals={"start": -1}),
        change("statefulsets.apps", "spec", "Forbidden: updates to statefulset spec for fields other than", {}, {"spec": {"serviceName": "y"}}),
        workload("daemonsets.apps", "updateStrategy.type", 'Unsupported value: "Fast"', updateStrategy={"type": "Fast"}),
        workload("daemonsets.apps", "template.spec.restartPolicy", 'Unsupported value: "Never": supported values: "Always"', template={"spec": {"restartPolicy": "Never"}}),
        workload("daemonsets.apps", "template.spec.activeDeadlineSeconds", "activeDeadlineSeconds in DaemonSet is not Supported", template={"spec": {"activeDeadlineSeconds": 5}}),
        change("daemonsets.apps", "spec.selector", IMMUTABLE, {}, {"spec": {"selector": {"matchLabels": {"x": "y"}}, "template": {"metadata": {"labels": {"x": "y"}}}}}),
        workload("jobs.batch", "template.spec.restartPolicy", "Required value: valid values: \"OnFailure\", \"Never\"", template={"spec": {"restartPolicy": "Always"}}),
        workload("jobs.batch", "parallelism", NATURAL, parallelism=-1),
        workload("jobs.batch", "completions", NATURAL, completions=-1),
        workload("jobs.batch", "backoffLimit", NATURAL, backoffLimit=-1),
        workload("jobs.batch", "activeDeadlineSeconds", NATURAL, activeDeadlineSeconds=-1),
        workload("jobs.batch", "ttlSecondsAfterFinished", NATURAL, ttlSecondsAfterFinished=-1),
        workload("jobs.batch", "completionMode", 'Unsupported value: "Maybe": supported values: "Indexed", "NonIndexed"', completionMode="Maybe"),
        workload("jobs.batch", "completions", "when completion mode is Indexed", completionMode="Indexed", parallelism=1),
        workload("jobs.batch", "backoffLimitPerIndex", "requires indexed completion mode", backoffLimitPerIndex=1),
        workload("jobs.batch", "maxFailedIndexes", "must be less than or equal to completions when specified", completionMode="Indexed", completions=2, backoffLimitPerIndex=1, maxFailedIndexes=3),
        workload("jobs.batch", "podFailurePolicy.rules[0].action", 'Unsupported value: "Cry"', podFailurePolicy={"rules": [{"action": "Cry", "onExitCodes": {"operator": "In", "values": [1]}}]}),
        workload("jobs.batch", "podFailurePolicy.rules[0].onExitCodes.values[0]", "must not be 0 for the In operator", podFailurePolicy={"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [0]}}]}),
        workload("jobs.batch", "podReplacementPolicy", 'Unsupported value: "x"', podReplacementPolicy="x"),
        workload("jobs.batch", "managedBy", "must be a domain-prefixed path", managedBy="me"),
        workload("jobs.batch", "successPolicy", "requires indexed completion mode", successPolicy={"rules": [{"succeededCount": 1}]}),
        change("jobs.batch", "spec.completions", IMMUTABLE, {"spec": {"completions": 2}}, {"spec": {"completions": 3}}),
        change("jobs.batch", "spec.template", IMMUTABLE, {}, {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "other"}]}}}}),
        workload("cronjobs.batch", "schedule", "Required value", schedule=""),
        workload("cronjobs.batch", "schedule", 'Invalid value: "x": ', schedule="x"),
        workload("cronjobs.batch", "concurrencyPolicy", 'Unsupported value: "x": supported values: "Allow", "Forbid", "Replace"', concurrencyPolicy="x"),
        workload("cronjobs.batch", "timeZone", "unknown time zone", timeZone="Moon/Base"),
        workload("cronjobs.batch", "startingDeadlineSeconds", NATURAL, startingDeadlineSeconds=-1),
        workload("cronjobs.batch", "successfulJobsHistoryLimit", NATURAL, successfulJobsHistoryLimit=-1),
        Case("cronjobs.batch", "metadata.name", {"metadata": {"name": "a" * 53}}, "must be no more than 52 characters"),
        workload("poddisruptionbudgets.policy", "", "minAvailable and maxUnavailable cannot be both set", minAvailable=1, maxUnavailable=1),
        workload("poddisruptionbudgets.policy", "minAvailable", NATURAL, minAvailable=-1),
        workload("poddisruptionbudgets.policy", "unhealthyPodEvictionPolicy", 'Unsupported value: "x": supported values: "AlwaysAllow", "IfHealthyBudget"', unhealthyPodEvictionPolicy="x"),
        workload("horizontalpodautoscalers.autoscaling", "maxReplicas", "must be greater than 0", maxReplicas=0),
        workload("horizontalpodautoscalers.autoscaling", "maxReplicas", "must be greater than or equal to `minReplicas`", minReplicas=3),
        workload("horizontalpodautoscalers.autoscaling", "minReplicas", "must be greater than or equal to 1", minReplicas=0),
        workload("horizontalpodautoscalers.autoscaling", "scaleTargetRef.name", "Required value", scaleTargetRef={"name": ""}),
        workload("horizontalpodautoscalers.autoscaling", "metrics[0].type", "Required value", metrics=[{"type": ""}]),
    ]),
    Rules("Storage", "core/validation: ValidatePersistentVolume, ValidatePersistentVolumeClaim; storage/validation", [
        workload("persistentvolumes", "capacity", "Required value", capacity=None),
        workload("persistentvolumes", "accessModes", "Required value", accessModes=[]),
        workload("persistentvolumes", "accessModes", 'Unsupported value: "Some"', accessModes=["Some"]),
        workload("persistentvolumes", "persistentVolumeReclaimPolicy", 'Unsupported value: "Burn": supported values: "Delete", "Recycle", "Retain"', persistentVolumeReclaimPolicy="Burn"),
        workload("persistentvolumes", "volumeMode", 'Unsupported value: "Tape": supported values: "Block", "Filesystem"', volumeMode="Tape"),
        Case("persistentvolumes", "spec", {"spec": {"hostPath": None}}, "Required value: must specify a volume type"),
        workload("persistentvolumes", "nfs", "may not specify more than 1 volume type", nfs={"server": "s", "path": "/p"}),
        change("persistentvolumes", "spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation", {}, {"spec": {"hostPath": {"path": "/y"}}}),
        workload("persistentvolumes", "nodeAffinity.required.nodeSelectorTerms", "Required value: must have at least one node selector term", nodeAffinity={"required": {"nodeSelectorTerms": []}}),
        workload("persistentvolumeclaims", "accessModes", "Required value: at least 1 access mode is required", accessModes=[]),
        workload("persistentvolumeclaims", "accessModes", 'Unsupported value: "Some"', accessModes=["Some"]),
        workload("persistentvolumeclaims", "resources[storage]", "Required value", resources=None),
        workload("persistentvolumeclaims", "resources[storage]", "must be greater than zero", resources={"requests": {"storage": "0"}}),
        workload("persistentvolumeclaims", "storageClassName", SUBDOMAIN, storageClassName="A_"),
        change("persistentvolumeclaims", "spec", "spec is immutable after creation", {}, {"spec": {"accessModes": ["ReadOnlyMany"]}}),
        Case("storageclasses.storage.k8s.io", "provisioner", {"provisioner": ""}, "Required value"),
        Case("storageclasses.storage.k8s.io", "reclaimPolicy", {"reclaimPolicy": "Burn"}, 'Unsupported value: "Burn": supported values: "Delete", "Retain"'),
        Case("storageclasses.storage.k8s.io", "volumeBindingMode", {"volumeBindingMode": "Now"}, 'Unsupported value: "Now"'),
        change("storageclasses.storage.k8s.io", "parameters", "updates to parameters are forbidden.", {}, {"parameters": {"a": "b"}}),
        change("storageclasses.storage.k8s.io", "provisioner", "updates to provisioner are forbidden.", {}, {"provisioner": "y"}),
    ]),
    Rules("Network", "networking/validation, discovery/validation", [
        Case("ingresses.networking.k8s.io", "spec", {"spec": {"defaultBackend": None}}, "either `defaultBackend` or `rules` must be specified"),
        workload("ingresses.networking.k8s.io", "rules[0].host", SUBDOMAIN, rules=[{"host": "A_"}]),
        workload("ingresses.networking.k8s.io", "rules[0].http.paths[0].path", "must be an absolute path", rules=[{"http": {"paths": [{"path": "x", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 1}}}}]}}]),
        workload("ingresses.networking.k8s.io", "rules[0].http.paths[0].pathType", "pathType must be specified", rules=[{"http": {"paths": [{"path": "/x", "backend": {"service": {"name": "s", "port": {"number": 1}}}}]}}]),
        workload("ingresses.networking.k8s.io", "rules[0].http.paths[0].pathType", 'Unsupported value: "Fuzzy": supported values: "Exact", "ImplementationSpecific", "Prefix"', rules=[{"http": {"paths": [{"path": "/x", "pathType": "Fuzzy", "backend": {"service": {"name": "s", "port": {"number": 1}}}}]}}]),
        workload("ingresses.networking.k8s.io", "defaultBackend.service.name", "Required value", defaultBackend={"service": {"name": "", "port": {"number": 1}}}),
        workload("ingresses.networking.k8s.io", "defaultBackend", "port name or number is required", defaultBackend={"service": {"name": "s", "port": {"number": None}}}),
        workload("networkpolicies.networking.k8s.io", "policyTypes[0]", 'Unsupported value: "Sideways": supported values: "Egress", "Ingress"', podSelector={}, policyTypes=["Sideways"]),
        workload("networkpolicies.networking.k8s.io", "ingress[0].from[0].ipBlock.cidr", "must be a valid CIDR value", podSelector={}, ingress=[{"from": [{"ipBlock": {"cidr": "x"}}]}]),
        workload("networkpolicies.networking.k8s.io", "ingress[0].from[0].ipBlock.except[0]", "must be a strict subset of `cidr`", podSelector={}, ingress=[{"from": [{"ipBlock": {"cidr": "10.0.0.0/16", "except": ["10.1.0.0/24"]}}]}]),
        workload("networkpolicies.networking.k8s.io", "ingress[0].ports[0].port", "must be between 1 and 65535, inclusive", podSelector={}, ingress=[{"ports": [{"port": 0}]}]),
        workload("networkpolicies.networking.k8s.io", "ingress[0].ports[0].endPort", "must be greater than or equal to `port`", podSelector={}, ingress=[{"ports": [{"port": 9, "endPort": 8}]}]),
        Case("endpointslices.discovery.k8s.io", "addressType", {"addressType": ""}, "Required value"),
        Case("endpointslices.discovery.k8s.io", "addressType", {"addressType": "Post"}, 'Unsupported value: "Post": supported values: "FQDN", "IPv4", "IPv6"'),
        Case("endpointslices.discovery.k8s.io", "endpoints[0].addresses", {"endpoints": [{"addresses": []}]}, "must contain at least 1 address"),
        Case("endpointslices.discovery.k8s.io", "endpoints[0].addresses[0]", {"endpoints": [{"addresses": ["x"]}]}, "must be a valid IP"),
        change("endpointslices.discovery.k8s.io", "addressType", IMMUTABLE, {}, {"addressType": "IPv6"}),
        Case("endpointslices.discovery.k8s.io", "ports[0].protocol", {"ports": [{"port": 1, "protocol": "x"}]}, 'Unsupported value: "x": supported values: "SCTP", "TCP", "UDP"'),
        Case("endpoints", "subsets[0].ports[0].protocol", {"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 1, "protocol": "x"}]}]}, 'Unsupported value: "x": supported values: "SCTP", "TCP", "UDP"'),
    ]),
    Rules("Configuration, rights and limits", "core/validation, rbac/validation, scheduling/validation", [
        Case("configmaps", "data[a/b]", {"data": {"a/b": "c"}}, "a valid config key must consist of alphanumeric characters"),
        Case("configmaps", "data[a]", {"data": {"a": "x"}, "binaryData": {"a": "eA=="}}, "duplicate of key present in binaryData"),
        Case("secrets", "data[.dockerconfigjson]", {"type": "kubernetes.io/dockerconfigjson"}, "Required value"),
        Case("secrets", "data[tls.crt]", {"type": "kubernetes.io/tls"}, "Required value"),
        Case("secrets", "data[ssh-privatekey]", {"type": "kubernetes.io/ssh-auth"}, "Required value"),
        Case("secrets", "metadata.annotations[kubernetes.io/service-account.name]", {"type": "kubernetes.io/service-account-token"}, "Required value"),
        change("secrets", "type", IMMUTABLE, {}, {"type": "other"}),
        workload("resourcequotas", "hard[pods]", "must be an integer", hard={"pods": "1.5"}),
        workload("resourcequotas", "hard[cpu]", NATURAL, hard={"cpu": "-1"}),
        workload("resourcequotas", "scopes", "unsupported scope", hard={"pods": "1"}, scopes=["Moon"]),
        workload("limitranges", "limits[0].min[cpu]", "min value 2 is greater than max value 1", limits=[{"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}]),
        workload("limitranges", "limits[0].default", "may not be specified when `type` is 'Pod'", limits=[{"type": "Pod", "default": {"cpu": "1"}}]),
        workload("limitranges", "limits[1].type", 'Duplicate value: "Pod"', limits=[{"type": "Pod", "max": {"cpu": "1"}}] * 2),
        Case("roles.rbac.authorization.k8s.io", "rules[0].verbs", {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": []}]}, "verbs must contain at least one value"),
        Case("roles.rbac.authorization.k8s.io", "rules[0].resources", {"rules": [{"apiGroups": [""], "resources": [], "verbs": ["get"]}]}, "resource rules must supply at least one resource"),
        Case("roles.rbac.authorization.k8s.io", "rules[0].nonResourceURLs", {"rules": [{"nonResourceURLs": ["/x"], "verbs": ["get"]}]}, "namespaced rules cannot apply to non-resource URLs"),
        Case("rolebindings.rbac.authorization.k8s.io", "roleRef.name", {"roleRef": {"name": ""}}, "Required value"),
        Case("rolebindings.rbac.authorization.k8s.io", "roleRef.kind", {"roleRef": {"kind": "Thing"}}, 'Unsupported value: "Thing": supported values: "ClusterRole", "Role"'),
        Case("rolebindings.rbac.authorization.k8s.io", "subjects[0].kind", {"subjects": [{"kind": "Robot", "name": "x"}]}, 'Unsupported value: "Robot": supported values: "Group", "ServiceAccount", "User"'),
        Case("clusterrolebindings.rbac.authorization.k8s.io", "subjects[0].namespace", {"subjects": [{"kind": "ServiceAccount", "name": "x"}]}, "Required value"),
        change("rolebindings.rbac.authorization.k8s.io", "roleRef", "cannot change roleRef", {}, {"roleRef": {"name": "y"}}),
        Case("priorityclasses.scheduling.k8s.io", "value", {"value": 1000000001}, "maximum allowed value of a user defined priority is 1000000000"),
        Case("priorityclasses.scheduling.k8s.io", "preemptionPolicy", {"preemptionPolicy": "Maybe"}, 'Unsupported value: "Maybe"'),
        change("priorityclasses.scheduling.k8s.io", "value", IMMUTABLE, {}, {"value": 2}),
        Case("leases.coordination.k8s.io", "spec.leaseDurationSeconds", {"spec": {"leaseDurationSeconds": 0}}, "must be greater than 0"),
        Case("certificatesigningrequests.certificates.k8s.io", "spec.request", {"spec": {"request": "eA=="}}, "PEM block type must be CERTIFICATE REQUEST"),
        Case("certificatesigningrequests.certificates.k8s.io", "spec.usages", {"spec": {"usages": []}}, "Required value"),
        Case("certificatesigningrequests.certificates.k8s.io", "spec.signerName", {"spec": {"signerName": "x"}}, "must be a fully qualified domain and path of the form 'example.com/signer-name'"),
        Case("certificatesigningrequests.certificates.k8s.io", "spec.expirationSeconds", {"spec": {"expirationSeconds": 5}}, "may not specify a duration less than 600 seconds (10 minutes)"),
        workload("resourcequotas", "scopeSelector.matchExpressions[0].scopeName", "unsupported scope", hard={"pods": "1"}, scopeSelector={"matchExpressions": [{"scopeName": "Moon", "operator": "Exists"}]}),
        workload("resourcequotas", "scopeSelector.matchExpressions[0].operator", "must be 'Exist' only operator when scope is any of", hard={"pods": "1"}, scopeSelector={"matchExpressions": [{"scopeName": "BestEffort", "operator": "In", "values": ["a"]}]}),
        workload("resourcequotas", "scopeSelector.matchExpressions[0].values", "must be at least one value when `operator` is 'In' or 'NotIn'", hard={"pods": "1"}, scopeSelector={"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}),
        Case("runtimeclasses.node.k8s.io", "handler", {"handler": ""}, "Required value"),
        Case("runtimeclasses.node.k8s.io", "handler", {"handler": "A"}, f'Invalid value: "A": {LABEL}'),
        Case("runtimeclasses.node.k8s.io", "scheduling.nodeSelector", {"scheduling": {"nodeSelector": {"a b": "c"}}}, "name part must consist of"),
        change("runtimeclasses.node.k8s.io", "handler", IMMUTABLE, {}, {"handler": "other"}),
    ]),
    Rules("Devices", "resource/validation, apimachinery: api/validate", [
        claim("requests[0].name", "Required value", requests=[{"name": "", "exactly": {"deviceClassName": "gpu"}}]),
        claim("requests[0].name", f'Invalid value: "A": {LABEL}', requests=[{"name": "A", "exactly": {"deviceClassName": "gpu"}}]),
        claim("requests[1].name", 'Duplicate value: "a"', requests=[{"name": "a", "exactly": {"deviceClassName": "gpu"}}] * 2),
        claim("requests", "Too many: 33: must have at most 32 items", requests=[{"name": f"a{i}", "exactly": {"deviceClassName": "gpu"}} for i in range(33)]),
        claim("requests[0]", "exactly one of `exactly` or `firstAvailable` is required", requests=[{"name": "a"}]),
        claim("requests[0]", "is required, but multiple fields are set", requests=[{"name": "a", "exactly": {"deviceClassName": "gpu"}, "firstAvailable": [{"name": "b", "deviceClassName": "gpu"}]}]),
        claim("requests[0].firstAvailable[0].deviceClassName", "Required value", requests=[{"name": "a", "firstAvailable": [{"name": "b", "deviceClassName": ""}]}]),
        claim("requests[0].exactly.deviceClassName", "Required value", {"deviceClassName": ""}),
        claim("requests[0].exactly.deviceClassName", SUBDOMAIN, {"deviceClassName": "A_"}),
        claim("requests[0].exactly.allocationMode", 'Unsupported value: "Some": supported values: "All", "ExactCount"', {"allocationMode": "Some"}),
        claim("requests[0].exactly.count", "must be greater than zero", {"count": -1}),
        claim("requests[0].exactly.count", "must not be specified when allocationMode is 'All'", {"allocationMode": "All", "count": 1}),
        claim("requests[0].exactly.adminAccess", "admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the containing namespace", {"adminAccess": True}),
        claim("requests[0].exactly.selectors[0].cel", "Required value", {"selectors": [{}]}),
        claim("requests[0].exactly.selectors[0].cel.expression", "undefined field 'colour'", {"selectors": [{"cel": {"expression": "device.colour == 1"}}]}),
        claim("requests[0].exactly.selectors[0].cel.expression", "must evaluate to a bool", {"selectors": [{"cel": {"expression": "device.driver"}}]}),
        claim("requests[0].exactly.selectors[0].cel.expression", "Too long: may not be more than 10240 bytes", {"selectors": [{"cel": {"expression": "true" + " " * 10240}}]}),
        claim("requests[0].exactly.tolerations[0].operator", 'Unsupported value: "Like": supported values: "Equal", "Exists"', {"tolerations": [{"key": "a", "operator": "Like"}]}),
        claim("requests[0].exactly.tolerations[0].operator", "operator must be Exists when `key` is empty", {"tolerations": [{"operator": "Equal", "value": "a"}]}),
        claim("requests[0].exactly.tolerations[0].value", "must be empty for operator `Exists`", {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}),
        claim("requests[0].exactly.tolerations[0].effect", 'Unsupported value: "x": supported values: "NoExecute", "NoSchedule", "None"', {"tolerations": [{"key": "a", "operator": "Exists", "effect": "x"}]}),
        claim("requests[0].exactly.capacity.requests[a-b]", "a valid C identifier must start with", {"capacity": {"requests": {"a-b": "1"}}}),
        claim("constraints[0].requests[0]", "must be the name of a request in the claim", constraints=[{"requests": ["two"], "matchAttribute": "a.b/c"}]),
        claim("constraints[0]", "exactly one of `matchAttribute` or `distinctAttribute` is required", constraints=[{}]),
        claim("constraints[0].matchAttribute", "must include a domain", constraints=[{"matchAttribute": "numa"}]),
        claim("config[0].opaque", "Required value", config=[{}]),
        claim("config[0].opaque.driver", "Required value", config=[{"opaque": {"driver": "", "parameters": {}}}]),
        claim("config[0].opaque.parameters", "must be a valid JSON object", config=[{"opaque": {"driver": "a.b", "parameters": [1]}}]),
        change(CLAIMS, "spec", IMMUTABLE, {}, {"spec": {"devices": {"requests": []}}}),
        Case("resourceclaimtemplates.resource.k8s.io", "spec.spec.devices.requests[0].name", {"spec": {"spec": {"devices": {"requests": [{"name": "", "exactly": {"deviceClassName": "gpu"}}]}}}}, "Required value"),
        Case(CLASSES, "spec.selectors[0].cel.expression", {"spec": {"selectors": [{"cel": {"expression": "devise"}}]}}, "undeclared reference to 'devise'"),
        Case(CLASSES, "spec.extendedResourceName", {"spec": {"extendedResourceName": "gpu"}}, "a name must be a domain-prefixed path"),
        Case(CLASSES, "spec.extendedResourceName", {"spec": {"extendedResourceName": "kubernetes.io/gpu"}}, 'must not have "kubernetes.io/" domain'),
        slice_(".driver", "Required value", driver=""),
        slice_(".driver", "Too long: may not be more than 63 bytes", driver="a" * 64),
        slice_(".pool.name", SUBDOMAIN, pool={"name": "a//b"}),
        slice_(".pool.resourceSliceCount", "must be greater than zero", pool={"resourceSliceCount": 0}),
        slice_(".pool.generation", NATURAL, pool={"generation": -1}),
        slice_("", "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required", nodeName=None),
        slice_("", 'Invalid value: "{`nodeName`, `allNodes`}": exactly one of', allNodes=True),
        slice_(".allNodes", "must be either unset or set to true", allNodes=False),
        slice_(".nodeSelector.nodeSelectorTerms", "must have exactly one node selector term", nodeName=None, nodeSelector={"nodeSelectorTerms": [{}, {}]}),
        slice_(".devices[1].name", 'Duplicate value: "d"', devices=[{"name": "d"}] * 2),
        slice_(".devices", "Too many: 129: must have at most 128 items", devices=[{"name": f"d{i}"} for i in range(129)]),
        slice_(".devices", "Too many: 65: must have at most 64 items", devices=[{"name": f"d{i}", "taints": [{"key": "a", "effect": "None"}]} for i in range(65)]),
        slice_(".sharedCounters[0].counters", "Required value", sharedCounters=[{"name": "s"}]),
        slice_(".sharedCounters[0].counters", f'Invalid value: "A": {LABEL}', sharedCounters=[{"name": "s", "counters": {"A": {"value": "1"}}}]),
        device(".name", f'Invalid value: "D": {LABEL}', name="D"),
        device("", "the total number of attributes and capacities must not exceed 32", attributes={f"a{i}": {"int": i} for i in range(33)}),
        device(".attributes[a.b/c d]", "a valid C identifier must start with", attributes={"a.b/c d": {"int": 1}}),
        device(".attributes[/c]", "the domain must not be empty", attributes={"/c": {"int": 1}}),
        device(".attributes[a]", "Required value: exactly one value must be specified", attributes={"a": {}}),
        device(".attributes[a]", "exactly one value must be specified", attributes={"a": {"int": 1, "bool": True}}),
        device(".attributes[a].string", "Too long: may not be more than 64 bytes", attributes={"a": {"string": "x" * 65}}),
        device(".attributes[a].version", "must be a string compatible with semver.org spec 2.0.0", attributes={"a": {"version": "1.0"}}),
        device(".taints[0].effect", 'Unsupported value: "PreferNoSchedule": supported values: "NoExecute", "NoSchedule", "None"', taints=[{"key": "a", "effect": "PreferNoSchedule"}]),
        device(".taints[0].key", "name part must be non-empty", taints=[{"key": "", "effect": "None"}]),
        device(".consumesCounters[0].counters", "Required value", consumesCounters=[{"counterSet": "s"}]),
        device(".bindingConditions[0]", "name part must consist of", bindingConditions=["a b"]),
        device("", "can only be set if `perDeviceNodeSelection` is set to true", allNodes=True),
        device(".capacity[memory].requestPolicy", "allowMultipleAllocations must be true", capacity={"memory": {"value": "1", "requestPolicy": {"default": "1"}}}),
        shared(".default", "required when validValues or validRange is defined", validValues=["1Gi"]),
        shared(".default", "default is larger than capacity value: 10Gi", default="11Gi"),
        shared(".validValues[1]", "values must be sorted in ascending order", default="1Gi", validValues=["2Gi", "1Gi"]),
        shared(".validValues", "default value is not valid according to the requestPolicy", default="3Gi", validValues=["1Gi", "2Gi"]),
        shared(".validRange.min", "min is larger than max value: 1Gi", default="1Gi", validRange={"min": "2Gi", "max": "1Gi"}),
        shared(".validRange.max", "max is larger than capacity value: 10Gi", default="1Gi", validRange={"min": "1Gi", "max": "11Gi"}),
        shared(".validRange.step", "value is not a multiple of a given step (2Gi) from (1Gi)", default="2Gi", validRange={"min": "1Gi", "step": "2Gi"}),
        change(SLICES, "spec.driver", IMMUTABLE, {}, {"spec": {"driver": "b.c"}}),
        change(SLICES, "spec.pool.name", IMMUTABLE, {}, {"spec": {"pool": {"name": "b"}}}),
        change(SLICES, "spec.nodeName", IMMUTABLE, {}, {"spec": {"nodeName": "b"}}),
    ], ("the most values of all attributes together", "mappings to node resources", "selectors with cel.bind or includes are parsed, not type-checked")),
]


def document() -> str:
    """docs/validation.md."""
    from tiphys.api.catalog import RESOURCES

    kinds = {r.group_resource: r.kind for r in RESOURCES}
    lines = [
        "# What objects have to be like", "",
        "The rules by type, each with a case that a test breaks (`tests/apiserver/validation.py`, from which this page is",
        "written). What the answer says is upstream's wording. Rules that are not kept yet stand below each table. Custom",
        "resource definitions, webhooks, admission policies and flow schemas have tests of their own.",
    ]  # fmt: skip
    for rules in TABLE:
        lines += ["", f"## {rules.title}", "", f"Source of the facts: {rules.source}.", "", "| kind | field | what the answer says |", "| --- | --- | --- |"]
        for case in rules.cases:
            when = " (on update)" if case.before is not None else ""
            lines.append(f"| {kinds[case.resource]} | `{case.field}`{when} | {case.says.strip()} |")
        if rules.gaps:
            lines += ["", f"Not kept yet: {'; '.join(rules.gaps)}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(document(), end="")
