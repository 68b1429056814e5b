"""etcd: the number that stands under a key, by etcd's own HTTP. Changes are watched."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import msgspec
import yarl

from tiphys.addons.keda.asking import HttpScaler, decoded, tls_context
from tiphys.addons.keda.numerals import parse_float
from tiphys.addons.keda.parameters import ParameterError, parameter
from tiphys.addons.keda.scaler import PushScaler, ScalerError, scaler
from tiphys.machinery.names import is_ip

_LONGEST_LINE = 1 << 20  # bytes of one change


@scaler("etcd")
class Etcd(HttpScaler, PushScaler):
    endpoints: list[str] = parameter()
    watch_key: str = parameter()
    value: float = parameter()
    activation_value: float = parameter(default="0")
    watch_progress_notify_interval: int = parameter(default="600")
    username: str = parameter(places="auth env", optional=True)
    password: str = parameter(places="auth env", optional=True)
    tls: str = parameter(places="auth", default="disable")
    key_password: str = parameter(places="auth", optional=True)

    def check(self) -> None:
        if self.watch_progress_notify_interval <= 0:
            raise ParameterError("watchProgressNotifyInterval must be greater than 0")
        if self.tls not in ("enable", "disable"):
            raise ParameterError(f"incorrect value for TLS given: {self.tls}")
        if self.tls == "enable" and self.key and not self.cert:
            raise ParameterError("cert must be provided with key")
        if self.tls == "enable" and self.cert and not self.key:
            raise ParameterError("key must be provided with cert")
        if self.password and not self.username:
            raise ParameterError("username must be provided with password")
        if self.username and not self.password:
            raise ParameterError("password must be provided with username")

    def name(self) -> str:
        return f"etcd-{self.watch_key}"

    def target(self) -> float:
        return self.value

    def activation(self) -> float:
        return self.activation_value

    def _tls(self) -> Any:
        return tls_context(self.ca, self.cert, self.key, password=self.key_password)

    async def measure(self) -> float:
        try:
            rows = (await self._ask("kv/range", {"key": _encoded(self.watch_key)})).get("kvs")
            if not rows:
                raise ScalerError(f"watchKey {self.watch_key} doesn't exist")
            return _number(rows[0])
        except (ScalerError, ValueError, KeyError) as error:
            raise ScalerError(f"error getting metric value: {error}") from None

    def _url(self, endpoint: str, path: str) -> str:
        if "://" not in endpoint:
            endpoint = f"{'https' if self.tls == 'enable' else 'http'}://{endpoint}"
        return f"{endpoint.rstrip('/')}/v3/{path}"

    async def _ask(self, path: str, question: dict[str, Any]) -> dict[str, Any]:
        """Of the first endpoint that answers."""
        failure = ScalerError("no endpoints")
        for endpoint in self.endpoints:
            try:
                headers = await self._login(endpoint)
                status, body = await self.request(
                    "POST", self._url(endpoint, path), msgspec.json.encode(question), headers
                )
                if status != 200:
                    raise _refused(status, body)
                answer = decoded(body)
            except ScalerError as error:
                failure = error
                continue
            if isinstance(answer, dict):
                return answer
            failure = _refused(status, body)
        raise failure

    async def _login(self, endpoint: str) -> dict[str, str]:
        if not self.username:
            return {}
        question = msgspec.json.encode({"name": self.username, "password": self.password})
        status, body = await self.request(
            "POST", self._url(endpoint, "auth/authenticate"), question
        )
        if status != 200:
            raise _refused(status, body)
        return {"Authorization": str(decoded(body).get("token", ""))}

    async def push(self, active: Callable[[], Awaitable[None]]) -> None:
        """Watches the key, and asks for another endpoint when nothing has come for long."""
        endpoint = self.endpoints[0]
        url = yarl.URL(self._url(endpoint, "watch"))
        if url.host and is_ip(url.host):
            await self.config.surroundings.reach.find(url.host, url.port or 2379)
        question = {"create_request": {"key": _encoded(self.watch_key), "progress_notify": True}}
        quiet = 2 * self.watch_progress_notify_interval
        async with self.session().post(
            url,
            data=msgspec.json.encode(question),
            headers=await self._login(endpoint),
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_read=quiet),
        ) as answer:
            if answer.status != 200:
                raise ScalerError(f"etcd: watch: {answer.status}")
            rest = b""
            async for piece in answer.content.iter_any():
                *lines, rest = (rest + piece).split(b"\n")
                if len(rest) > _LONGEST_LINE:
                    raise ScalerError("etcd: a change is too long")
                for line in lines:
                    if self._is_active(line):
                        await active()

    def _is_active(self, line: bytes) -> bool:
        """Whether a change makes the number one that there is something to do for."""
        if not line.strip():
            return False
        events = (decoded(line).get("result") or {}).get("events") or ()
        for event in events:
            try:
                value = _number(event["kv"])
            except (ValueError, KeyError):
                value = 0.0
            if value > self.activation_value:
                return True
        return False


def _refused(status: int, body: bytes) -> ScalerError:
    return ScalerError(f"etcd: {status}: {body[:200].decode(errors='replace')}")


def _number(row: dict[str, Any]) -> float:
    """Under a key. Raises ValueError for what is none."""
    return parse_float(base64.b64decode(row.get("value", "")).decode())


def _encoded(key: str) -> str:
    return base64.b64encode(key.encode()).decode()
