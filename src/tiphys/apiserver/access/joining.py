"""What machines that join may do: the roles that upstream has for it, and the bindings that kubeadm
makes, by its names, so that an upstream kubelet can bootstrap here as well.
"""

from __future__ import annotations

from typing import NamedTuple

from tiphys.api import rbac_v1
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.machinery.bootstraptokens import NODE_GROUP

NODES = "system:nodes"
CONFIG = "tiphys-config"  # a ConfigMap in kube-system: what a node needs to know of the cluster
_RBAC = "rbac.authorization.k8s.io"
_CERTIFICATES = "certificates.k8s.io"
_REQUESTS = "certificatesigningrequests"
_AUTO_APPROVED = f"system:{_CERTIFICATES}:{_REQUESTS}"


def _rule(
    verbs: list[str], group: str, resource: str, names: tuple[str, ...] = ()
) -> rbac_v1.PolicyRule:
    return rbac_v1.PolicyRule(
        verbs=verbs, api_groups=[group], resources=[resource], resource_names=list(names)
    )


def _approved(kind: str) -> rbac_v1.PolicyRule:
    """A user who may create this made-up subresource has CSRs of that kind approved."""
    return _rule(["create"], _CERTIFICATES, f"{_REQUESTS}/{kind}")


def _approver(signer: str) -> rbac_v1.PolicyRule:
    return _rule(["approve"], _CERTIFICATES, "signers", (f"kubernetes.io/{signer}",))


ROLES: dict[str, list[rbac_v1.PolicyRule]] = {
    "system:node-bootstrapper": [
        _rule(["create", "get", "list", "watch"], _CERTIFICATES, _REQUESTS)
    ],
    f"{_AUTO_APPROVED}:nodeclient": [_approved("nodeclient")],
    f"{_AUTO_APPROVED}:selfnodeclient": [_approved("selfnodeclient")],
    # Ours: a node's own serving certificate, and the identity that watches pods for its policies.
    "tiphys:node-certificates": [_approved("selfnodeserver"), _approved("networkpolicy")],
    f"system:{_CERTIFICATES}:kubelet-serving-approver": [_approver("kubelet-serving")],
    f"system:{_CERTIFICATES}:kube-apiserver-client-approver": [_approver("kube-apiserver-client")],
    f"system:{_CERTIFICATES}:kube-apiserver-client-kubelet-approver": [
        _approver("kube-apiserver-client-kubelet")
    ],
    # A machine asks whether its name is taken before it takes it.
    "kubeadm:get-nodes": [_rule(["get"], "", "nodes")],
}

# binding → (role, group)
BINDINGS: dict[str, tuple[str, str]] = {
    "kubeadm:kubelet-bootstrap": ("system:node-bootstrapper", NODE_GROUP),
    "kubeadm:node-autoapprove-bootstrap": (f"{_AUTO_APPROVED}:nodeclient", NODE_GROUP),
    "kubeadm:node-autoapprove-certificate-rotation": (f"{_AUTO_APPROVED}:selfnodeclient", NODES),
    "tiphys:node-certificates": ("tiphys:node-certificates", NODES),
    "kubeadm:get-nodes": ("kubeadm:get-nodes", NODE_GROUP),
}


class Reader(NamedTuple):
    """A role to get one ConfigMap, and who has it."""

    namespace: str
    role: rbac_v1.Role
    binding: rbac_v1.RoleBinding


def readers() -> list[Reader]:
    """Who may read what a joining machine needs, before and after it is a node."""
    everybody = rbac_v1.Subject(kind="User", name="system:anonymous", api_group=_RBAC)
    groups = [rbac_v1.Subject(kind="Group", name=name, api_group=_RBAC) for name in _CONFIG_READERS]
    return [
        _reader("kube-public", "kubeadm:bootstrap-signer-clusterinfo", "cluster-info", [everybody]),
        _reader("kube-system", "tiphys:node-config", CONFIG, groups),
    ]


_CONFIG_READERS = (NODE_GROUP, NODES)


def _reader(namespace: str, name: str, config: str, subjects: list[rbac_v1.Subject]) -> Reader:
    role = rbac_v1.Role(metadata=ObjectMeta(name=name))
    role.rules = [_rule(["get"], "", "configmaps", (config,))]
    binding = rbac_v1.RoleBinding(metadata=ObjectMeta(name=name), subjects=subjects)
    binding.role_ref = rbac_v1.RoleRef(api_group=_RBAC, kind="Role", name=name)
    return Reader(namespace, role, binding)
