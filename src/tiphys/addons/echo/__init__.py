"""Echo: keeps a ConfigMap for every Echo object. The smallest add-on there can be, to copy from and
to try things with.

For authors of add-ons, and to see that add-ons work in a cluster. It has no original
elsewhere.
"""

from __future__ import annotations

from tiphys.addons.optional import Context, OptionalAddon, rule
from tiphys.api.apiextensions_v1 import CustomResourceDefinition
from tiphys.api.base import Struct

GROUP = "echo.addons.tiphys.dev"


class Settings(Struct):
    """`prefix` comes before everything that is said."""

    prefix: str = ""


def definitions() -> tuple[CustomResourceDefinition, ...]:
    from tiphys.addons.echo.types import Echo
    from tiphys.operator import definition

    return (definition(Echo),)


async def run(context: Context) -> None:
    from tiphys.addons.echo.controller import run as work

    await work(context)


ADDON = OptionalAddon(
    "echo",
    "Keeps a ConfigMap for every Echo object: the smallest add-on, to copy from",
    run,
    settings=Settings,
    rights=(
        rule("get list watch", "echoes", GROUP),
        rule("patch update", "echoes/status", GROUP),
        rule("get list watch create patch", "configmaps"),
    ),
    definitions=definitions,
    try_next=(
        "kubectl apply -f src/tiphys/addons/echo/example/hello.yaml",
        "kubectl get echoes",
    ),
)
