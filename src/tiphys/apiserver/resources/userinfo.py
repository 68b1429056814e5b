"""How reviews show a user."""

from __future__ import annotations

from tiphys.api.authentication_v1 import UserInfo
from tiphys.apiserver.http.request import User


def user_info(user: User) -> UserInfo:
    return UserInfo(username=user.name, uid=user.uid, groups=list(user.groups), extra=user.extra)
