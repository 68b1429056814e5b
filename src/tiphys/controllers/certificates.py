"""Certificate signing requests of the built-in signers: those of nodes are approved (`approval`
says which), approved ones signed (`signing` says what), old ones removed."""

from __future__ import annotations

import copy

from cryptography import x509

from tiphys.api import authorization_v1, core_v1
from tiphys.api.certificates_v1 import CertificateSigningRequest, CertificateSigningRequestCondition
from tiphys.controllers import approval
from tiphys.controllers.shell import Context, Controller
from tiphys.controllers.signing import KUBELET_SERVING, SIGNERS, Signer, refusal, subject_of
from tiphys.machinery import conditions, timestamps

_HOUR = 3600.0
_KEPT = {  # seconds after the fact, as upstream's cleaner
    "Approved": _HOUR,
    "Denied": _HOUR,
    "Failed": _HOUR,
    "Pending": 24 * _HOUR,
}
_RETRY = 5.0  # seconds until a request is judged again whose node may show its addresses by then


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


def until_recognized(signer: str, left: float) -> float:
    """Seconds until an unrecognized request is checked again: it may be for the server of a node
    that has not registered yet."""
    return min(left, _RETRY) if signer == KUBELET_SERVING else left


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
        self._endpoints = self.informer(core_v1.Endpoints)

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
        if state == "Pending":
            return await self._judge(csr, left)
        if state == "Approved" and self._signer is not None:
            await self._sign(csr, self._signer)
        return left

    # --- approval ---

    async def _judge(self, csr: CertificateSigningRequest, left: float) -> float:
        """Approves or denies a request, or leaves it to a person; seconds until the next check."""
        surroundings = await self._surroundings(csr)
        kinds = approval.recognized(csr, surroundings)
        for kind in kinds:
            if not await self._is_allowed(csr, kind.subresource):
                continue
            reason = approval.taken(csr, surroundings)
            if reason:
                await self._decide(csr, "Denied", "NameTaken", reason)
            else:
                await self._decide(csr, "Approved", "AutoApproved", kind.message)
            return left
        return left if kinds else until_recognized(csr.spec.signer_name, left)

    async def _surroundings(self, csr: CertificateSigningRequest) -> approval.Surroundings:
        reserved = self.context.settings.get("server_names", frozenset())
        try:
            name = approval.node_name(subject_of(csr.spec.request))
        except ValueError:
            name = ""
        # Not the informer's: the Node of a machine that has just joined must not be missed.
        node = await self.live(core_v1.Node, name) if name else None
        return approval.Surroundings(node, reserved | self._servers())

    def _servers(self) -> frozenset[str]:
        """The addresses of all API servers."""
        endpoints = self._endpoints.get("default/kubernetes")
        rows = endpoints.subsets if endpoints is not None else []
        return frozenset(row.ip for subset in rows for row in subset.addresses)

    async def _is_allowed(self, csr: CertificateSigningRequest, subresource: str) -> bool:
        """Whether the requester has the permission that this kind of request takes."""
        review = authorization_v1.SubjectAccessReview()
        spec = review.spec
        spec.user = csr.spec.username
        spec.uid = csr.spec.uid
        spec.groups = list(csr.spec.groups)
        spec.extra = dict(csr.spec.extra)
        spec.resource_attributes = authorization_v1.ResourceAttributes(
            group="certificates.k8s.io",
            version="*",
            resource="certificatesigningrequests",
            subresource=subresource,
            verb="create",
        )
        return bool((await self.client.create(review)).status.allowed)

    async def _decide(
        self, csr: CertificateSigningRequest, kind: str, reason: str, message: str
    ) -> None:
        changed = copy.deepcopy(csr)
        self._add_condition(changed, kind, reason, message)
        await self.client.update(changed, "approval")

    # --- signing ---

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
