"""Plugins that serve at sockets of a node's folder, over gRPC."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from tiphys.machinery import protobuf
from tiphys.node.plugins import messages as m
from tiphys.node.volumes.kubeletfolder import SHOWN, KubeletFolder


def unary(call: Any, request: Any) -> Any:
    """An RPC of one message each way, for a coroutine of (request, context)."""
    return grpc.unary_unary_rpc_method_handler(
        call,
        request_deserializer=lambda data: protobuf.decode(data, request),
        response_serializer=protobuf.encode,
    )


class Serving:
    """A gRPC server at a path below the node's folder."""

    def __init__(self, folder: KubeletFolder, path: str, services: dict[str, Any]) -> None:
        self._socket = folder.root / path
        self._socket.parent.mkdir(parents=True, exist_ok=True)
        self._opened = os.open(self._socket.parent, os.O_PATH)
        self._server = grpc.aio.server()
        for service, methods in services.items():
            handler = grpc.method_handlers_generic_handler(service, methods)
            self._server.add_generic_rpc_handlers((handler,))

    async def start(self) -> None:
        """By a short path: a socket's address has 107 bytes."""
        name = self._socket.name
        self._server.add_insecure_port(f"unix:///proc/self/fd/{self._opened}/{name}")
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(0)
        with contextlib.suppress(FileNotFoundError):
            self._socket.unlink()


class Registrar(Serving):
    """A plugin as it introduces itself. `told` is what it was answered: (taken, why not)."""

    def __init__(self, folder: KubeletFolder, path: str, **info: Any) -> None:
        self._info = m.PluginInfo(**{"supported_versions": ["v1"], **info})
        self.told: list[tuple[bool, str]] = []
        methods = {
            "GetInfo": unary(self._get_info, m.InfoRequest),
            "NotifyRegistrationStatus": unary(self._notify, m.RegistrationStatus),
        }
        super().__init__(folder, path, {"pluginregistration.Registration": methods})

    async def _get_info(self, request: m.InfoRequest, context: Any) -> m.PluginInfo:
        return self._info

    async def _notify(
        self, status: m.RegistrationStatus, context: Any
    ) -> m.RegistrationStatusResponse:
        self.told.append((status.plugin_registered, status.error))
        return m.RegistrationStatusResponse()


def shown(path: str) -> str:
    """A path below the node's folder, as plugins call it."""
    return str(Path(SHOWN) / path)
