"""One line of documentation for types and fields, in our own words: what `kubectl explain` shows.

A field's line is looked up by its type first, then by its name alone for what means the same everywhere.
"""

from __future__ import annotations

TYPES: dict[str, str] = {
    "Pod": "One or more containers that share a network address and volumes and live together on one node.",
    "PodSpec": "What a pod should be: its containers, volumes, and where and how it may run.",
    "PodStatus": "What is known of a pod, written by the node it runs on.",
    "Container": "One process tree of a pod, started from an image.",
    "ObjectMeta": "What every stored object has: its name, labels, owners and place in time.",
    "Deployment": "Keeps a number of identical pods running and replaces them step by step when their template changes.",
    "ReplicaSet": "Keeps a number of pods of one template running.",
    "StatefulSet": "Keeps numbered pods with stable names and volumes.",
    "DaemonSet": "Keeps one pod on every node that matches.",
    "Job": "Runs pods until enough of them have succeeded.",
    "CronJob": "Makes jobs on a schedule.",
    "Service": "A stable address and name in front of the pods a selector chooses.",
    "ConfigMap": "Configuration as keys and values, for environment variables and files.",
    "Secret": "Small confidential data as keys and values.",
    "Namespace": "A scope for names.",
    "Node": "A machine that runs pods.",
}

FIELDS: dict[tuple[str, str], str] = {
    ("PodSpec", "containers"): "The containers of the pod; at least one. They cannot be added or removed later.",
    ("PodSpec", "initContainers"): "Containers that run one after the other, each to its end, before the others start.",
    ("PodSpec", "volumes"): "What containers may mount.",
    ("PodSpec", "nodeName"): "The node the pod is bound to; empty until it is scheduled.",
    ("PodSpec", "nodeSelector"): "Labels a node must have for the pod to run there.",
    ("PodSpec", "restartPolicy"): "When containers are started again after they end: Always, OnFailure or Never.",
    ("PodSpec", "serviceAccountName"): "The service account whose identity the pod has.",
    (
        "PodSpec",
        "terminationGracePeriodSeconds",
    ): "Seconds the containers have to end by themselves once the pod is deleted.",
    ("PodSpec", "tolerations"): "Taints of nodes that the pod puts up with.",
    ("PodSpec", "affinity"): "Which nodes and which neighbours the pod needs, likes or avoids.",
    ("Container", "name"): "Name of the container, a DNS label, unique in the pod. Cannot be changed.",
    ("Container", "image"): "The image to start from.",
    ("Container", "command"): "The program and its first arguments; the image's entry point when absent.",
    ("Container", "args"): "Arguments of the program; the image's own when absent.",
    ("Container", "env"): "Environment variables.",
    ("Container", "envFrom"): "ConfigMaps and Secrets whose keys become environment variables.",
    ("Container", "ports"): "Ports the container listens on. Informational, but for host ports.",
    ("Container", "resources"): "The cpu, memory and other resources the container needs and may use.",
    ("Container", "volumeMounts"): "Volumes of the pod and where the container sees them.",
    ("Container", "livenessProbe"): "A check whose failure restarts the container.",
    ("Container", "readinessProbe"): "A check whose failure takes the pod out of its services.",
    ("Container", "startupProbe"): "A check that must succeed once before the other two begin.",
    ("Container", "imagePullPolicy"): "When the image is pulled: Always, IfNotPresent or Never.",
    ("Container", "lifecycle"): "What runs right after the container starts and right before it is stopped.",
    ("Container", "securityContext"): "Privileges and identity of the container's processes.",
    ("Container", "workingDir"): "The folder the program starts in.",
}

COMMON: dict[str, str] = {
    "apiVersion": "The version of the schema this object is written in.",
    "kind": "What the object is.",
    "metadata": "Name, labels, owners and the like.",
    "spec": "What is wanted.",
    "status": "What is so, written by the system.",
    "items": "The objects of the list.",
    "name": "The name.",
    "namespace": "The namespace.",
    "labels": "Keys and values to select by.",
    "annotations": "Keys and values that nothing selects by.",
    "selector": "Which objects this is about.",
    "replicas": "How many pods are wanted.",
    "template": "What each pod is made from.",
    "conditions": "What is currently true of the object, with reasons.",
}


def of_type(kind: type) -> str:
    return TYPES.get(kind.__name__, "")


def of_field(kind: type, name: str) -> str:
    return FIELDS.get((kind.__name__, name)) or COMMON.get(name, "")
