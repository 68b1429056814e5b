"""NodeRestriction: what a node may write when its object is looked at. Each refusal in upstream's
words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.apiserver.access.builders import stored
from tests.apiserver.admission.builders import registry_of
from tests.builders import node, pod
from tiphys.api import authentication_v1, coordination_v1, core_v1, resource_v1, storage_v1
from tiphys.api.base import from_builtins
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import Object, ObjectMeta, OwnerReference
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.admission import Attributes
from tiphys.apiserver.admission.noderestriction import NodeRestriction
from tiphys.apiserver.http.request import User
from tiphys.machinery.errors import StatusError
from tiphys.machinery.podrefs import MIRROR
from tiphys.store.store import Store

ONE = User("system:node:one", ("system:nodes",))


def pod_of(name: str, bound: str) -> core_v1.Pod:
    made = pod(name, nodeName=bound)
    made.metadata.uid = f"{name}-uid"
    return made


def own_node() -> core_v1.Node:
    made = node("one")
    made.metadata.uid = "one-uid"
    return made


def store() -> Store:
    claims = {"name": "d", "persistentVolumeClaim": {"claimName": "c"}}
    token = {"sources": [{"serviceAccountToken": {"audience": "vault", "path": "t"}}]}
    asking = pod("asking", nodeName="one", volumes=[claims, {"name": "t", "projected": token}])
    asking.metadata.uid = "asking-uid"
    claim = core_v1.PersistentVolumeClaim(metadata=ObjectMeta(name="c", namespace="default"))
    claim.spec.volume_name = "v"
    volume = core_v1.PersistentVolume(metadata=ObjectMeta(name="v"))
    volume.spec.csi = core_v1.CSIPersistentVolumeSource(driver="d.example.com")
    driver = storage_v1.CSIDriver(metadata=ObjectMeta(name="d.example.com"))
    driver.spec.token_requests = [storage_v1.TokenRequest(audience="bank")]
    others = [asking, claim, volume, driver]
    return stored(own_node(), pod_of("here", "one"), pod_of("there", "two"), *others)


async def answer(operation: str, obj: Object | None, old: Object | None = None, **more: Any) -> str:
    """What the plugin says to the write of an object; empty when it lets it pass."""
    held = store()

    registry = registry_of(held)
    plugin = NodeRestriction(lambda: registry, lambda: Authorizer(held))
    seen: Any = obj if obj is not None else old
    resource = more.pop("resource", None) or resource_of(type(seen))
    name = more.pop("name", seen.metadata.name)
    user = more.pop("user", ONE)
    attributes = Attributes(
        resource, operation, seen.metadata.namespace, name, obj, old, user, **more
    )
    try:
        await plugin.validate(attributes)
    except StatusError as error:
        assert error.code in (403, 404)
        return str(error).partition(" is forbidden: ")[2] or str(error)
    return ""


# --- mirror pods ---


def mirror(change: Callable[[core_v1.Pod], object] = lambda made: None) -> core_v1.Pod:
    made = pod("m", nodeName="one")
    made.metadata.annotations[MIRROR] = "hash"
    made.metadata.owner_references = [
        OwnerReference(api_version="v1", kind="Node", name="one", uid="one-uid", controller=True)
    ]
    change(made)
    return made


def owned_by(**fields: Any) -> Callable[[core_v1.Pod], None]:
    def change(made: core_v1.Pod) -> None:
        for name, value in fields.items():
            setattr(made.metadata.owner_references[0], name, value)

    return change


def with_spec(**fields: Any) -> Callable[[core_v1.Pod], None]:
    def change(made: core_v1.Pod) -> None:
        made.spec = pod("m", nodeName="one", **fields).spec

    return change


NOT_ITSELF = 'node "one" can only create pods with an owner reference set to itself'
CLAIM = {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
TOKEN = {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}
REFERENCES = 'node "one" can not create pods that reference '


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda made: None, ""),
        (
            lambda made: made.metadata.annotations.clear(),
            f'pod does not have "{MIRROR}" annotation, node "one" can only create mirror pods',
        ),
        (
            lambda made: setattr(made.spec, "node_name", "two"),
            'node "one" can only create pods with spec.nodeName set to itself',
        ),
        (lambda made: made.metadata.owner_references.clear(), NOT_ITSELF),
        (
            lambda made: made.metadata.owner_references.append(OwnerReference(name="x")),
            'node "one" can only create pods with a single owner reference set to itself',
        ),
        (owned_by(api_version="v2"), NOT_ITSELF),
        (owned_by(kind="Pod"), NOT_ITSELF),
        (owned_by(name="two"), NOT_ITSELF),
        (owned_by(uid="other-uid"), NOT_ITSELF),
        (
            owned_by(controller=False),
            'node "one" can only create pods with a controller owner reference set to itself',
        ),
        (
            owned_by(block_owner_deletion=True),
            'node "one" must not set blockOwnerDeletion on an owner reference',
        ),
        (with_spec(serviceAccountName="a"), f"{REFERENCES}serviceaccounts"),
        (with_spec(imagePullSecrets=[{"name": "s"}]), f"{REFERENCES}secrets"),
        (with_spec(volumes=[CLAIM]), f"{REFERENCES}persistentvolumeclaims"),
        (with_spec(volumes=[TOKEN]), f"{REFERENCES}serviceaccounts (via projected volumes)"),
        (
            with_spec(resourceClaims=[{"name": "g", "resourceClaimName": "g"}]),
            f"{REFERENCES}resourceclaims",
        ),
    ],
)
async def test_which_pods_a_node_creates(
    change: Callable[[core_v1.Pod], object], refusal: str
) -> None:
    assert await answer("CREATE", mirror(change)) == refusal


# --- pods ---


def with_status(**status: Any) -> core_v1.Pod:
    made = pod_of("here", "one")
    made.status = from_builtins(status, core_v1.PodStatus)
    return made


def labelled() -> core_v1.Pod:
    made = pod_of("here", "one")
    made.metadata.labels = {"a": "b"}
    return made


@pytest.mark.parametrize(
    ("obj", "old", "refusal"),
    [
        (with_status(phase="Running"), pod_of("here", "one"), ""),
        (
            pod_of("there", "two"),
            pod_of("there", "two"),
            'node "one" can only update pod status for pods with spec.nodeName set to itself',
        ),
        (
            labelled(),
            pod_of("here", "one"),
            'node "one" cannot update labels through pod status',
        ),
        (
            with_status(resourceClaimStatuses=[{"name": "g", "resourceClaimName": "x"}]),
            pod_of("here", "one"),
            'node "one" cannot update resource claim statues',
        ),
        (
            with_status(extendedResourceClaimStatus={"resourceClaimName": "x"}),
            pod_of("here", "one"),
            'node "one" cannot update extended resource claim status',
        ),
    ],
)
async def test_what_a_node_says_of_pods(obj: core_v1.Pod, old: core_v1.Pod, refusal: str) -> None:
    assert await answer("UPDATE", obj, old, subresource="status") == refusal


@pytest.mark.parametrize(
    ("name", "bound", "refusal"),
    [
        ("here", "one", ""),
        ("there", "two", 'node "one" can only delete pods with spec.nodeName set to itself'),
    ],
)
async def test_which_pods_a_node_deletes(name: str, bound: str, refusal: str) -> None:
    assert await answer("DELETE", None, pod_of(name, bound)) == refusal


async def test_what_else_a_node_does_to_pods() -> None:
    here = pod_of("here", "one")
    assert await answer("UPDATE", here, here) == (
        'unexpected operation "UPDATE", node "one" can only create and delete mirror pods'
    )
    assert await answer("CREATE", here, subresource="binding") == (
        "unexpected pod subresource \"binding\", only 'status' and 'eviction' are allowed"
    )
    assert await answer("CREATE", here, subresource="eviction") == ""
    assert await answer("CREATE", pod_of("there", "two"), subresource="eviction") == (
        "node one can only evict pods with spec.nodeName set to itself"
    )


# --- its own objects ---


def changed(change: Callable[[core_v1.Node], object]) -> core_v1.Node:
    made = own_node()
    change(made)
    return made


def label(key: str) -> Callable[[core_v1.Node], object]:
    return lambda made: made.metadata.labels.update({key: "x"})


def owner(made: core_v1.Node) -> None:
    made.metadata.owner_references = [OwnerReference(name="x")]


def taint(made: core_v1.Node) -> None:
    made.spec.taints = [core_v1.Taint(key="a", effect="NoSchedule")]


def configured(made: core_v1.Node) -> None:
    made.spec.config_source = core_v1.NodeConfigSource()


MODIFY = 'node "one" is not allowed to modify '


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (label("mine"), ""),
        (label("example.com/x"), ""),
        (label("kubelet.kubernetes.io/x"), ""),
        (label("a.node.kubernetes.io/x"), ""),
        (label("topology.kubernetes.io/zone"), ""),
        (label("notkubernetes.io/x"), ""),
        (label("kubernetes.io/x"), f"{MODIFY}labels: kubernetes.io/x"),
        (label("a.k8s.io/x"), f"{MODIFY}labels: a.k8s.io/x"),
        (label("notnode.kubernetes.io/x"), f"{MODIFY}labels: notnode.kubernetes.io/x"),
        (
            label("a.node-restriction.kubernetes.io/x"),
            f"{MODIFY}labels: a.node-restriction.kubernetes.io/x",
        ),
        (taint, f"{MODIFY}taints"),
        (owner, f"{MODIFY}ownerReferences"),
        (
            configured,
            'node "one" is not allowed to update configSource to a new non-nil configSource',
        ),
    ],
)
async def test_what_a_node_changes_of_itself(
    change: Callable[[core_v1.Node], object], refusal: str
) -> None:
    assert await answer("UPDATE", changed(change), own_node()) == refusal


async def test_what_a_node_takes_away_counts_as_a_change() -> None:
    restricted = changed(label("node-restriction.kubernetes.io/x"))
    assert await answer("UPDATE", own_node(), restricted) == (
        f"{MODIFY}labels: node-restriction.kubernetes.io/x"
    )
    assert await answer("UPDATE", restricted, restricted) == ""


async def test_how_a_node_registers() -> None:
    assert await answer("CREATE", own_node()) == ""
    assert await answer("CREATE", changed(taint)) == ""
    assert await answer("CREATE", node("two")) == f'{MODIFY}node "two"'
    assert await answer("CREATE", changed(configured)) == (
        'node "one" is not allowed to create pods with a non-nil configSource'
    )
    assert await answer("CREATE", changed(label("kubernetes.io/x"))) == (
        'node "one" is not allowed to set the following labels: kubernetes.io/x'
    )


def lease(name: str, namespace: str = "kube-node-lease") -> coordination_v1.Lease:
    return coordination_v1.Lease(metadata=ObjectMeta(name=name, namespace=namespace))


def resource_slice(of: str) -> resource_v1.ResourceSlice:
    spec = resource_v1.ResourceSliceSpec(driver="d", node_name=of)
    return resource_v1.ResourceSlice(metadata=ObjectMeta(name="s"), spec=spec)


async def test_which_objects_are_a_nodes_own() -> None:
    assert await answer("CREATE", lease("one")) == ""
    assert "with the same name as the requesting node" in await answer("CREATE", lease("two"))
    assert await answer("CREATE", lease("one", "default")) == (
        'can only access leases in the "kube-node-lease" system namespace'
    )
    assert await answer("CREATE", storage_v1.CSINode(metadata=ObjectMeta(name="one"))) == ""
    assert await answer("CREATE", storage_v1.CSINode(metadata=ObjectMeta(name="two"))) == (
        "can only access CSINode with the same name as the requesting node"
    )
    same = "ResourceSlice with the same NodeName as the requesting node"
    assert await answer("CREATE", resource_slice("one")) == ""
    assert await answer("CREATE", resource_slice("two")) == f"can only create {same}"
    assert await answer("DELETE", None, resource_slice("one")) == ""
    assert await answer("DELETE", None, resource_slice("two")) == f"can only delete {same}"


async def test_who_is_not_a_node_passes() -> None:
    two = node("two")
    assert await answer("CREATE", two, user=User("system:node:one")) == ""
    assert await answer("CREATE", two, user=User("jane", ("devs",))) == ""
    assert await answer("CREATE", two, user=User("jane", ("system:nodes",))) == (
        'could not determine node from user "jane"'
    )


# --- claims and tokens ---


async def test_what_a_node_changes_of_claims() -> None:
    claim = core_v1.PersistentVolumeClaim(metadata=ObjectMeta(name="c", namespace="default"))
    resized = core_v1.PersistentVolumeClaim(metadata=ObjectMeta(name="c", namespace="default"))
    resized.status.capacity = from_builtins({"storage": "2Gi"}, dict[str, Any])
    moved = core_v1.PersistentVolumeClaim(metadata=ObjectMeta(name="c", namespace="default"))
    moved.status.phase = "Lost"
    assert await answer("UPDATE", resized, claim, subresource="status") == ""
    assert "other than status.quantity and status.conditions" in await answer(
        "UPDATE", moved, claim, subresource="status"
    )
    assert await answer("UPDATE", resized, claim) == "may only update PVC status"


def token_request(name: str, uid: str, *audiences: str) -> authentication_v1.TokenRequest:
    made = authentication_v1.TokenRequest(metadata=ObjectMeta(name="default", namespace="default"))
    made.spec.audiences = list(audiences)
    made.spec.bound_object_ref = authentication_v1.BoundObjectReference(
        api_version="v1", kind="Pod", name=name, uid=uid
    )
    return made


@pytest.mark.parametrize(
    ("request_", "refusal"),
    [
        (token_request("asking", "asking-uid", "vault"), ""),
        (token_request("asking", "asking-uid", "bank"), ""),
        (token_request("asking", "asking-uid", "church"), 'audience "church" not found in'),
        (token_request("asking", "asking-uid", "vault", "bank"), "only request 0 or 1 audiences"),
        (token_request("here", "here-uid", "vault"), "not authorized to request tokens for this"),
        (token_request("there", "there-uid"), "bound to a pod scheduled on a different node"),
        (token_request("here", "other-uid"), "does not match the UID in record"),
        (token_request("here", ""), "a pod binding without a uid"),
        (token_request("", "here-uid"), "not bound to a pod"),
        (token_request("gone", "gone-uid"), 'pods "gone" not found'),
    ],
)
async def test_which_tokens_a_node_gets(
    request_: authentication_v1.TokenRequest, refusal: str
) -> None:
    accounts = resource_of(core_v1.ServiceAccount)
    said = await answer("CREATE", request_, resource=accounts, subresource="token")
    assert refusal in said and bool(said) == bool(refusal)
