"""NodeRestriction: a node changes its own Node, Lease, CSINode and ResourceSlices and the pods
bound to it, nothing of its neighbours'.

The node authorizer lets through what only the object can decide; here the object is checked.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tiphys.api import core_v1
from tiphys.api.base import decode
from tiphys.api.catalog import BY_PATH
from tiphys.apiserver.access.asked import Asked
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.access.nodeauthorizer import GROUP, LEASES, PREFIX, node_of
from tiphys.apiserver.admission import Attributes, Base
from tiphys.apiserver.resources.certificatesigningrequests import common_name, parse_request
from tiphys.machinery import errors
from tiphys.machinery.podrefs import MIRROR, first_reference

_PODS = BY_PATH["", "v1", "pods"]
_RESTRICTED = "node-restriction.kubernetes.io"
_KUBELET = frozenset(
    (
        "kubernetes.io/hostname",
        "kubernetes.io/arch",
        "kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
    )
)
_KUBELET_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
_SIGNERS = frozenset(
    ("kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet")
)
# The verb of the right to a token for an audience, which is the resource.
_REQUEST_AUDIENCE = "request-serviceaccounts-token-audience"
_TO_ITSELF = "spec.nodeName set to itself"


class NodeRestriction(Base):
    resources = frozenset(
        (
            "nodes",
            "pods",
            "persistentvolumeclaims",
            "serviceaccounts",
            "leases.coordination.k8s.io",
            "csinodes.storage.k8s.io",
            "resourceslices.resource.k8s.io",
            "certificatesigningrequests.certificates.k8s.io",
        )
    )

    def __init__(self, registry: Callable[[], Any], authorizer: Callable[[], Authorizer]) -> None:
        self._registry = registry
        self._authorizer = authorizer

    async def validate(self, a: Attributes) -> None:
        if GROUP not in a.user.groups or a.operation == "CONNECT":
            return
        node = node_of(a.user)
        if not node:
            raise _refused(a, f'could not determine node from user "{a.user.name}"')
        match a.resource.plural, a.subresource:
            case "pods", subresource:
                self._pods(a, node, subresource)
            case "nodes", _:
                _own_node(a, node)
            case "persistentvolumeclaims", _:
                _claim(a, node)
            case "serviceaccounts", "token":
                self._token(a, node)
            case "leases", _:
                _lease(a, node)
            case "csinodes", _:
                if a.name != node:
                    same = "the same name as the requesting node"
                    raise _refused(a, f"can only access CSINode with {same}")
            case "certificatesigningrequests", "":
                _signing_request(a, node)
            case "resourceslices", _:
                _slice(a, node)

    def _pods(self, a: Attributes, node: str, subresource: str) -> None:
        if subresource == "":
            self._pod(a, node)
        elif subresource == "status":
            self._pod_status(a, node)
        elif subresource == "eviction":
            if self._pod_named(a).spec.node_name != node:
                raise _refused(a, f"node {node} can only evict pods with {_TO_ITSELF}")
        else:
            raise _refused(
                a,
                f'unexpected pod subresource "{subresource}", '
                "only 'status' and 'eviction' are allowed",
            )

    def _pod_named(self, a: Attributes) -> core_v1.Pod:
        return decode(self._registry().entry(_PODS, a.namespace, a.name).data, core_v1.Pod)

    # --- pods ---

    def _pod(self, a: Attributes, node: str) -> None:
        if a.operation == "DELETE":
            if a.old.spec.node_name != node:
                raise _refused(a, f'node "{node}" can only delete pods with {_TO_ITSELF}')
        elif a.operation == "CREATE":
            self._mirror(a, node)
        else:
            raise _refused(
                a,
                f'unexpected operation "{a.operation}", '
                f'node "{node}" can only create and delete mirror pods',
            )

    def _mirror(self, a: Attributes, node: str) -> None:
        """A node creates pods that show what it runs by itself: bound to it, owned by it, and
        without references, which would open what they name to the node."""
        pod = a.obj
        only = f'node "{node}" can only create'
        if MIRROR not in pod.metadata.annotations:
            raise _refused(a, f'pod does not have "{MIRROR}" annotation, {only} mirror pods')
        if pod.spec.node_name != node:
            raise _refused(a, f"{only} pods with {_TO_ITSELF}")
        owners = pod.metadata.owner_references
        if len(owners) != 1:
            which = "a single owner reference" if owners else "an owner reference"
            raise _refused(a, f"{only} pods with {which} set to itself")
        owner = owners[0]
        not_itself = f"{only} pods with an owner reference set to itself"
        if (owner.api_version, owner.kind, owner.name) != ("v1", "Node", node):
            raise _refused(a, not_itself)
        if not owner.controller:
            raise _refused(a, f"{only} pods with a controller owner reference set to itself")
        if owner.block_owner_deletion:
            raise _refused(
                a, f'node "{node}" must not set blockOwnerDeletion on an owner reference'
            )
        owning_node = self._registry().lookup("nodes", "", node)
        if owning_node is None or owning_node.metadata.uid != owner.uid:
            raise _refused(a, not_itself)
        if noun := first_reference(pod):
            raise _refused(a, f'node "{node}" can not create pods that reference {noun}')

    @staticmethod
    def _pod_status(a: Attributes, node: str) -> None:
        if a.operation != "UPDATE":
            raise _refused(a, f'unexpected operation "{a.operation}"')
        if a.old.spec.node_name != node:
            raise _refused(
                a, f'node "{node}" can only update pod status for pods with {_TO_ITSELF}'
            )
        if a.old.metadata.labels != a.obj.metadata.labels:
            raise _refused(a, f'node "{node}" cannot update labels through pod status')
        old = a.old.status
        new = a.obj.status
        # A node may read the claims that the status of its pods names.
        if old.resource_claim_statuses != new.resource_claim_statuses:
            raise _refused(a, f'node "{node}" cannot update resource claim statues')
        if old.extended_resource_claim_status != new.extended_resource_claim_status:
            raise _refused(a, f'node "{node}" cannot update extended resource claim status')

    # --- tokens ---

    def _token(self, a: Attributes, node: str) -> None:
        """A node gets tokens for its pods alone, for the audiences that the pods ask for."""
        spec = a.obj.spec
        ref = spec.bound_object_ref
        if ref is None or (ref.api_version, ref.kind) != ("v1", "Pod") or not ref.name:
            raise _refused(a, "node requested token not bound to a pod")
        if not ref.uid:
            raise _refused(a, "node requested token with a pod binding without a uid")
        pod = self._registry().lookup("pods", a.namespace, ref.name)
        if pod is None:
            raise errors.not_found("pods", ref.name)
        if pod.metadata.uid != ref.uid:
            raise _refused(
                a,
                f"the UID in the bound object reference ({ref.uid}) does not match the UID in "
                "record. The object might have been deleted and then recreated",
            )
        if pod.spec.node_name != node:
            raise _refused(a, "node requested token bound to a pod scheduled on a different node")
        if len(spec.audiences) > 1:
            raise _refused(a, "node may only request 0 or 1 audiences")
        audience = spec.audiences[0] if spec.audiences else ""
        if audience in self._audiences(pod):
            return
        asked = Asked(_REQUEST_AUDIENCE, "", audience, "", a.namespace, a.name, version="v1")
        if not self._authorizer().authorize(a.user, asked)[0]:
            raise _refused(
                a,
                f'audience "{audience}" not found in pod spec volume, '
                f"{a.user.name} is not authorized to request tokens for this audience",
            )

    def _audiences(self, pod: core_v1.Pod) -> set[str]:
        """The audiences of the tokens that a pod's volumes hold, those which CSI drivers get for it
        among them."""
        audiences = set[str]()
        for volume in pod.spec.volumes:
            for source in volume.projected.sources if volume.projected is not None else ():
                if source.service_account_token is not None:
                    audiences.add(source.service_account_token.audience)
            driver_name = self._driver(pod, volume)
            driver = self._registry().lookup("csidrivers", "", driver_name, "storage.k8s.io")
            if driver is not None:
                audiences.update(request.audience for request in driver.spec.token_requests)
        return audiences

    def _driver(self, pod: core_v1.Pod, volume: core_v1.Volume) -> str:
        """The CSI driver behind a volume: its own, or that of the claim it names. Empty when there
        is none."""
        if volume.csi is not None:
            return volume.csi.driver
        claim_name = ""
        if volume.ephemeral is not None:
            claim_name = f"{pod.metadata.name}-{volume.name}"
        elif volume.persistent_volume_claim is not None:
            claim_name = volume.persistent_volume_claim.claim_name
        if not claim_name:
            return ""
        lookup = self._registry().lookup
        claim = lookup("persistentvolumeclaims", pod.metadata.namespace, claim_name)
        if claim is None:
            return ""
        bound = lookup("persistentvolumes", "", claim.spec.volume_name)
        if bound is None or bound.spec.csi is None:
            return ""
        return str(bound.spec.csi.driver)


def _own_node(a: Attributes, node: str) -> None:
    name = a.name or a.obj.metadata.name
    if name != node:
        raise _refused(a, f'node "{node}" is not allowed to modify node "{name}"')
    if a.obj is None:
        return
    not_allowed = f'node "{node}" is not allowed to'
    source = a.obj.spec.config_source
    if source is not None and a.old is None:
        # Upstream's message is about pods.
        raise _refused(a, f"{not_allowed} create pods with a non-nil configSource")
    if source is not None and source != a.old.spec.config_source:
        raise _refused(a, f"{not_allowed} update configSource to a new non-nil configSource")
    labels = a.obj.metadata.labels
    old_labels = a.old.metadata.labels if a.old is not None else {}
    changed = [key for key in {*labels, *old_labels} if labels.get(key) != old_labels.get(key)]
    forbidden = ", ".join(sorted(key for key in changed if _is_forbidden(key)))
    if a.old is None:
        if forbidden:
            raise _refused(a, f"{not_allowed} set the following labels: {forbidden}")
        return
    if forbidden:
        raise _refused(a, f"{not_allowed} modify labels: {forbidden}")
    if a.obj.spec.taints != a.old.spec.taints:
        raise _refused(a, f"{not_allowed} modify taints")
    if a.obj.metadata.owner_references != a.old.metadata.owner_references:
        raise _refused(a, f"{not_allowed} modify ownerReferences")


def _lease(a: Attributes, node: str) -> None:
    if a.namespace != LEASES:
        raise _refused(a, f'can only access leases in the "{LEASES}" system namespace')
    if a.name != node:
        raise _refused(a, "can only access node lease with the same name as the requesting node")


def _slice(a: Attributes, node: str) -> None:
    """The authorizer has checked the object that is updated."""
    if a.operation not in ("CREATE", "DELETE"):
        return
    resource_slice = a.old if a.operation == "DELETE" else a.obj
    if resource_slice is None or resource_slice.spec.node_name != node:
        verb = a.operation.lower()
        same = "the same NodeName as the requesting node"
        raise _refused(a, f"can only {verb} ResourceSlice with {same}")


def _is_forbidden(label: str) -> bool:
    """Whether a label is not a node's own to set: restricted, or of Kubernetes and not known to be
    the kubelet's."""
    domain = label.partition("/")[0] if "/" in label else ""

    def under(*names: str) -> bool:
        return any(domain == name or domain.endswith("." + name) for name in names)

    if under(_RESTRICTED):
        return True
    return (
        under("kubernetes.io", "k8s.io") and label not in _KUBELET and not under(*_KUBELET_DOMAINS)
    )


def _claim(a: Attributes, node: str) -> None:
    """A node that has resized a volume writes that into the status, and nothing else."""
    if (a.operation, a.subresource) != ("UPDATE", "status"):
        raise _refused(a, "may only update PVC status")
    if _unresized(a.old) != _unresized(a.obj):
        raise _refused(
            a,
            f'node "{node}" is not allowed to update fields other than '
            "status.quantity and status.conditions",
        )


def _unresized(claim: core_v1.PersistentVolumeClaim) -> core_v1.PersistentVolumeClaim:
    """A claim without what a node may write: relabelled, owned or held by finalizers it is another
    claim."""
    kept = copy.deepcopy(claim)
    kept.metadata.resource_version = ""
    kept.metadata.managed_fields = []
    kept.status.capacity = {}
    kept.status.conditions = []
    kept.status.allocated_resources = {}
    kept.status.allocated_resource_statuses = {}
    return kept


def _signing_request(a: Attributes, node: str) -> None:
    """A node asks for certificates of its own name alone."""
    if a.operation != "CREATE" or a.obj.spec.signer_name not in _SIGNERS:
        return
    request = parse_request(a.obj.spec.request)
    if request is None:
        raise _refused(a, "unable to parse csr: PEM block type must be CERTIFICATE REQUEST")
    if common_name(request) != PREFIX + node:
        raise _refused(a, f"can only create a node CSR with CN={PREFIX}{node}")


def _refused(a: Attributes, message: str) -> errors.StatusError:
    obj = a.obj if a.obj is not None else a.old
    return errors.forbidden(a.resource.group_resource, a.name or obj.metadata.name, message)
