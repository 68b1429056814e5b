"""Certificate signing requests: who asks is noted, and only those who may approve, sign, or become masters do."""

from __future__ import annotations

from collections.abc import Callable

from tiphys.apiserver.access.authorization import Asked, Authorizer
from tiphys.apiserver.admission import Attributes, Base
from tiphys.apiserver.http.request import MASTERS
from tiphys.apiserver.resources.certificatesigningrequests import organizations, parse_request
from tiphys.machinery import errors

_GROUP = "certificates.k8s.io"
CLIENT = "kubernetes.io/kube-apiserver-client"


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
        elif a.operation == "UPDATE" and a.subresource == "status":
            now, before = a.obj.status, a.old.status
            if (now.certificate, now.conditions) != (before.certificate, before.conditions):
                self._check_signer(a, "sign")

    def _check_signer(self, a: Attributes, verb: str) -> None:
        signer = a.old.spec.signer_name
        domain = signer.partition("/")[0]
        for name in (signer, f"{domain}/*"):
            if self._authorizer().authorize(a.user, Asked(verb, _GROUP, "signers", "", "", name))[
                0
            ]:
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
