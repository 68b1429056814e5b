"""Device plugins, as they register with the node and list what they have."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
from collections.abc import Awaitable, Callable
from typing import TypeVar

import grpc
import grpc.aio

from tiphys.api.base import Struct
from tiphys.machinery import protobuf
from tiphys.machinery.extendedresources import is_extended
from tiphys.node.devices import pluginmessages as m
from tiphys.node.plugins.channel import PluginChannel, PluginError
from tiphys.node.volumes.kubeletfolder import SHOWN, KubeletFolder

log = logging.getLogger(__name__)
T = TypeVar("T", bound=Struct)

VERSION = "v1beta1"
FOLDER = "device-plugins"
_MOST_BYTES = 64 << 10  # of a registration
_SERVICE = f"{VERSION}.DevicePlugin"
_OPTIONS = 10.0  # seconds that a plugin has to say what it can
_CALL = 120.0  # seconds for an allocation; upstream waits without end
_PRE_START = 30.0  # seconds, as upstream

Register = Callable[[m.RegisterRequest], Awaitable[None]]


class RegistrationError(Exception):
    """A plugin is not taken, in upstream's words."""


def check(name: str, *versions: str) -> None:
    """Raises RegistrationError for a resource's name or versions that cannot be."""
    if VERSION not in versions:
        text = f'requested API version "{versions[0] if versions else ""}" is not supported'
        raise RegistrationError(f'{text} by kubelet. Supported version is ["{VERSION}"]')
    if not is_extended(name):
        raise RegistrationError(f'the ResourceName "{name}" is invalid')


class Endpoint:
    """One plugin that is registered. `folder` is the node's, `path` the plugin's socket as the
    plugin calls it. Raises PluginError."""

    def __init__(self, resource: str, folder: KubeletFolder, path: str) -> None:
        self.resource = resource
        self._channel = PluginChannel(folder, path)
        self.options = m.DevicePluginOptions()

    async def connect(self) -> None:
        """Raises PluginError."""
        try:
            self.options = await self._call(
                "GetDevicePluginOptions", m.Empty(), m.DevicePluginOptions, _OPTIONS
            )
        except PluginError as error:
            raise PluginError(f"failed to get device plugin options: {error}") from None

    async def watch(self, show: Callable[[list[m.Device]], None]) -> None:
        """Calls `show` with all devices whenever they change, until the plugin ends."""
        method = f"{_SERVICE}/ListAndWatch"
        with contextlib.suppress(PluginError):
            async for answer in self._channel.stream(method, m.Empty(), m.ListAndWatchResponse):
                show(answer.devices)

    async def preferred(self, available: list[str], required: list[str], size: int) -> list[str]:
        """Which of the devices the plugin would take. Raises PluginError."""
        wanted = m.ContainerPreferredAllocationRequest(
            available_deviceIDs=available, must_include_deviceIDs=required, allocation_size=size
        )
        try:
            answer = await self._call(
                "GetPreferredAllocation",
                m.PreferredAllocationRequest(container_requests=[wanted]),
                m.PreferredAllocationResponse,
            )
        except PluginError as error:
            text = "device plugin GetPreferredAllocation rpc failed with err"
            raise PluginError(f"{text}: {error}") from None
        return answer.container_responses[0].deviceIDs if answer.container_responses else []

    async def allocate(self, devices: list[str]) -> m.ContainerAllocateResponse:
        """What a container needs to use the devices. Raises PluginError."""
        wanted = m.ContainerAllocateRequest(devices_ids=devices)
        answer = await self._call(
            "Allocate", m.AllocateRequest(container_requests=[wanted]), m.AllocateResponse
        )
        if not answer.container_responses:
            raise PluginError("no containers return in allocation response &AllocateResponse{}")
        return answer.container_responses[0]

    async def pre_start(self, devices: list[str]) -> None:
        """Raises PluginError."""
        request = m.PreStartContainerRequest(devices_ids=devices)
        try:
            await self._call("PreStartContainer", request, m.PreStartContainerResponse, _PRE_START)
        except PluginError as error:
            text = "device plugin PreStartContainer rpc failed with err"
            raise PluginError(f"{text}: {error}") from None

    async def _call(
        self, method: str, request: Struct, response: type[T], timeout: float = _CALL
    ) -> T:
        return await self._channel.call(f"{_SERVICE}/{method}", request, response, timeout)

    async def close(self) -> None:
        await self._channel.close()


class RegistrationServer:
    """The node's side, where plugins register: ``device-plugins/kubelet.sock``."""

    def __init__(self, folder: KubeletFolder, register: Register) -> None:
        """`register` raises RegistrationError, PluginError."""
        self._folder = folder
        self._register = register
        self._opened = contextlib.ExitStack()
        self._server = grpc.aio.server(options=[("grpc.max_receive_message_length", _MOST_BYTES)])
        handler = grpc.unary_unary_rpc_method_handler(
            self._on_register,
            request_deserializer=lambda data: protobuf.decode(data, m.RegisterRequest),
            response_serializer=protobuf.encode,
        )
        service = grpc.method_handlers_generic_handler(
            f"{VERSION}.Registration", {"Register": handler}
        )
        self._server.add_generic_rpc_handlers((service,))

    async def start(self) -> None:
        """Plugins see that an agent has started by the sockets that it takes away, and register
        again. Raises OSError."""
        folder = self._opened.enter_context(self._folder.folder(FOLDER))
        _remove_sockets(folder)
        # By its handle, for the whole path may be too long for a socket's address.
        self._server.add_insecure_port(f"unix:///proc/self/fd/{folder}/kubelet.sock")
        await self._server.start()

    async def _on_register(
        self, request: m.RegisterRequest, context: grpc.aio.ServicerContext
    ) -> m.Empty:
        try:
            check(request.resource_name, request.version)
            await self._register(request)
        except (RegistrationError, PluginError) as error:
            log.warning("Device plugin of %s is refused: %s", request.resource_name, error)
            await context.abort(grpc.StatusCode.UNKNOWN, str(error))
        return m.Empty()

    async def stop(self) -> None:
        await self._server.stop(0)
        self._opened.close()


def socket_of(request: m.RegisterRequest) -> str:
    """The path of a plugin's socket, as the plugin sees it."""
    return f"{SHOWN}/{FOLDER}/{request.endpoint}"


def _remove_sockets(folder: int) -> None:
    with os.scandir(folder) as entries:
        names = [
            entry.name
            for entry in entries
            if stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode)
        ]
    for name in names:
        os.unlink(name, dir_fd=folder)
