"""Certificate signing requests of the built-in signers: nodes' own are approved, approved ones
signed, old ones removed. What is signed, `signing` says."""

from __future__ import annotations

import copy

from cryptography import x509

from tiphys.api.certificates_v1 import CertificateSigningRequest, CertificateSigningRequestCondition
from tiphys.controllers.shell import Context, Controller
from tiphys.controllers.signing import SIGNERS, Signer, is_a_nodes_own, refusal
from tiphys.machinery import conditions, timestamps

_HOUR = 3600.0
_KEPT = {  # seconds after the fact, as upstream's cleaner
    "Approved": _HOUR,
    "Denied": _HOUR,
    "Failed": _HOUR,
    "Pending": 24 * _HOUR,
}
_AUTO_APPROVED = "Auto approving self kubelet client certificate after SubjectAccessReview."


# --- the core: pure ---


def has(csr: CertificateSigningRequest, kind: str) -> bool:
    """Whether a request has a condition: one without a status counts as true, as upstream has
    it."""
    condition = conditions.find(csr.status.conditions, kind)
    return condition is not None and condition.status in ("True", "")


def state_of(csr: CertificateSigningRequest) -> str:
    """Denied, Failed, Approved or Pending."""
    for kind in ("Denied", "Failed", "Approved"):
        if has(csr, kind):
            return kind
    return "Pending"


def removed_after(csr: CertificateSigningRequest, now: float) -> float:
    """Seconds until a request may be removed; zero or less: now."""
    if csr.status.certificate:
        certificate = x509.load_pem_x509_certificate(csr.status.certificate)
        if certificate.not_valid_after_utc.timestamp() < now:
            return 0.0
    state = state_of(csr)
    condition = conditions.find(csr.status.conditions, state)
    since = csr.metadata.creation_timestamp
    if condition is not None and condition.last_update_time:
        since = condition.last_update_time
    return timestamps.parse(since) + _KEPT[state] - now


# --- the shell ---


class CertificateController(Controller):
    name = "certificatesigningrequest"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        authority = context.settings.get("authority")
        self._signer = Signer(*authority) if authority else None  # without, nothing is signed here

    def watch(self) -> None:
        self._requests = self.informer(CertificateSigningRequest)
        self._requests.on_change(self.enqueue)

    async def reconcile(self, key: str) -> float | None:
        csr = self._requests.get(key)
        if csr is None:
            return None
        left = removed_after(csr, self.context.now())
        if left <= 0:
            await self.delete(csr)
            return None
        if csr.spec.signer_name not in SIGNERS or csr.status.certificate:
            return left
        state = state_of(csr)
        if state == "Pending" and is_a_nodes_own(csr):
            await self._approve(csr)
        elif state == "Approved" and self._signer is not None:
            await self._sign(csr, self._signer)
        return left

    async def _approve(self, csr: CertificateSigningRequest) -> None:
        changed = copy.deepcopy(csr)
        self._add_condition(changed, "Approved", "AutoApproved", _AUTO_APPROVED)
        await self.client.update(changed, "approval")

    async def _sign(self, csr: CertificateSigningRequest, signer: Signer) -> None:
        changed = copy.deepcopy(csr)
        reason = refusal(csr)
        if reason:
            self._add_condition(changed, "Failed", "SignerValidationFailure", reason)
        else:
            changed.status.certificate = signer.sign(csr, self.context.now())
        await self.client.update_status(changed)

    def _add_condition(
        self, csr: CertificateSigningRequest, kind: str, reason: str, message: str
    ) -> None:
        now = self.context.now()
        condition = CertificateSigningRequestCondition(
            type=kind,
            status="True",
            reason=reason,
            message=message,
            last_update_time=timestamps.rfc3339(now),
        )
        csr.status.conditions = conditions.updated(csr.status.conditions, condition, now)
