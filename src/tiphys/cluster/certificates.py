"""The cluster's certificate authority and everything it signs. Keys are EC P-256, files 0600."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tiphys.cluster.state import ClusterError

_DAY = datetime.timedelta(days=1)
LIFETIME = 365 * _DAY  # of what an authority signs
_OWN_LIFETIME = 3650 * _DAY
# A client whose clock is a little behind must not find the certificate not valid yet.
_BACKDATED = datetime.timedelta(hours=1)


def write_private(path: Path, data: bytes) -> None:
    """Writes a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(path.name + ".new")
    handle = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    temporary.rename(path)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _name(common: str, organizations: tuple[str, ...] = ()) -> x509.Name:
    parts = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)
        for organization in organizations
    ]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    lifetime: datetime.timedelta,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - _BACKDATED).not_valid_after(now + lifetime)


def _usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes


def due(certificate: x509.Certificate) -> datetime.datetime:
    """When a certificate is to be renewed: after two thirds of its life."""
    end = certificate.not_valid_after_utc
    return end - (end - certificate.not_valid_before_utc - _BACKDATED) / 3


class Authority:
    """Signs for one cluster. Kept as ca.crt and ca.key in its folder.

    lifetime:   of what it signs
    renews_all: whether `ensure` renews what would last longer, too
    """

    def __init__(
        self,
        folder: Path,
        lifetime: datetime.timedelta = LIFETIME,
        renews_all: bool = False,
    ) -> None:
        self._folder = folder
        self._lifetime = lifetime
        self._renews_all = renews_all
        self.path = folder / "ca.crt"
        if not self.path.exists():
            self._make()
        self._certificate, self._key = _read_pair(self.path, folder / "ca.key")

    def _make(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = new_key()
        name = _name("tiphys-ca")
        builder = _builder(name, name, key.public_key(), _OWN_LIFETIME)
        builder = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        builder = builder.add_extension(_usage(signs=True), critical=True)
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
        write_private(self._folder / "ca.key", key_pem(key))
        write_private(
            self.path, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )

    def issue(
        self,
        common: str,
        organizations: tuple[str, ...] = (),
        names: tuple[str, ...] = (),
        server: bool = False,
    ) -> Pair:
        """A certificate for a user (`organizations` are the groups) or a server reached under
        `names`."""
        key = new_key()
        builder = _builder(
            _name(common, organizations),
            self._certificate.subject,
            key.public_key(),
            self._lifetime,
        )
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH] + (
            [ExtendedKeyUsageOID.SERVER_AUTH] if server else []
        )
        builder = builder.add_extension(
            x509.BasicConstraints(ca=False, path_length=None), critical=True
        )
        builder = builder.add_extension(_usage(signs=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_alternative(n) for n in names]), critical=False
            )
        signed = builder.sign(self._key, hashes.SHA256())
        return Pair(signed.public_bytes(serialization.Encoding.PEM), key_pem(key))

    def ensure(
        self,
        stem: str,
        common: str,
        organizations: tuple[str, ...] = (),
        names: tuple[str, ...] = (),
        server: bool = False,
    ) -> tuple[Path, Path]:
        """(certificate file, key file) of `stem`, made when they are missing, for other names, or
        due."""
        certificate = self._folder / f"{stem}.crt"
        key = self._folder / f"{stem}.key"
        if not self._is_good(certificate, key, names):
            pair = self.issue(common, organizations, names, server)
            write_private(key, pair.key)
            write_private(certificate, pair.certificate)
        return certificate, key

    def _is_good(self, certificate: Path, key: Path, names: tuple[str, ...]) -> bool:
        """Whether what is there is ours, for these names, and not due. What is damaged is made
        again."""
        if self._renews_all:
            return False
        try:
            existing, _ = _read_pair(certificate, key)
            existing.verify_directly_issued_by(self._certificate)
        except (OSError, ValueError, TypeError, InvalidSignature):
            return False
        if due(existing) <= datetime.datetime.now(datetime.UTC):
            return False
        if not names:
            return True
        extension = existing.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        return {str(item.value) for item in extension.value} >= set(names)


def names_of(certificate: Path | None) -> frozenset[str]:
    """The names and addresses in a certificate; none without one."""
    if certificate is None:
        return frozenset()
    read = x509.load_pem_x509_certificate(certificate.read_bytes())
    extension = read.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return frozenset(str(name.value) for name in extension.value)


def pin(certificate: bytes) -> str:
    """The hash by which a joining machine knows the authority: kubeadm's, of the public key."""
    key = x509.load_pem_x509_certificate(certificate).public_key()
    der = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return f"sha256:{hashlib.sha256(der).hexdigest()}"


def check(folder: Path) -> None:
    """Whether what cannot be made again is whole: the authorities and the key that signs tokens.
    Raises ClusterError."""
    for authority in (folder, folder / "front-proxy", folder / "etcd"):
        certificate = authority / "ca.crt"
        key = authority / "ca.key"
        if not (certificate.exists() or key.exists()):
            continue
        try:
            _read_pair(certificate, key)
        except (OSError, ValueError, TypeError) as error:
            raise _damaged(certificate, key, error) from None
    signer = folder / "sa.key"
    try:
        if signer.exists():
            serialization.load_pem_private_key(signer.read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(signer, signer, error) from None


def _damaged(file: Path, key: Path, error: Exception) -> ClusterError:
    files = str(file) if file == key else f"{file} and {key.name}"
    reason = error.strerror if isinstance(error, OSError) else str(error).partition(". ")[0]
    return ClusterError(
        f"{files} cannot be used ({reason}); restore them from a backup, or remove them: then "
        "they are made again, and every certificate or token that they signed is worthless"
    )


def _read_pair(certificate: Path, key: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Raises OSError when one is missing, ValueError when one is damaged or they do not belong
    together."""
    public = x509.load_pem_x509_certificate(certificate.read_bytes())
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    mismatch = ValueError(f"{key.name} is not the key of {certificate.name}")
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise mismatch
    if private.public_key() != public.public_key():
        raise mismatch
    return public, private


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
