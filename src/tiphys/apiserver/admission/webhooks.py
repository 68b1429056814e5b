"""Mutating and validating webhooks: asked in the order of their configurations' names."""

from __future__ import annotations

import asyncio
import base64
import copy
import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec

from tiphys.api import admissionregistration_v1 as v1
from tiphys.api.base import from_builtins
from tiphys.api.catalog import Resource, resource_of
from tiphys.api.meta_v1 import Status
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.admission import Attributes, Base
from tiphys.apiserver.admission.matching import (
    EXEMPT,
    Rounds,
    Seen,
    conditions_hold,
    matching_resource,
    selects_namespace,
    selects_object,
)
from tiphys.apiserver.eventloop.turns import Steps
from tiphys.apiserver.http.request import annotate, waited, warn
from tiphys.apiserver.proxying.webhooks import WebhookCaller, WebhookError
from tiphys.apiserver.registry.conversion import conversion_of, in_version
from tiphys.apiserver.registry.mirrors import Mirror
from tiphys.apiserver.resources.base import Strategy
from tiphys.machinery import decoding, errors, patch
from tiphys.machinery.cel import CelError
from tiphys.machinery.errors import StatusError

log = logging.getLogger(__name__)
_FAILED = 500  # the status of a webhook that did not answer, as upstream counts it


class _Webhooks(Base):
    """What both kinds share: `kind` is the configuration's type."""

    kind: Any
    prefix = ""  # of its audit annotations
    step = ""  # as metrics name it

    def __init__(
        self,
        registry: Any,
        authorizer: Callable[[], Authorizer],
        caller: Callable[[], WebhookCaller],
    ) -> None:
        self._registry = registry
        self._authorizer = authorizer
        self._caller = caller
        self._mirror: Mirror[Any] | None = None
        self._known: list[tuple[str, Any]] = []

    def _configured(self) -> list[tuple[str, Any]]:
        """Every webhook, in order, with a name that no other has."""
        if self._mirror is None:
            self._mirror = Mirror(self._registry().cache(resource_of(self.kind)), self.kind)
        if any(self._mirror.refresh()):
            self._known = [
                (f"{key}/{hook.name}", hook)
                for key, configuration in self._mirror.items()
                for hook in configuration.webhooks
            ]
        return self._known

    async def _matching(self, attributes: Attributes, seen: Seen) -> list[tuple[Any, Resource]]:
        """The webhooks that want this request, each with the resource as which it sees it."""
        matching = []
        steps = Steps()
        for _, hook in self._configured():
            await steps.next()
            resource = await self._wants(hook, attributes, seen)
            if resource is not None:
                matching.append((hook, resource))
        return matching

    async def _wants(self, hook: Any, attributes: Attributes, seen: Seen) -> Resource | None:
        resource = matching_resource(
            hook.rules, attributes, hook.match_policy, self._registry().served.equivalents
        )
        if resource is None or not selects_namespace(
            hook.namespace_selector, attributes, self._registry().labels_of
        ):
            return None
        if not selects_object(hook.object_selector, attributes):
            return None
        try:
            if hook.match_conditions and not await conditions_hold(
                hook.match_conditions, seen.variables(resource)
            ):
                return None
        except CelError as error:
            if hook.failure_policy == "Ignore":
                return None
            reason = f"failed to evaluate match conditions of webhook {hook.name}: {error}"
            raise errors.forbidden(
                attributes.resource.group_resource, attributes.name, reason
            ) from None
        return resource

    async def _ask(
        self, hook: Any, resource: Resource, attributes: Attributes, seen: Seen
    ) -> dict[str, Any]:
        """The webhook's response. Raises StatusError when it refuses; {} when it failed and may be
        ignored."""
        if attributes.dry_run and hook.side_effects not in ("None", "NoneOnDryRun"):
            raise errors.bad_request(f'admission webhook "{hook.name}" does not support dry run')
        version = next((v for v in hook.admission_review_versions if v in ("v1", "v1beta1")), "v1")
        request = seen.request(resource)
        request["object"] = await self._as(resource, attributes, seen.plain("obj"))
        request["oldObject"] = await self._as(resource, attributes, seen.plain("old"))
        review = {
            "kind": "AdmissionReview",
            "apiVersion": f"admission.k8s.io/{version}",
            "request": request,
        }
        metrics = self._registry().admission.metrics
        about = (hook.name, self.step, attributes.operation)
        began = time.perf_counter()
        try:
            answer = await self._caller().call(
                hook.client_config, review, float(hook.timeout_seconds or 10)
            )
            response = answer.get("response")
            if not isinstance(response, dict):
                raise WebhookError("webhook response was absent")
            if response.get("uid") != seen.uid:
                raise WebhookError(
                    f'expected response.uid="{seen.uid}", got "{response.get("uid")}"'
                )
        except WebhookError as error:
            spent = waited(began)
            ignored = hook.failure_policy == "Ignore"
            metrics.webhook(*about, spent, _FAILED, not ignored)
            if ignored:
                metrics.failed_open(hook.name, self.step)
                log.warning(
                    "Webhook %s failed and is ignored, as its policy says: %s", hook.name, error
                )
                annotate(f"failed-open.{self.prefix}{self._place(attributes, hook)}", hook.name)
                return {}
            metrics.rejection(*about, "calling_webhook_error", _FAILED)
            raise errors.internal(
                f'failed calling webhook "{hook.name}": failed to call webhook: {error}'
            ) from None
        allowed = bool(response.get("allowed"))
        refusal = None if allowed else _refusal(hook.name, response.get("status") or {})
        code = 200 if refusal is None else refusal.code
        metrics.webhook(*about, waited(began), code, not allowed)
        for text in response.get("warnings") or ():
            warn(str(text))
        for key, value in (response.get("auditAnnotations") or {}).items():
            annotate(f"{hook.name}/{key}", str(value))
        if refusal is not None:
            metrics.rejection(*about, "no_error", refusal.code)
            try:
                raise refusal
            finally:
                del refusal  # it would be in a cycle with this frame
        return response

    def _place(self, attributes: Attributes, hook: Any) -> str:
        """Which call of a webhook it is, as audit events have it."""
        places = (number for number, (_, other) in enumerate(self._known) if other is hook)
        return f"round_{int(attributes.second)}_index_{next(places, 0)}"

    def _configuration_of(self, hook: Any) -> str:
        names = (name for name, other in self._known if other is hook)
        return next(names, "").removesuffix(f"/{hook.name}").rpartition("/")[2]

    async def _as(self, resource: Resource, attributes: Attributes, plain: Any) -> Any:
        """An object in the version the webhook asked for."""
        if plain is None or attributes.kind:
            return plain
        if resource.built_in:
            return in_version(resource, plain)
        if plain.get("apiVersion") == resource.api_version:
            return plain
        return await conversion_of(resource).converted(plain, self._caller())


def _refusal(name: str, result: dict[str, Any]) -> StatusError:
    """A webhook's no, as the client gets it."""
    try:
        status = from_builtins({k: v for k, v in result.items() if v is not None}, Status)
    except msgspec.ValidationError:
        status = Status()
    denied = f'admission webhook "{name}" denied the request'
    reason = status.message or status.reason
    status.message = f"{denied}: {reason}" if reason else f"{denied} without explanation"
    status.code = status.code if status.code >= 400 else 400
    status.status = "Failure"
    return StatusError(status)


class MutatingWebhooks(_Webhooks):
    """One after the other; those that ask for reinvocation once more when the object was changed
    after them."""

    kind = v1.MutatingWebhookConfiguration
    prefix = "mutation.webhook.admission.k8s.io/"
    step = "admit"

    async def mutate(self, attributes: Attributes) -> None:
        if attributes.resource.group == EXEMPT or not self._configured():
            return
        seen = Seen(attributes, self._authorizer())
        rounds = Rounds.of(attributes, self.kind, seen.plain("obj"))
        steps = Steps()
        for name, hook in self._configured():
            await steps.next()
            if not rounds.wanted(attributes, name):
                continue
            resource = await self._wants(hook, attributes, seen)
            if resource is not None:
                changed = await self._apply(hook, resource, attributes, seen)
                self._annotate(hook, attributes, changed)
                rounds.done(attributes, name, hook.reinvocation_policy, changed)
        rounds.left(seen.plain("obj"))

    def _annotate(self, hook: Any, attributes: Attributes, changed: bool) -> None:
        annotation = {
            "configuration": self._configuration_of(hook),
            "webhook": hook.name,
            "mutated": changed,
        }
        value = msgspec.json.encode(annotation).decode()
        annotate(f"{self.prefix}{self._place(attributes, hook)}", value)

    async def _apply(
        self, hook: Any, resource: Resource, attributes: Attributes, seen: Seen
    ) -> bool:
        """Asks one webhook and takes its patch. Returns whether the object changed."""
        response = await self._ask(hook, resource, attributes, seen)
        if not response.get("patch") or attributes.obj is None:
            return False
        try:
            operations = msgspec.json.decode(base64.b64decode(response["patch"]))
            before = await self._as(resource, attributes, seen.plain("obj"))
            after = patch.json_patch(before, operations)
        except (ValueError, TypeError, KeyError, msgspec.DecodeError) as error:
            raise errors.internal(
                f'failed to apply the patch of webhook "{hook.name}": {error}'
            ) from None
        key = f"patch.webhook.admission.k8s.io/{self._place(attributes, hook)}"
        annotation = {
            "configuration": self._configuration_of(hook),
            "webhook": hook.name,
            "patch": operations,
            "patchType": "JSONPatch",
        }
        annotate(key, msgspec.json.encode(annotation).decode(), with_objects=True)
        if after == before:
            return False
        own = attributes.resource
        if resource is not own:
            after = await self._as(own, attributes, after)
        strategy = self._registry().strategy_of(own)
        attributes.obj = replaced(attributes, after, strategy, f'webhook "{hook.name}"')
        return True


class ValidatingWebhooks(_Webhooks):
    """All at once; the first no, in their order, is the answer."""

    kind = v1.ValidatingWebhookConfiguration
    prefix = "validating.webhook.admission.k8s.io/"
    step = "validating"

    async def validate(self, attributes: Attributes) -> None:
        if attributes.resource.group == EXEMPT or not self._configured():
            return
        seen = Seen(attributes, self._authorizer())
        matching = await self._matching(attributes, seen)
        if not matching:
            return
        asked = [self._ask(hook, resource, attributes, seen) for hook, resource in matching]
        for outcome in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome


def replaced(attributes: Attributes, after: Any, strategy: Strategy[Any], by: str) -> Any:
    """The object that a webhook's patch made, typed and defaulted like one that a client sent.
    Raises StatusError."""
    try:
        patched = decoding.convert(after, type(attributes.obj))
    except decoding.DecodeError as error:
        raise errors.internal(f"{by} made an object that cannot be read: {error}") from None
    if not attributes.subresource or attributes.subresource == "status":
        strategy.default(patched)
    patched.metadata.managed_fields = copy.copy(attributes.obj.metadata.managed_fields)
    return patched
