"""rabbitmq: how long a queue is, by AMQP or by the management's HTTP, which knows rates, too."""

from __future__ import annotations

import asyncio
import base64
import re
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote_plus, unquote, urlsplit

from tiphys.addons.keda.amqp_protocol import Amqp, Login
from tiphys.addons.keda.asking import HttpScaler, decoded, tls_context
from tiphys.addons.keda.dialing import dial
from tiphys.addons.keda.parameters import ParameterError, Seconds, parameter
from tiphys.addons.keda.scaler import Measured, ScalerError, scaler
from tiphys.machinery.addresses import authority

_MODES = (
    "QueueLength",
    "MessageRate",
    "DeliverGetRate",
    "PublishedToDeliveredRatio",
    "ExpectedQueueConsumptionTime",
)
_UNKNOWN = "Unknown"
_DEFAULT_LENGTH = 20.0
_SECRETS = re.compile(r"([^ \"/:]+):([^ \"/:]+)@")


class Queue(NamedTuple):
    """`published` and `delivered` are messages a second; AMQP does not report them."""

    messages: float
    published: float = 0.0
    delivered: float = 0.0


@scaler("rabbitmq", words="RabbitMQ")
class RabbitMq(HttpScaler):
    queue_name: str = parameter()
    mode: str = parameter(default=_UNKNOWN)
    queue_length: float = parameter(optional=True)
    value: float = parameter(optional=True)
    activation_value: float = parameter(optional=True)
    host: str = parameter(places="metadata auth env")
    protocol: str = parameter(places="metadata auth", default="auto")
    vhost_name: str = parameter(places="metadata auth", optional=True)
    use_regex: bool = parameter(optional=True)
    exclude_unacknowledged: bool = parameter(optional=True)
    page_size: int = parameter(default="100")
    operation: str = parameter(default="sum")
    timeout: Seconds = parameter(optional=True)
    username: str = parameter(places="auth env", optional=True)
    password: str = parameter(places="auth env", optional=True)
    key_password: str = parameter(places="auth", optional=True)
    tls: str = parameter(places="auth", default="disable")

    _amqp: Amqp | None = None

    @property
    def seconds(self) -> float:
        return self.timeout or super().seconds

    def check(self) -> None:
        if self.protocol not in ("amqp", "http", "auto"):
            raise ParameterError(
                f"the protocol has to be either `amqp`, `http`, or `auto` but is `{self.protocol}`"
            )
        if self.tls not in ("enable", "disable"):
            raise ParameterError(f"incorrect value for TLS given: {self.tls}")
        if bool(self.cert) != bool(self.key):
            raise ParameterError("both key and certificate must be provided")
        if self.page_size < 1:
            raise ParameterError("pageSize should be 1 or greater")
        if bool(self.username) != bool(self.password):
            raise ParameterError("username and password must be given together")
        self._find_protocol()
        for name, value in (
            ("useRegex", self.use_regex),
            ("excludeUnacknowledged", self.exclude_unacknowledged),
        ):
            if value and self.protocol != "http":
                raise ParameterError(f"configure {name}=true only with HTTP protocol")
        self._find_mode()
        if self.oauth_token_uri:
            self.auth_modes = ["oauth"]
        elif self.username and self.protocol == "http":
            self.auth_modes = ["basic"]

    def _find_protocol(self) -> None:
        if self.protocol == "auto":
            scheme = urlsplit(self.host).scheme
            kinds = {"amqp": "amqp", "amqps": "amqp", "http": "http", "https": "http"}
            if scheme not in kinds:
                raise ParameterError(f"unknown host URL scheme: `{scheme}`")
            self.protocol = kinds[scheme]

    def _find_mode(self) -> None:
        if self.queue_length:
            if self.mode != _UNKNOWN or self.value:
                raise ParameterError("queueLength is deprecated; use mode and value")
            self.mode = _MODES[0]
            self.value = self.queue_length
        elif self.mode == _UNKNOWN and not self.value:
            self.mode = _MODES[0]
            self.value = _DEFAULT_LENGTH
        if self.mode == _UNKNOWN:
            raise ParameterError("mode must be specified")
        if not self.value:
            raise ParameterError("value must be specified")
        if self.mode not in _MODES:
            listed = f"{', '.join(_MODES[:-1])} or {_MODES[-1]}"
            raise ParameterError(f"trigger mode {self.mode} must be one of {listed}")
        if self.mode != _MODES[0] and self.protocol != "http":
            raise ParameterError(
                f"protocol {self.protocol} not supported; must be HTTP to use trigger mode "
                f"{self.mode}"
            )

    def name(self) -> str:
        return f"rabbitmq-{quote_plus(self.queue_name)}"

    def target(self) -> float:
        return self.value

    def _tls(self) -> Any:
        return tls_context(
            self.ca, self.cert, self.key, password=self.key_password, unsafe=self.unsafe_ssl
        )

    async def look(self, metric: str) -> Measured:
        try:
            queue = await (self._by_http() if self.protocol == "http" else self._by_amqp())
        except ScalerError as error:
            text = _SECRETS.sub("user:password@", str(error))
            raise ScalerError(f"error inspecting RabbitMQ: {text}") from None
        return judged(queue, self.mode, self.activation_value)

    # --- AMQP ---

    async def _by_amqp(self) -> Queue:
        try:
            async with asyncio.timeout(self.config.surroundings.timeout):
                if self._amqp is None:
                    self._amqp = await self._connected()
                return Queue(await self._amqp.messages(self.queue_name))
        except TimeoutError:
            await self._hang_up()
            raise ScalerError("i/o timeout") from None
        except ScalerError:
            await self._hang_up()
            raise

    async def _connected(self) -> Amqp:
        url = urlsplit(self.host)
        is_tls = url.scheme == "amqps"
        port = _port(url) or (5671 if is_tls else 5672)
        has_certificate = bool(self.cert) and not url.password and not self.username
        vhost = self.vhost_name or unquote(url.path[1:]) or "/"
        login = Login(
            "" if has_certificate else self.username or unquote(url.username or "guest"),
            self.password or unquote(url.password or "guest"),
            vhost,
            f"keda-{self.config.namespace}-{self.config.owner}",
        )
        streams = await dial(
            self.config, url.hostname or "localhost", port, self._tls() if is_tls else None
        )
        amqp = Amqp(streams)
        try:
            await amqp.log_in(login)
        except BaseException:
            amqp.close()
            raise
        return amqp

    # --- HTTP ---

    async def _by_http(self) -> Queue:
        status, body = await self.get(self.url(), self._own_login())
        if status != 200:
            text = body[:200].decode(errors="replace")
            raise ScalerError(f"error requesting RabbitMQ API status: {status}, response: {text}")
        answer = decoded(body)
        if not self.use_regex:
            return self._queue(answer)
        if answer.get("page_count", 0) > 1:
            raise ScalerError("regex matches more queues than can be recovered at once")
        return combined([self._queue(one) for one in answer.get("items") or ()], self.operation)

    def url(self) -> str:
        """The management's address of the queue, or of those that the expression matches."""
        url = urlsplit(self.host)
        *before, last = url.path.split("/")
        vhost = quote_plus(self.vhost_name) or last or "%2F"
        base = "/".join(part for part in before if part)
        root = f"{url.scheme}://{authority(url.hostname or '', _port(url) or 15672)}"
        path = f"{root}/{base + '/' if base else ''}api/queues/{vhost}"
        name = quote_plus(self.queue_name)
        if not self.use_regex:
            return f"{path}/{name}"
        page = f"page=1&use_regex=true&pagination=false&name={name}&page_size={self.page_size}"
        return f"{path}?{page}"

    def _own_login(self) -> dict[str, str]:
        """That of the address, where there are no other credentials."""
        url = urlsplit(self.host)
        if self.auth_modes or not url.username:
            return {}
        pair = f"{unquote(url.username)}:{unquote(url.password or '')}".encode()
        return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}

    def _queue(self, row: Any) -> Queue:
        if not isinstance(row, dict):
            raise ScalerError("unexpected answer")
        stats = row.get("message_stats") or {}
        name = "messages_ready" if self.exclude_unacknowledged else "messages"
        return Queue(
            float(row.get(name, 0)),
            float((stats.get("publish_details") or {}).get("rate", 0)),
            float((stats.get("deliver_get_details") or {}).get("rate", 0)),
        )

    async def _hang_up(self) -> None:
        amqp = self._amqp
        self._amqp = None
        if amqp is not None:
            amqp.close()

    async def close(self) -> None:
        await self._hang_up()
        await super().close()


def _port(url: SplitResult) -> int | None:
    try:
        return url.port or {"http": 80, "https": 443}.get(url.scheme)
    except ValueError as error:
        raise ScalerError(str(error)) from None


def judged(queue: Queue, mode: str, activation: float) -> Measured:
    """The metric of a mode. Pure."""
    messages, published, delivered = queue
    match mode:
        case "MessageRate":
            return Measured(published, published > activation or messages > activation)
        case "DeliverGetRate":
            return Measured(delivered, delivered > activation)
        case "PublishedToDeliveredRatio":
            is_stuck = published > 0 and delivered == 0
            ratio = published / delivered if published > 0 and delivered > 0 else 0.0
            ratio = activation if is_stuck else ratio
            return Measured(ratio, ratio > activation or is_stuck)
        case "ExpectedQueueConsumptionTime":
            if not messages:
                return Measured(0.0, activation < 0)
            if not delivered:
                return Measured(activation, True)
            seconds = (published - delivered) / delivered + messages / delivered
            return Measured(seconds, seconds > activation)
    return Measured(messages, messages > activation)


def combined(queues: list[Queue], operation: str) -> Queue:
    """Several queues as one. Pure. Raises ScalerError."""
    if not queues:
        return Queue(0)
    columns = list(zip(*queues, strict=True))
    if operation == "sum":
        return Queue(*map(sum, columns))
    if operation == "max":
        return Queue(*map(max, columns))
    if operation == "avg":
        messages, published, delivered = (sum(column) / len(queues) for column in columns)
        return Queue(float(int(messages)), published, delivered)
    raise ScalerError(f"operation mode {operation} must be one of sum, avg, max")
