"""Endpoint discovery: clients that know every pod behind a service and choose one for each request.

For stateless gRPC services, whose connections live long: the service proxy chooses once for a
connection, and one pod gets everything. Clients subscribe over xDS; unchanged grpc clients resolve
``xds:///NAME.NAMESPACE:PORT``, and `channel` is a client of ours that takes the less loaded of two,
stays in its zone, and continues with what it knew when the server is away. The model is Databricks'
endpoint discovery service (no code of theirs is public); the API is xDS v3 and gRFCs A27 to A88.

`server` serves what `tiphys.network.xds` compiles; `discovery` follows one service, `balancing`
chooses (pure), `channel` calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from tiphys.addons.optional import Context, OptionalAddon, rule
from tiphys.api.base import Struct


class Settings(Struct):
    """`address` and `port` are where the xDS server listens; `zone` is what clients without one are
    told to be in."""

    address: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 18000
    zone: str = ""


async def run(context: Context) -> None:
    from tiphys.addons.endpoints.server import run as work

    await work(context)


def objects(settings: Settings) -> Sequence[Struct]:
    from tiphys.addons.endpoints.bootstrap import config_map

    return (config_map(settings.address, settings.port, settings.zone),)


ADDON = OptionalAddon(
    "endpoints",
    "Endpoint discovery over xDS: gRPC clients that choose a pod for each request",
    run,
    settings=Settings,
    rights=(
        rule("get list watch", "services"),
        rule("get list watch", "endpointslices", "discovery.k8s.io"),
    ),
    objects=objects,
    extra="xds",
    modules=("grpc", "envoy.service"),
    try_next=(
        "kubectl -n tiphys-addons get configmap xds-bootstrap "
        "-o jsonpath='{.data.bootstrap\\.json}'",
        "python -m tiphys.addons.endpoints.show NAME.NAMESPACE:PORT",
    ),
)
