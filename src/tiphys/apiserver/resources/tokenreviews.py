"""Token reviews: who has a token, and whether it is valid."""

from __future__ import annotations

from tiphys.api.authentication_v1 import TokenReview, TokenReviewStatus
from tiphys.api.base import Struct
from tiphys.apiserver.access.serviceaccounttokens import InvalidToken
from tiphys.apiserver.resources.actions import Action, ActionContext
from tiphys.apiserver.resources.base import Strategy
from tiphys.apiserver.resources.userinfo import user_info
from tiphys.machinery import errors


async def review_token(review: TokenReview, context: ActionContext) -> Struct:
    spec = review.spec
    if not spec.token:
        raise errors.bad_request("token is required for TokenReview in authentication")
    status = TokenReviewStatus()
    try:
        user, status.audiences = await context.authenticator.review(spec.token, spec.audiences)
        status.authenticated = True
        status.user = user_info(user)
    except InvalidToken as error:
        status.error = str(error)
    review.status = status
    return review


class TokenReviewStrategy(Strategy[TokenReview]):
    action = Action(TokenReview, review_token)
