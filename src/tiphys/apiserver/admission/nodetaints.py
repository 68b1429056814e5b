"""TaintNodesByCondition: a new node is not ready yet."""

from __future__ import annotations

from tiphys.api import core_v1
from tiphys.apiserver.admission import Attributes, Base

_NOT_READY = "node.kubernetes.io/not-ready"


class TaintNodesByCondition(Base):
    """A node that registers is not ready: it gets no pods until it reports that it is."""

    resources = frozenset(("nodes",))

    async def mutate(self, a: Attributes) -> None:
        if a.operation == "CREATE" and not a.subresource:
            if not any(t.key == _NOT_READY and t.effect == "NoSchedule" for t in a.obj.spec.taints):
                a.obj.spec.taints.append(core_v1.Taint(key=_NOT_READY, effect="NoSchedule"))
