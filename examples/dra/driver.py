"""A driver for devices that any machine has: colors.

It shows how a driver of dynamic resource allocation works, from end to end:

1. it offers its node's devices to the scheduler, as a ResourceSlice;
2. it registers with the node, at a socket in `plugins_registry`;
3. the node asks it to prepare a claim: it writes down, in a file of the Container Device Interface,
   what the claim's containers get, and answers with the name of that;
4. when the last pod that uses the claim has ended, it takes the file away.

A container that has a claim for a color finds it in the variable COLOR.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from tiphys.api import core_v1
from tiphys.api import resource_v1 as v1
from tiphys.api.meta_v1 import ObjectMeta, OwnerReference
from tiphys.client.client import Client, Unreachable
from tiphys.client.config import load
from tiphys.client.signals import stop_event
from tiphys.machinery import protobuf
from tiphys.machinery.errors import StatusError, is_already_exists
from tiphys.node.devices import dramessages as m
from tiphys.node.plugins import messages as registration

DRIVER = "colors.example.com"
COLORS = ("red", "green", "blue")
KUBELET = Path("/var/lib/kubelet")
REGISTRY = KUBELET / "plugins_registry" / f"{DRIVER}-reg.sock"
ENDPOINT = KUBELET / "plugins" / DRIVER / "dra.sock"
CDI = Path("/var/run/cdi")
KIND = f"{DRIVER}/claim"  # of devices, as the Container Device Interface names them


class Driver:
    """Of the node `node`."""

    def __init__(self, client: Client, node: str) -> None:
        self._client = client
        self._node = node

    # --- what the scheduler sees ---

    async def publish(self) -> None:
        """Offers the colors. The slice goes when the node does."""
        node = await self._client.get(core_v1.Node, self._node)
        owner = OwnerReference(
            api_version="v1", kind="Node", name=self._node, uid=node.metadata.uid, controller=True
        )
        devices = [
            v1.Device(name=color, attributes={"color": v1.DeviceAttribute(string=color)})
            for color in COLORS
        ]
        offered = v1.ResourceSlice(
            metadata=ObjectMeta(name=f"{self._node}-{DRIVER}", owner_references=[owner]),
            spec=v1.ResourceSliceSpec(
                driver=DRIVER,
                node_name=self._node,
                pool=v1.ResourcePool(name=self._node, generation=1, resource_slice_count=1),
                devices=devices,
            ),
        )
        try:
            await self._client.create(offered)
        except StatusError as error:
            if not is_already_exists(error):
                raise

    # --- what the node asks ---

    async def prepare(
        self, request: m.NodePrepareResourcesRequest, context: Any
    ) -> m.NodePrepareResourcesResponse:
        return m.NodePrepareResourcesResponse(
            claims={claim.uid: await self._prepare(claim) for claim in request.claims}
        )

    async def _prepare(self, claim: m.Claim) -> m.NodePrepareResourceResponse:
        """Also of a claim that is prepared already: the node may have forgotten it."""
        try:
            stored = await self._client.get(v1.ResourceClaim, claim.name, claim.namespace)
        except (StatusError, Unreachable) as error:
            return m.NodePrepareResourceResponse(error=str(error))
        if stored.metadata.uid != claim.uid or stored.status.allocation is None:
            return m.NodePrepareResourceResponse(error=f"claim {claim.name} has no devices")
        results = [
            result
            for result in stored.status.allocation.devices.results
            if result.driver == DRIVER and result.pool == self._node
        ]
        write_description(claim.uid, [(each.request, each.device) for each in results])
        return m.NodePrepareResourceResponse(
            devices=[
                m.Device(
                    request_names=[each.request.partition("/")[0]],
                    pool_name=each.pool,
                    device_name=each.device,
                    cdi_device_ids=[f"{KIND}={claim.uid}-{each.device}"],
                )
                for each in results
            ]
        )

    async def unprepare(
        self, request: m.NodeUnprepareResourcesRequest, context: Any
    ) -> m.NodeUnprepareResourcesResponse:
        for claim in request.claims:
            description(claim.uid).unlink(missing_ok=True)
        return m.NodeUnprepareResourcesResponse(
            claims={claim.uid: m.NodeUnprepareResourceResponse() for claim in request.claims}
        )


def description(uid: str) -> Path:
    return CDI / f"{DRIVER}-{uid}.json"


def write_description(uid: str, colors: list[tuple[str, str]]) -> None:
    """What a container gets of each color: a variable. `colors` are (request, device)."""
    devices = [
        {"name": f"{uid}-{color}", "containerEdits": {"env": [f"COLOR={color}"]}}
        for _, color in colors
    ]
    spec = {"cdiVersion": "0.6.0", "kind": KIND, "devices": devices}
    CDI.mkdir(parents=True, exist_ok=True)
    temporary = CDI / f".{uid}.new"
    temporary.write_text(json.dumps(spec))
    temporary.replace(description(uid))


# --- the two services ---


def unary(call: Any, request: Any) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        call,
        request_deserializer=lambda data: protobuf.decode(data, request),
        response_serializer=protobuf.encode,
    )


async def get_info(request: registration.InfoRequest, context: Any) -> registration.PluginInfo:
    return registration.PluginInfo(
        type="DRAPlugin",
        name=DRIVER,
        endpoint=str(ENDPOINT),
        supported_versions=["v1.DRAPlugin"],
    )


async def on_registered(
    status: registration.RegistrationStatus, context: Any
) -> registration.RegistrationStatusResponse:
    print("registered" if status.plugin_registered else f"refused: {status.error}", flush=True)
    return registration.RegistrationStatusResponse()


async def serve(socket: Path, service: str, methods: dict[str, Any]) -> grpc.aio.Server:
    socket.parent.mkdir(parents=True, exist_ok=True)
    server = grpc.aio.server()
    handler = grpc.method_handlers_generic_handler(service, methods)
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"unix:{socket}")
    await server.start()
    return server


async def main() -> None:
    stop = stop_event()
    async with Client(load(), "colors-driver") as client:
        driver = Driver(client, os.environ["NODE_NAME"])
        await driver.publish()
        plugin = await serve(
            ENDPOINT,
            "k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin",
            {
                "NodePrepareResources": unary(driver.prepare, m.NodePrepareResourcesRequest),
                "NodeUnprepareResources": unary(driver.unprepare, m.NodeUnprepareResourcesRequest),
            },
        )
        registrar = await serve(
            REGISTRY,
            "pluginregistration.Registration",
            {
                "GetInfo": unary(get_info, registration.InfoRequest),
                "NotifyRegistrationStatus": unary(on_registered, registration.RegistrationStatus),
            },
        )
        await stop.wait()
        await registrar.stop(0)
        await plugin.stop(1)


if __name__ == "__main__":
    asyncio.run(main())
