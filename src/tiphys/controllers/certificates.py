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
KUBELET_CLIENT, KUBELET_SERVING = "kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"
_YEAR = 365 * 24 * 3600
_KEPT = {"Approved": 3600.0, "Denied": 3600.0, "Failed": 3600.0, "Pending": 24 * 3600.0}  # seconds after the fact

_EXTENDED = {
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH, "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING, "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING, "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
}  # fmt: skip
_CLIENT_USAGES = frozenset(("digital signature", "key encipherment", "client auth"))
_SERVING_USAGES = frozenset(("digital signature", "key encipherment", "server auth"))


# --- the core: pure ---


def is_(csr: CertificateSigningRequest, kind: str) -> bool:
    return any(c.type == kind and c.status in ("True", "") for c in csr.status.conditions)


def names_of(request: x509.CertificateSigningRequest) -> tuple[str, list[str], list[str]]:
    """(common name, organizations, subject alternative names)."""
    common = [str(a.value) for a in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = [str(a.value) for a in request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    try:
        extension = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        others = [str(name.value) for name in extension]
    except x509.ExtensionNotFound:
        others = []
    return common[0] if common else "", groups, others


def refusal(csr: CertificateSigningRequest) -> str:
    """Why a built-in signer will not sign what was approved; the empty string when it will."""
    request = x509.load_pem_x509_csr(csr.spec.request)
    common, groups, others = names_of(request)
    usages = set(csr.spec.usages)
    if csr.spec.signer_name == CLIENT:
        return "" if "client auth" in usages else "usages did not include client auth"
    if groups != ["system:nodes"]:
        return "organization in subject does not match: must be system:nodes"
    if not common.startswith("system:node:"):
        return "subject common name does not begin with system:node:"
    if csr.spec.signer_name == KUBELET_CLIENT:
        if others:
            return "subject alternative names are not allowed"
        return "" if "client auth" in usages and usages <= _CLIENT_USAGES else "usages did not match"
    if not others:
        return "DNS or IP subjectAltName is required"
    return "" if "server auth" in usages and usages <= _SERVING_USAGES else "usages did not match"


def is_a_nodes_own(csr: CertificateSigningRequest) -> bool:
    """Whether a node asks to renew the client certificate that it has."""
    if csr.spec.signer_name != KUBELET_CLIENT or "system:nodes" not in csr.spec.groups:
        return False
    common = names_of(x509.load_pem_x509_csr(csr.spec.request))[0]
    return common == csr.spec.username and not refusal(csr)


def expired(csr: CertificateSigningRequest, now: float) -> float:
    """Seconds until a request may be removed; zero or less: now."""
    state = next((kind for kind in ("Denied", "Failed", "Approved") if is_(csr, kind)), "Pending")
    if csr.status.certificate:
        ends = x509.load_pem_x509_certificate(csr.status.certificate).not_valid_after_utc.timestamp()
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
        pair = context.settings.get("authority")  # (certificate, key) in PEM, or None: then nothing is signed here
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
        decided = is_(csr, "Approved") or is_(csr, "Denied")
        if not decided and is_a_nodes_own(csr):
            await self._approve(csr)
        elif is_(csr, "Approved") and not csr.status.certificate and not is_(csr, "Failed") and self._key is not None:
            await self._sign(csr)
        return left

    async def _delete(self, csr: CertificateSigningRequest) -> None:
        try:
            await self.client.delete(CertificateSigningRequest, csr.metadata.name, uid=csr.metadata.uid)
        except StatusError as error:
            if error.code not in (404, 409):
                raise

    def _condition(self, kind: str, reason: str, message: str) -> CertificateSigningRequestCondition:
        now = timestamps.rfc3339(self.context.now())
        return CertificateSigningRequestCondition(
            type=kind, status="True", reason=reason, message=message, last_update_time=now, last_transition_time=now
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
            changed.status.conditions.append(self._condition("Failed", "SignerValidationFailure", why))
        else:
            changed.status.certificate = self.certificate(csr)
        await self.client.update_status(changed)

    def certificate(self, csr: CertificateSigningRequest) -> bytes:
        """The signed certificate, in PEM."""
        assert self._authority is not None
        request = x509.load_pem_x509_csr(csr.spec.request)
        now = datetime.datetime.fromtimestamp(self.context.now(), datetime.UTC)
        seconds = min(csr.spec.expiration_seconds or _YEAR, _YEAR)
        builder = x509.CertificateBuilder().subject_name(request.subject).issuer_name(self._authority.subject)
        builder = builder.public_key(request.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(minutes=5))
        builder = builder.not_valid_after(now + datetime.timedelta(seconds=seconds))
        usages = set(csr.spec.usages)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(
            x509.KeyUsage(
                digital_signature=bool(usages & {"digital signature", "signing"}), key_encipherment="key encipherment" in usages,
                content_commitment="content commitment" in usages, data_encipherment="data encipherment" in usages,
                key_agreement="key agreement" in usages, key_cert_sign=False, crl_sign=False, encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )  # fmt: skip
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
