"""The shape of an add-on: its name, and what it runs where.

An add-on's `__init__` declares this in one `ADDON` and imports its own modules only when they are
started, so that a process loads no more than what it runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tiphys.client.client import Client
from tiphys.client.informer import Informers
from tiphys.client.tasks import TaskGroup

if TYPE_CHECKING:
    from tiphys.apiserver.parts import Part
    from tiphys.controllers.shell import Controller


@dataclass(frozen=True)
class NodeContext:
    """What an add-on is given on a node.

    `address` is the node's among its pods, `domain` the cluster's ("cluster.local"), `name_servers`
    those of the machine. `tasks` end with the node's process."""

    client: Client
    informers: Informers
    tasks: TaskGroup
    name: str
    address: str
    domain: str
    name_servers: Sequence[str]


def no_controllers() -> tuple[type[Controller], ...]:
    return ()


async def nothing_on_nodes(node: NodeContext) -> None:
    return None


@dataclass(frozen=True)
class Addon:
    """`name` is that of its folder. `controllers` run in the controllers' process, supervised like
    the cluster's own. `start_on_node` is awaited once by every node that runs containers; it
    returns when the add-on is ready there. `served_group` answers a group of the API inside the API
    server."""

    name: str
    controllers: Callable[[], tuple[type[Controller], ...]] = no_controllers
    start_on_node: Callable[[NodeContext], Awaitable[None]] = nothing_on_nodes
    served_group: Part | None = None
