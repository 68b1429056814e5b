"""Certificates out of Secrets: what Envoy would take, and what is refused before it sees it."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.addons.gateway.world import pair, secret
from tiphys.addons.gateway.secrets import (
    CertificateError,
    authorities_of,
    certificate_of,
    names_of,
)

CHAIN, KEY = pair("a.example")
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
NO_PAIR = "holds no certificate and key in PEM"
WEAK = "holds a key that is neither RSA of 2048 bits or more nor of a NIST curve"


def of_key(key: Any, *extensions: x509.ExtensionType) -> tuple[bytes, bytes]:
    """A certificate of a key of any kind, and the key."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a.example")])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
    builder = builder.public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(NOW).not_valid_after(NOW + datetime.timedelta(days=1))
    for extension in extensions:
        builder = builder.add_extension(extension, False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    signed = builder.sign(key, algorithm)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return signed.public_bytes(serialization.Encoding.PEM), pem


@pytest.mark.parametrize(
    ("key", "refused"),
    [
        (lambda: ec.generate_private_key(ec.SECP256R1()), ""),
        (lambda: ec.generate_private_key(ec.SECP384R1()), ""),
        (lambda: ec.generate_private_key(ec.SECP256K1()), WEAK),
        (ed25519.Ed25519PrivateKey.generate, WEAK),
        (lambda: rsa.generate_private_key(65537, 2048), ""),
        (lambda: rsa.generate_private_key(65537, 1024), WEAK),
    ],
)
def test_a_key_is_one_that_envoy_takes(key: Callable[[], Any], refused: str) -> None:
    """Envoy refuses RSA below 2048 bits and any curve but P-256, P-384 and P-521."""
    chain, pem = of_key(key())
    if refused:
        with pytest.raises(CertificateError, match=f"^{refused}$"):
            certificate_of(secret("s", chain, pem))
    else:
        assert certificate_of(secret("s", chain, pem)).chain == chain.decode()


@pytest.mark.parametrize(
    ("chain", "key", "refused"),
    [
        (b"", b"", NO_PAIR),
        (CHAIN, b"", NO_PAIR),
        (b"", KEY, NO_PAIR),
        (b"x", b"y", NO_PAIR),
        (KEY, CHAIN, NO_PAIR),
        (CHAIN, pair("b.example")[1], "holds a key that is not that of its certificate"),
        (CHAIN + pair("ca.example")[0], KEY, ""),
        (pair("ca.example")[0] + CHAIN, KEY, "holds a key that is not that of its certificate"),
    ],
)
def test_the_first_certificate_of_a_chain_is_that_of_the_key(
    chain: bytes, key: bytes, refused: str
) -> None:
    if refused:
        with pytest.raises(CertificateError, match=f"^{refused}$"):
            certificate_of(secret("s", chain, key))
    else:
        assert certificate_of(secret("s", chain, key)).key == key.decode()


def test_a_secret_of_another_type_or_none_is_no_certificate() -> None:
    with pytest.raises(CertificateError, match=r"^does not exist$"):
        certificate_of(None)
    opaque = secret("s", CHAIN, KEY)
    opaque.type = "Opaque"
    with pytest.raises(CertificateError, match=r"^is of type Opaque and not kubernetes\.io/tls$"):
        certificate_of(opaque)


def test_the_names_of_a_certificate_are_its_host_names_in_small_letters() -> None:
    assert names_of(pair("A.example", "b.example")[0].decode()) == {"a.example", "b.example"}
    key = ec.generate_private_key(ec.SECP256R1())
    assert names_of(of_key(key)[0].decode()) == frozenset(), "a common name is none"
    many = x509.SubjectAlternativeName([x509.DNSName(f"{n}.example") for n in range(150)])
    assert len(names_of(of_key(key, many)[0].decode())) == 100


@pytest.mark.parametrize("data", ["", "x", KEY.decode()])
def test_what_holds_no_certificate_is_no_authority(data: str) -> None:
    with pytest.raises(CertificateError, match=r"^holds no certificate in PEM$"):
        authorities_of(data)


def test_authorities_stay_as_they_are_written() -> None:
    text = f"# ours\n{CHAIN.decode()}"
    assert authorities_of(text) == text
