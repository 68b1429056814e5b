"""Which signing requests are approved without a person, and for which right."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from cryptography import x509

from tests.controllers.builders import node_that_is
from tests.controllers.requests import ADDRESS, AS_CLIENT, AS_SERVER, DNS, MAIL, NODE, SIGN, request
from tiphys.api import core_v1
from tiphys.api.certificates_v1 import CertificateSigningRequest
from tiphys.controllers.approval import Surroundings, recognized, taken
from tiphys.controllers.signing import CLIENT, KUBELET_CLIENT, KUBELET_SERVING

TOKEN = "system:bootstrap:abcdef"
POLICY = "tiphys:network-policy"


def by(csr: CertificateSigningRequest, user: str) -> CertificateSigningRequest:
    csr.spec.username = user
    return csr


def serving(*names: x509.GeneralName, user: str = NODE) -> CertificateSigningRequest:
    return by(request(KUBELET_SERVING, AS_SERVER, SIGN, alternatives=names), user)


def client(user: str) -> CertificateSigningRequest:
    return by(request(KUBELET_CLIENT, AS_CLIENT, SIGN), user)


def as_policy(**options: object) -> CertificateSigningRequest:
    given = {"name": POLICY, "groups": (), **options}
    return request(CLIENT, AS_CLIENT, SIGN, **given)  # type: ignore[arg-type]


def node_at(*addresses: str) -> core_v1.Node:
    made = node_that_is("True", "a")
    made.status.addresses = [core_v1.NodeAddress(type="InternalIP", address=a) for a in addresses]
    return made


def address(text: str) -> x509.IPAddress:
    return x509.IPAddress(ip_address(text))


@pytest.mark.parametrize(
    ("csr", "rights"),
    [
        (client(TOKEN), "nodeclient"),
        (client(NODE), "selfnodeclient nodeclient"),
        (client("system:node:b"), "nodeclient"),
        (by(request(KUBELET_CLIENT, AS_CLIENT), NODE), ""),
        (serving(DNS, ADDRESS), "selfnodeserver"),
        (serving(DNS), "selfnodeserver"),
        (serving(DNS, ADDRESS, user=TOKEN), ""),
        (serving(DNS, ADDRESS, user="system:node:b"), ""),
        (serving(DNS, address("10.0.0.2")), ""),
        (serving(x509.DNSName("kubernetes.default.svc"), ADDRESS), ""),
        (serving(x509.DNSName("10.0.0.1")), ""),
        (serving(DNS, MAIL), ""),
        (as_policy(), "networkpolicy"),
        (as_policy(name="kubernetes-admin"), ""),
        (as_policy(groups=("system:masters",)), ""),
        (as_policy(alternatives=(DNS,)), ""),
    ],
)
def test_a_request_is_recognized_by_what_it_asks_for(
    csr: CertificateSigningRequest, rights: str
) -> None:
    kinds = recognized(csr, Surroundings(node_at("10.0.0.1")))
    assert " ".join(kind.subresource for kind in kinds) == rights


@pytest.mark.parametrize(
    ("name", "surroundings"),
    [
        (ADDRESS, Surroundings(node_at("10.0.0.1"), {"10.0.0.1"})),
        (DNS, Surroundings(node_at("10.0.0.1"), {"a"})),
        (address("127.0.0.1"), Surroundings(node_at("127.0.0.1"))),
        (address("0.0.0.0"), Surroundings(node_at("0.0.0.0"))),
        (ADDRESS, Surroundings(None)),
    ],
)
def test_no_node_can_show_itself_as_the_api_server_or_as_anybody(
    name: x509.GeneralName, surroundings: Surroundings
) -> None:
    assert not recognized(serving(name), surroundings)


@pytest.mark.parametrize(
    ("user", "ready", "message"),
    [
        (TOKEN, "True", 'a Node with name "a" and status "Ready" already exists'),
        (TOKEN, "Unknown", ""),
        (TOKEN, None, ""),
        (NODE, "True", ""),
    ],
)
def test_the_name_of_a_node_at_work_is_not_given_away(
    user: str, ready: str | None, message: str
) -> None:
    assert taken(client(user), Surroundings(node_that_is(ready, "a"))) == message
