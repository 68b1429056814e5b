"""What triggers of databases connect to, and what they make of rows: the drivers are pretended."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import aiomysql
import psycopg
import pytest

from tests.addons.keda.tables import fails, made
from tiphys.addons.keda.triggers import sql

POSTGRES = {
    "host": "db", "port": "5433", "userName": "u", "dbName": "d", "sslmode": "disable",
    "query": "q", "targetQueryValue": "2", "activationTargetQueryValue": "1",
}  # fmt: skip
MYSQL = {"host": "db", "port": "3307", "username": "u", "dbName": "d", "query": "q"}
MYSQL |= {"queryValue": "2", "activationQueryValue": "1"}


class Server:
    """Is the connection and its cursor, too. `row` is the answer, or what is raised."""

    def __init__(self, row: Any = (3,)) -> None:
        self.row: Any = row
        self.given: list[dict[str, Any]] = []
        self.queries: list[str] = []
        self.closed = 0
        self.refuses: Exception | None = None

    async def connect(self, **given: Any) -> Server:
        if self.refuses is not None:
            raise self.refuses
        self.given.append(given)
        return self

    async def execute(self, query: str) -> Server:
        self.queries.append(query)
        return self

    async def fetchone(self) -> Any:
        if isinstance(self.row, Exception):
            raise self.row
        return self.row

    def cursor(self) -> Server:
        return self

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(self, *_: Any) -> None:
        pass

    def close(self) -> Any:
        self.closed += 1

        async def nothing() -> None:
            pass

        done = nothing()
        if self.is_async:
            return done
        done.close()
        return None

    is_async = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    found = Server()

    async def place(config: Any, host: str, port: int) -> Any:
        return SimpleNamespace(host=f"ip-of-{host}", port=port)

    monkeypatch.setattr(sql, "place_of", place)
    monkeypatch.setattr(psycopg.AsyncConnection, "connect", found.connect)
    monkeypatch.setattr(aiomysql, "connect", found.connect)
    return found


def postgres(**changes: str) -> Any:
    given = {key: value for key, value in {**POSTGRES, **changes}.items() if value}
    return made("postgresql", given, {"password": "p"})


def by_string(text: str) -> Any:
    given = {"query": "q", "targetQueryValue": "2"}
    return made("postgresql", given, {"connection": text})


@pytest.mark.parametrize(
    "trigger, wanted",
    [
        (
            postgres(),
            {"host": "db", "port": 5433, "user": "u", "dbname": "d", "password": "p"},
        ),
        (by_string("host=other user=x"), {"host": "other", "port": 5432, "user": "x"}),
        (by_string("postgresql://a:b@h:77/n"), {"host": "h", "port": 77, "dbname": "n"}),
    ],
)
async def test_postgres_is_asked_at_its_address(
    server: Server, trigger: Any, wanted: dict[str, Any]
) -> None:
    assert (trigger.target(), await trigger.measure()) == (2, 3)
    (given,) = server.given
    assert {key: given[key] for key in wanted} == wanted
    assert given["hostaddr"] == f"ip-of-{wanted['host']}"
    assert given["autocommit"] is True and given["connect_timeout"] == 3
    assert given["passfile"] == "/dev/null"
    assert await trigger.measure() == 3 and len(server.given) == 1, "it stays open"
    assert server.queries == ["q", "q"]
    await trigger.close()
    await trigger.close()
    assert server.closed == 1


@pytest.mark.parametrize(
    "text, words",
    [
        ("user=x", "by a file of this machine"),
        ("host=/var/run", "by a file of this machine"),
        ("host=@x", "by a file of this machine"),
        ("host=a,b", "by a file of this machine"),
        ("host=a hostaddr=127.0.0.1", "by a file of this machine"),
        ("host=a passfile=/x", "passfile: only application_name, channel_binding"),
        ("nonsense", "missing"),
    ],
)
async def test_postgres_is_not_asked_for_files(server: Server, text: str, words: str) -> None:
    said = await fails(by_string(text).measure())
    assert said.startswith("error inspecting postgreSQL: could not query postgreSQL: ")
    assert words in said and server.given == []


@pytest.mark.parametrize("kind", ["postgresql", "mysql"])
@pytest.mark.parametrize(
    "row, words",
    [
        (None, "the query answers no single number"),
        ((), "the query answers no single number"),
        ((1, 2), "the query answers no single number"),
        ((None,), "the query answers no single number"),
        (("many",), "could not convert string to float"),
        (([],), "must be a string or a real number"),
    ],
)
async def test_a_row_is_one_number(server: Server, kind: str, row: Any, words: str) -> None:
    server.is_async = kind == "postgresql"
    server.row = row
    trigger = postgres() if kind == "postgresql" else mysql()
    name = "postgreSQL" if kind == "postgresql" else "MySQL"
    said = await fails(trigger.measure())
    assert said.startswith(f"error inspecting {name}: ") and words in said
    assert server.closed == 0
    server.row = ("2.5",)
    assert await trigger.measure() == 2.5


@pytest.mark.parametrize("where", ["connect", "query"])
@pytest.mark.parametrize(
    "kind, error, words",
    [
        ("postgresql", psycopg.Error("a\n  b"), "could not query postgreSQL: a b"),
        ("postgresql", OSError("gone"), "could not query postgreSQL: gone"),
        ("postgresql", TimeoutError(), "i/o timeout"),
        ("mysql", aiomysql.Error("bad"), "bad"),
        ("mysql", OSError("gone"), "gone"),
        ("mysql", RuntimeError("closed"), "closed"),
        ("mysql", TimeoutError(), "i/o timeout"),
    ],
)
async def test_what_fails_is_told_and_opened_anew(
    server: Server, kind: str, where: str, error: Exception, words: str
) -> None:
    server.is_async = kind == "postgresql"
    trigger = postgres() if kind == "postgresql" else mysql()
    if where == "connect":
        server.refuses = error
    else:
        server.row = error
    name = "postgreSQL" if kind == "postgresql" else "MySQL"
    said = await fails(trigger.measure())
    assert said == f"error inspecting {name}: {words}"
    assert server.closed == (where == "query")
    server.refuses, server.row = None, (7,)
    assert await trigger.measure() == 7
    assert len(server.given) == (1 if where == "connect" else 2)


# --- mysql ---


def mysql(**changes: str) -> Any:
    given = {key: value for key, value in {**MYSQL, **changes}.items() if value}
    return made("mysql", given, {"password": "p"})


def by_dsn(text: str) -> Any:
    given = {"query": "q", "queryValue": "2"}
    return made("mysql", given, {"connectionString": text})


@pytest.mark.parametrize(
    "trigger, wanted",
    [
        (mysql(), ("ip-of-db", 3307, "u", "p", "d")),
        (mysql(dbName=""), ("ip-of-db", 3307, "u", "p", None)),
        (by_dsn("a:b%40c@tcp(h:77)/n"), ("ip-of-h", 77, "a", "b@c", "n")),
        (by_dsn("a@tcp(h)/n"), ("ip-of-h", 3306, "a", "", "n")),
    ],
)
async def test_mysql_is_asked_at_its_address(
    server: Server, trigger: Any, wanted: tuple[Any, ...]
) -> None:
    server.is_async = False
    assert (trigger.target(), await trigger.measure()) == (2, 3)
    assert trigger.name() == f"mysql-{wanted[4] or ''}"
    (given,) = server.given
    found = tuple(given[key] for key in ("host", "port", "user", "password", "db"))
    assert found == wanted
    assert (given["autocommit"], given["local_infile"]) == (True, False)
    assert await trigger.measure() == 3 and len(server.given) == 1
    await trigger.close()
    await trigger.close()
    assert server.closed == 1


async def test_mysql_has_a_port_and_what_is_active_is_told(server: Server) -> None:
    assert "no port given" in await fails(mysql(port="").measure())
    assert "invalid DSN" in await fails(asyncio.to_thread(by_dsn, "a@tcp(h:x)/n"))
    assert (mysql().activation(), by_dsn("a@tcp(h)/n").activation()) == (1, 0)
    assert postgres().activation() == 1
