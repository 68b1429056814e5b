"""PodTopologyLabels: a pod carries the zone and region of its node."""

from __future__ import annotations

from tiphys.api.catalog import BY_PATH
from tiphys.apiserver.admission import Asking, Attributes

_NODES = BY_PATH["", "v1", "nodes"]
_TOPOLOGY = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class PodTopologyLabels(Asking):
    """A pod that is put on a node gets the node's zone and region as labels."""

    resources = frozenset(("pods",))

    async def mutate(self, a: Attributes) -> None:
        if a.operation != "CREATE" or a.subresource not in ("", "binding"):
            return
        name = a.obj.target.name if a.subresource else a.obj.spec.node_name
        node = self._registry().cache(_NODES).get(_NODES.key("", name)) if name else None
        if node is not None:
            known = {key: node.labels[key] for key in _TOPOLOGY if key in node.labels}
            a.obj.metadata.labels.update(known)
