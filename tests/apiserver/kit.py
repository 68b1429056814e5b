"""One valid object for every stored resource: the conformance kit of the registry runs over all of
them."""

from __future__ import annotations

import base64
import json
from typing import Any

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tiphys.api.catalog import RESOURCES, Resource
from tiphys.machinery.patch import merge
from tiphys.testing import LocalCluster

TEMPLATE = {
    "metadata": {"labels": {"a": "b"}},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}
SELECTOR = {"matchLabels": {"a": "b"}}
JOB = {
    "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
}
HOOK = {
    "name": "a.b.c",
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
    "clientConfig": {"url": "https://x"},
}

RULE = {
    "operations": ["CREATE"],
    "apiGroups": [""],
    "apiVersions": ["v1"],
    "resources": ["configmaps"],
}
MUTATION = {"patchType": "JSONPatch", "jsonPatch": {"expression": "[]"}}


def signing_request() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kit")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


DEVICES = {"devices": {"requests": [{"name": "one", "exactly": {"deviceClassName": "gpu"}}]}}
# What a resource's object needs beside its metadata. Those that are not here need nothing.
BODIES: dict[str, dict[str, Any]] = {
    "pods": {"spec": TEMPLATE["spec"]},
    "podtemplates": {"template": TEMPLATE},
    "replicationcontrollers": {"spec": {"selector": {"a": "b"}, "template": TEMPLATE}},
    "services": {"spec": {"ports": [{"port": 80}]}},
    "persistentvolumeclaims": {
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    },
    "persistentvolumes": {
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"},
            "hostPath": {"path": "/x"},
        }
    },
    "events.events.k8s.io": {
        "eventTime": "2020-01-01T00:00:00.000000Z",
        "reportingController": "x",
        "reportingInstance": "x",
        "action": "x",
        "reason": "x",
        "type": "Normal",
        "regarding": {"namespace": "default"},
    },
    "events": {"involvedObject": {"namespace": "default"}},
    "daemonsets.apps": {"spec": {"selector": SELECTOR, "template": TEMPLATE}},
    "deployments.apps": {"spec": {"selector": SELECTOR, "template": TEMPLATE}},
    "replicasets.apps": {"spec": {"selector": SELECTOR, "template": TEMPLATE}},
    "statefulsets.apps": {"spec": {"selector": SELECTOR, "template": TEMPLATE, "serviceName": "x"}},
    "horizontalpodautoscalers.autoscaling": {
        "spec": {
            "maxReplicas": 2,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"},
        }
    },
    "controllerrevisions.apps": {"data": {"a": 1}, "revision": 1},
    "cronjobs.batch": {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": JOB}}},
    "jobs.batch": {"spec": JOB},
    **{
        f"{kind}admissionpolicies.admissionregistration.k8s.io": {
            "spec": {"matchConstraints": {"resourceRules": [RULE]}, **body}
        }
        for kind, body in (
            ("validating", {"validations": [{"expression": "true"}]}),
            ("mutating", {"mutations": [MUTATION]}),
        )
    },
    **{
        f"{kind}admissionpolicybindings.admissionregistration.k8s.io": {
            "spec": {"policyName": "p", **more}
        }
        for kind, more in (("validating", {"validationActions": ["Deny"]}), ("mutating", {}))
    },
    "certificatesigningrequests.certificates.k8s.io": {
        "spec": {
            "request": signing_request(),
            "signerName": "example.com/kit",
            "usages": ["client auth"],
        }
    },
    "endpointslices.discovery.k8s.io": {"addressType": "IPv4", "endpoints": []},
    "ingresses.networking.k8s.io": {
        "spec": {"defaultBackend": {"service": {"name": "x", "port": {"number": 80}}}}
    },
    "clusterrolebindings.rbac.authorization.k8s.io": {
        "roleRef": {"kind": "ClusterRole", "name": "x"}
    },
    "rolebindings.rbac.authorization.k8s.io": {"roleRef": {"kind": "Role", "name": "x"}},
    "priorityclasses.scheduling.k8s.io": {"value": 1},
    "flowschemas.flowcontrol.apiserver.k8s.io": {
        "spec": {"priorityLevelConfiguration": {"name": "x"}}
    },
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io": {
        "spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}}
    },
    "csinodes.storage.k8s.io": {
        "spec": {"drivers": [{"name": "a.b", "nodeID": "n", "topologyKeys": ["a"]}]}
    },
    "csistoragecapacities.storage.k8s.io": {"storageClassName": "x"},
    "volumeattachments.storage.k8s.io": {
        "spec": {"attacher": "a.b", "nodeName": "n", "source": {"persistentVolumeName": "v"}}
    },
    "volumeattributesclasses.storage.k8s.io": {"driverName": "a.b", "parameters": {"a": "b"}},
    "ingressclasses.networking.k8s.io": {"spec": {"controller": "a.b/c"}},
    "ipaddresses.networking.k8s.io": {
        "spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "x"}}
    },
    "servicecidrs.networking.k8s.io": {"spec": {"cidrs": ["10.77.0.0/24"]}},
    "runtimeclasses.node.k8s.io": {"handler": "runc"},
    "resourceclaims.resource.k8s.io": {"spec": DEVICES},
    "resourceclaimtemplates.resource.k8s.io": {"spec": {"spec": DEVICES}},
    "resourceslices.resource.k8s.io": {
        "spec": {
            "driver": "gpu.example.com",
            "pool": {"name": "n", "generation": 1, "resourceSliceCount": 1},
            "nodeName": "n",
        }
    },
    "storageclasses.storage.k8s.io": {"provisioner": "x"},
}
NAMES = {"ipaddresses.networking.k8s.io": "10.1.2.3"}
# The server itself writes these as soon as they are made: they have tests of their own
# (test_custom).
KEPT_BY_THE_SERVER = {
    "customresourcedefinitions.apiextensions.k8s.io",
    "apiservices.apiregistration.k8s.io",
}

# Objects that must be refused, and the field that the answer must name.
INVALID: list[tuple[str, dict[str, Any], str]] = [
    ("pods", {"spec": {"containers": []}}, "spec.containers"),
    ("pods", {"spec": {"containers": [{"name": "A", "image": "i"}]}}, "spec.containers[0].name"),
    ("pods", {"spec": {"containers": [{"name": "a"}]}}, "spec.containers[0].image"),
    ("pods", {"spec": {**TEMPLATE["spec"], "restartPolicy": "No"}}, "spec.restartPolicy"),
    (
        "pods",
        {
            "spec": {
                "containers": [
                    {"name": "a", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/x"}]}
                ]
            }
        },
        "spec.containers[0].volumeMounts[0].name",
    ),
    ("services", {"spec": {}}, "spec.ports"),
    ("services", {"spec": {"ports": [{"port": 70000}]}}, "spec.ports[0].port"),
    ("deployments.apps", {"spec": {"template": TEMPLATE}}, "spec.selector"),
    (
        "deployments.apps",
        {"spec": {"selector": {"matchLabels": {"x": "y"}}, "template": TEMPLATE}},
        "spec.template.metadata.labels",
    ),
    ("configmaps", {"data": {"a/b": "c"}}, "data[a/b]"),
    ("jobs.batch", {"spec": {"template": TEMPLATE}}, "spec.template.spec.restartPolicy"),
    (
        "persistentvolumeclaims",
        {"spec": {"resources": {"requests": {"storage": "1"}}}},
        "spec.accessModes",
    ),
]


# The first version of each resource, by ``plural.group``.
SERVED = {resource.group_resource: resource for resource in reversed(RESOURCES)}


def body_of(resource: Resource, name: str) -> dict[str, Any]:
    """A valid object, as JSON."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name},
        **BODIES.get(resource.group_resource, {}),
    }


def changed(body: Any, parts: dict[str, Any]) -> Any:
    """A copy of a body with some fields replaced, as by a merge patch."""
    return merge(json.loads(json.dumps(body)), parts)


async def warnings_of(server: LocalCluster, method: str, path: str, body: Any = None) -> list[str]:
    """The sentences of an answer's Warning headers."""
    tls = server.client.config.ssl_context()
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session,
        session.request(method, server.url + path, json=body) as answer,
    ):
        assert answer.status < 300, await answer.text()
        headers = answer.headers.getall("Warning", [])
        return [json.loads(header.partition(" - ")[2]) for header in headers]


# --- pods with something in their spec, or in that of their only container ---

CONTAINER = {"name": "c", "image": "i"}


def spec(**parts: Any) -> dict[str, Any]:
    return {"spec": {"containers": [CONTAINER], **parts}}


def container(**parts: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{**CONTAINER, **parts}]}}
