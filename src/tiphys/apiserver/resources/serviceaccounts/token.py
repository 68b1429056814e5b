"""POST serviceaccounts/NAME/token: a new token, bound to a pod, secret or node when that is
asked for.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tiphys.api.authentication_v1 import BoundObjectReference, TokenRequest
from tiphys.api.base import Struct
from tiphys.api.core_v1 import Node, Pod, Secret, ServiceAccount
from tiphys.apiserver.eventloop.aside import aside
from tiphys.apiserver.http.request import annotate
from tiphys.apiserver.resources import checks
from tiphys.apiserver.resources.actions import Action, ActionContext
from tiphys.machinery import errors, timestamps
from tiphys.machinery.errors import FieldError

_DEFAULT_SECONDS = 3600


class Bound(NamedTuple):
    """What a token is bound to, and its other claims."""

    reference: tuple[str, str, str] | None  # kind, name, uid
    extra: dict[str, Any]


async def issue(request: TokenRequest, context: ActionContext) -> Struct:
    namespace = context.namespace
    name = context.name
    request = await context.admit(request, name)
    account = context.find(ServiceAccount, namespace, name)
    if account is None:
        raise errors.not_found("serviceaccounts", name)
    seconds = request.spec.expiration_seconds
    if seconds is None:
        seconds = _DEFAULT_SECONDS
    _check(request, account, seconds)
    reference = request.spec.bound_object_ref
    bound = _bound(account, reference, context) if reference is not None else Bound(None, {})
    tokens = context.authenticator.tokens
    audiences = request.spec.audiences or [tokens.issuer]
    token, expiry = await aside(
        tokens.sign,
        namespace,
        name,
        account.metadata.uid,
        seconds,
        audiences,
        bound.reference,
        bound.extra,
    )
    credential = await aside(tokens.credential_id, token)
    annotate("authentication.kubernetes.io/issued-credential-id", credential)
    request.metadata.name = name
    request.metadata.namespace = namespace
    request.metadata.uid = account.metadata.uid
    request.metadata.creation_timestamp = context.now()
    request.spec.audiences = audiences
    request.spec.expiration_seconds = seconds
    request.status.token = token
    request.status.expiration_timestamp = timestamps.rfc3339(expiry)
    return request


ISSUE = Action(TokenRequest, issue)


def _check(request: TokenRequest, account: ServiceAccount, seconds: int) -> None:
    """Raises 422 and 409."""
    name = account.metadata.name
    violations = _request_errors(request, account, seconds)
    if violations:
        raise errors.invalid("TokenRequest", "authentication.k8s.io", name, violations)
    uid = request.metadata.uid
    if uid and uid != account.metadata.uid:
        reason = (
            f"the UID in the token request ({uid}) does not match"
            f" the UID of the service account ({account.metadata.uid})"
        )
        raise errors.conflict("TokenRequest.authentication.k8s.io", name, reason)


def _request_errors(
    request: TokenRequest, account: ServiceAccount, seconds: int
) -> list[FieldError]:
    violations = []
    meta = request.metadata
    if meta.name and meta.name != account.metadata.name:
        detail = "must match the service account name if specified"
        violations.append(errors.invalid_value("metadata.name", meta.name, detail))
    if meta.namespace and meta.namespace != account.metadata.namespace:
        detail = "must match the service account namespace if specified"
        violations.append(errors.invalid_value("metadata.namespace", meta.namespace, detail))
    return violations + checks.token_seconds(seconds, "spec.expirationSeconds")


def _bound(
    account: ServiceAccount, reference: BoundObjectReference, context: ActionContext
) -> Bound:
    """What the token is to be bound to. Raises 400, 404 and 409."""
    kinds: dict[str, tuple[type[Pod | Secret | Node], str]] = {
        "Pod": (Pod, "pods"),
        "Secret": (Secret, "secrets"),
        "Node": (Node, "nodes"),
    }
    if reference.kind not in kinds or "/" in reference.api_version:
        version = reference.api_version
        shown = version if "/" in version else f"/{version}"
        raise errors.bad_request(
            f"cannot bind token to object of type {shown}, Kind={reference.kind}"
        )
    kind, plural = kinds[reference.kind]
    namespace = "" if kind is Node else account.metadata.namespace
    target = context.find(kind, namespace, reference.name)
    if target is None:
        raise errors.not_found(plural, reference.name)
    uid = target.metadata.uid
    if reference.uid and reference.uid != uid:
        reason = (
            f"the UID in the bound object reference ({reference.uid}) does not match the UID in"
            " record. The object might have been deleted and then recreated"
        )
        raise errors.conflict(plural, reference.name, reason)
    extra = _node_of(target, account, context) if isinstance(target, Pod) else {}
    return Bound((reference.kind, reference.name, uid), extra)


def _node_of(pod: Pod, account: ServiceAccount, context: ActionContext) -> dict[str, Any]:
    """The claims of a pod's token about the node. Raises 400 for a pod of another account."""
    if pod.spec.service_account_name != account.metadata.name:
        raise errors.bad_request(
            f'cannot bind token for serviceaccount "{account.metadata.name}"'
            " to pod running with different serviceaccount name."
        )
    name = pod.spec.node_name
    node = context.find(Node, "", name) if name else None
    if node is None:
        return {}
    return {"node": {"name": name, "uid": node.metadata.uid}}
