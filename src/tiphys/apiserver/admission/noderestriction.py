"""NodeRestriction: a node changes its own Node, Lease, CSINode and ResourceSlices and the pods bound to it, nothing of its neighbours'.

The node authorizer lets through what only the object can decide; here the object is looked at.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tiphys.api import core_v1
from tiphys.api.base import decode
from tiphys.api.catalog import BY_PATH
from tiphys.apiserver.access.authorization import Asked, Authorizer
from tiphys.apiserver.access.nodeauthorizer import GROUP, LEASES, PREFIX, node_of
from tiphys.apiserver.admission import Attributes, Base
from tiphys.apiserver.resources.certificatesigningrequests import common_name, parse_request
from tiphys.apiserver.resources.pods.mirror import MIRROR
from tiphys.machinery import errors
from tiphys.machinery.podrefs import first_reference

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
_REQUEST_AUDIENCE = (
    "request-serviceaccounts-token-audience"  # the verb; the resource is the audience
)


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
            case "pods", "":
                self._pod(a, node)
            case "pods", "status":
                self._pod_status(a, node)
            case "pods", "eviction":
                if self._pod_named(a).spec.node_name != node:
                    raise _refused(
                        a, f"node {node} can only evict pods with spec.nodeName set to itself"
                    )
            case "pods", other:
                why = f"unexpected pod subresource \"{other}\", only 'status' and 'eviction' are allowed"
                raise _refused(a, why)
            case "nodes", _:
                _own_node(a, node)
            case "persistentvolumeclaims", _:
                _claim(a, node)
            case "serviceaccounts", "token":
                self._token(a, node)
            case "leases", _:
                if a.namespace != LEASES:
                    raise _refused(a, f'can only access leases in the "{LEASES}" system namespace')
                if a.name != node:
                    raise _refused(
                        a, "can only access node lease with the same name as the requesting node"
                    )
            case "csinodes", _:
                if a.name != node:
                    raise _refused(
                        a, "can only access CSINode with the same name as the requesting node"
                    )
            case "certificatesigningrequests", "":
                _signing_request(a, node)
            case "resourceslices", _:
                slice_ = a.old if a.operation == "DELETE" else a.obj
                if a.operation in ("CREATE", "DELETE") and (
                    slice_ is None or slice_.spec.node_name != node
                ):
                    verb = a.operation.lower()
                    raise _refused(
                        a,
                        f"can only {verb} ResourceSlice with the same NodeName as the requesting node",
                    )

    def _pod_named(self, a: Attributes) -> core_v1.Pod:
        return decode(self._registry().entry(_PODS, a.namespace, a.name).data, core_v1.Pod)

    # --- pods ---

    def _pod(self, a: Attributes, node: str) -> None:
        if a.operation == "DELETE":
            if a.old.spec.node_name != node:
                raise _refused(
                    a, f'node "{node}" can only delete pods with spec.nodeName set to itself'
                )
        elif a.operation == "CREATE":
            self._mirror(a, node)
        else:
            raise _refused(
                a,
                f'unexpected operation "{a.operation}", node "{node}" can only create and delete mirror pods',
            )

    def _mirror(self, a: Attributes, node: str) -> None:
        pod = a.obj
        if MIRROR not in pod.metadata.annotations:
            raise _refused(
                a,
                f'pod does not have "{MIRROR}" annotation, node "{node}" can only create mirror pods',
            )
        if pod.spec.node_name != node:
            raise _refused(
                a, f'node "{node}" can only create pods with spec.nodeName set to itself'
            )
        owners = pod.metadata.owner_references
        if len(owners) != 1:
            which = "a single owner reference" if owners else "an owner reference"
            raise _refused(a, f'node "{node}" can only create pods with {which} set to itself')
        owner = owners[0]
        if (owner.api_version, owner.kind, owner.name) != ("v1", "Node", node):
            raise _refused(
                a, f'node "{node}" can only create pods with an owner reference set to itself'
            )
        if not owner.controller:
            raise _refused(
                a,
                f'node "{node}" can only create pods with a controller owner reference set to itself',
            )
        if owner.block_owner_deletion:
            raise _refused(
                a, f'node "{node}" must not set blockOwnerDeletion on an owner reference'
            )
        found = self._registry().lookup("nodes", "", node)
        if found is None or found.metadata.uid != owner.uid:
            raise _refused(
                a, f'node "{node}" can only create pods with an owner reference set to itself'
            )
        if noun := first_reference(pod):
            raise _refused(a, f'node "{node}" can not create pods that reference {noun}')

    @staticmethod
    def _pod_status(a: Attributes, node: str) -> None:
        if a.operation != "UPDATE":
            raise _refused(a, f'unexpected operation "{a.operation}"')
        if a.old.spec.node_name != node:
            raise _refused(
                a,
                f'node "{node}" can only update pod status for pods with spec.nodeName set to itself',
            )
        if a.old.metadata.labels != a.obj.metadata.labels:
            raise _refused(a, f'node "{node}" cannot update labels through pod status')
        # What a pod's claims are called opens them to the node.
        if a.old.status.resource_claim_statuses != a.obj.status.resource_claim_statuses:
            raise _refused(a, f'node "{node}" cannot update resource claim statues')
        if (
            a.old.status.extended_resource_claim_status
            != a.obj.status.extended_resource_claim_status
        ):
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
            why = f"the UID in the bound object reference ({ref.uid}) does not match the UID in record."
            raise _refused(a, f"{why} The object might have been deleted and then recreated")
        if pod.spec.node_name != node:
            raise _refused(a, "node requested token bound to a pod scheduled on a different node")
        if len(spec.audiences) > 1:
            raise _refused(a, "node may only request 0 or 1 audiences")
        audience = spec.audiences[0] if spec.audiences else ""
        if audience in self._audiences(pod):
            return
        asked = Asked(_REQUEST_AUDIENCE, "", audience, "", a.namespace, a.name, version="v1")
        if not self._authorizer().authorize(a.user, asked)[0]:
            why = f"{a.user.name} is not authorized to request tokens for this audience"
            raise _refused(a, f'audience "{audience}" not found in pod spec volume, {why}')

    def _audiences(self, pod: core_v1.Pod) -> set[str]:
        """The audiences of the tokens that a pod's volumes hold, those which CSI drivers get for it among them."""
        found = set()
        for volume in pod.spec.volumes:
            for part in volume.projected.sources if volume.projected is not None else ():
                if part.service_account_token is not None:
                    found.add(part.service_account_token.audience)
            driver = self._registry().lookup(
                "csidrivers", "", self._driver(pod, volume), "storage.k8s.io"
            )
            found.update(
                request.audience
                for request in (driver.spec.token_requests if driver is not None else ())
            )
        return found

    def _driver(self, pod: core_v1.Pod, volume: core_v1.Volume) -> str:
        """The CSI driver behind a volume: its own, or that of the claim it names."""
        if volume.csi is not None:
            return volume.csi.driver
        name = f"{pod.metadata.name}-{volume.name}" if volume.ephemeral is not None else ""
        if volume.persistent_volume_claim is not None:
            name = volume.persistent_volume_claim.claim_name
        claim = (
            self._registry().lookup("persistentvolumeclaims", pod.metadata.namespace, name)
            if name
            else None
        )
        bound = (
            self._registry().lookup("persistentvolumes", "", claim.spec.volume_name)
            if claim is not None
            else None
        )
        return bound.spec.csi.driver if bound is not None and bound.spec.csi is not None else ""


def _own_node(a: Attributes, node: str) -> None:
    name = a.name or a.obj.metadata.name
    if name != node:
        raise _refused(a, f'node "{node}" is not allowed to modify node "{name}"')
    if a.obj is None:
        return
    source = a.obj.spec.config_source
    if source is not None and a.old is None:
        raise _refused(
            a, f'node "{node}" is not allowed to create pods with a non-nil configSource'
        )
    if source is not None and source != a.old.spec.config_source:
        raise _refused(
            a, f'node "{node}" is not allowed to update configSource to a new non-nil configSource'
        )
    now, before = a.obj.metadata.labels, a.old.metadata.labels if a.old is not None else {}
    changed = {key for key in {*now, *before} if now.get(key) != before.get(key)}
    forbidden = ", ".join(sorted(key for key in changed if _is_forbidden(key)))
    if a.old is None:
        if forbidden:
            raise _refused(
                a, f'node "{node}" is not allowed to set the following labels: {forbidden}'
            )
        return
    if forbidden:
        raise _refused(a, f'node "{node}" is not allowed to modify labels: {forbidden}')
    if a.obj.spec.taints != a.old.spec.taints:
        raise _refused(a, f'node "{node}" is not allowed to modify taints')
    if a.obj.metadata.owner_references != a.old.metadata.owner_references:
        raise _refused(a, f'node "{node}" is not allowed to modify ownerReferences')


def _is_forbidden(label: str) -> bool:
    """Whether a label is not a node's own to set: restricted, or of Kubernetes and not known to be the kubelet's."""
    domain = label.partition("/")[0] if "/" in label else ""

    def under(*names: str) -> bool:
        return any(domain == name or domain.endswith("." + name) for name in names)

    if under(_RESTRICTED):
        return True
    return (
        under("kubernetes.io", "k8s.io") and label not in _KUBELET and not under(*_KUBELET_DOMAINS)
    )


def _claim(a: Attributes, node: str) -> None:
    """A node that has resized a volume says so, and nothing else."""
    if (a.operation, a.subresource) != ("UPDATE", "status"):
        raise _refused(a, "may only update PVC status")
    if _unresized(a.old) != _unresized(a.obj):
        raise _refused(
            a,
            f'node "{node}" is not allowed to update fields other than status.quantity and status.conditions',
        )


def _unresized(claim: core_v1.PersistentVolumeClaim) -> core_v1.PersistentVolumeClaim:
    """A claim without what a node may write: relabelled, owned or held by finalizers it is another claim."""
    kept = copy.deepcopy(claim)
    kept.metadata.resource_version, kept.metadata.managed_fields = "", []
    status = kept.status
    status.capacity, status.conditions = {}, []
    status.allocated_resources, status.allocated_resource_statuses = {}, {}
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


def _refused(a: Attributes, why: str) -> errors.StatusError:
    obj = a.obj if a.obj is not None else a.old
    return errors.forbidden(a.resource.group_resource, a.name or obj.metadata.name, why)
