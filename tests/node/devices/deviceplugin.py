"""A device plugin, as a program of its own: ``deviceplugin.py FOLDER RESOURCE DEVICE...``.

It serves in `FOLDER`, registers with the node there, and prints what it is asked for, a line of
JSON each. On its standard input it is told to list other devices: ``d0 d1=Unhealthy d2@1``, the
last one near NUMA node 1.
"""

from __future__ import annotations

import json
import os
import queue
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from tiphys.machinery import protobuf
from tiphys.node.devices import pluginmessages as m

lists: queue.Queue[list[str]] = queue.Queue()


def say(what: str, **more: Any) -> None:
    # In one write: `print` makes two, between which another thread may have its own.
    sys.stdout.write(json.dumps({"call": what, **more}) + "\n")
    sys.stdout.flush()


def listed(names: list[str]) -> m.ListAndWatchResponse:
    return m.ListAndWatchResponse(devices=[device(name) for name in names])


def device(name: str) -> m.Device:
    name, _, node = name.partition("@")
    id, _, health = name.partition("=")
    topology = m.TopologyInfo(nodes=[m.NUMANode(ID=int(node))]) if node else None
    return m.Device(ID=id, health=health or "Healthy", topology=topology)


def list_and_watch(request: m.Empty, context: Any) -> Iterator[m.ListAndWatchResponse]:
    while True:
        yield listed(lists.get())


def options(request: m.Empty, context: Any) -> m.DevicePluginOptions:
    return m.DevicePluginOptions(pre_start_required=True, get_preferred_allocation_available=True)


def prefer(request: m.PreferredAllocationRequest, context: Any) -> m.PreferredAllocationResponse:
    """The last ones."""
    wanted = request.container_requests[0]
    chosen = sorted(wanted.available_deviceIDs, reverse=True)[: wanted.allocation_size]
    answer = m.ContainerPreferredAllocationResponse(deviceIDs=chosen)
    return m.PreferredAllocationResponse(container_responses=[answer])


def allocate(request: m.AllocateRequest, context: Any) -> m.AllocateResponse:
    devices = request.container_requests[0].devices_ids
    say("allocate", devices=devices)
    if "broken" in devices:
        context.abort(grpc.StatusCode.INTERNAL, "it is broken")
    answer = m.ContainerAllocateResponse(
        envs={"DEVICES": ",".join(devices)},
        mounts=[
            m.Mount(
                container_path="/share",
                host_path="/var/lib/kubelet/device-plugins",
                read_only=True,
            )
        ],
        devices=[m.DeviceSpec(container_path="/dev/it", host_path="/dev/null", permissions="rw")],
        annotations={"example.com/devices": ",".join(devices)},
    )
    return m.AllocateResponse(container_responses=[answer])


def pre_start(request: m.PreStartContainerRequest, context: Any) -> m.PreStartContainerResponse:
    say("pre-start", devices=request.devices_ids)
    return m.PreStartContainerResponse()


def handler(call: Any, request: Any, is_stream: bool = False) -> Any:
    kind = (
        grpc.unary_stream_rpc_method_handler if is_stream else grpc.unary_unary_rpc_method_handler
    )
    return kind(
        call,
        request_deserializer=lambda data: protobuf.decode(data, request),
        response_serializer=protobuf.encode,
    )


def main(folder: str, resource: str, *devices: str) -> None:
    os.chdir(folder)  # the whole path may be too long for a socket
    lists.put(list(devices))
    server = grpc.server(ThreadPoolExecutor(8))
    methods = {
        "GetDevicePluginOptions": handler(options, m.Empty),
        "ListAndWatch": handler(list_and_watch, m.Empty, is_stream=True),
        "GetPreferredAllocation": handler(prefer, m.PreferredAllocationRequest),
        "Allocate": handler(allocate, m.AllocateRequest),
        "PreStartContainer": handler(pre_start, m.PreStartContainerRequest),
    }
    service = grpc.method_handlers_generic_handler("v1beta1.DevicePlugin", methods)
    server.add_generic_rpc_handlers((service,))
    server.add_insecure_port("unix:it.sock")
    server.start()
    register(resource)
    for line in sys.stdin:
        lists.put(line.split())
    server.stop(0)
    os._exit(0)


def register(resource: str) -> None:
    with grpc.insecure_channel("unix:kubelet.sock") as channel:
        call = channel.unary_unary(
            "/v1beta1.Registration/Register",
            request_serializer=protobuf.encode,
            response_deserializer=lambda data: protobuf.decode(data, m.Empty),
        )
        request = m.RegisterRequest(version="v1beta1", endpoint="it.sock", resource_name=resource)
        try:
            call(request, timeout=10)
            say("registered")
        except grpc.RpcError as error:
            say("refused", error=error.details())  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(*sys.argv[1:])
