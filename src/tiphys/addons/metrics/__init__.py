"""Resource metrics: what pods and nodes use, for `kubectl top` and for autoscalers.

The model is metrics-server: the same group (metrics.k8s.io), the same kinds. It answers inside the
API server, without a process, a port or an APIService of its own; a metrics server that is
installed as an APIService takes its place.

`sampling` makes rates of what nodes count and `objects` makes the API's objects of them (both
pure); `serving` asks the nodes and answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tiphys.addons.addon import Addon

if TYPE_CHECKING:
    from tiphys.apiserver.parts import ServedGroup, ServerContext

GROUP = "metrics.k8s.io"


def served_group(server: ServerContext) -> ServedGroup:
    from tiphys.addons.metrics.serving import ResourceMetrics

    return ResourceMetrics(server.registry, server.node_tls)


ADDON = Addon("metrics", served_group=served_group)
