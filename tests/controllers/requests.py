"""Requests for certificates."""

from __future__ import annotations

import datetime
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.controllers.builders import NOW
from tiphys.api.certificates_v1 import CertificateSigningRequest
from tiphys.controllers import signing

KEY = ec.generate_private_key(ec.SECP256R1())


NODE = "system:node:a"


DNS = x509.DNSName("a")


ADDRESS = x509.IPAddress(ipaddress.ip_address("10.0.0.1"))


MAIL = x509.RFC822Name("a@b")


def request(
    signer: str,
    *usages: str,
    name: str = NODE,
    groups: tuple[str, ...] = ("system:nodes",),
    alternatives: tuple[x509.GeneralName, ...] = (),
) -> CertificateSigningRequest:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if alternatives:
        names = x509.SubjectAlternativeName(alternatives)
        builder = builder.add_extension(names, critical=False)
    signed = builder.sign(KEY, hashes.SHA256())
    made = CertificateSigningRequest()
    made.spec.signer_name = signer
    made.spec.usages = list(usages)
    made.spec.request = signed.public_bytes(serialization.Encoding.PEM)
    made.spec.username, made.spec.groups = NODE, ["system:nodes", "system:authenticated"]
    return made


SIGN, CIPHER, AS_CLIENT, AS_SERVER = (
    "digital signature",
    "key encipherment",
    "client auth",
    "server auth",
)


@pytest.fixture(scope="module")
def signer() -> signing.Signer:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    start = datetime.datetime.fromtimestamp(NOW - 1000, datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=2))
        .sign(KEY, hashes.SHA256())
    )
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key = KEY.private_bytes(encoding, form, serialization.NoEncryption())
    return signing.Signer(certificate.public_bytes(encoding), key)
