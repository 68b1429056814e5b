"""Certificate signing requests of the built-in signers: nodes' own are approved, approved ones signed, old ones removed."""

from __future__ import annotations

import copy
import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tiphys.api.certificates_v1 import CertificateSigningRequest, CertificateSigningRequestCondition
from tiphys.controllers.shell import Context, Controller
from tiphys.machinery import timestamps
from tiphys.machinery.errors import StatusError

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT, KUBELET_SERVING = (
    "kubernetes.io/kube-apiserver-client-kubelet",
    "kubernetes.io/kubelet-serving",
)
NODE_PREFIX = "system:node:"
_YEAR = 365 * 24 * 3600
_KEPT = {
    "Approved": 3600.0,
    "Denied": 3600.0,
    "Failed": 3600.0,
    "Pending": 24 * 3600.0,
}  # seconds after the fact

_LEAST = 600  # seconds
_BACKDATED = datetime.timedelta(minutes=5)
_SHORT = (
    8 * 3600
)  # seconds; what lives longer ends five minutes early, as it begins five minutes early

# All that the built-in signers sign.
_EXTENDED = {
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
}
_OPTIONAL = frozenset(("digital signature", "key encipherment"))
_WITHOUT_RSA = {"digital signature"}


# --- the core: pure ---


def is_(csr: CertificateSigningRequest, kind: str) -> bool:
    return any(c.type == kind and c.status in ("True", "") for c in csr.status.conditions)


def names_of(
    request: x509.CertificateSigningRequest,
) -> tuple[str, list[str], list[x509.GeneralName]]:
    """(common name, organizations, subject alternative names). Of several common names the last one counts, as it does
    for who is shown the certificate."""
    common = [str(a.value) for a in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = [
        str(a.value) for a in request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    ]
    try:
        extension = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        others = list(extension)
    except x509.ExtensionNotFound:
        others = []
    return common[-1] if common else "", groups, others


def refusal(csr: CertificateSigningRequest) -> str:
    """Why a built-in signer will not sign what was approved; the empty string when it will."""
    try:
        common, groups, others = names_of(x509.load_pem_x509_csr(csr.spec.request))
    except ValueError as error:
        return str(error)
    usages = set(csr.spec.usages)
    if csr.spec.signer_name == CLIENT:
        return _no_client(csr.spec.usages)
    if groups != ["system:nodes"]:
        return "subject organization is not system:nodes"
    if csr.spec.signer_name == KUBELET_CLIENT:
        return _no_kubelet_client(common, others, usages)
    if not any(isinstance(name, x509.DNSName | x509.IPAddress) for name in others):
        return "DNS or IP subjectAltName is required"
    for kind, word in ((x509.RFC822Name, "Email"), (x509.UniformResourceIdentifier, "URI")):
        if any(isinstance(name, kind) for name in others):
            return f"{word} subjectAltNames are not allowed"
    if usages - {"key encipherment"} != {"server auth"} | _WITHOUT_RSA:
        return "usages did not match [digital signature key encipherment server auth]"
    return (
        ""
        if common.startswith(NODE_PREFIX)
        else f"subject common name does not begin with {NODE_PREFIX}"
    )


def _no_client(usages: list[str]) -> str:
    for usage in usages:
        if usage not in _OPTIONAL and usage != "client auth":
            return f"invalid usage for client certificate: {usage}"
    return (
        ""
        if "client auth" in usages
        else "missing required usage for client certificate: client auth"
    )


def _no_kubelet_client(common: str, others: list[x509.GeneralName], usages: set[str]) -> str:
    words = {
        x509.DNSName: "DNS",
        x509.RFC822Name: "Email",
        x509.IPAddress: "IP",
        x509.UniformResourceIdentifier: "URI",
    }
    for name in others:
        return f"{words.get(type(name), 'Other')} subjectAltNames are not allowed"
    if not common.startswith(NODE_PREFIX):
        return f"subject common name does not begin with {NODE_PREFIX}"
    if usages - {"key encipherment"} != {"client auth"} | _WITHOUT_RSA:
        return "usages did not match [client auth digital signature key encipherment]"
    return ""


def _key_usage(usages: set[str]) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature="digital signature" in usages,
        key_encipherment="key encipherment" in usages,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def is_a_nodes_own(csr: CertificateSigningRequest) -> bool:
    """Whether a node asks to renew the client certificate that it has."""
    if csr.spec.signer_name != KUBELET_CLIENT or "system:nodes" not in csr.spec.groups:
        return False
    if refusal(csr):
        return False
    return names_of(x509.load_pem_x509_csr(csr.spec.request))[0] == csr.spec.username


def expired(csr: CertificateSigningRequest, now: float) -> float:
    """Seconds until a request may be removed; zero or less: now."""
    state = next((kind for kind in ("Denied", "Failed", "Approved") if is_(csr, kind)), "Pending")
    if csr.status.certificate:
        ends = x509.load_pem_x509_certificate(
            csr.status.certificate
        ).not_valid_after_utc.timestamp()
        if ends < now:
            return 0.0
    since = csr.metadata.creation_timestamp
    for condition in csr.status.conditions:
        if condition.type == state and condition.last_update_time:
            since = condition.last_update_time
    return timestamps.parse(since) + _KEPT[state] - now


# --- the shell ---


class CertificateController(Controller):
    name = "certificatesigningrequest"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        pair = context.settings.get(
            "authority"
        )  # (certificate, key) in PEM, or None: then nothing is signed here
        self._authority = x509.load_pem_x509_certificate(pair[0]) if pair else None
        self._key: Any = serialization.load_pem_private_key(pair[1], None) if pair else None

    def watch(self) -> None:
        self._requests = self.informer(CertificateSigningRequest)
        self._requests.on_change(self.enqueue)

    async def reconcile(self, key: str) -> float | None:
        csr = self._requests.get(key)
        if csr is None:
            return None
        left = expired(csr, self.context.now())
        if left <= 0:
            await self._delete(csr)
            return None
        if csr.spec.signer_name not in (CLIENT, KUBELET_CLIENT, KUBELET_SERVING):
            return left
        approved, over = (
            is_(csr, "Approved"),
            is_(csr, "Denied") or is_(csr, "Failed") or csr.status.certificate,
        )
        if not approved and not over and is_a_nodes_own(csr):
            await self._approve(csr)
        elif approved and not over and self._key is not None:
            await self._sign(csr)
        return left

    async def _delete(self, csr: CertificateSigningRequest) -> None:
        try:
            await self.client.delete(
                CertificateSigningRequest, csr.metadata.name, uid=csr.metadata.uid
            )
        except StatusError as error:
            if error.code not in (404, 409):
                raise

    def _condition(
        self, kind: str, reason: str, message: str
    ) -> CertificateSigningRequestCondition:
        now = timestamps.rfc3339(self.context.now())
        return CertificateSigningRequestCondition(
            type=kind,
            status="True",
            reason=reason,
            message=message,
            last_update_time=now,
            last_transition_time=now,
        )

    async def _approve(self, csr: CertificateSigningRequest) -> None:
        changed = copy.deepcopy(csr)
        text = "Auto approving self kubelet client certificate after SubjectAccessReview."
        changed.status.conditions.append(self._condition("Approved", "AutoApproved", text))
        await self.client.update(changed, "approval")

    async def _sign(self, csr: CertificateSigningRequest) -> None:
        changed = copy.deepcopy(csr)
        why = refusal(csr)
        if why:
            changed.status.conditions.append(
                self._condition("Failed", "SignerValidationFailure", why)
            )
        else:
            changed.status.certificate = self.certificate(csr)
        await self.client.update_status(changed)

    def certificate(self, csr: CertificateSigningRequest) -> bytes:
        """The signed certificate, in PEM."""
        assert self._authority is not None
        request = x509.load_pem_x509_csr(csr.spec.request)
        now = datetime.datetime.fromtimestamp(self.context.now(), datetime.UTC)
        seconds = min(max(csr.spec.expiration_seconds or _YEAR, _LEAST), _YEAR)
        begins = now - _BACKDATED
        ends = (
            now
            + datetime.timedelta(seconds=seconds)
            - (_BACKDATED if seconds >= _SHORT else datetime.timedelta())
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(self._authority.subject)
        )
        builder = builder.public_key(request.public_key()).serial_number(
            x509.random_serial_number()
        )
        builder = builder.not_valid_before(begins).not_valid_after(
            min(ends, self._authority.not_valid_after_utc)
        )
        builder = builder.add_extension(
            x509.BasicConstraints(ca=False, path_length=None), critical=True
        )
        usages = set(csr.spec.usages)
        if (
            usages & _OPTIONAL
        ):  # without any the extension is left out: an empty one forbids every use
            builder = builder.add_extension(_key_usage(usages), critical=True)
        extended = [_EXTENDED[usage] for usage in csr.spec.usages if usage in _EXTENDED]
        if extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
        try:
            others = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            builder = builder.add_extension(others.value, critical=False)
        except x509.ExtensionNotFound:
            pass
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        signed = builder.add_extension(issuer, critical=False).sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)
