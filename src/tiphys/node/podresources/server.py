"""Serves the pod resources API at ``pod-resources/kubelet.sock`` of the node's kubelet folder: to
who may mount that folder, as with upstream."""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from tiphys.api.base import Struct
from tiphys.machinery import protobuf
from tiphys.node.podresources import messages as m
from tiphys.node.podresources.listing import NotHere, PodResourceLists
from tiphys.node.volumes.kubeletfolder import KubeletFolder

FOLDER = "pod-resources"
_SOCKET = "kubelet.sock"
_RATE, _BURST = 100.0, 10.0  # requests a second, and at once, as upstream
_MOST_BYTES = 64 << 10  # of a request

Answer = Callable[[Any], Struct]


class RateLimit:
    """A bucket that fills with `rate` tokens a second, `burst` at most."""

    def __init__(self, rate: float = _RATE, burst: float = _BURST) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._refilled_at = 0.0

    def takes(self, now: float) -> bool:
        """Whether one more is let through. `now`: seconds of any clock."""
        self._tokens = min(self._burst, self._tokens + (now - self._refilled_at) * self._rate)
        self._refilled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class PodResourcesServer:
    """The package `v1` of the service PodResourcesLister."""

    def __init__(self, folder: KubeletFolder, lists: PodResourceLists) -> None:
        self._folder = folder
        self._lists = lists
        self._limit = RateLimit()
        self._opened = contextlib.ExitStack()
        self._server = grpc.aio.server(options=[("grpc.max_receive_message_length", _MOST_BYTES)])
        handlers = {
            "List": self._handler(m.ListPodResourcesRequest, lambda _: lists.list()),
            "GetAllocatableResources": self._handler(
                m.AllocatableResourcesRequest, lambda _: lists.allocatable()
            ),
            "Get": self._handler(
                m.GetPodResourcesRequest,
                lambda asked: lists.get(asked.pod_namespace, asked.pod_name),
            ),
        }
        service = grpc.method_handlers_generic_handler("v1.PodResourcesLister", handlers)
        self._server.add_generic_rpc_handlers((service,))

    def _handler(self, request: type[Struct], answer: Answer) -> Any:
        return grpc.unary_unary_rpc_method_handler(
            self._answering(answer),
            request_deserializer=lambda data: protobuf.decode(data, request),
            response_serializer=protobuf.encode,
        )

    def _answering(self, answer: Answer) -> Callable[[Any, Any], Awaitable[Struct]]:
        async def reply(asked: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Struct:
            if not self._limit.takes(time.monotonic()):
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "rejected by rate limit")
            try:
                return answer(asked)
            except NotHere as error:
                await context.abort(grpc.StatusCode.UNKNOWN, str(error))
            raise AssertionError("unreachable")

        return reply

    async def start(self) -> None:
        """Raises OSError."""
        folder = self._opened.enter_context(self._folder.folder(FOLDER))
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(_SOCKET, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISSOCK(status.st_mode):
                os.unlink(_SOCKET, dir_fd=folder)
        # By its handle, for the whole path may be too long for a socket's address.
        self._server.add_insecure_port(f"unix:///proc/self/fd/{folder}/{_SOCKET}")
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(0)
        self._opened.close()
