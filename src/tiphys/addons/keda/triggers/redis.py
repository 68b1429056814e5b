"""redis: how long a list is, or how many members a set, a sorted set or a hash has."""

from __future__ import annotations

from tiphys.addons.keda.parameters import ParameterError, parameter
from tiphys.addons.keda.redis_protocol import Redis, RedisError, Server
from tiphys.addons.keda.scaler import Scaler, ScalerError, scaler
from tiphys.machinery.addresses import authority

_ANY = "metadata env auth"
_ADDRESSES = "metadata auth env"
_LENGTHS = {"list": "LLEN", "none": "LLEN", "zset": "ZCARD", "set": "SCARD", "hash": "HLEN"}
_BOOLEANS = {"true": True, "false": False, "": False}


class RedisScaler(Scaler):
    """Where the server is, and who asks it."""

    addresses: list[str] = parameter("address", "addresses", places=_ADDRESSES, optional=True)
    hosts: list[str] = parameter("host", "hosts", places=_ANY, optional=True)
    ports: list[str] = parameter("port", "ports", places=_ANY, optional=True)
    username: str = parameter(places=_ANY, optional=True)
    password: str = parameter(places=_ANY, optional=True)
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

    def server(self, address: str) -> Server:
        pair = (self.cert, self.key, self.key_password)
        return Server(
            address, self.username, self.password, self.database_index, self.has_tls(),
            self.ca, pair, self.unsafe_ssl,
        )  # fmt: skip

    async def ask(self, *words: str | int) -> object:
        """One command. Raises ScalerError; the connection is made anew after that."""
        try:
            if self._connection is None:
                self._connection = await Redis.connect(
                    self.server(self.addresses[0]), self.config.surroundings, self.config.namespace
                )
            return await self._connection.ask(*words)
        except RedisError as error:
            await self.close()
            raise ScalerError(str(error)) from None

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


@scaler("redis")
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
        length = await self.ask(command, self.list_name)
        if not isinstance(length, int):
            raise ScalerError(f"{command} answered no number")
        return length


def _joined(host: str, port: str) -> str:
    return authority(host, int(port)) if port.isdecimal() else f"{host}:{port}"
