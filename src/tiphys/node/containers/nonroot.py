"""Whether a container that must not run as root would. Pure."""

from __future__ import annotations

from typing import Any

from tiphys.api import core_v1
from tiphys.node.states import PodIdentity

_MOST = (1 << 31) - 1  # the largest number of a user, as upstream


def must_not_be_root(pod: core_v1.Pod, container: Any) -> bool:
    """The container's own setting counts before the pod's."""
    own = container.security_context
    shared = pod.spec.security_context
    if own is not None and own.run_as_non_root is not None:
        return bool(own.run_as_non_root)
    return bool(shared is not None and shared.run_as_non_root)


def run_as_user(pod: core_v1.Pod, container: Any) -> int | None:
    """The user's number that the spec gives a container, its own before the pod's."""
    own = container.security_context
    shared = pod.spec.security_context
    if own is not None and own.run_as_user is not None:
        return int(own.run_as_user)
    return shared.run_as_user if shared is not None else None


def non_root_violation(
    pod: core_v1.Pod, container: Any, image_user: int | None, image_user_name: str
) -> str:
    """Why a container may not run, in upstream's words; "" if it may. An image that names no user
    runs as root."""
    if not must_not_be_root(pod, container):
        return ""
    whose = f'(pod: "{PodIdentity.of(pod)}", container: {container.name})'
    user = run_as_user(pod, container)
    if user is not None:
        return "" if user else f"container's runAsUser breaks non-root policy {whose}"
    if image_user is None and image_user_name:
        problem = f"image has non-numeric user ({image_user_name}), cannot verify user is non-root"
        return f"container has runAsNonRoot and {problem} {whose}"
    if not image_user:
        return f"container has runAsNonRoot and image will run as root {whose}"
    if not 0 < image_user <= _MOST:
        bounds = f"must be between 0 and {_MOST}, inclusive"
        problem = f"image has an invalid user id ({image_user}). (Must be 1-({_MOST})): {bounds}"
        return f"container has runAsNonRoot and {problem} {whose}"
    return ""
