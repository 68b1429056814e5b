"""Users with a bootstrap token: machines that want to join.

Upstream's plugin/pkg/auth/authenticator/token/bootstrap. The Secret is looked up with each request,
so a token ends the moment that it expires or its Secret goes.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable

from tiphys.api.base import decode
from tiphys.api.catalog import BY_PATH
from tiphys.api.core_v1 import Secret
from tiphys.apiserver.http.request import AUTHENTICATED, User
from tiphys.machinery import bootstraptokens
from tiphys.machinery.bootstraptokens import AUTHENTICATION, NAME_PREFIX, NAMESPACE, Token
from tiphys.store.store import Store

log = logging.getLogger(__name__)

_SECRETS = BY_PATH["", "v1", "secrets"]


class BootstrapTokens:
    """`now` is the wall clock in seconds since the epoch."""

    def __init__(self, store: Store, now: Callable[[], float]) -> None:
        self._store = store
        self._now = now

    def user(self, text: str) -> User | None:
        """The user behind a token; None for what is not a valid bootstrap token."""
        token = bootstraptokens.parse(text)
        if token is None:
            return None
        key = _SECRETS.key(NAMESPACE, NAME_PREFIX + token.id)
        entry = self._store.cache(_SECRETS.prefix).get(key)
        if entry is None:
            return None
        secret = decode(entry.data, Secret)
        fault = self._fault(secret, token)
        if fault:
            log.info("Bootstrap token %s is refused: %s", token.id, fault)
            return None
        groups = bootstraptokens.groups(secret) or []
        return User(bootstraptokens.USER_PREFIX + token.id, (*groups, AUTHENTICATED))

    def _fault(self, secret: Secret, token: Token) -> str:
        """Why a token is not valid, "" when it is."""
        if secret.metadata.deletion_timestamp:
            return "its Secret is being deleted"
        known = bootstraptokens.token_of(secret)
        if known is None:
            return "its Secret has another type or id"
        if not hmac.compare_digest(known.secret.encode(), token.secret.encode()):
            return "it has another secret"
        if bootstraptokens.is_expired(secret, self._now()):
            return "it has expired"
        if not bootstraptokens.serves(secret, AUTHENTICATION):
            return "it is not for authentication"
        if bootstraptokens.groups(secret) is None:
            return "auth-extra-groups names a group that no token may have"
        return ""
