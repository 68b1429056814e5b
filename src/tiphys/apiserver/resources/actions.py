"""Resources and subresources that do something instead of storing something: bindings, evictions, tokens, reviews."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from aiohttp import web

from tiphys.api import authentication_v1, authorization_v1, core_v1, policy_v1
from tiphys.api.base import decode
from tiphys.api.catalog import BY_PATH, Resource
from tiphys.api.meta_v1 import DeleteOptions, Status
from tiphys.apiserver.access.authentication import Authenticator, InvalidToken
from tiphys.apiserver.access.authorization import Authorizer
from tiphys.apiserver.eventloop.turns import Steps
from tiphys.apiserver.http import respond
from tiphys.apiserver.http.bodies import body, read_object
from tiphys.apiserver.http.request import Call, User
from tiphys.apiserver.registry.admission import Attributes
from tiphys.apiserver.registry.changes import Mutation
from tiphys.apiserver.registry.registry import Registry
from tiphys.apiserver.registry.writes import Write
from tiphys.apiserver.resources.accessreviews import asked_of, review_errors
from tiphys.machinery import errors, timestamps
from tiphys.machinery.selectors import from_label_selector
from tiphys.store.cache import Filter

_PODS = BY_PATH["", "v1", "pods"]
_BUDGETS = BY_PATH["policy", "v1", "poddisruptionbudgets"]


def _part_of(call: Call, resource: Resource, namespace: str, name: str, subresource: str) -> Write:
    """A write in the course of a request that has been admitted itself."""
    return Write(
        resource,
        namespace,
        name,
        call.user,
        call.dry_run,
        subresource=subresource,
        admitted=True,
    )


class Actions:
    def __init__(
        self, registry: Registry, authenticator: Authenticator, authorizer: Authorizer
    ) -> None:
        self._registry = registry
        self._authenticator = authenticator
        self._authorizer = authorizer

    async def _admit(self, call: Call, resource: Resource, name: str, obj: Any) -> Any:
        """What judges writes judges actions, too. Returns the object as it may have been changed."""
        kind = f"{obj.api_version}/{obj.kind}"
        a = Attributes(
            resource,
            "CREATE",
            call.info.namespace,
            name,
            obj,
            None,
            call.user,
            call.dry_run,
            call.info.subresource,
            kind,
        )
        await self._registry.admission.mutate(a)
        await self._registry.admission.validate(a)
        return a.obj

    # --- pods ---

    async def bind(self, call: Call, resource: Resource) -> web.Response:
        """Puts a pod on a node: POST pods/NAME/binding, or POST bindings."""
        binding = read_object(call, await body(call), core_v1.Binding, resource)
        name = call.info.name or binding.metadata.name
        if not binding.target.name:
            why = [errors.required("target.name")]
            raise errors.invalid("Binding", "", name, why)
        binding = await self._admit(call, resource, name, binding)
        now = timestamps.rfc3339(self._registry.now())

        def change(old: Any) -> Any:
            if old.metadata.deletion_timestamp:
                raise errors.conflict(
                    "pods/binding",
                    name,
                    f"pod {name} is being deleted, cannot be assigned to a host",
                )
            if old.spec.node_name:
                raise errors.conflict(
                    "pods/binding",
                    name,
                    f'pod {name} is already assigned to node "{old.spec.node_name}"',
                )
            if old.spec.scheduling_gates:
                raise errors.conflict(
                    "pods/binding", name, f"pod {name} has non-empty .spec.schedulingGates"
                )
            if binding.metadata.uid and binding.metadata.uid != old.metadata.uid:
                why = f"Precondition failed: UID in precondition: {binding.metadata.uid}, UID in object meta: {old.metadata.uid}"
                raise errors.conflict("pods/binding", name, why)
            new = copy.deepcopy(old)
            new.spec.node_name = binding.target.name
            new.status.nominated_node_name = ""  # it is no expectation any more
            new.metadata.annotations.update(binding.metadata.annotations)
            new.metadata.labels.update(binding.metadata.labels)
            others = [c for c in new.status.conditions if c.type != "PodScheduled"]
            new.status.conditions = [
                *others,
                core_v1.PodCondition(type="PodScheduled", status="True", last_transition_time=now),
            ]
            return new

        write = _part_of(call, _PODS, call.info.namespace, name, "binding")
        await self._registry.update(write, Mutation(change))
        return respond.status(call, Status(status="Success", code=201), 201)

    async def evict(self, call: Call, resource: Resource) -> web.Response:
        """Deletes a pod if no disruption budget forbids it."""
        eviction = read_object(call, await body(call), policy_v1.Eviction, resource)
        eviction = await self._admit(call, resource, call.info.name, eviction)
        namespace, name = call.info.namespace, call.info.name
        pod = decode(self._registry.entry(_PODS, namespace, name).data, core_v1.Pod)
        if (
            pod.status.phase not in ("Succeeded", "Failed", "Pending")
            and not pod.metadata.deletion_timestamp
        ):
            await self._check_budgets(pod, call)
        options = eviction.delete_options or DeleteOptions()
        await self._announce(call, pod, options)
        deletion = Write(_PODS, namespace, name, call.user, call.dry_run)
        await self._registry.delete(deletion, options)
        return respond.status(call, Status(status="Success", code=201), 201)

    async def _announce(self, call: Call, pod: core_v1.Pod, options: DeleteOptions) -> None:
        """Notes on the pod why it goes, for the controllers that count disruptions and failures apart."""
        precondition = options.preconditions
        stamp = timestamps.rfc3339(self._registry.now())
        condition = core_v1.PodCondition(
            type="DisruptionTarget",
            status="True",
            reason="EvictionByEvictionAPI",
            message="Eviction API: evicting",
            last_transition_time=stamp,
            observed_generation=pod.metadata.generation,
        )

        def change(old: Any) -> Any:
            if precondition is not None:
                had = (
                    precondition.uid or old.metadata.uid,
                    precondition.resource_version or old.metadata.resource_version,
                )
                if had != (old.metadata.uid, old.metadata.resource_version):
                    return old  # the deletion will say so
            if any(c.type == condition.type and c.status == "True" for c in old.status.conditions):
                return old
            new = copy.deepcopy(old)
            new.status.conditions = [
                c for c in new.status.conditions if c.type != condition.type
            ] + [condition]
            return new

        meta = pod.metadata
        write = _part_of(call, _PODS, meta.namespace, meta.name, "status")
        written = await self._registry.update(write, Mutation(change))
        if (
            precondition is not None
            and precondition.resource_version == meta.resource_version
            and not call.dry_run
        ):
            precondition.resource_version = str(written.entry.revision)

    async def _check_budgets(self, pod: core_v1.Pod, call: Call) -> None:
        cache = self._registry.cache(_BUDGETS)
        budgets = [
            decode(e.data, policy_v1.PodDisruptionBudget)
            for e in cache.select(Filter(f"{_BUDGETS.prefix}{pod.metadata.namespace}/"))
        ]
        matching = [
            b
            for b in budgets
            if (s := from_label_selector(b.spec.selector)) is not None
            and s.matches(pod.metadata.labels)
        ]
        if len(matching) > 1:
            raise errors.internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
            )
        ready = any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)
        for budget in matching:
            status, policy = budget.status, budget.spec.unhealthy_pod_eviction_policy
            if not ready and (
                policy == "AlwaysAllow" or status.current_healthy >= status.desired_healthy > 0
            ):
                continue
            await self._spend(budget, pod, call)

    async def _spend(
        self, budget: policy_v1.PodDisruptionBudget, pod: core_v1.Pod, call: Call
    ) -> None:
        name, now = budget.metadata.name, timestamps.rfc3339(self._registry.now())

        def change(old: Any) -> Any:
            new = copy.deepcopy(old)
            if (
                new.status.observed_generation < new.metadata.generation
                or new.status.disruptions_allowed <= 0
            ):
                failure = errors.too_many_requests(
                    "Cannot evict pod as it would violate the pod's disruption budget.", 0
                )
                from tiphys.api.meta_v1 import StatusCause

                text = f"The disruption budget {name} needs {old.status.desired_healthy} healthy pods and has {old.status.current_healthy} currently"
                cause = StatusCause(reason="DisruptionBudget", message=text)
                failure.status.details.causes = [cause]  # type: ignore[union-attr]
                raise failure
            new.status.disruptions_allowed -= 1
            new.status.disrupted_pods[pod.metadata.name] = now
            return new

        write = _part_of(call, _BUDGETS, budget.metadata.namespace, name, "status")
        await self._registry.update(write, Mutation(change))

    # --- tokens ---

    async def token(self, call: Call, resource: Resource) -> web.Response:
        """A new token of a service account, bound to a pod when asked."""
        request = read_object(call, await body(call), authentication_v1.TokenRequest, resource)
        namespace, name = call.info.namespace, call.info.name
        request = await self._admit(call, resource, name, request)
        account = self._registry.lookup("serviceaccounts", namespace, name)
        if account is None:
            raise errors.not_found("serviceaccounts", name)
        seconds = (
            3600 if request.spec.expiration_seconds is None else request.spec.expiration_seconds
        )
        _check_token_request(request, namespace, name, seconds, account.metadata.uid)
        bound, ref = None, request.spec.bound_object_ref
        extra: dict[str, Any] = {}
        if ref is not None:
            bound, extra = self._bound(namespace, name, ref)
        tokens = self._authenticator.tokens
        audiences = request.spec.audiences or [tokens.issuer]
        text, expiry = tokens.sign(
            namespace, name, account.metadata.uid, seconds, audiences, bound, extra
        )
        request.metadata.name, request.metadata.namespace = name, namespace
        request.metadata.uid = account.metadata.uid
        request.metadata.creation_timestamp = timestamps.rfc3339(self._registry.now())
        request.spec.audiences, request.spec.expiration_seconds = audiences, seconds
        request.status.token, request.status.expiration_timestamp = text, timestamps.rfc3339(expiry)
        return respond.status(call, request, 201)

    def _bound(
        self, namespace: str, account: str, ref: Any
    ) -> tuple[tuple[str, str, str], dict[str, Any]]:
        plurals = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}
        if ref.kind not in plurals or "/" in ref.api_version:
            shown = ref.api_version if "/" in ref.api_version else f"/{ref.api_version}"
            why = f"cannot bind token to object of type {shown}, Kind={ref.kind}"
            raise errors.bad_request(why)
        target = self._registry.lookup(
            plurals[ref.kind], "" if ref.kind == "Node" else namespace, ref.name
        )
        if target is None:
            raise errors.not_found(plurals[ref.kind], ref.name)
        if ref.uid and ref.uid != target.metadata.uid:
            why = f"the UID in the bound object reference ({ref.uid}) does not match the UID in record. The object might have been deleted and then recreated"
            raise errors.conflict(plurals[ref.kind], ref.name, why)
        extra: dict[str, Any] = {}
        if ref.kind == "Pod":
            if target.spec.service_account_name != account:
                raise errors.bad_request(
                    f'cannot bind token for serviceaccount "{account}" to pod running with different serviceaccount name.'
                )
            node = (
                self._registry.lookup("nodes", "", target.spec.node_name)
                if target.spec.node_name
                else None
            )
            if node is not None:
                extra["node"] = {"name": node.metadata.name, "uid": node.metadata.uid}
        return (ref.kind, ref.name, target.metadata.uid), extra

    async def token_review(self, call: Call, resource: Resource) -> web.Response:
        review = read_object(call, await body(call), authentication_v1.TokenReview, resource)
        if not review.spec.token:
            raise errors.bad_request("token is required for TokenReview in authentication")
        status = review.status = authentication_v1.TokenReviewStatus()
        try:
            user, status.audiences = self._authenticator.review(
                review.spec.token, review.spec.audiences
            )
            status.authenticated, status.user = True, _info(user)
        except InvalidToken as error:
            status.error = str(error)
        return respond.status(call, review, 201)

    async def self_subject(self, call: Call, resource: Resource) -> web.Response:
        review = read_object(call, await body(call), authentication_v1.SelfSubjectReview, resource)
        review.metadata.creation_timestamp = timestamps.rfc3339(self._registry.now())
        review.status.user_info = _info(call.user)
        return respond.status(call, review, 201)

    # --- access reviews ---

    async def access_review(self, call: Call, resource: Resource) -> web.Response:
        review = read_object(call, await body(call), resource.type, resource)
        spec = review.spec
        user = call.user
        if problems := review_errors(review, resource.kind, call.info.namespace):
            raise errors.invalid(resource.kind, resource.group, "", problems)
        if resource.kind != "SelfSubjectAccessReview":
            user = User(spec.user, tuple(spec.groups), spec.uid, spec.extra)
        allowed, reason = self._authorizer.authorize(user, asked_of(spec))
        review.status = authorization_v1.SubjectAccessReviewStatus(allowed=allowed, reason=reason)
        return respond.status(call, review, 201)

    async def rules_review(self, call: Call, resource: Resource) -> web.Response:
        review = read_object(
            call, await body(call), authorization_v1.SelfSubjectRulesReview, resource
        )
        namespace = review.spec.namespace
        if not namespace:
            raise errors.bad_request("no namespace on request")
        status = review.status = authorization_v1.SubjectRulesReviewStatus()
        if "system:masters" in call.user.groups:
            status.resource_rules.append(
                authorization_v1.ResourceRule(verbs=["*"], api_groups=["*"], resources=["*"])
            )
            status.non_resource_rules.append(
                authorization_v1.NonResourceRule(verbs=["*"], non_resource_urls=["*"])
            )
        steps = Steps()
        grants = [g for g in self._authorizer.grants(call.user) if g.namespace in (None, namespace)]
        for grant in grants:
            await steps.next()
            for rule in grant.rules:
                if rule.resources:
                    status.resource_rules.append(
                        authorization_v1.ResourceRule(
                            verbs=rule.verbs,
                            api_groups=rule.api_groups,
                            resources=rule.resources,
                            resource_names=rule.resource_names,
                        )
                    )
                if rule.non_resource_urls and grant.namespace is None:
                    status.non_resource_rules.append(
                        authorization_v1.NonResourceRule(
                            verbs=rule.verbs, non_resource_urls=rule.non_resource_urls
                        )
                    )
        if len(grants) > _MANY_GRANTS:
            return await asyncio.to_thread(respond.status, call, review, 201)
        return respond.status(call, review, 201)


_MANY_GRANTS = 500  # whose rules take milliseconds to write


def _check_token_request(request: Any, namespace: str, name: str, seconds: int, uid: str) -> None:
    """Raises 422 and 409."""
    meta, field = request.metadata, "spec.expirationSeconds"
    problems = []
    if meta.name and meta.name != name:
        problems.append(
            errors.invalid_value(
                "metadata.name", meta.name, "must match the service account name if specified"
            )
        )
    if meta.namespace and meta.namespace != namespace:
        why = "must match the service account namespace if specified"
        problems.append(errors.invalid_value("metadata.namespace", meta.namespace, why))
    if seconds < 600:
        problems.append(
            errors.invalid_value(field, seconds, "may not specify a duration less than 10 minutes")
        )
    if seconds > 1 << 32:
        problems.append(
            errors.invalid_value(
                field, seconds, "may not specify a duration larger than 2^32 seconds"
            )
        )
    if problems:
        raise errors.invalid("TokenRequest", "authentication.k8s.io", name, problems)
    if meta.uid and meta.uid != uid:
        why = f"the UID in the token request ({meta.uid}) does not match the UID of the service account ({uid})"
        raise errors.conflict("TokenRequest.authentication.k8s.io", name, why)


def _info(user: User) -> Any:
    return authentication_v1.UserInfo(
        username=user.name, uid=user.uid, groups=list(user.groups), extra=user.extra
    )
