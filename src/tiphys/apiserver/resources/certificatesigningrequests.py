"""Certificate signing requests: what one may hold, and which path may change which part of it."""

from __future__ import annotations

import copy
import re

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from tiphys.api import certificates_v1 as v1
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.columns import AGE, NAME, Column
from tiphys.apiserver.resources.lookups import Objects
from tiphys.apiserver.resources.subresources import Part
from tiphys.machinery import durations, errors, goformat
from tiphys.machinery.errors import FieldError
from tiphys.machinery.names import dns_label_errors, dns_subdomain_errors, path_segment_errors
from tiphys.store.cache import Selectable

LEGACY = "kubernetes.io/legacy-unknown"
_APPROVED = "Approved"
_DENIED = "Denied"
_FAILED = "Failed"
_CONDITIONS = "status.conditions"
_STATES = ("False", "True", "Unknown")
_BLOCK = re.compile(rb"-----BEGIN ([^-\n]*)-----")
USAGES = frozenset(
    (
        "signing",
        "digital signature",
        "content commitment",
        "key encipherment",
        "key agreement",
        "data encipherment",
        "cert sign",
        "crl sign",
        "encipher only",
        "decipher only",
        "any",
        "server auth",
        "client auth",
        "code signing",
        "email protection",
        "s/mime",
        "ipsec end system",
        "ipsec tunnel",
        "ipsec user",
        "timestamping",
        "ocsp signing",
        "microsoft sgc",
        "netscape sgc",
    )
)


def _duration(request: v1.CertificateSigningRequest) -> str:
    seconds = request.spec.expiration_seconds
    return durations.human(seconds) if seconds else "<none>"


def _condition(request: v1.CertificateSigningRequest) -> str:
    types = {condition.type for condition in request.status.conditions}
    decisions = [name for name in (_APPROVED, _DENIED, _FAILED) if name in types]
    text = ",".join(decisions) or "Pending"
    return f"{text},Issued" if request.status.certificate else text


def _approved(
    new: v1.CertificateSigningRequest, old: v1.CertificateSigningRequest
) -> v1.CertificateSigningRequest:
    """`new` with nothing changed of spec and status but the conditions."""
    conditions = new.status.conditions
    new.spec = old.spec
    new.status = copy.deepcopy(old.status)
    new.status.conditions = conditions
    return new


class CertificateSigningRequestStrategy(Strategy[v1.CertificateSigningRequest]):
    name_errors = staticmethod(path_segment_errors)
    columns = (
        NAME,
        AGE,
        Column("SignerName", lambda o: o.spec.signer_name),
        Column("Requestor", lambda o: o.spec.username),
        Column("RequestedDuration", _duration),
        Column("Condition", _condition),
    )

    fields = (Selectable("spec.signerName"),)
    subresources = {"approval": Part(_approved)}

    def prepare_for_update(
        self, new: v1.CertificateSigningRequest, old: v1.CertificateSigningRequest
    ) -> None:
        """Nothing but metadata changes here."""
        new.spec = old.spec
        new.status = old.status

    def prepare_for_status(
        self, new: v1.CertificateSigningRequest, old: v1.CertificateSigningRequest
    ) -> None:
        """Approval and denial stay as they were; adding or removing one is an error that
        `validate_status` finds."""
        new.spec = old.spec
        for kind in (_APPROVED, _DENIED):
            before = _of_type(old, kind)
            now = _of_type(new, kind)
            if len(before) == len(now):
                kept = iter(before)
                new.status.conditions = [
                    next(kept) if c.type == kind else c for c in new.status.conditions
                ]

    def validate(self, obj: v1.CertificateSigningRequest) -> list[FieldError]:
        return _request_errors(obj.spec)

    def validate_new(self, obj: v1.CertificateSigningRequest, objects: Objects) -> list[FieldError]:
        return _request_errors(obj.spec, new=True)

    def validate_status(
        self, new: v1.CertificateSigningRequest, old: v1.CertificateSigningRequest
    ) -> list[FieldError]:
        return (
            _condition_errors(new, old)
            + _removed(new, old)
            + _decided(new, old)
            + _certificate_errors(new, old)
        )

    def validate_part(
        self, new: v1.CertificateSigningRequest, old: v1.CertificateSigningRequest, subresource: str
    ) -> list[FieldError]:
        return _condition_errors(new, old) + _removed(new, old)


def parse_request(pem: bytes) -> x509.CertificateSigningRequest | None:
    """The PKCS #10 request in PEM, None when there is none that can be read to its end."""
    block = _BLOCK.search(pem)
    if block is None or block[1] != b"CERTIFICATE REQUEST":
        return None
    try:
        request = x509.load_pem_x509_csr(pem)
        _ = request.subject, request.extensions, request.public_key()
    except (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ):
        return None
    return request


def common_name(request: x509.CertificateSigningRequest) -> str:
    """The name in the subject: of several the last one, as Go reads them."""
    names = [str(a.value) for a in request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return names[-1] if names else ""


def organizations(request: x509.CertificateSigningRequest) -> list[str]:
    return [str(a.value) for a in request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]


def _is_signed(request: x509.CertificateSigningRequest) -> bool:
    try:
        return request.is_signature_valid
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False


def _request_errors(spec: v1.CertificateSigningRequestSpec, new: bool = False) -> list[FieldError]:
    violations = []
    request = parse_request(spec.request)
    if request is None:
        detail = "PEM block type must be CERTIFICATE REQUEST"
        violations.append(errors.invalid_value("spec.request", spec.request or None, detail))
    elif not _is_signed(request):
        violations.append(
            errors.invalid_value(
                "spec.request", spec.request, "x509: the request's signature is not valid"
            )
        )
    if not spec.usages:
        violations.append(errors.required("spec.usages"))
    for index, usage in enumerate(spec.usages):
        if usage not in USAGES:
            violations.append(errors.not_supported(f"spec.usages[{index}]", usage, USAGES))
    for index, usage in enumerate(spec.usages):
        if usage in spec.usages[:index]:
            violations.append(errors.duplicate(f"spec.usages[{index}]", usage))
    if new and spec.signer_name == LEGACY:
        detail = "the legacy signerName is not allowed via this API version"
        violations.append(errors.invalid_value("spec.signerName", spec.signer_name, detail))
    else:
        violations += signer_name_errors(spec.signer_name, "spec.signerName")
    if spec.expiration_seconds is not None and spec.expiration_seconds < 600:
        detail = "may not specify a duration less than 600 seconds (10 minutes)"
        violations.append(
            errors.invalid_value("spec.expirationSeconds", spec.expiration_seconds, detail)
        )
    return violations


def signer_name_errors(name: str, field: str) -> list[FieldError]:
    """What is wrong with a signer's name, a domain and a path: ``example.com/signer-name``."""
    if not name:
        return [errors.required(field)]
    if name.count("/") != 1:
        detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        return [errors.invalid_value(field, name, detail)]
    domain, _, path = name.partition("/")
    violations = []
    for label in domain.split("."):
        if problems := dns_label_errors(label):
            violations += [
                errors.invalid_value(field, domain, f'validating label "{label}": {detail}')
                for detail in problems
            ]
            break
    if "." not in domain:
        violations.append(
            errors.invalid_value(
                field, domain, "should be a domain with at least two segments separated by dots"
            )
        )
    for label in path.split("."):
        if problems := dns_subdomain_errors(label):
            violations += [
                errors.invalid_value(field, path, f'validating label "{label}": {detail}')
                for detail in problems
            ]
            break
    return violations


def _of_type(
    csr: v1.CertificateSigningRequest, kind: str
) -> list[v1.CertificateSigningRequestCondition]:
    return [condition for condition in csr.status.conditions if condition.type == kind]


def _condition_errors(
    new: v1.CertificateSigningRequest, old: v1.CertificateSigningRequest
) -> list[FieldError]:
    violations = []
    seen = set()
    for index, condition in enumerate(new.status.conditions):
        path = f"{_CONDITIONS}[{index}]"
        kind = condition.type
        if not kind:
            violations.append(errors.required(f"{path}.type"))
        allowed = ("True",) if kind in (_APPROVED, _DENIED, _FAILED) else _STATES
        if not condition.status:
            violations.append(errors.required(f"{path}.status"))
        elif condition.status not in allowed:
            violations.append(errors.not_supported(f"{path}.status", condition.status, allowed))
        if {_APPROVED: _DENIED, _DENIED: _APPROVED}.get(kind) in seen and not (
            _of_type(old, _APPROVED) and _of_type(old, _DENIED)
        ):
            violations.append(
                errors.invalid_value(
                    _CONDITIONS, kind, "Approved and Denied conditions are mutually exclusive"
                )
            )
        if kind in seen:
            violations.append(errors.duplicate(f"{path}.type", kind))
        seen.add(kind)
    return violations


def _removed(
    new: v1.CertificateSigningRequest, old: v1.CertificateSigningRequest
) -> list[FieldError]:
    """A decision is final, whoever changes the request."""
    return [
        errors.forbidden_field(_CONDITIONS, f'updates may not remove a condition of type "{kind}"')
        for kind in (_APPROVED, _DENIED, _FAILED)
        if len(_of_type(new, kind)) < len(_of_type(old, kind))
    ]


def _decided(
    new: v1.CertificateSigningRequest, old: v1.CertificateSigningRequest
) -> list[FieldError]:
    """The right to sign is not the right to approve."""
    return [
        errors.forbidden_field(_CONDITIONS, f'updates may not add a condition of type "{kind}"')
        for kind in (_APPROVED, _DENIED)
        if len(_of_type(new, kind)) > len(_of_type(old, kind))
    ]


def _certificate_errors(
    new: v1.CertificateSigningRequest, old: v1.CertificateSigningRequest
) -> list[FieldError]:
    path = "status.certificate"
    signed = new.status.certificate
    if signed == old.status.certificate:
        return []
    violations = []
    if signed and (detail := _why_no_certificates(signed)):
        violations.append(errors.invalid_value(path, "<certificate data>", detail))
    if old.status.certificate:
        violations.append(
            errors.forbidden_field(path, "updates may not modify existing certificate content")
        )
    return violations


def _why_no_certificates(pem: bytes) -> str:
    blocks = _BLOCK.findall(pem)
    if not blocks:
        return "must contain at least one CERTIFICATE PEM block"
    for block in blocks:
        if block != b"CERTIFICATE":
            shown = goformat.quoted(block.decode(errors="replace"))
            return f"only CERTIFICATE PEM blocks are allowed, found {shown}"
    try:
        x509.load_pem_x509_certificates(pem)
    except ValueError:
        return "x509: malformed certificate"
    return ""
