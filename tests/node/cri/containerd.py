"""A containerd that answers as a test says, over its own socket."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import grpc
import grpc.aio
import pytest

from tests.builders import pod
from tests.node.plugins.programs import unary
from tiphys.api.base import F, Int32, Struct
from tiphys.machinery import protobuf
from tiphys.node.cri import messages as m
from tiphys.node.cri import snapshots as s
from tiphys.node.runtime import ContainerPlan, RuntimeFault

_SNAPSHOTS = {"View": s.ViewRequest, "Mounts": s.MountsRequest, "Remove": s.RemoveRequest}


class Payload(Struct):
    value: Annotated[bytes, F(2)] = b""


class Envelope(Struct):
    """An event of containerd, as its stream carries it."""

    topic: Annotated[str, F(3)] = ""
    event: Annotated[Payload | None, F(4)] = None


class Start(Struct):
    container_id: Annotated[str, F(1)] = ""
    pid: Annotated[Int32, F(2)] = 0


class End(Struct):
    container_id: Annotated[str, F(1)] = ""
    pid: Annotated[Int32, F(2)] = 0
    id: Annotated[str, F(5)] = ""


def happened(what: str, id: str, pid: int = 0, command: str = "") -> bytes:
    """An event about a task: start, exit, oom or delete; of its first process, or of a command."""
    about = Start(id, pid) if what == "start" else End(id, pid, command or id)
    return protobuf.encode(Envelope(f"/tasks/{what}", Payload(protobuf.encode(about))))


class Refusal(Exception):
    """A call that fails: a gRPC code and the runtime's words."""

    def __init__(self, text: str, code: grpc.StatusCode = grpc.StatusCode.UNKNOWN) -> None:
        super().__init__(text)
        self.code = code


class Containerd:
    """
    answers: by method, what it gives: a message, a Refusal or a function of the request
    calls:   methods and requests, in order
    events:  what its event stream says, in order, before it ends
    """

    def __init__(self, folder: Path) -> None:
        self.socket = str(folder / "c.sock")
        self.answers: dict[str, Any] = {}
        self.calls: list[tuple[str, Any]] = []
        self.events: list[bytes] = []
        self._server = grpc.aio.server()
        names = {n.removesuffix("Request") for n in vars(m) if n.endswith("Request")}
        for service in ("RuntimeService", "ImageService"):
            methods = {n: unary(self._answer(n), getattr(m, f"{n}Request")) for n in names}
            self._serve(f"runtime.v1.{service}", methods)
        views = {name: unary(self._answer(name), kind) for name, kind in _SNAPSHOTS.items()}
        views["List"] = self._stream("List", s.ListRequest)
        self._serve("containerd.services.snapshots.v1.Snapshots", views)
        subscribe = grpc.unary_stream_rpc_method_handler(self._subscribe)
        self._serve("containerd.services.events.v1.Events", {"Subscribe": subscribe})

    def _serve(self, service: str, methods: dict[str, Any]) -> None:
        handler = grpc.method_handlers_generic_handler(service, methods)
        self._server.add_generic_rpc_handlers((handler,))

    async def start(self) -> None:
        self._server.add_insecure_port(f"unix://{self.socket}")
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(0)

    def _answer(self, method: str) -> Any:
        async def answer(request: Any, context: Any) -> Any:
            self.calls.append((method, request))
            given = self.answers.get(method)
            if callable(given) and not isinstance(given, Struct):
                given = given(request)
            if isinstance(given, Refusal):
                await context.abort(given.code, str(given))
            return given if given is not None else getattr(m, f"{method}Response", m.Mount)()

        return answer

    def _stream(self, method: str, kind: Any) -> Any:
        async def answer(request: Any, context: Any) -> Any:
            self.calls.append((method, request))
            for each in self.answers.get(method, []):
                yield each

        return grpc.unary_stream_rpc_method_handler(
            answer,
            request_deserializer=lambda data: protobuf.decode(data, kind),
            response_serializer=protobuf.encode,
        )

    async def _subscribe(self, request: bytes, context: Any) -> Any:
        for each in self.events:
            yield each

    def methods(self) -> list[str]:
        return [method for method, _ in self.calls]

    def last(self, method: str) -> Any:
        return [request for name, request in self.calls if name == method][-1]


def one() -> Any:
    made = pod("p")
    made.metadata.uid = "u"
    made.status.qos_class = "BestEffort"
    return made


def plan(name: str = "c", **more: Any) -> ContainerPlan:
    return ContainerPlan(one().spec.containers[0], 2, "img", [], [], {}, [], **more)


async def fault(work: Any) -> tuple[str, str]:
    with pytest.raises(RuntimeFault) as error:
        await work
    return error.value.reason, str(error.value)
