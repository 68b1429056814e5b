"""Certificates out of Secrets, validated before Envoy sees them: one that it refused would hold up
all others."""

from __future__ import annotations

import functools

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from tiphys.addons.gateway.model import Certificate
from tiphys.api import core_v1

_SHORTEST_RSA = 2048
_MOST_NAMES = 100
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
"""What Envoy takes."""


class CertificateError(ValueError):
    """The text says what is wrong with it."""


def certificate_of(secret: core_v1.Secret | None) -> Certificate:
    """That of a Secret of type kubernetes.io/tls. Raises CertificateError."""
    if secret is None:
        raise CertificateError("does not exist")
    if secret.type != "kubernetes.io/tls":
        raise CertificateError(f"is of type {secret.type} and not kubernetes.io/tls")
    chain = secret.data.get("tls.crt") or b""
    key = secret.data.get("tls.key") or b""
    _check(chain, key)
    return Certificate(chain.decode(), key.decode())


@functools.lru_cache(1024)
def _check(chain: bytes, key: bytes) -> None:
    """Raises CertificateError for what is no pair of a certificate and its key."""
    try:
        first = x509.load_pem_x509_certificates(chain)[0]
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError, IndexError):
        raise CertificateError("holds no certificate and key in PEM") from None
    if isinstance(private, rsa.RSAPrivateKey):
        is_usable = private.key_size >= _SHORTEST_RSA
    else:
        is_usable = (
            isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name in _CURVES
        )
    if not is_usable:
        raise CertificateError(
            "holds a key that is neither RSA of 2048 bits or more nor of a NIST curve"
        )
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if first.public_key().public_bytes(*form) != private.public_key().public_bytes(*form):
        raise CertificateError("holds a key that is not that of its certificate")


@functools.lru_cache(1024)
def names_of(chain: str) -> frozenset[str]:
    """The first hundred host names that a certificate is for; its chain was validated before."""
    first = x509.load_pem_x509_certificates(chain.encode())[0]
    try:
        names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        listed = names.get_values_for_type(x509.DNSName)[:_MOST_NAMES]
        return frozenset(name.lower() for name in listed)
    except (x509.ExtensionNotFound, ValueError):  # none, or what is no certificate's extension
        return frozenset()


def authorities_of(data: str) -> str:
    """PEM of at least one certificate, as it is. Raises CertificateError."""
    try:
        if x509.load_pem_x509_certificates(data.encode()):
            return data
    except ValueError:
        pass
    raise CertificateError("holds no certificate in PEM")
