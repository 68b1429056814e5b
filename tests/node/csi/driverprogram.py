"""A CSI driver: a gRPC server that makes a folder for each mount, and remembers what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import grpc

from tests.node.plugins.programs import Serving, unary
from tiphys.node.csi import messages as m
from tiphys.node.plugins.watcher import Plugin
from tiphys.node.volumes.kubeletfolder import SHOWN, KubeletFolder

NAME = "disk.example.com"
ENDPOINT = f"{SHOWN}/plugins/{NAME}/csi.sock"
PLUGIN = Plugin(NAME, ENDPOINT, ("1.0.0",))


class DriverProgram(Serving):
    """
    calls: methods and requests, in order
    can: capabilities that it has
    refuses: methods that fail, and how
    hangs: the volume about which it never answers; `hung` is set once it was asked
    forgets: it takes nothing back, and says that it has
    """

    def __init__(self, folder: KubeletFolder, can: tuple[int, ...] = ()) -> None:
        self._root = folder.root
        self.can = can or (m.STAGE_UNSTAGE_VOLUME, m.EXPAND_VOLUME, m.GET_VOLUME_STATS)
        self.calls: list[tuple[str, Any]] = []
        self.refuses: dict[str, tuple[grpc.StatusCode, str]] = {}
        self.hangs, self.hung = "", asyncio.Event()
        self.forgets = False
        self.info = m.NodeGetInfoResponse(node_id="n-1")
        requests = {
            name.removesuffix("Request"): kind
            for name, kind in vars(m).items()
            if name.startswith("Node") and name.endswith("Request")
        }
        methods = {name: unary(self._answer(name), kind) for name, kind in requests.items()}
        super().__init__(folder, f"plugins/{NAME}/csi.sock", {"csi.v1.Node": methods})

    def _answer(self, method: str) -> Any:
        async def answer(request: Any, context: Any) -> Any:
            if self.hangs and getattr(request, "volume_id", "") == self.hangs:
                self.hung.set()
                await asyncio.Event().wait()
            if method in self.refuses:
                await context.abort(*self.refuses[method])
            if method == "NodeGetInfo":
                return self.info
            if method == "NodeGetCapabilities":
                rows = [m.NodeServiceCapability(rpc=m.NodeRPC(type=kind)) for kind in self.can]
                return m.NodeGetCapabilitiesResponse(capabilities=rows)
            self.calls.append((method.removeprefix("Node").removesuffix("Volume"), request))
            self._carry_out(method, request)
            return getattr(m, f"{method}Response")()

        return answer

    def _carry_out(self, method: str, request: Any) -> None:
        if method == "NodePublishVolume":
            self._place(request.target_path).mkdir(exist_ok=True)
        if method == "NodeUnpublishVolume" and not self.forgets:
            with contextlib.suppress(FileNotFoundError):
                self._place(request.target_path).rmdir()

    def _place(self, path: str) -> Path:
        """Where on the machine a path is that the node gave it."""
        return self._root / Path(path).relative_to(SHOWN)

    def methods(self) -> list[str]:
        return [method for method, _ in self.calls]

    def last(self, method: str) -> Any:
        return [request for name, request in self.calls if name == method][-1]
