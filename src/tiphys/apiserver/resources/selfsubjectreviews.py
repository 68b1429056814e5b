"""Self subject reviews: who the server takes the user for."""

from __future__ import annotations

from tiphys.api.authentication_v1 import SelfSubjectReview
from tiphys.api.base import Struct
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.apiserver.resources.actions import Action, ActionContext
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.userinfo import user_info


async def review_self(review: SelfSubjectReview, context: ActionContext) -> Struct:
    review.metadata = ObjectMeta(creation_timestamp=context.now())
    review.status.user_info = user_info(context.user)
    return review


class SelfSubjectReviewStrategy(Strategy[SelfSubjectReview]):
    action = Action(SelfSubjectReview, review_self)
