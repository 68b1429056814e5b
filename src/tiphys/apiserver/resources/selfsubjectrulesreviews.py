"""Self subject rules reviews: what a user may do in a namespace."""

from __future__ import annotations

from collections.abc import Iterable

from tiphys.api.authorization_v1 import (
    NonResourceRule,
    ResourceRule,
    SelfSubjectRulesReview,
    SubjectRulesReviewStatus,
)
from tiphys.api.base import Struct
from tiphys.api.rbac_v1 import PolicyRule
from tiphys.apiserver.eventloop.aside import LARGE, weigh_object
from tiphys.apiserver.eventloop.turns import Steps
from tiphys.apiserver.http.request import MASTERS
from tiphys.apiserver.resources.actions import Action, ActionContext
from tiphys.apiserver.resources.base import Strategy
from tiphys.machinery import errors

_MANY_GRANTS = 500  # whose rules take milliseconds to write


async def review_rules(review: SelfSubjectRulesReview, context: ActionContext) -> Struct:
    namespace = review.spec.namespace
    if not namespace:
        raise errors.bad_request("no namespace on request")
    status = review.status = SubjectRulesReviewStatus()
    if MASTERS in context.user.groups:
        status.resource_rules.append(ResourceRule(verbs=["*"], api_groups=["*"], resources=["*"]))
        status.non_resource_rules.append(NonResourceRule(verbs=["*"], non_resource_urls=["*"]))
    unknown = context.authorizer.unknown_rules(context.user)
    status.incomplete = bool(unknown)
    status.evaluation_error = ", ".join(unknown) if len(unknown) < 2 else f"[{', '.join(unknown)}]"
    grants = [
        grant
        for grant in context.authorizer.grants(context.user)
        if grant.namespace in (None, namespace)
    ]
    steps = Steps()
    for grant in grants:
        await steps.next()
        _add(status, grant.rules, everywhere=grant.namespace is None)
    if len(grants) > _MANY_GRANTS:
        weigh_object(LARGE + 1)
    return review


def _add(status: SubjectRulesReviewStatus, rules: Iterable[PolicyRule], everywhere: bool) -> None:
    """Paths that are no resources can be granted for the whole cluster alone."""
    for rule in rules:
        if rule.resources:
            status.resource_rules.append(
                ResourceRule(
                    verbs=rule.verbs,
                    api_groups=rule.api_groups,
                    resources=rule.resources,
                    resource_names=rule.resource_names,
                )
            )
        if rule.non_resource_urls and everywhere:
            status.non_resource_rules.append(
                NonResourceRule(verbs=rule.verbs, non_resource_urls=rule.non_resource_urls)
            )


class SelfSubjectRulesReviewStrategy(Strategy[SelfSubjectRulesReview]):
    action = Action(SelfSubjectRulesReview, review_rules)
