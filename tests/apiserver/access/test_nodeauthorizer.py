"""What the node authorizer allows: a row for each kind of question, the refused beside the
allowed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apiserver.access.builders import stored, write
from tests.builders import pod
from tiphys.api import core_v1, rbac_v1, resource_v1, storage_v1
from tiphys.api.base import from_builtins
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.apiserver.access.asked import Asked
from tiphys.apiserver.access.nodeauthorizer import NodeAuthorizer, node_of
from tiphys.apiserver.http.request import User
from tiphys.machinery.podrefs import MIRROR
from tiphys.store.store import Store

ONE = User("system:node:one", ("system:nodes",))
RULES = [
    rbac_v1.PolicyRule(["list"], ["", "node.k8s.io"], ["services", "runtimeclasses", "secrets"])
]
NAMED_BY_ONE: dict[str, Any] = {
    "serviceAccountName": "account",
    "imagePullSecrets": [{"name": "pull"}],
    "containers": [
        {
            "name": "c",
            "image": "i",
            "env": [
                {"name": "A", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}},
                {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "env", "key": "k"}}},
            ],
        }
    ],
    "volumes": [
        {"name": "s", "secret": {"secretName": "mounted"}},
        {"name": "m", "configMap": {"name": "mounted"}},
        {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "scratch", "ephemeral": {}},
        {"name": "x", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "inline-csi"}}},
    ],
    "resourceClaims": [
        {"name": "gpu", "resourceClaimName": "gpu"},
        {"name": "made", "resourceClaimTemplateName": "t"},
        {"name": "unmade", "resourceClaimTemplateName": "t"},
    ],
}


def the_pod_of_one() -> core_v1.Pod:
    here = pod("here", nodeName="one", **NAMED_BY_ONE)
    here.status.resource_claim_statuses = [
        core_v1.PodResourceClaimStatus(name="made", resource_claim_name="here-made"),
        core_v1.PodResourceClaimStatus(name="unknown", resource_claim_name="anybodys"),
    ]
    extended = core_v1.PodExtendedResourceClaimStatus(resource_claim_name="here-extended")
    here.status.extended_resource_claim_status = extended
    return here


def mirror_pod() -> core_v1.Pod:
    mirror = pod("mirror", nodeName="one", volumes=[volume("stolen")])
    mirror.metadata.annotations[MIRROR] = "x"
    return mirror


def volume(secret: str) -> dict[str, Any]:
    return {"name": "s", "secret": {"secretName": secret}}


def claim(name: str, bound: str = "", namespace: str = "default") -> core_v1.PersistentVolumeClaim:
    made = core_v1.PersistentVolumeClaim(metadata=ObjectMeta(name=name, namespace=namespace))
    made.spec.volume_name = bound
    return made


def persistent_volume(
    name: str, claim: str = "", **source: dict[str, Any]
) -> core_v1.PersistentVolume:
    spec: dict[str, Any] = dict(source)
    if claim:
        spec["claimRef"] = {"namespace": "default", "name": claim}
    spec = from_builtins(spec, core_v1.PersistentVolumeSpec)
    return core_v1.PersistentVolume(metadata=ObjectMeta(name=name), spec=spec)


def attachment(name: str, node: str) -> storage_v1.VolumeAttachment:
    spec = storage_v1.VolumeAttachmentSpec(attacher="d", node_name=node)
    return storage_v1.VolumeAttachment(metadata=ObjectMeta(name=name), spec=spec)


def resource_slice(name: str, node: str) -> resource_v1.ResourceSlice:
    spec = resource_v1.ResourceSliceSpec(driver="d", node_name=node)
    return resource_v1.ResourceSlice(metadata=ObjectMeta(name=name), spec=spec)


@pytest.fixture
def store() -> Store:
    return stored(
        the_pod_of_one(),
        mirror_pod(),
        pod("there", nodeName="two", volumes=[volume("twos")]),
        pod("unbound", volumes=[volume("nobodys")]),
        pod("elsewhere", namespace="other", nodeName="one", volumes=[volume("others")]),
        persistent_volume("data-volume", "data"),
        persistent_volume("twos-volume", "twos"),
        persistent_volume("free-volume"),
        attachment("ones", "one"),
        attachment("twos", "two"),
        resource_slice("ones", "one"),
        resource_slice("twos", "two"),
    )


def may(store: Store, question: str, user: User = ONE) -> bool:
    """`question`: verb, resource[.group][/subresource], [namespace/]name or -, field selector."""
    verb, what, *rest = question.split()
    resource, _, subresource = what.partition("/")
    plural, _, group = resource.partition(".")
    named, *fields = [*rest, ""] if rest else ["-", ""]
    namespace, _, name = named.rpartition("/")
    asked = Asked(
        verb,
        group,
        plural,
        subresource,
        namespace,
        "" if name == "-" else name,
        fields=fields[0],
    )
    return NodeAuthorizer(store, RULES).allows(user, asked)


ALLOWED = """
get secrets default/pull
get secrets default/env
list secrets default/mounted
watch secrets default/mounted
get secrets default/inline-csi
get secrets other/others
get configmaps default/env
get configmaps default/mounted
get persistentvolumeclaims default/data
get persistentvolumeclaims default/here-scratch
update persistentvolumeclaims/status default/data
patch persistentvolumeclaims/status default/data
get persistentvolumes data-volume
get serviceaccounts default/account
create serviceaccounts/token default/account
get resourceclaims.resource.k8s.io default/gpu
get resourceclaims.resource.k8s.io default/here-made
get resourceclaims.resource.k8s.io default/here-extended
get nodes one
list nodes one
create nodes -
update nodes one
patch nodes/status one
get pods default/here
list pods - spec.nodeName=one
watch pods - spec.nodeName=one
create pods default/-
delete pods default/there
update pods/status default/there
create pods/eviction default/there
get leases.coordination.k8s.io kube-node-lease/one
create leases.coordination.k8s.io kube-node-lease/-
get csinodes.storage.k8s.io one
create csinodes.storage.k8s.io -
get volumeattachments.storage.k8s.io ones
get resourceslices.resource.k8s.io ones
create resourceslices.resource.k8s.io -
deletecollection resourceslices.resource.k8s.io - spec.nodeName=one
list services -
list runtimeclasses.node.k8s.io -
"""
REFUSED = """
get secrets default/account
get secrets default/twos
get secrets default/nobodys
get secrets default/stolen
get secrets default/others
get secrets other/mounted
get secrets -
list secrets default/-
list secrets -
update secrets default/mounted
get secrets/status default/mounted
get secrets.example.com default/mounted
get configmaps default/pull
delete configmaps default/mounted
get configmaps/status default/mounted
list persistentvolumeclaims default/data
update persistentvolumeclaims default/data
get persistentvolumeclaims/status default/data
update persistentvolumeclaims/status default/other
get persistentvolumes twos-volume
get persistentvolumes free-volume
get persistentvolumes missing
list persistentvolumes -
get persistentvolumes/status data-volume
list serviceaccounts default/account
create serviceaccounts default/account
get serviceaccounts/token default/account
create serviceaccounts/token default/other
create serviceaccounts/token other/account
get resourceclaims.resource.k8s.io default/here-unmade
get resourceclaims.resource.k8s.io default/anybodys
update resourceclaims.resource.k8s.io default/gpu
get resourceclaims.resource.k8s.io/status default/gpu
get resourceclaims default/gpu
get nodes two
list nodes -
delete nodes one
update nodes two
patch nodes/status two
get nodes/status one
get nodes/proxy one
get pods default/there
get pods default/unbound
get pods default/missing
list pods -
list pods - spec.nodeName=two
list pods - spec.nodeName!=one
get pods - spec.nodeName=one
update pods default/here
get pods/status default/here
get pods/exec default/here
create pods/binding default/here
get leases.coordination.k8s.io kube-node-lease/two
get leases.coordination.k8s.io default/one
list leases.coordination.k8s.io kube-node-lease/one
create leases.coordination.k8s.io default/-
get csinodes.storage.k8s.io two
list csinodes.storage.k8s.io -
get csinodes.storage.k8s.io/status one
get volumeattachments.storage.k8s.io twos
get volumeattachments.storage.k8s.io missing
list volumeattachments.storage.k8s.io ones
get volumeattachments.storage.k8s.io/status ones
get resourceslices.resource.k8s.io twos
get resourceslices.resource.k8s.io missing
list resourceslices.resource.k8s.io -
list resourceslices.resource.k8s.io - spec.nodeName=two
approve resourceslices.resource.k8s.io ones
get resourceslices.resource.k8s.io/status ones
get services -
list services/status -
"""


def rows(table: str) -> list[str]:
    return table.strip().splitlines()


def test_a_node_may_not(store: Store) -> None:
    assert [question for question in rows(REFUSED) if may(store, question)] == []


def test_a_node_may(store: Store) -> None:
    assert [question for question in rows(ALLOWED) if not may(store, question)] == []


@pytest.mark.parametrize(
    ("name", "groups", "node"),
    [
        ("system:node:one", ("system:nodes",), "one"),
        ("system:node:one", ("system:authenticated",), ""),
        ("one", ("system:nodes",), ""),
        ("system:node:", ("system:nodes",), ""),
    ],
)
def test_who_is_a_node(store: Store, name: str, groups: tuple[str, ...], node: str) -> None:
    user = User(name, groups)
    assert node_of(user) == node
    assert may(store, "list services", user) == bool(node)


def test_a_node_gets_no_paths_from_here(store: Store) -> None:
    everything = rbac_v1.PolicyRule(["*"], ["*"], ["*"], non_resource_urls=["*"])
    authorizer = NodeAuthorizer(store, [everything])
    assert not authorizer.allows(ONE, Asked("get", path="/metrics"))


def test_what_a_role_says_of_secrets_does_not_count(store: Store) -> None:
    everything = rbac_v1.PolicyRule(["*"], [""], ["services", "secrets", "secrets/x", "pods/exec"])
    authorizer = NodeAuthorizer(store, [everything])
    assert authorizer.allows(ONE, Asked("delete", "", "services", name="a"))
    assert not authorizer.allows(ONE, Asked("get", "", "secrets", "", "default", "twos"))
    assert not authorizer.allows(ONE, Asked("create", "", "pods", "exec", "default", "there"))


# --- secrets of volumes ---


def reference(name: str, namespace: str = "") -> dict[str, str]:
    return {"name": name, "namespace": namespace} if namespace else {"name": name}


@pytest.mark.parametrize(
    ("source", "allowed", "refused"),
    [
        (
            {
                "csi": {
                    "nodePublishSecretRef": reference("publish", "storage"),
                    "nodeStageSecretRef": reference("stage", "storage"),
                    "nodeExpandSecretRef": reference("expand", "storage"),
                    "controllerPublishSecretRef": reference("controller", "storage"),
                    "controllerExpandSecretRef": reference("controller-expand", "storage"),
                }
            },
            ["storage/publish", "storage/stage", "storage/expand"],
            ["storage/controller", "storage/controller-expand", "default/publish"],
        ),
        ({"iscsi": {"secretRef": reference("s")}}, ["default/s"], ["other/s"]),
        ({"iscsi": {"secretRef": reference("s", "a")}}, ["a/s"], ["default/s"]),
        ({"rbd": {"secretRef": reference("s")}}, ["default/s"], []),
        ({"cephfs": {"secretRef": reference("s", "a")}}, ["a/s"], ["default/s"]),
        ({"scaleIO": {"secretRef": reference("s", "a")}}, ["a/s"], ["default/s"]),
        ({"flexVolume": {"secretRef": reference("s")}}, ["default/s"], []),
        ({"cinder": {"secretRef": reference("s", "a")}}, ["a/s"], ["default/s"]),
        ({"cinder": {"secretRef": reference("s")}}, [], ["default/s"]),
        ({"storageos": {"secretRef": reference("s", "a")}}, ["a/s"], ["default/s"]),
        ({"azureFile": {"secretName": "s"}}, ["default/s"], []),
        ({"azureFile": {"secretName": "s", "secretNamespace": "a"}}, ["a/s"], ["default/s"]),
        ({"hostPath": {"path": "/s"}}, [], ["default/s"]),
    ],
)
def test_a_node_reads_the_secrets_of_its_pods_volumes(
    store: Store, source: dict[str, Any], allowed: list[str], refused: list[str]
) -> None:
    write(store, claim("data", "v"), persistent_volume("v", "data", **source))
    for name in allowed:
        assert may(store, f"get secrets {name}"), name
        assert may(store, f"watch secrets {name}"), name
        assert not may(store, f"update secrets {name}"), name
    for name in refused:
        assert not may(store, f"get secrets {name}"), name


SECRET_OF_CSI: dict[str, Any] = {"csi": {"nodeStageSecretRef": reference("stage", "storage")}}


@pytest.mark.parametrize(
    ("claimed", "volume_claim"),
    [
        (claim("data"), "data"),  # not bound
        (claim("data", "v"), "other"),  # a claim of anybody's says that it has the volume
        (claim("data", "v"), ""),
        (claim("data", "w"), "data"),  # another volume
        (claim("twos", "v"), "twos"),  # no pod of the node uses it
        (claim("data", "v", namespace="other"), "data"),
    ],
)
def test_a_volume_that_is_not_of_the_nodes_pods_opens_nothing(
    store: Store, claimed: core_v1.PersistentVolumeClaim, volume_claim: str
) -> None:
    write(store, claimed, persistent_volume("v", volume_claim, **SECRET_OF_CSI))
    assert not may(store, "get secrets storage/stage")


def test_an_ephemeral_volumes_secrets_are_read(store: Store) -> None:
    write(store, claim("here-scratch", "v"))
    write(store, persistent_volume("v", "here-scratch", **SECRET_OF_CSI))
    assert may(store, "get secrets storage/stage")


def test_a_mirror_pods_claim_opens_no_secrets() -> None:
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]
    mirror = pod("mirror", nodeName="one", volumes=volumes)
    mirror.metadata.annotations[MIRROR] = "x"
    store = stored(mirror, claim("data", "v"), persistent_volume("v", "data", **SECRET_OF_CSI))
    assert not may(store, "get secrets storage/stage")
