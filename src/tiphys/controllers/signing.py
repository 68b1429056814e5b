"""What the built-in signers sign: their rules for requests, and the certificates they make.

The rules are those of upstream's certificates helpers (`ValidateKubeletClientCSR` and the like) and
of its signer; the sentences are upstream's.
"""

from __future__ import annotations

import datetime
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tiphys.api.certificates_v1 import CertificateSigningRequest

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
SIGNERS = (CLIENT, KUBELET_CLIENT, KUBELET_SERVING)
NODE_PREFIX = "system:node:"
NODES = "system:nodes"

_LONGEST = 365 * 24 * 3600  # seconds that a certificate is valid
_SHORTEST = 600
_BACKDATED = datetime.timedelta(minutes=5)  # clocks of others may be behind
_LONG = 8 * 3600  # seconds from which on a certificate ends five minutes early, as it is backdated
_EXTENDED = {
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
}
_SIGNATURE = "digital signature"
_ENCIPHERMENT = "key encipherment"  # which only RSA keys can do, and so may be left out
_KEY_USAGES = frozenset((_SIGNATURE, _ENCIPHERMENT))
_WORDS: dict[type[x509.GeneralName], str] = {
    x509.DNSName: "DNS",
    x509.RFC822Name: "Email",
    x509.IPAddress: "IP",
    x509.UniformResourceIdentifier: "URI",
}


class Subject(NamedTuple):
    """Who a request is about: common name, organizations, subject alternative names."""

    common_name: str
    organizations: list[str]
    alternatives: list[x509.GeneralName]


def subject_of(pem: bytes) -> Subject:
    """The subject of a request in PEM. Of several common names the last one counts, as it does for
    servers that verify the certificate. Raises ValueError for what is no request."""
    request = x509.load_pem_x509_csr(pem)
    names = request.subject
    common = [
        str(attribute.value) for attribute in names.get_attributes_for_oid(NameOID.COMMON_NAME)
    ]
    groups = [
        str(attribute.value)
        for attribute in names.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    ]
    try:
        extension = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        alternatives = []
    else:
        # Others than these four Go does not know: they are in no certificate of upstream's signers.
        alternatives = [name for name in extension.value if type(name) in _WORDS]
    return Subject(common[-1] if common else "", groups, alternatives)


# --- what is refused ---


def refusal(csr: CertificateSigningRequest) -> str:
    """Why a built-in signer will not sign what was approved; the empty string when it will."""
    try:
        subject = subject_of(csr.spec.request)
    except ValueError as error:
        return str(error)
    if csr.spec.signer_name == CLIENT:
        return _refused_client(csr.spec.usages)
    if subject.organizations != [NODES]:
        return f"subject organization is not {NODES}"
    usages = set(csr.spec.usages)
    if csr.spec.signer_name == KUBELET_CLIENT:
        return _refused_kubelet_client(subject, usages)
    return _refused_kubelet_serving(subject, usages)


def _refused_client(usages: list[str]) -> str:
    for usage in usages:
        if usage not in _KEY_USAGES and usage != "client auth":
            return f"invalid usage for client certificate: {usage}"
    if "client auth" not in usages:
        return "missing required usage for client certificate: client auth"
    return ""


def _refused_kubelet_client(subject: Subject, usages: set[str]) -> str:
    for name in subject.alternatives:
        return f"{_WORDS.get(type(name), 'Other')} subjectAltNames are not allowed"
    if not subject.common_name.startswith(NODE_PREFIX):
        return f"subject common name does not begin with {NODE_PREFIX}"
    if usages - {_ENCIPHERMENT} != {"client auth", _SIGNATURE}:
        return f"usages did not match [client auth {_SIGNATURE} {_ENCIPHERMENT}]"
    return ""


def _refused_kubelet_serving(subject: Subject, usages: set[str]) -> str:
    kinds = {type(name) for name in subject.alternatives}
    if x509.DNSName not in kinds and x509.IPAddress not in kinds:
        return "DNS or IP subjectAltName is required"
    for kind in (x509.RFC822Name, x509.UniformResourceIdentifier):
        if kind in kinds:
            return f"{_WORDS[kind]} subjectAltNames are not allowed"
    if usages - {_ENCIPHERMENT} != {"server auth", _SIGNATURE}:
        return f"usages did not match [{_SIGNATURE} {_ENCIPHERMENT} server auth]"
    if not subject.common_name.startswith(NODE_PREFIX):
        return f"subject common name does not begin with {NODE_PREFIX}"
    return ""


# --- what is signed ---


class Validity(NamedTuple):
    begins: datetime.datetime
    ends: datetime.datetime


def validity(wanted: int | None, now: float) -> Validity:
    """From when until when a certificate is valid; `wanted` is how long, in seconds."""
    seconds = min(max(wanted or _LONGEST, _SHORTEST), _LONGEST)
    moment = datetime.datetime.fromtimestamp(now, datetime.UTC)
    ends = moment + datetime.timedelta(seconds=seconds)
    if seconds >= _LONG:
        ends -= _BACKDATED
    return Validity(moment - _BACKDATED, ends)


class Signer:
    """The cluster's authority; certificate and key are in PEM."""

    def __init__(self, certificate: bytes, key: bytes) -> None:
        self._certificate = x509.load_pem_x509_certificate(certificate)
        self._key: Any = serialization.load_pem_private_key(key, None)

    def sign(self, csr: CertificateSigningRequest, now: float) -> bytes:
        """The certificate of a request, in PEM; whether it may be signed was asked before."""
        request = x509.load_pem_x509_csr(csr.spec.request)
        begins, ends = validity(csr.spec.expiration_seconds, now)
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(self._certificate.subject)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(min(ends, self._certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )
        usages = set(csr.spec.usages)
        if usages & _KEY_USAGES:  # an empty extension would forbid every use
            builder = builder.add_extension(_key_usage(usages), critical=True)
        extended = [_EXTENDED[usage] for usage in csr.spec.usages if usage in _EXTENDED]
        if extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
        alternatives = subject_of(csr.spec.request).alternatives
        if alternatives:
            names = x509.SubjectAlternativeName(alternatives)
            builder = builder.add_extension(names, critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)


def _key_usage(usages: set[str]) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=_SIGNATURE in usages,
        key_encipherment=_ENCIPHERMENT in usages,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
