"""MutatingAdmissionPolicies: what they change."""

from __future__ import annotations

import contextlib
from typing import Any

from tiphys.api import admissionregistration_v1 as v1
from tiphys.apiserver.admission import Attributes
from tiphys.apiserver.admission.matching import (
    EXEMPT,
    Rounds,
    Seen,
)
from tiphys.apiserver.admission.policies import Bound, Policies
from tiphys.apiserver.admission.webhooks import replaced
from tiphys.apiserver.eventloop.aside import aside
from tiphys.apiserver.registry.ownership import node_for
from tiphys.machinery import errors, patch, typed
from tiphys.machinery.cel import CelError


class MutatingPolicies(Policies):
    policy_kind = v1.MutatingAdmissionPolicy
    binding_kind = v1.MutatingAdmissionPolicyBinding

    async def mutate(self, attributes: Attributes) -> None:
        if (
            attributes.resource.group == EXEMPT
            or attributes.obj is None
            or not self._bound_policies()
        ):
            return
        seen = Seen(attributes, self._authorizer())
        rounds = Rounds.of(attributes, self.policy_kind, seen.plain("obj"))
        async with contextlib.aclosing(self._evaluations(attributes, seen, rounds)) as evaluations:
            async for evaluation in evaluations:
                if isinstance(evaluation, Bound):
                    await self._mutate(evaluation, attributes, seen, rounds)
                else:
                    policy, binding, error = evaluation
                    self._failed(policy, binding, str(error), attributes)
        rounds.left(seen.plain("obj"))

    async def _mutate(
        self, bound: Bound, attributes: Attributes, seen: Seen, rounds: Rounds
    ) -> None:
        """Every mutation of one policy, each on what the one before it has left."""
        before = seen.plain("obj")
        policy = bound.policy
        for mutation in policy.spec.mutations:
            obj = seen.in_version(bound.resource, seen.plain("obj"))
            bound.variables["object"] = obj
            try:
                after = await aside(_mutated, mutation, bound, obj)
            except (CelError, ValueError, TypeError, KeyError) as error:
                self._failed(policy, bound.binding, str(error), attributes)
                continue
            if after != obj:
                after = seen.in_version(attributes.resource, after)
                strategy = self._registry().strategy_of(attributes.resource)
                by = f"policy {policy.metadata.name}"
                attributes.obj = replaced(attributes, after, strategy, by)
        changed = seen.plain("obj") != before
        rounds.done(attributes, policy.metadata.name, policy.spec.reinvocation_policy, changed)

    def _failed(self, policy: Any, binding: Any, message: str, attributes: Attributes) -> None:
        if policy.spec.failure_policy == "Ignore":
            return
        text = (
            f"policy '{policy.metadata.name}' with binding '{binding.metadata.name}' denied "
            f"request: {message}"
        )
        refusal = errors.forbidden(attributes.resource.group_resource, attributes.name, text)
        refusal.status.reason = "Invalid"
        refusal.status.code = 422
        try:
            raise refusal
        finally:
            del refusal  # it would be in a cycle with this frame


def _mutated(mutation: v1.Mutation, bound: Bound, obj: Any) -> Any:
    if mutation.patch_type == "ApplyConfiguration" and mutation.apply_configuration is not None:
        config = bound.budget.run(mutation.apply_configuration.expression, bound.variables)
        if not isinstance(config, dict):
            raise CelError("must evaluate to Object")
        return typed.merge(obj, config, node_for(bound.resource))
    if mutation.patch_type == "JSONPatch" and mutation.json_patch is not None:
        return patch.json_patch(
            obj, bound.budget.run(mutation.json_patch.expression, bound.variables)
        )
    raise CelError(f"unsupported patchType {mutation.patch_type!r}")
