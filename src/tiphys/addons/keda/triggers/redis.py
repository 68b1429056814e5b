"""redis: how long a list is, or how many members a set, a sorted set or a hash has; how much of a
stream is not consumed. Of one server, of a master that sentinels know, or of a cluster."""

from __future__ import annotations

from tiphys.addons.keda.parameters import ParameterError, parameter
from tiphys.addons.keda.redis_protocol import Redis, RedisError, Server
from tiphys.addons.keda.scaler import Scaler, ScalerError, scaler
from tiphys.machinery.addresses import authority

_ANY = "metadata env auth"
_ADDRESSES = "metadata auth env"
_LENGTHS = {"list": "LLEN", "none": "LLEN", "zset": "ZCARD", "set": "SCARD", "hash": "HLEN"}
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False, "": False}
_MOST_MOVES = 3  # from node to node of a cluster, for one command


class RedisScaler(Scaler):
    """The server's address, and the credentials."""

    addresses: list[str] = parameter("address", "addresses", places=_ADDRESSES, optional=True)
    hosts: list[str] = parameter("host", "hosts", places=_ANY, optional=True)
    ports: list[str] = parameter("port", "ports", places=_ANY, optional=True)
    username: str = parameter(places=_ANY, optional=True)
    password: str = parameter(places=_ANY, optional=True)
    sentinel_username: str = parameter(places=_ADDRESSES, optional=True)
    sentinel_password: str = parameter(places=_ADDRESSES, optional=True)
    sentinel_master: str = parameter(places=_ADDRESSES, optional=True)
    enable_tls: str = parameter("enableTLS", optional=True)
    tls: str = parameter(places="auth", optional=True)
    unsafe_ssl: bool = parameter("unsafeSsl", default="false")
    cert: str = parameter("Cert", "cert", places="auth", optional=True)
    key: str = parameter(places="auth", optional=True)
    key_password: str = parameter(places="auth", optional=True)
    ca: str = parameter(places="auth", optional=True)
    database_index: int = parameter(optional=True)

    _connection: Redis | None = None

    def check(self) -> None:
        if self.hosts and self.ports:
            if len(self.hosts) != len(self.ports):
                raise ParameterError(
                    "not enough hosts or ports given. "
                    "number of hosts should be equal to the number of ports"
                )
            self.addresses = [*self.addresses, *map(_joined, self.hosts, self.ports)]
        if not self.addresses or not self.addresses[0]:
            raise ParameterError(
                "no addresses or hosts given. address should be a comma separated list of "
                "host:port or set the host/port values"
            )
        self.has_tls()

    def has_tls(self) -> bool:
        """Raises ParameterError."""
        if self.enable_tls and self.tls:
            raise ParameterError(
                "unable to set `tls` in both ScaledObject and TriggerAuthentication together"
            )
        if self.tls:
            if self.tls not in ("enable", "disable"):
                raise ParameterError(f"error incorrect TLS value given, got {self.tls}")
            return self.tls == "enable"
        if self.enable_tls.lower() not in _BOOLEANS:
            raise ParameterError(
                f'EnableTLS parsing error strconv.ParseBool: parsing "{self.enable_tls}": '
                "invalid syntax"
            )
        return _BOOLEANS[self.enable_tls.lower()]

    def server(self, address: str, *, is_sentinel: bool = False) -> Server:
        return Server(
            address,
            self.sentinel_username if is_sentinel else self.username,
            self.sentinel_password if is_sentinel else self.password,
            0 if is_sentinel else self.database_index,
            self.has_tls(),
            self.ca,
            (self.cert, self.key, self.key_password),
            self.unsafe_ssl,
        )

    async def ask(self, *words: str | int) -> object:
        """One command. Raises ScalerError; the connection is reopened after that."""
        try:
            for _ in range(_MOST_MOVES):
                connection = self._connection = self._connection or await self._connected()
                try:
                    return await connection.ask(*words)
                except RedisError as error:
                    address = self._moved(str(error))
                    if address is None:
                        raise
                    await self.close()
                    self._connection = await Redis.connect(self.server(address), self.config)
            raise RedisError("the cluster leads in circles")
        except RedisError as error:
            await self.close()
            raise ScalerError(str(error)) from None

    def _moved(self, error: str) -> str | None:
        """The address that a cluster gives for the key."""
        words = error.split()
        is_cluster = self.config.type.startswith("redis-cluster")
        return words[2] if is_cluster and len(words) == 3 and words[0] == "MOVED" else None

    async def _connected(self) -> Redis:
        if not self.config.type.startswith("redis-sentinel"):
            return await Redis.connect(self.server(self.addresses[0]), self.config)
        sentinel = await Redis.connect(
            self.server(self.addresses[0], is_sentinel=True), self.config
        )
        try:
            reply = await sentinel.ask("SENTINEL", "get-master-addr-by-name", self.sentinel_master)
        finally:
            sentinel.close()
        if not isinstance(reply, list) or len(reply) != 2:
            raise RedisError("redis: all sentinels specified in configuration are unreachable")
        return await Redis.connect(self.server(_joined(str(reply[0]), str(reply[1]))), self.config)

    async def count(self, *words: str | int) -> int:
        """What a command answers that answers a number. Raises ScalerError."""
        reply = await self.ask(*words)
        if not isinstance(reply, int):
            raise ScalerError(f"{words[0]} answered no number")
        return reply

    async def close(self) -> None:
        connection = self._connection
        self._connection = None
        if connection is not None:
            connection.close()


@scaler("redis", "redis-cluster", "redis-sentinel")
class RedisList(RedisScaler):
    list_length: int = parameter(default="5")
    activation_list_length: int = parameter(optional=True)
    list_name: str = parameter()

    def name(self) -> str:
        return f"redis-{self.list_name}"

    def target(self) -> float:
        return self.list_length

    def activation(self) -> float:
        return self.activation_list_length

    async def measure(self) -> float:
        kind = await self.ask("TYPE", self.list_name)
        command = _LENGTHS.get(str(kind))
        if command is None:
            raise ScalerError(f"ERR unsupported key type: {kind}")
        return await self.count(command, self.list_name)


@scaler("redis-streams", "redis-cluster-streams", "redis-sentinel-streams", words="redis streams")
class RedisStream(RedisScaler):
    pending_entries_count: int = parameter(default="5")
    stream_length: int = parameter(default="5")
    lag_count: int = parameter(optional=True)
    stream: str = parameter()
    consumer_group: str = parameter(optional=True)
    activation_lag_count: int = parameter(default="0")

    def name(self) -> str:
        return f"redis-streams-{self.stream}"

    def target(self) -> float:
        if not self.consumer_group:
            return self.stream_length
        return self.lag_count or self.pending_entries_count

    def activation(self) -> float:
        return self.activation_lag_count

    async def measure(self) -> float:
        if not self.consumer_group:
            return await self.count("XLEN", self.stream)
        if self.lag_count:
            return await self._lag()
        pending = await self.ask("XPENDING", self.stream, self.consumer_group)
        if not isinstance(pending, list) or not pending or not isinstance(pending[0], int):
            raise ScalerError("XPENDING answered no number")
        return pending[0]

    async def _lag(self) -> float:
        """Of the group; all of the stream before there is one, for no consumer has started."""
        try:
            groups = await self.ask("XINFO", "GROUPS", self.stream)
        except ScalerError as error:
            if str(error) == "ERR no such key":
                return 0
            raise
        for row in groups if isinstance(groups, list) else []:
            fields = dict(zip(row[::2], row[1::2], strict=False))
            if fields.get("name") == self.consumer_group:
                if "lag" not in fields:
                    raise ScalerError("redis version 7+ required for lag")
                return float(fields["lag"] or 0)
        return await self.count("XLEN", self.stream)


def _joined(host: str, port: str) -> str:
    return authority(host, int(port)) if port.isdecimal() else f"{host}:{port}"
