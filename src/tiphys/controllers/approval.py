"""Which signing requests are approved without a person: kinds that are recognized by what they ask
for, each with a right that whoever asks must have. Pure.

The first two kinds are those of upstream's csrapproving controller. The others are ours: upstream
leaves serving certificates to be approved by hand, and its network plugins bring their own
identities.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Container
from dataclasses import dataclass, field

from cryptography import x509

from tiphys.api import core_v1
from tiphys.api.certificates_v1 import CertificateSigningRequest
from tiphys.controllers.signing import (
    CLIENT,
    KUBELET_CLIENT,
    KUBELET_SERVING,
    NODE_PREFIX,
    Subject,
    refusal,
    subject_of,
)
from tiphys.machinery import conditions

NETWORK_POLICY = "tiphys:network-policy"  # who watches the pods of all nodes for their policies


@dataclass(frozen=True)
class Surroundings:
    """What a request is held against.

    node:     the Node of the name that it asks for, if there is one
    reserved: names and addresses that the API server's own certificate has: whoever showed one of
              them would be taken for it
    """

    node: core_v1.Node | None = None
    reserved: Container[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Recognizer:
    """A kind of request. `subresource` of certificatesigningrequests is the right that it takes to
    create one."""

    subresource: str
    message: str
    recognizes: Callable[[CertificateSigningRequest, Subject, Surroundings], bool]


def node_name(subject: Subject) -> str:
    """The node that a request asks to be, "" for another user."""
    name = subject.common_name
    return name.removeprefix(NODE_PREFIX) if name.startswith(NODE_PREFIX) else ""


def _is_node_client(
    csr: CertificateSigningRequest, subject: Subject, surroundings: Surroundings
) -> bool:
    return csr.spec.signer_name == KUBELET_CLIENT


def _is_self_node_client(
    csr: CertificateSigningRequest, subject: Subject, surroundings: Surroundings
) -> bool:
    return csr.spec.signer_name == KUBELET_CLIENT and csr.spec.username == subject.common_name


def _is_self_node_server(
    csr: CertificateSigningRequest, subject: Subject, surroundings: Surroundings
) -> bool:
    """A node's own name, and addresses that its Node shows: no other's, least of all the API
    server's, whose clients trust the same authority."""
    if csr.spec.signer_name != KUBELET_SERVING or csr.spec.username != subject.common_name:
        return False
    if surroundings.node is None:
        return False
    name = node_name(subject)
    own = {name, *(address.address for address in surroundings.node.status.addresses)}
    for alternative in subject.alternatives:
        shown = str(alternative.value)
        if shown not in own or shown in surroundings.reserved:
            return False
        if isinstance(alternative, x509.DNSName) and shown != name:
            return False
        if isinstance(alternative, x509.IPAddress) and _is_everybodys(shown):
            return False
    return True


def _is_everybodys(address: str) -> bool:
    """Whether an address is no machine's own."""
    parsed = ipaddress.ip_address(address)
    return parsed.is_loopback or parsed.is_unspecified or parsed.is_multicast


def _is_network_policy(
    csr: CertificateSigningRequest, subject: Subject, surroundings: Surroundings
) -> bool:
    wanted = Subject(NETWORK_POLICY, [], [])
    return csr.spec.signer_name == CLIENT and subject == wanted


_KUBELET = "kubelet client certificate after SubjectAccessReview."
RECOGNIZERS = (
    Recognizer("selfnodeclient", f"Auto approving self {_KUBELET}", _is_self_node_client),
    Recognizer("nodeclient", f"Auto approving {_KUBELET}", _is_node_client),
    Recognizer(
        "selfnodeserver",
        "Auto approving self kubelet serving certificate after SubjectAccessReview.",
        _is_self_node_server,
    ),
    Recognizer(
        "networkpolicy",
        "Auto approving network policy client certificate after SubjectAccessReview.",
        _is_network_policy,
    ),
)


def recognized(csr: CertificateSigningRequest, surroundings: Surroundings) -> list[Recognizer]:
    """The kinds that a request is of; none for one that its signer would not sign anyway."""
    if refusal(csr):
        return []
    subject = subject_of(csr.spec.request)
    return [kind for kind in RECOGNIZERS if kind.recognizes(csr, subject, surroundings)]


def taken(csr: CertificateSigningRequest, surroundings: Surroundings) -> str:
    """Why a name that is asked for is not given away, "" when it may be.

    Whoever has a bootstrap token may ask to be any node. One that is at work stays who it is.
    """
    node = surroundings.node
    if node is None or csr.spec.username == NODE_PREFIX + node.metadata.name:
        return ""
    ready = conditions.find(node.status.conditions, "Ready")
    if csr.spec.signer_name != KUBELET_CLIENT or ready is None or ready.status != "True":
        return ""
    return f'a Node with name "{node.metadata.name}" and status "Ready" already exists'
