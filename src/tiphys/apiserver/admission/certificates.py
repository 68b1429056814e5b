"""Certificate signing requests: records who makes one, and checks who approves, denies or signs
it."""

from __future__ import annotations

from collections.abc import Callable

from tiphys.apiserver.access.asked import Asked
from tiphys.apiserver.access.authorization import Authorizer
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
            spec.username = a.user.name
            spec.groups = list(a.user.groups)
            spec.uid = a.user.uid
            spec.extra = dict(a.user.extra)

    async def validate(self, a: Attributes) -> None:
        if a.operation == "CREATE" and not a.subresource:
            self._check_subject(a)
        elif a.operation == "UPDATE" and a.subresource == "approval":
            self._check_signer(a, "approve")
        elif a.operation == "UPDATE" and a.subresource == "status":
            new = a.obj.status
            old = a.old.status
            if new.certificate != old.certificate or new.conditions != old.conditions:
                self._check_signer(a, "sign")

    def _check_signer(self, a: Attributes, verb: str) -> None:
        signer = a.old.spec.signer_name
        domain = signer.partition("/")[0]
        for name in (signer, f"{domain}/*"):
            asked = Asked(verb, _GROUP, "signers", "", "", name)
            allowed, _ = self._authorizer().authorize(a.user, asked)
            if allowed:
                return
        reason = f'user not permitted to {verb} requests with signerName "{signer}"'
        raise errors.forbidden(a.resource.group_resource, a.name, reason)

    @staticmethod
    def _check_subject(a: Attributes) -> None:
        """A request for a client certificate must not ask to be one of the masters."""
        if a.obj.spec.signer_name != CLIENT:
            return
        request = parse_request(a.obj.spec.request)
        if request is not None and MASTERS in organizations(request):
            reason = f"use of {CLIENT} signer with {MASTERS} group is not allowed"
            name = a.name or a.obj.metadata.name
            raise errors.forbidden(a.resource.group_resource, name, reason)
