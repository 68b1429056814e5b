"""What the built-in signers sign, and what they refuse."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.controllers.builders import NOW
from tests.controllers.requests import (
    ADDRESS,
    AS_CLIENT,
    AS_SERVER,
    CIPHER,
    DNS,
    MAIL,
    SIGN,
    request,
)
from tests.controllers.requests import signer as signer
from tiphys.api.certificates_v1 import CertificateSigningRequest
from tiphys.controllers import signing
from tiphys.controllers.signing import CLIENT, KUBELET_CLIENT, KUBELET_SERVING

URI = x509.UniformResourceIdentifier("spiffe://a")


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
