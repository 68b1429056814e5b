"""A node's certificates: asked of the API server by signing requests, and renewed before they end.

Each is one PEM file with certificate and key, so that the two are always of each other (upstream's
kubelet-client-current.pem).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tiphys.api.certificates_v1 import CertificateSigningRequest
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.client.client import Client, Unreachable
from tiphys.machinery import conditions
from tiphys.machinery.errors import StatusError

log = logging.getLogger(__name__)

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
_USAGES = {
    CLIENT: ["digital signature", "client auth"],
    KUBELET_CLIENT: ["digital signature", "client auth"],
    KUBELET_SERVING: ["digital signature", "server auth"],
}
# Of a certificate's life it is renewed after this part, upstream's 80 % give or take 10.
_EARLIEST, _LATEST = 0.7, 0.9
_RETRY = 30.0  # seconds after an attempt that failed
_LOOK = 3600.0  # seconds at most between readings of the clock, which may jump
PATIENCE = 60.0  # seconds that a request may take to be approved and signed


class CertificateError(Exception):
    """No certificate is to be had; the text says why."""


@dataclass(frozen=True)
class Wanted:
    """What a certificate is to say. `names` are DNS names and addresses."""

    signer: str
    user: str
    groups: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def node_client(name: str) -> Wanted:
    """By which a node's agent is known to the API server."""
    return Wanted(KUBELET_CLIENT, f"system:node:{name}", ("system:nodes",))


def node_server(name: str, address: str) -> Wanted:
    """What a node's own server shows."""
    names = (name, address)
    return Wanted(KUBELET_SERVING, f"system:node:{name}", ("system:nodes",), names)


def policy_client() -> Wanted:
    """Who watches the pods of all nodes for a node's network policies."""
    return Wanted(CLIENT, "tiphys:network-policy")


# --- asking ---


async def obtain(client: Client, wanted: Wanted, patience: float = PATIENCE) -> bytes:
    """A new certificate and its key as PEM. Raises CertificateError, StatusError, Unreachable."""
    key = ec.generate_private_key(ec.SECP256R1())
    csr = CertificateSigningRequest(metadata=ObjectMeta(generate_name="node-csr-"))
    csr.spec.request = _request(wanted, key)
    csr.spec.signer_name = wanted.signer
    csr.spec.usages = list(_USAGES[wanted.signer])
    created = await client.create(csr)
    name = created.metadata.name
    try:
        async with asyncio.timeout(patience):
            certificate = await _signed(client, name)
    except TimeoutError:
        raise CertificateError(
            f"the request for a certificate was not approved within {patience:g} s; an "
            f"administrator may approve it: kubectl certificate approve {name}"
        ) from None
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return certificate + private


def _request(wanted: Wanted, key: ec.EllipticCurvePrivateKey) -> bytes:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in wanted.groups]
    attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, wanted.user))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes))
    if wanted.names:
        alternatives = x509.SubjectAlternativeName([_alternative(name) for name in wanted.names])
        builder = builder.add_extension(alternatives, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


async def _signed(client: Client, name: str) -> bytes:
    """The certificate of a request, once there is one. Raises CertificateError when it is denied
    or has failed."""
    while True:
        with contextlib.suppress(Unreachable):  # the watch broke: it is restarted
            selected = f"metadata.name={name}"
            async for event in client.watch(CertificateSigningRequest, fields=selected):
                if event.kind in ("ADDED", "MODIFIED"):
                    certificate = _outcome(event.obj)
                    if certificate:
                        return certificate
        await asyncio.sleep(0.1)


def _outcome(csr: CertificateSigningRequest) -> bytes:
    for kind in ("Denied", "Failed"):
        condition = conditions.find(csr.status.conditions, kind)
        if condition is not None:
            raise CertificateError(condition.message or condition.reason or kind)
    return csr.status.certificate


# --- files ---


def write(path: Path, pem: bytes) -> None:
    """Replaces a file of certificate and key at once; only its owner can read it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(path.name + ".new")
    handle = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def read(path: Path) -> x509.Certificate | None:
    """The certificate in a file; None when it is missing, damaged, or without its key."""
    try:
        pem = path.read_bytes()
        certificate = x509.load_pem_x509_certificate(pem)
        key = serialization.load_pem_private_key(pem, None)
    except (OSError, ValueError, TypeError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return None
    return certificate if key.public_key() == certificate.public_key() else None


def says(certificate: x509.Certificate, wanted: Wanted) -> bool:
    """Whether a certificate has the names that are wanted, and no others."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = {str(name.value) for name in extension.value}
    except x509.ExtensionNotFound:
        names = set()
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return [str(attribute.value) for attribute in common] == [wanted.user] and names == set(
        wanted.names
    )


def renewed_at(certificate: x509.Certificate, part: float) -> float:
    """When a certificate is to be renewed, in seconds since the epoch; `part` of its life, from 0
    to 1."""
    starts = certificate.not_valid_before_utc.timestamp()
    ends = certificate.not_valid_after_utc.timestamp()
    return starts + (ends - starts) * part


# --- renewal ---


class Rotation:
    """Keeps one certificate file: makes it when it is missing, renews it before it ends.

    renewed: called after the file was replaced
    """

    def __init__(
        self,
        client: Client,
        path: Path,
        wanted: Wanted,
        renewed: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._path = path
        self._wanted = wanted
        self._renewed = renewed
        self._now = now
        self._part = random.uniform(_EARLIEST, _LATEST)

    def seconds_left(self) -> float:
        """Until the certificate is to be renewed; zero or less: now."""
        certificate = read(self._path)
        if certificate is None or not says(certificate, self._wanted):
            return 0.0
        return renewed_at(certificate, self._part) - self._now()

    async def ensure(self) -> None:
        """Returns once there is a certificate that need not be renewed yet. Raises as `obtain`."""
        if self.seconds_left() <= 0:
            write(self._path, await obtain(self._client, self._wanted))

    async def run(self) -> None:
        """Renews until cancelled."""
        while True:
            left = self.seconds_left()
            if left > 0:
                await asyncio.sleep(min(left, _LOOK))
                continue
            try:
                await self.ensure()
            except (CertificateError, StatusError, Unreachable) as error:
                log.warning("The certificate %s is not renewed yet: %s", self._path.name, error)
                await asyncio.sleep(_RETRY)
                continue
            log.info("The certificate %s was renewed", self._path.name)
            self._part = random.uniform(_EARLIEST, _LATEST)
            self._renewed()
