"""postgresql and mysql: the number that a query answers."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any
from urllib.parse import unquote, urlsplit

from tiphys.addons.keda.dialing import needed, place_of
from tiphys.addons.keda.parameters import ParameterError, parameter
from tiphys.addons.keda.scaler import Scaler, ScalerError, scaler

_LOCAL = "connections by a file of this machine are not supported"
# What a connection string may say: other words name files of the machine that the add-on runs on,
# which libpq would read, or write (sslkeylogfile).
_ALLOWED = frozenset(
    (
        "application_name",
        "channel_binding",
        "client_encoding",
        "connect_timeout",
        "dbname",
        "host",
        "options",
        "password",
        "port",
        "sslmode",
        "target_session_attrs",
        "user",
    )
)
_NOBODYS = {"passfile": "/dev/null", "sslcert": "/dev/null/none", "sslkey": "/dev/null/none"}
"""Files in the home of the add-on's user, which libpq would use by default."""


@scaler("postgresql", words="postgreSQL")
class PostgreSql(Scaler):
    target_query_value: float = parameter(optional=True)
    activation_target_query_value: float = parameter(optional=True)
    connection: str = parameter(places="auth env", optional=True)
    query: str = parameter()
    host: str = parameter(places="auth metadata", optional=True)
    port: str = parameter(places="auth metadata", optional=True)
    user_name: str = parameter(places="auth metadata", optional=True)
    db_name: str = parameter("dbName", places="auth metadata", optional=True)
    ssl_mode: str = parameter("sslmode", places="auth metadata", optional=True)
    password: str = parameter(places="auth env", optional=True)

    _open: Any = None

    def check(self) -> None:
        if not self.connection:
            for name, value in (
                ("host", self.host),
                ("port", self.port),
                ("userName", self.user_name),
                ("dbName", self.db_name),
                ("sslmode", self.ssl_mode),
            ):
                if not value:
                    raise ParameterError(f"no {name} given")
        if not self.target_query_value and not self.config.is_source:
            raise ParameterError("no targetQueryValue given")

    def target(self) -> float:
        return self.target_query_value

    def activation(self) -> float:
        return self.activation_target_query_value

    async def measure(self) -> float:
        psycopg = needed("psycopg", self.type)
        try:
            if self._open is None:
                async with asyncio.timeout(self.config.surroundings.timeout):
                    self._open = await self._connected(psycopg)
            async with asyncio.timeout(self.config.surroundings.timeout):
                cursor = await self._open.execute(self.query)
                row = await cursor.fetchone()
        except TimeoutError:
            await self.close()
            raise ScalerError("error inspecting postgreSQL: i/o timeout") from None
        except (psycopg.Error, OSError, ScalerError) as error:
            await self.close()
            reason = " ".join(str(error).split())
            raise ScalerError(
                f"error inspecting postgreSQL: could not query postgreSQL: {reason}"
            ) from None
        return _first(row, "postgreSQL")

    async def _connected(self, psycopg: Any) -> Any:
        """To the address that its host stands for, by which its certificate is not judged."""
        options: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "user": self.user_name,
            "dbname": self.db_name,
            "sslmode": self.ssl_mode,
            "password": self.password,
        }
        if self.connection:
            options = psycopg.conninfo.conninfo_to_dict(self.connection)
        host = str(options.get("host") or "")
        if not host or host.startswith(("/", "@")) or "," in host or options.get("hostaddr"):
            raise ScalerError(_LOCAL)
        for name in options:
            if name not in _ALLOWED:
                raise ScalerError(f"{name}: only {', '.join(sorted(_ALLOWED))} may be set")
        place = await place_of(self.config, host, int(options.get("port") or 5432))
        options |= {"hostaddr": place.host, "port": place.port, **_NOBODYS}
        return await psycopg.AsyncConnection.connect(
            **options,
            autocommit=True,
            connect_timeout=max(2, int(self.config.surroundings.timeout)),
        )

    async def close(self) -> None:
        opened = self._open
        self._open = None
        if opened is not None:
            await opened.close()


@scaler("mysql", words="MySQL")
class MySql(Scaler):
    connection_string: str = parameter(places="auth env", optional=True)
    username: str = parameter(places="metadata auth env", optional=True)
    password: str = parameter(places="auth env", optional=True)
    host: str = parameter(places="metadata auth", optional=True)
    port: str = parameter(places="metadata auth", optional=True)
    db_name: str = parameter("dbName", places="metadata auth", optional=True)
    query: str = parameter()
    query_value: float = parameter()
    activation_query_value: float = parameter(default="0")

    _open: Any = None

    def check(self) -> None:
        """``user:password@tcp(host:port)/name``, as Go's driver writes it."""
        if not self.connection_string:
            return
        url = urlsplit("mysql://" + self.connection_string.replace("@tcp(", "@").replace(")/", "/"))
        try:
            self.port = str(url.port or 3306)
        except ValueError as error:
            raise ParameterError(f"invalid DSN: {error}") from None
        self.host = url.hostname or ""
        self.username = unquote(url.username or "")
        self.password = unquote(url.password or "")
        self.db_name = url.path.lstrip("/")

    def name(self) -> str:
        return f"mysql-{self.db_name}"

    def target(self) -> float:
        return self.query_value

    def activation(self) -> float:
        return self.activation_query_value

    async def measure(self) -> float:
        aiomysql = needed("aiomysql", self.type)
        try:
            if self._open is None:
                async with asyncio.timeout(self.config.surroundings.timeout):
                    self._open = await self._connected(aiomysql)
            async with asyncio.timeout(self.config.surroundings.timeout):
                async with self._open.cursor() as cursor:
                    await cursor.execute(self.query)
                    row = await cursor.fetchone()
        except TimeoutError:
            await self.close()
            raise ScalerError("error inspecting MySQL: i/o timeout") from None
        except (aiomysql.Error, OSError, ScalerError, RuntimeError) as error:
            await self.close()
            raise ScalerError(f"error inspecting MySQL: {error}") from None
        return _first(row, "MySQL")

    async def _connected(self, aiomysql: Any) -> Any:
        if not self.port.isdecimal():
            raise ScalerError("no port given")
        place = await place_of(self.config, self.host, int(self.port))
        return await aiomysql.connect(
            host=place.host,
            port=place.port,
            user=self.username,
            password=self.password,
            db=self.db_name or None,
            autocommit=True,
            local_infile=False,
            connect_timeout=self.config.surroundings.timeout,
        )

    async def close(self) -> None:
        opened = self._open
        self._open = None
        if opened is not None:
            with contextlib.suppress(Exception):
                opened.close()


def _first(row: Any, server: str) -> float:
    """The number of a row. Raises ScalerError."""
    if not row or len(row) != 1 or row[0] is None:
        raise ScalerError(f"error inspecting {server}: the query answers no single number")
    try:
        return float(row[0])
    except (TypeError, ValueError) as error:
        raise ScalerError(f"error inspecting {server}: {error}") from None
