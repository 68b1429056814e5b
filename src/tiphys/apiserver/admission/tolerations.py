"""DefaultTolerationSeconds: how long a pod stays on a node that is lost."""

from __future__ import annotations

from tiphys.api import core_v1
from tiphys.apiserver.admission import Attributes, Base

_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_SECONDS = 300  # upstream's default-not-ready-toleration-seconds, and that of unreachable


class DefaultTolerationSeconds(Base):
    """A pod stays five minutes on a node that is not ready or out of reach, unless it says
    otherwise."""

    resources = frozenset(("pods",))

    async def mutate(self, a: Attributes) -> None:
        if a.operation not in ("CREATE", "UPDATE") or a.subresource:
            return
        tolerations = a.obj.spec.tolerations
        for key in _TAINTS:
            if not any(_covers(toleration, key) for toleration in tolerations or ()):
                tolerations.append(
                    core_v1.Toleration(
                        key=key,
                        operator="Exists",
                        effect="NoExecute",
                        toleration_seconds=_SECONDS,
                    )
                )


def _covers(toleration: core_v1.Toleration, key: str) -> bool:
    return toleration.key in (key, "") and toleration.effect in ("NoExecute", "")
