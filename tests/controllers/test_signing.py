"""What the built-in signers sign, and what they refuse."""

from __future__ import annotations

import datetime
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.controllers.builders import NOW
from tiphys.api.certificates_v1 import CertificateSigningRequest
from tiphys.controllers import signing
from tiphys.controllers.signing import CLIENT, KUBELET_CLIENT, KUBELET_SERVING

KEY = ec.generate_private_key(ec.SECP256R1())
NODE = "system:node:a"
DNS = x509.DNSName("a")
ADDRESS = x509.IPAddress(ipaddress.ip_address("10.0.0.1"))
MAIL = x509.RFC822Name("a@b")
URI = x509.UniformResourceIdentifier("spiffe://a")


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


@pytest.mark.parametrize(
    ("csr", "refused"),
    [
        (request(CLIENT, AS_CLIENT, name="jane", groups=()), ""),
        (request(CLIENT, AS_CLIENT, SIGN, CIPHER), ""),
        (request(CLIENT, SIGN), "missing required usage for client certificate: client auth"),
        (
            request(CLIENT, AS_CLIENT, AS_SERVER),
            "invalid usage for client certificate: server auth",
        ),
        (request(KUBELET_CLIENT, AS_CLIENT, SIGN), ""),
        (request(KUBELET_CLIENT, AS_CLIENT, SIGN, CIPHER), ""),
        (request(KUBELET_CLIENT, AS_CLIENT, CIPHER), "usages did not match"),
        (request(KUBELET_CLIENT, AS_CLIENT, SIGN, AS_SERVER), "usages did not match"),
        (request(KUBELET_CLIENT, AS_CLIENT, SIGN, name="a"), "common name does not begin with"),
        (
            request(KUBELET_CLIENT, AS_CLIENT, SIGN, groups=("system:nodes", "system:masters")),
            "subject organization is not system:nodes",
        ),
        (
            request(KUBELET_CLIENT, AS_CLIENT, SIGN, groups=()),
            "subject organization is not system:nodes",
        ),
        (
            request(KUBELET_CLIENT, AS_CLIENT, SIGN, alternatives=(DNS,)),
            "DNS subjectAltNames are not allowed",
        ),
        (request(KUBELET_SERVING, AS_SERVER, SIGN, alternatives=(DNS,)), ""),
        (request(KUBELET_SERVING, AS_SERVER, SIGN, CIPHER, alternatives=(ADDRESS,)), ""),
        (request(KUBELET_SERVING, AS_SERVER, SIGN), "DNS or IP subjectAltName is required"),
        (
            request(KUBELET_SERVING, AS_SERVER, SIGN, alternatives=(DNS, MAIL)),
            "Email subjectAltNames are not allowed",
        ),
        (
            request(KUBELET_SERVING, AS_SERVER, SIGN, alternatives=(ADDRESS, URI)),
            "URI subjectAltNames are not allowed",
        ),
        (request(KUBELET_SERVING, AS_CLIENT, SIGN, alternatives=(DNS,)), "usages did not match"),
        (
            request(KUBELET_SERVING, AS_SERVER, SIGN, alternatives=(DNS,), name="a"),
            "common name does not begin with",
        ),
    ],
)
def test_signers_refuse_what_is_not_for_them(csr: CertificateSigningRequest, refused: str) -> None:
    reason = signing.refusal(csr)
    assert refused in reason and bool(reason) is bool(refused)


def test_what_is_no_request_is_refused() -> None:
    broken = request(CLIENT, AS_CLIENT)
    broken.spec.request = b"nothing"
    assert signing.refusal(broken)


@pytest.mark.parametrize(
    ("wanted", "seconds"),
    [
        (None, 365 * 86_400 - 300),
        (60, 600),
        (3600, 3600),
        (8 * 3600 - 1, 8 * 3600 - 1),
        (8 * 3600, 8 * 3600 - 300),
        (1 << 40, 365 * 86_400 - 300),
    ],
)
def test_a_certificate_is_valid_for_as_long_as_is_asked(wanted: int | None, seconds: int) -> None:
    begins, ends = signing.validity(wanted, NOW)
    assert (begins.timestamp(), ends.timestamp()) == (NOW - 300, NOW + seconds)


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


def test_a_certificate_says_what_was_asked_for(signer: signing.Signer) -> None:
    csr = request(KUBELET_SERVING, AS_SERVER, SIGN, alternatives=(DNS, ADDRESS))
    made = x509.load_pem_x509_certificate(signer.sign(csr, NOW))
    assert made.subject == x509.load_pem_x509_csr(csr.spec.request).subject
    find = made.extensions.get_extension_for_class
    assert list(find(x509.SubjectAlternativeName).value) == [DNS, ADDRESS]
    assert list(find(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    usage = find(x509.KeyUsage).value
    assert usage.digital_signature and not usage.key_encipherment and not usage.key_cert_sign
    assert find(x509.BasicConstraints).value.ca is False


def test_a_certificate_does_not_outlive_its_authority(signer: signing.Signer) -> None:
    made = x509.load_pem_x509_certificate(signer.sign(request(CLIENT, AS_CLIENT), NOW))
    assert made.not_valid_after_utc.timestamp() == NOW - 1000 + 2 * 86_400
    with pytest.raises(x509.ExtensionNotFound):  # an empty one would forbid every use
        made.extensions.get_extension_for_class(x509.KeyUsage)
