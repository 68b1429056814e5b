"""Certificate signing requests: who asks is noted, and only those who may approve, sign, or become masters do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tiphys.apiserver.admission import Attributes, Base
from tiphys.apiserver.authorization import Asked, Authorizer
from tiphys.apiserver.request import MASTERS
from tiphys.machinery import errors
from tiphys.machinery.errors import FieldError

_GROUP = "certificates.k8s.io"
CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT, KUBELET_SERVING = "kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"


class Certificates(Base):
    resources = frozenset(("certificatesigningrequests.certificates.k8s.io",))

    def __init__(self, authorizer: Callable[[], Authorizer]) -> None:
        self._authorizer = authorizer

    async def mutate(self, a: Attributes) -> None:
        if a.operation == "CREATE" and not a.subresource:
            spec = a.obj.spec
            spec.username, spec.groups, spec.uid = a.user.name, list(a.user.groups), a.user.uid
            spec.extra = dict(a.user.extra)

    async def validate(self, a: Attributes) -> None:
        if a.operation == "CREATE" and not a.subresource:
            self._check_subject(a)
        elif a.operation == "UPDATE" and a.subresource == "approval":
            self._check_signer(a, "approve")
        elif (
            a.operation == "UPDATE"
            and a.subresource == "status"
            and a.obj.status.certificate != a.old.status.certificate
        ):
            self._check_signer(a, "sign")

    def _check_signer(self, a: Attributes, verb: str) -> None:
        signer = a.old.spec.signer_name
        domain = signer.partition("/")[0]
        for name in (signer, f"{domain}/*"):
            if self._authorizer().authorize(a.user, Asked(verb, _GROUP, "signers", "", "", name))[0]:
                return
        why = f'user not permitted to {verb} requests with signerName "{signer}"'
        raise errors.forbidden(a.resource.group_resource, a.name, why)

    @staticmethod
    def _check_subject(a: Attributes) -> None:
        """A request for a client certificate must not ask to be one of the masters."""
        if a.obj.spec.signer_name != CLIENT:
            return
        request = parse_request(a.obj.spec.request)
        if request is not None and MASTERS in organizations(request):
            why = f"use of {CLIENT} signer with {MASTERS} group is not allowed"
            raise errors.forbidden(a.resource.group_resource, a.name or a.obj.metadata.name, why)


def parse_request(pem: bytes) -> Any | None:
    """The PKCS #10 request in PEM, None when it is none."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_csr(pem)
    except ValueError:
        return None


def organizations(request: Any) -> list[str]:
    from cryptography.x509.oid import NameOID

    return [str(a.value) for a in request.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]


def request_errors(spec: Any) -> list[FieldError]:
    """What is wrong with a signing request."""
    found = []
    request = parse_request(spec.request)
    if request is None:
        found.append(errors.invalid_value("spec.request", spec.request or None, "PEM block type must be CERTIFICATE REQUEST"))
    elif not request.is_signature_valid:
        found.append(errors.invalid_value("spec.request", spec.request, "x509: the request's signature is not valid"))
    if not spec.signer_name:
        found.append(errors.required("spec.signerName"))
    elif spec.signer_name.count("/") != 1 or "." not in spec.signer_name.partition("/")[0]:
        why = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        found.append(errors.invalid_value("spec.signerName", spec.signer_name, why))
    if not spec.usages:
        found.append(errors.required("spec.usages", "usages must be provided"))
    for index, usage in enumerate(spec.usages):
        if usage not in USAGES:
            found.append(errors.not_supported(f"spec.usages[{index}]", usage, USAGES))
    if len(set(spec.usages)) != len(spec.usages):
        found.append(errors.duplicate("spec.usages", list(spec.usages)))
    if spec.expiration_seconds is not None and spec.expiration_seconds < 600:
        why = "may not specify a duration less than 600 seconds (10 minutes)"
        found.append(errors.invalid_value("spec.expirationSeconds", spec.expiration_seconds, why))
    return found


USAGES = frozenset((
    "signing", "digital signature", "content commitment", "key encipherment", "key agreement", "data encipherment",
    "cert sign", "crl sign", "encipher only", "decipher only", "any", "server auth", "client auth", "code signing",
    "email protection", "s/mime", "ipsec end system", "ipsec tunnel", "ipsec user", "timestamping", "ocsp signing",
    "microsoft sgc", "netscape sgc",
))  # fmt: skip
