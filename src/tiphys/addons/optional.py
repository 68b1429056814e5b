"""Add-ons that are enabled by name: what one declares, and what it gets when it runs.

`tiphys addon enable NAME` installs the objects of the declaration with the rights of the user who
calls it; then the add-on runs with an account of its own that has the declared rights and no
others.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiphys.api import rbac_v1
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.base import Struct
from tiphys.client.client import Client
from tiphys.client.events import EventRecorder
from tiphys.client.informer import Informers
from tiphys.client.tasks import TaskGroup

if TYPE_CHECKING:
    from tiphys.addons.machines import Machines
    from tiphys.operator.reconcile import Reconciler

NAMESPACE = "tiphys-addons"
LABEL = "addons.tiphys.dev/name"


class NoSettings(Struct):
    """For an add-on that has nothing to set."""


@dataclass(frozen=True)
class Context:
    """What a running add-on is given. `client` has the add-on's own identity, `tasks` end with it.

    `machines` makes nodes that run containers; None where there can be none. `data_dir` is a folder
    of its own that stays while it is enabled, `now` gives seconds since the epoch. `ready` is
    called once it serves; a later call changes the message that `tiphys addon status` shows.
    """

    name: str
    client: Client
    informers: Informers
    tasks: TaskGroup
    recorder: EventRecorder
    settings: Any
    data_dir: Path
    now: Callable[[], float]
    ready: Callable[[str], None]
    namespace: str = NAMESPACE
    machines: Machines | None = None

    @property
    def labels(self) -> dict[str, str]:
        """Of every object that the add-on makes beside those which users' objects own: it goes when
        it is disabled."""
        return {LABEL: self.name, "app.kubernetes.io/managed-by": "tiphys"}

    async def reconcile(self, *reconcilers: type[Reconciler[Any]], **shared: Any) -> None:
        """Starts reconcilers under the add-on's name. They find its settings in `self.settings`,
        and what is `shared` with them in `self.context.settings`."""
        from tiphys.controllers.shell import Context as ShellContext
        from tiphys.operator.reconcile import Shell

        context = ShellContext(
            self.client,
            self.informers,
            self.recorder,
            self.tasks,
            now=self.now,
            settings={"settings": self.settings, **shared},
        )
        shells = [Shell(context, kind, f"tiphys-{self.name}") for kind in reconcilers]
        for shell in shells:
            shell.watch()
        for shell in shells:
            await shell.run()


def no_definitions() -> tuple[CustomResourceDefinition, ...]:
    return ()


def no_objects(settings: Any) -> Sequence[Struct]:
    return ()


@dataclass(frozen=True)
class OptionalAddon:
    """`name` is that of its folder, with dashes for underscores.

    `settings` is a struct of plain fields, set with ``--set field=value`` by their JSON names.
    `rights` hold in every namespace. `definitions` are its custom resources, `objects` what else it
    needs, made from its settings. `run` is its work: it returns or raises when it cannot go on, and
    is cancelled when the add-on is disabled. `extra` names the optional dependencies (``pip install
    tiphys[EXTRA]``) and `modules` what they must bring.
    """

    name: str
    summary: str
    run: Callable[[Context], Coroutine[Any, Any, None]]
    settings: type[Struct] = NoSettings
    rights: tuple[rbac_v1.PolicyRule, ...] = ()
    definitions: Callable[[], tuple[CustomResourceDefinition, ...]] = no_definitions
    objects: Callable[[Any], Sequence[Struct]] = no_objects
    extra: str = ""
    modules: tuple[str, ...] = ()
    try_next: tuple[str, ...] = field(default=())


def rule(verbs: str, resources: str, group: str = "", names: str = "") -> rbac_v1.PolicyRule:
    """A rule of RBAC; each argument is a list of words, `group` is one API group."""
    return rbac_v1.PolicyRule(
        verbs=verbs.split(),
        api_groups=[group],
        resources=resources.split(),
        resource_names=names.split(),
    )
