"""Whose secrets opened which images, and whether a pod has to show them again. Pure; upstream's
`pkg/kubelet/images/pullmanager`.

An image on the node is not for all pods: one that was pulled with a secret is for pods with that,
or one with the same credentials. One that was loaded by hand, or pulled without credentials, is for
all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tiphys.node.images.names import ImageNameError, repository_of

NEVER, PRELOADED = "NeverVerify", "NeverVerifyPreloadedImages"
ALLOWLISTED, ALWAYS = "NeverVerifyAllowlistedImages", "AlwaysVerify"
POLICIES = (NEVER, PRELOADED, ALLOWLISTED, ALWAYS)
_MOST_WHILE_MATCHING = 100  # secrets of a record, beyond which reading does not add any (upstream)


class SecretUse(NamedTuple):
    """A pull secret, and a hash of the credentials in it that are for the image."""

    uid: str
    namespace: str
    name: str
    credential_hash: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.uid, self.namespace, self.name


@dataclass
class Access:
    """Who may use an image by the name of one repository: all pods of the node, or those that have
    one of these secrets."""

    everybody: bool = False
    secrets: list[SecretUse] = field(default_factory=list)

    def merge(self, everybody: bool, secrets: Iterable[SecretUse]) -> bool:
        """Whether that is anything new."""
        if self.everybody:
            return False
        if everybody:
            self.everybody = True
            self.secrets = []
            return True
        known = {secret.key: secret for secret in self.secrets}
        merged = {**known, **{secret.key: secret for secret in secrets}}
        if merged == known:
            return False
        self.secrets = sorted(
            merged.values(), key=lambda secret: (secret.namespace, secret.name, secret.uid)
        )
        return True

    def opens(self, secret: SecretUse) -> bool:
        """The same credentials, or the same secret, whose credentials may have changed."""
        return any(
            (bool(known.credential_hash) and known.credential_hash == secret.credential_hash)
            or (known.key == secret.key and len(self.secrets) < _MOST_WHILE_MATCHING)
            for known in self.secrets
        )


class VerificationPolicy:
    """Which images a pod has to show credentials for: `imagePullCredentialsVerificationPolicy` and
    `preloadedImagesVerificationAllowlist` of a KubeletConfiguration."""

    def __init__(self, policy: str = PRELOADED, allowed: Iterable[str] = ()) -> None:
        """Raises ValueError."""
        if policy not in POLICIES:
            raise ValueError(f"unknown image pull credential verification policy: {policy}")
        self.policy = policy
        self.allowed = tuple(allowed)
        for pattern in self.allowed:
            _check(pattern)

    def applies(self, image: str, was_pulled: bool) -> bool:
        """`was_pulled`: by this node, as far as it knows."""
        if self.policy == NEVER:
            return False
        if self.policy == PRELOADED:
            return was_pulled
        if self.policy == ALLOWLISTED:
            return not self._is_allowed(without_tag(image))
        return True

    def _is_allowed(self, name: str) -> bool:
        for pattern in self.allowed:
            if pattern.endswith("/*") and name.startswith(pattern.removesuffix("*")):
                return True
            if name == pattern:
                return True
        return False


def without_tag(image: str) -> str:
    """The image as its pod calls it, without tag and digest."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def _check(pattern: str) -> None:
    """In upstream's words."""
    if pattern != pattern.strip():
        raise ValueError(f"leading/trailing spaces are not allowed: {pattern}")
    if not pattern:
        raise ValueError(f"the supplied pattern is too short: {pattern}")
    if "*" in pattern.removesuffix("/*"):
        raise ValueError(
            "not a valid wildcard pattern, only patterns ending with '/*' are allowed: " + pattern
        )
    if pattern.endswith("/*"):
        if pattern == "/*":
            raise ValueError("at least registry hostname is required")
        return
    try:
        repository_of(pattern)
    except ImageNameError as error:
        raise ValueError(f"failed to parse as an image name: {error}") from None
    if without_tag(pattern) != pattern:
        raise ValueError(f"neither tag nor digest is accepted in an image reference: {pattern}")


# --- upstream's form of a record ---


def written(access: dict[str, Access]) -> dict[str, Any]:
    """`credentialMapping` of an ImagePulledRecord."""
    return {repository: _credentials(entry) for repository, entry in access.items()}


def _credentials(access: Access) -> dict[str, Any]:
    if access.everybody:
        return {"nodePodsAccessible": True}
    secrets = [
        {
            "uid": secret.uid,
            "namespace": secret.namespace,
            "name": secret.name,
            "credentialHash": secret.credential_hash,
        }
        for secret in access.secrets
    ]
    return {"kubernetesSecrets": secrets}


def read(mapping: Any) -> dict[str, Access]:
    """Raises AttributeError, KeyError, TypeError for what is none."""
    access = {}
    for repository, entry in mapping.items():
        secrets = [
            SecretUse(secret["uid"], secret["namespace"], secret["name"], secret["credentialHash"])
            for secret in entry.get("kubernetesSecrets") or []
        ]
        access[repository] = Access(entry.get("nodePodsAccessible") is True, secrets)
    return access
