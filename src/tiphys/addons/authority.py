"""A certificate authority that an add-on has for itself, kept in a Secret: for its webhooks, its
listeners, and who it vouches for.

Identities are those of SPIFFE ("SPIFFE-ID" and "X509-SVID"): one URI, no other name, critical where
the subject is empty.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tiphys.addons.optional import NAMESPACE
from tiphys.api import core_v1
from tiphys.api.base import to_builtins
from tiphys.client.client import MERGE, Client
from tiphys.client.servertls import ServerContext

_YEARS = 10 * 365 * 24 * 3600
_BEFORE = 60  # seconds that a clock may be behind
_CLIENT_AND_SERVER = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)


class AuthorityError(ValueError):
    """The stored data is no authority; the text is the reason."""


@dataclass(frozen=True)
class Pair:
    """A certificate and its key in PEM. `expires` is in seconds since the epoch."""

    certificate: str
    key: str
    expires: float


class Authority:
    """Signs with a certificate and key in PEM. Raises AuthorityError."""

    def __init__(self, certificate: bytes, key: bytes) -> None:
        try:
            self._certificate = x509.load_pem_x509_certificate(certificate)
            loaded = serialization.load_pem_private_key(key, None)
        except (ValueError, TypeError) as error:
            raise AuthorityError(f"no certificate and key in PEM: {error}") from None
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise AuthorityError("its key is not of an elliptic curve")
        if loaded.public_key() != self._certificate.public_key():
            raise AuthorityError("its key is not that of its certificate")
        self._key = loaded
        self.root = certificate.decode()

    @classmethod
    def new(
        cls, domain: str, now: float, name: str = "Tiphys mesh"
    ) -> tuple[Authority, dict[str, bytes]]:
        """One that never was, and what its Secret holds. `name` is what people read."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, domain[:64]),
                x509.NameAttribute(NameOID.COMMON_NAME, name),
            ]
        )
        identity = x509.UniformResourceIdentifier(f"spiffe://{domain}")
        builder = _builder(subject, subject, key.public_key(), now, _YEARS)
        signed = (
            builder.add_extension(x509.BasicConstraints(True, 0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(x509.SubjectAlternativeName([identity]), critical=False)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        data = {"tls.crt": _pem(signed), "tls.key": _private(key)}
        return cls(data["tls.crt"], data["tls.key"]), data

    def workload(self, identity: str, now: float, lifetime: float) -> Pair:
        """A certificate of one identity, to show as client and as server."""
        name = x509.UniformResourceIdentifier(identity)
        return self._issue([name], _CLIENT_AND_SERVER, now, lifetime)

    def server(self, address: str, now: float, lifetime: float, *more: str) -> Pair:
        """A certificate of who listens at an address (of IP, or a name), and at `more` of them. It
        is no identity."""
        names = [_general_name(one) for one in (address, *more)]
        return self._issue(names, (ExtendedKeyUsageOID.SERVER_AUTH,), now, lifetime)

    def _issue(
        self,
        names: list[x509.GeneralName],
        usages: tuple[x509.ObjectIdentifier, ...],
        now: float,
        lifetime: float,
    ) -> Pair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(
            x509.Name([]), self._certificate.subject, key.public_key(), now, lifetime
        )
        signed = (
            builder.add_extension(x509.BasicConstraints(False, None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return Pair(_pem(signed).decode(), _private(key).decode(), now + lifetime)


def _general_name(text: str) -> x509.GeneralName:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(text))
    return x509.DNSName(text)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: float,
    lifetime: float,
) -> x509.CertificateBuilder:
    begin = datetime.datetime.fromtimestamp(now - _BEFORE, datetime.UTC)
    end = datetime.datetime.fromtimestamp(now + lifetime, datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        key_encipherment=False,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


# --- one that lives as long as a process ---


def passing_server(
    name: str, names: list[str], now: float, folder: Path
) -> tuple[str, ServerContext]:
    """(an authority in PEM, what serves with a certificate of it) for addresses or DNS names, ten
    years. The authority's key is forgotten at once: the next start makes another one."""
    authority, _ = Authority.new(name, now, name)
    context = ServerContext()
    show(context, authority.server(names[0], now, _YEARS, *names[1:]), folder)
    return authority.root, context


# --- where it is kept, and how it is shown ---


async def kept_authority(
    client: Client, secret_name: str, domain: str, now: float, name: str = "Tiphys mesh"
) -> Authority:
    """That of the Secret of the add-ons' namespace, which gets one when it has none. Raises
    AuthorityError."""
    secret = await client.get(core_v1.Secret, secret_name, NAMESPACE)
    if secret.data:
        try:
            return Authority(secret.data.get("tls.crt", b""), secret.data.get("tls.key", b""))
        except AuthorityError as error:
            raise AuthorityError(f"Secret {NAMESPACE}/{secret_name} holds {error}") from None
    new_authority, data = Authority.new(domain, now, name)
    filled = core_v1.Secret(data=data)
    patch = {
        "metadata": {"resourceVersion": secret.metadata.resource_version},
        "data": to_builtins(filled)["data"],
    }
    await client.patch(core_v1.Secret, secret_name, patch, NAMESPACE, media=MERGE)
    return new_authority


def show(context: ssl.SSLContext, pair: Pair, folder: Path) -> None:
    """Makes a context show a certificate, from the next handshake on. `folder` is this user's
    alone: ssl takes certificates from files only."""
    file = folder / "server.pem"
    handle = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as written:
        written.write(pair.key + pair.certificate)
    context.load_cert_chain(file)
    file.unlink()
