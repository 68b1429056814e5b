"""Bootstrap tokens: what a machine that is not part of a cluster yet proves itself with.

A token ``ID.SECRET`` is a Secret ``bootstrap-token-ID`` in kube-system. Its holder may ask for a
certificate (usage authentication), and believes a ConfigMap that is signed with it (usage signing).
The rules are those of upstream's k8s.io/cluster-bootstrap.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import NamedTuple

from tiphys.api.core_v1 import Secret
from tiphys.machinery import timestamps

NAMESPACE = "kube-system"
TYPE = "bootstrap.kubernetes.io/token"
NAME_PREFIX = "bootstrap-token-"
SIGNATURE_PREFIX = "jws-kubeconfig-"  # of the keys of cluster-info that sign its kubeconfig
USER_PREFIX = "system:bootstrap:"
GROUP = "system:bootstrappers"
# The group that kubeadm gives its tokens, whose members may ask for a node's certificate.
NODE_GROUP = "system:bootstrappers:kubeadm:default-node-token"
AUTHENTICATION = "authentication"
SIGNING = "signing"

_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_NAME = re.compile(NAME_PREFIX + r"([a-z0-9]{6})")
_EXTRA_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")


class Token(NamedTuple):
    """`id` is public, `secret` authenticates its bearer."""

    id: str
    secret: str

    @property
    def text(self) -> str:
        return f"{self.id}.{self.secret}"


def parse(text: str) -> Token | None:
    """The token that a text is, None for anything else."""
    match = _TOKEN.fullmatch(text)
    return Token(match[1], match[2]) if match else None


def value(secret: Secret, key: str) -> str:
    """A value of the Secret as text, "" where there is none."""
    return secret.data.get(key, b"").decode(errors="replace")


def token_of(secret: Secret) -> Token | None:
    """The token that a Secret holds; None unless type, name and content fit together."""
    match = _NAME.fullmatch(secret.metadata.name)
    if secret.type != TYPE or match is None or value(secret, "token-id") != match[1]:
        return None
    text = value(secret, "token-secret")
    return Token(match[1], text) if text else None


def serves(secret: Secret, usage: str) -> bool:
    """Whether the token may be used for authentication or signing."""
    return value(secret, f"usage-bootstrap-{usage}") == "true"


def seconds_left(secret: Secret, now: float) -> float | None:
    """Until the token expires, zero or less when it has; None when it never does. A time that
    cannot be read counts as expired, as upstream."""
    text = value(secret, "expiration")
    if not text:
        return None
    return timestamps.parse(text) - now


def is_expired(secret: Secret, now: float) -> bool:
    left = seconds_left(secret, now)
    return left is not None and left <= 0


def groups(secret: Secret) -> list[str] | None:
    """The groups of the token's user, sorted; None when one of the extra groups is not allowed."""
    extra = value(secret, "auth-extra-groups")
    names = extra.split(",") if extra else []
    if not all(_EXTRA_GROUP.fullmatch(name) for name in names):
        return None
    return sorted({GROUP, *names})


# --- signatures ---


def signature(content: str, token: Token) -> str:
    """The detached JWS (RFC 7515, appendix F) of a text: HS256, keyed with the token's secret."""
    header = _base64(f'{{"alg":"HS256","kid":"{token.id}"}}'.encode())
    signed = f"{header}.{_base64(content.encode())}".encode()
    digest = hmac.digest(token.secret.encode(), signed, hashlib.sha256)
    return f"{header}..{_base64(digest)}"


def is_signed(content: str, detached: str, token: Token) -> bool:
    return hmac.compare_digest(signature(content, token).encode(), detached.encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
