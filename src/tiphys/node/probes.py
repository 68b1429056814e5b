"""Probes and hooks: how a container is asked whether it is well, and the loop that asks."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from tiphys.api import core_v1
from tiphys.machinery.protobuf import varint
from tiphys.node.runtime import Runtime, RuntimeFault

_URL = "/?=&%:@!$'()*+,;~#[]-._"  # what stands for itself in a path with a query
Result = tuple[bool, str]
_OUTPUT = 10 << 10  # bytes of what a command says that are looked at, as upstream
_EAGER = 10  # tries in the first second of a container's life


def port_of(value: int | str, container: Any) -> int:
    """A port number, or the number of the container's port of that name."""
    if isinstance(value, int):
        return value
    return next((p.container_port for p in container.ports if p.name == value), int(value) if value.isascii() and value.isdigit() else 0)


async def http_get(action: core_v1.HTTPGetAction, container: Any, ip: str, timeout: float) -> Result:
    """A status from 200 to 399 is well; redirects to other hosts are not followed."""
    host, port = action.host or ip, port_of(action.port, container)
    context = None
    if action.scheme == "HTTPS":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    headers = {"Host": f"{host}:{port}", "User-Agent": "kube-probe/1.36", "Accept": "*/*", "Connection": "close"}
    headers |= {h.name: h.value for h in action.http_headers}
    path = action.path if action.path.startswith("/") else f"/{action.path}"
    path = quote(path, safe=_URL)
    if why := _unsendable(headers):
        return False, f'Get "{action.scheme.lower()}://{host}:{port}{path}": {why}'
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
            try:
                lines = [f"GET {path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items())]
                writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
                status = (await reader.readline()).split()
                code = int(status[1]) if len(status) > 1 else 0
            finally:
                writer.close()
    except TimeoutError:
        return False, f'Get "{action.scheme.lower()}://{host}:{port}{path}": context deadline exceeded'
    except (OSError, ValueError) as error:
        return False, f'Get "{action.scheme.lower()}://{host}:{port}{path}": {error}'
    return 200 <= code < 400, f"HTTP probe failed with statuscode: {code}"


def _unsendable(headers: dict[str, str]) -> str:
    """Why a header cannot be sent; a line break in one would begin something that nobody checked."""
    for name, value in headers.items():
        if any(ord(character) < 32 or ord(character) == 127 for character in name + value.replace("\t", "")):
            return f'net/http: invalid header field value for "{name}"'
    return ""


async def tcp_socket(action: core_v1.TCPSocketAction, container: Any, ip: str, timeout: float) -> Result:
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(action.host or ip, port_of(action.port, container))
            writer.close()
            return True, ""
    except TimeoutError:
        return False, "dial tcp: i/o timeout"
    except OSError as error:
        return False, f"dial tcp {action.host or ip}:{port_of(action.port, container)}: {error}"


async def grpc_check(action: core_v1.GRPCAction, ip: str, timeout: float) -> Result:
    """The standard health service: status 1 is serving."""
    import grpc.aio

    service = (action.service or "").encode()
    request = b"\x0a" + varint(len(service)) + service if service else b""
    try:
        async with grpc.aio.insecure_channel(f"{ip}:{action.port}") as channel:
            call = channel.unary_unary(
                "/grpc.health.v1.Health/Check", request_serializer=lambda b: b, response_deserializer=lambda b: b
            )
            answer = await call(request, timeout=timeout)
    except grpc.aio.AioRpcError as error:
        return False, f"rpc error: {error.details()}"
    return answer == b"\x08\x01", "service unhealthy"


async def ask(handler: Any, container: Any, id: str, ip: str, runtime: Runtime, timeout: float) -> Result:
    """Runs one handler of a probe or hook. Never raises for what the container does."""
    if runtime.name.startswith("hollow"):
        return True, ""
    if getattr(handler, "exec", None) is not None:
        try:
            code, output = await runtime.exec(id, handler.exec.command, timeout)
        except TimeoutError:
            return False, f"command timed out after {timeout:g}s"
        except RuntimeFault as fault:
            return False, str(fault)
        return code == 0, output[:_OUTPUT].decode(errors="replace")
    if handler.http_get is not None:
        return await http_get(handler.http_get, container, ip, timeout)
    if handler.tcp_socket is not None:
        return await tcp_socket(handler.tcp_socket, container, ip, timeout)
    if getattr(handler, "grpc", None) is not None:
        return await grpc_check(handler.grpc, ip, timeout)
    if getattr(handler, "sleep", None) is not None:
        await asyncio.sleep(handler.sleep.seconds)
    return True, ""


class Verdict:
    """Counts a probe's results against its thresholds. Pure."""

    def __init__(self, probe: core_v1.Probe, initial: bool) -> None:
        self._probe = probe
        self.well = initial
        self.run_length = 0
        self._last: bool | None = None

    def add(self, success: bool) -> bool:
        """True when the verdict changed, or failed once more past its threshold."""
        self.run_length = self.run_length + 1 if success == self._last else 1
        self._last = success
        needed = self._probe.success_threshold if success else self._probe.failure_threshold
        if self.run_length < max(1, needed):
            return False
        changed = self.well != success
        self.well = success
        return changed or not success


class Prober:
    """One probe of one container, asked for as long as the container lives."""

    def __init__(
        self, kind: str, probe: core_v1.Probe, container: Any, id: str, runtime: Runtime, ip: Callable[[], str]
    ) -> None:
        self.kind, self.probe, self.container, self.id = kind, probe, container, id
        self._runtime, self._ip = runtime, ip
        self._tries = 0
        self.verdict = Verdict(probe, initial=kind == "liveness")

    @property
    def exhausted(self) -> bool:
        """It failed as often in a row as the probe allows."""
        return not self.verdict.well and self.verdict.run_length >= self.probe.failure_threshold

    async def run(self, report: Callable[[Prober, bool, str], None]) -> None:
        """Calls `report(self, success, output)` whenever the verdict matters."""
        await asyncio.sleep(self.probe.initial_delay_seconds)
        while True:
            success, output = await ask(
                self.probe, self.container, self.id, self._ip(), self._runtime, self.probe.timeout_seconds or 1
            )
            matters, pause = self.count(success)
            if matters:
                report(self, success, output)
            if self.kind == "startup" and self.verdict.well:
                return
            await asyncio.sleep(pause)

    def count(self, success: bool) -> tuple[bool, float]:
        """Counts one answer: (whether the verdict matters, seconds until the next question).

        Whoever waits for the pod waits for its first success: in its first second it is asked more often. What fails then is
        not counted, for a threshold is meant in periods.
        """
        waited_for = self.kind != "liveness" and not self.verdict.well and not self.probe.initial_delay_seconds
        self._tries += 1
        if waited_for and not success and self._tries <= _EAGER:
            return False, 0.1
        matters = self.verdict.add(success) or (not success and self._tries > _EAGER)
        return matters, self.probe.period_seconds
