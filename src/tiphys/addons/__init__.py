"""Add-ons: what upstream leaves to others, and what comes with this cluster.

Each is a folder that knows none of the others: a README whose commands a test runs, `__init__` with
its `ADDON`, its custom resources in `types` where it has any, a pure core, and a controller or a
component around it. May import every room below `cluster`; no room below imports an add-on.
`docs/checklists.md` describes how to add one.

What several of them need stands beside the folders: `optional` and `host` (what an add-on is, and
the process that runs it), `installing` and `removing`, `machines` (nodes that the supervisor
makes), `authority`, `webhook` and `reviews` (answering the API server's questions), `aggregated` (a
server behind it), `reaching` and `addresses` (whom one may connect to, where one listens), and
`_cloud` (machines that can be had by the hour, as data).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tiphys.addons import (
    accelerators,
    custommetrics,
    dns,
    echo,
    endpoints,
    gateway,
    inference,
    karpenter,
    keda,
    kueue,
    loadtest,
    local_volumes,
    mesh,
    metrics,
    registry,
    routeserver,
    training,
)
from tiphys.addons.addon import Addon, NodeContext
from tiphys.addons.optional import OptionalAddon

if TYPE_CHECKING:
    from tiphys.apiserver.parts import Part
    from tiphys.controllers.shell import Controller

__all__ = [
    "ADDONS",
    "OPTIONAL",
    "Addon",
    "NodeContext",
    "OptionalAddon",
    "controllers",
    "served_groups",
    "start_on_node",
]

ADDONS: tuple[Addon, ...] = (
    # what pods find each other by: started first, for everything that starts later looks names up
    dns.ADDON,
    # what `kubectl top` shows and autoscalers read
    metrics.ADDON,
    # what claims of the default storage class get
    local_volumes.ADDON,
)

OPTIONAL: dict[str, OptionalAddon] = {
    addon.name: addon
    for addon in (
        # the smallest there can be: to copy from
        echo.ADDON,
        # GPUs that are not there
        accelerators.ADDON,
        # what autoscalers of pods and objects go by
        custommetrics.ADDON,
        # gRPC clients that know every pod of a service
        endpoints.ADDON,
        # requests from outside, by host and path
        gateway.ADDON,
        # models behind HTTPS, on the instances that are left
        inference.ADDON,
        # nodes as pods need them
        karpenter.ADDON,
        # replicas by what there is to do
        keda.ADDON,
        # jobs that wait for their share
        kueue.ADDON,
        # so many orders a minute, and all as before
        loadtest.ADDON,
        # services that prove to each other who they are
        mesh.ADDON,
        # images that are built on this machine
        registry.ADDON,
        # routes for hundreds of routers
        routeserver.ADDON,
        # training jobs that restart only what broke
        training.ADDON,
    )
}
"""What `tiphys addon enable` offers, in the order in which `tiphys addon list` shows it."""


def controllers() -> tuple[type[Controller], ...]:
    """The controllers of all add-ons, in the order of the list."""
    return tuple(kind for addon in ADDONS for kind in addon.controllers())


def served_groups() -> tuple[Part, ...]:
    """What add-ons answer inside the API server, in the order of the list."""
    return tuple(addon.served_group for addon in ADDONS if addon.served_group is not None)


async def start_on_node(node: NodeContext) -> None:
    """Starts every add-on's part of a node, one after the other."""
    for addon in ADDONS:
        await addon.start_on_node(node)
