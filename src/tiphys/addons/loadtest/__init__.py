"""Load tests: as many users as it takes until the system does so many orders a minute, on a copy of
production, and everything as before when it is over.

For teams that test a shop as a whole and regularly: one object sets how many orders a minute, how
long to get there and how long to stay. The model is a conductor that was published as a talk, and
has no public source: five phases (clone versions, scale, load, scale down, clean), a CronJob as the
scheduler, pools of nodes for the load and for the system.

`types` is its custom resource; `control` computes the next number of users (pure), `conducting`
what a test does when (pure), `changes` what becomes of an application (pure); `substrates` are
where applications run, `supervisor` is the local one, `generator` is locust, `measuring` counts
orders, `production` reads the other cluster, `controller` joins them.
"""

from __future__ import annotations

from tiphys.addons.optional import NAMESPACE, Context, OptionalAddon, rule
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.base import Struct

GROUP = "loadtest.tiphys.dev"
PROCESSES = "loadtest-processes"
"""The ConfigMap with how many processes of a local service there are, and of which version."""


class Settings(Struct):
    """`folder` has local services (``NAME.json``) and scripts of generators that are processes of
    this machine; empty: there are none. `locust` is the program for those; empty: what is beside
    Python, or in PATH. `image` has locust, for generators that are pods. With `local`, tests may
    ask what listens on this machine's loopback alone.
    """

    folder: str = ""
    locust: str = ""
    local: bool = False
    image: str = "tiphys.local/locust:1"


def definitions() -> tuple[CustomResourceDefinition, ...]:
    from tiphys.addons.loadtest.types import LoadTest
    from tiphys.operator import definition

    return (definition(LoadTest),)


def objects(settings: Settings) -> tuple[Struct, ...]:
    """An empty ConfigMap: the state that local services should have."""
    from tiphys.api import core_v1
    from tiphys.api.meta_v1 import ObjectMeta

    return (core_v1.ConfigMap(metadata=ObjectMeta(name=PROCESSES, namespace=NAMESPACE)),)


async def run(context: Context) -> None:
    from tiphys.addons.loadtest.controller import run as work

    await work(context)


ADDON = OptionalAddon(
    "loadtest",
    "Load tests: users until the system does so many orders a minute, then all as before",
    run,
    settings=Settings,
    rights=(
        rule("get list watch patch update", "loadtests", GROUP),
        rule("patch update", "loadtests/status", GROUP),
        rule("get list watch create patch update delete", "deployments", "apps"),
        rule("get list watch", "pods"),
        rule("list", "endpointslices", "discovery.k8s.io"),
        rule("get", "secrets"),
        rule("get list watch create patch update delete", "configmaps"),
    ),
    definitions=definitions,
    objects=objects,
    try_next=(
        "kubectl apply -f src/tiphys/addons/loadtest/example/loadtest.yaml",
        "kubectl get loadtests -A -w",
    ),
)
