"""The triggers of Redis: where the server is, what it is asked, and what its answers are worth."""

from __future__ import annotations

from typing import Any

import pytest

from tests.addons.keda.tables import fails, made, problem
from tiphys.addons.keda.redis_protocol import Redis, RedisError, Server

LIST = {"address": "h:1", "listName": "l"}
STREAM = {"address": "h:1", "stream": "s"}
GROUP = {**STREAM, "consumerGroup": "g"}
LAG = {**GROUP, "lagCount": "3"}


class Servers:
    """Answers by address and command; an error is raised. `asked` is what each was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: Any) -> None:
        self.answers: dict[str, Any] = answers
        self.asked: list[tuple[str, ...]] = []
        self.servers: list[Server] = []
        self.closed: list[str] = []

        async def connect(server: Server, config: Any) -> Any:
            self.servers.append(server)
            if "connect" in self.answers:
                raise self.answers["connect"]
            return Connection(self, server.address)

        monkeypatch.setattr(Redis, "connect", connect)


class Connection:
    def __init__(self, servers: Servers, address: str) -> None:
        self._servers = servers
        self.address = address

    async def ask(self, *words: str | int) -> object:
        self._servers.asked.append((self.address, *map(str, words)))
        known = self._servers.answers
        answer = known.get(f"{self.address} {words[0]}", known.get(str(words[0])))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self._servers.closed.append(self.address)


# --- what a trigger is made of ---

NO_ADDRESS = "no addresses or hosts given"


@pytest.mark.parametrize(
    ("kind", "metadata", "auth", "text"),
    [
        ("redis", LIST, {}, ""),
        ("redis", {"listName": "l"}, {}, NO_ADDRESS),
        ("redis", {"listName": "l", "hosts": "a"}, {}, NO_ADDRESS),
        ("redis", {"listName": "l", "ports": "1"}, {}, NO_ADDRESS),
        ("redis", {"listName": "l", "hosts": "a", "ports": "1"}, {}, ""),
        ("redis", {"listName": "l", "hosts": "a,b", "ports": "1"}, {}, "not enough hosts or ports"),
        ("redis", {**LIST, "enableTLS": "maybe"}, {}, 'parsing "maybe": invalid syntax'),
        ("redis", {**LIST, "enableTLS": "TRUE"}, {}, ""),
        ("redis", LIST, {"tls": "yes"}, "error incorrect TLS value given, got yes"),
        ("redis", LIST, {"tls": "disable"}, ""),
        ("redis", {**LIST, "enableTLS": "true"}, {"tls": "enable"}, "unable to set `tls` in both"),
        ("redis-streams", STREAM, {}, ""),
    ],
)
def test_what_redis_needs(kind: str, metadata: Any, auth: Any, text: str) -> None:
    found = problem(kind, metadata, auth)
    assert text in found if text else not found


@pytest.mark.parametrize(
    ("metadata", "addresses"),
    [
        (LIST, ["h:1"]),
        ({"listName": "l", "addresses": "a:1, b:2"}, ["a:1", "b:2"]),
        ({"listName": "l", "host": "a", "port": "1"}, ["a:1"]),
        ({"listName": "l", "hosts": "::1,b", "ports": "1,x"}, ["[::1]:1", "b:x"]),
        ({**LIST, "hosts": "b", "ports": "2"}, ["h:1", "b:2"]),
    ],
)
def test_a_server_is_an_address_or_a_host_and_a_port(metadata: Any, addresses: list[str]) -> None:
    assert made("redis", metadata).addresses == addresses


@pytest.mark.parametrize(
    ("metadata", "auth", "has_tls"),
    [
        ({}, {}, False),
        ({"enableTLS": "true"}, {}, True),
        ({"enableTLS": "1"}, {}, True),
        ({"enableTLS": "0"}, {}, False),
        ({"enableTLS": "False"}, {}, False),
        ({}, {"tls": "enable"}, True),
        ({}, {"tls": "disable"}, False),
    ],
)
def test_tls_is_asked_for_in_one_of_two_places(metadata: Any, auth: Any, has_tls: bool) -> None:
    assert made("redis", {**LIST, **metadata}, auth).has_tls() is has_tls


@pytest.mark.parametrize(
    ("kind", "metadata", "name", "target", "activation"),
    [
        ("redis", LIST, "redis-l", 5, 0),
        ("redis", {**LIST, "listLength": "9", "activationListLength": "2"}, "redis-l", 9, 2),
        ("redis-streams", STREAM, "redis-streams-s", 5, 0),
        ("redis-streams", {**STREAM, "streamLength": "7"}, "redis-streams-s", 7, 0),
        ("redis-streams", {**GROUP, "pendingEntriesCount": "8"}, "redis-streams-s", 8, 0),
        ("redis-streams", {**LAG, "activationLagCount": "2"}, "redis-streams-s", 3, 2),
        ("redis-streams", {**STREAM, "lagCount": "3"}, "redis-streams-s", 5, 0),
    ],
)
def test_what_one_replica_is_for(
    kind: str, metadata: Any, name: str, target: float, activation: float
) -> None:
    scaler = made(kind, metadata)
    assert (scaler.name(), scaler.target(), scaler.activation()) == (name, target, activation)


# --- lists ---


@pytest.mark.parametrize(
    ("kind", "command"),
    [("list", "LLEN"), ("none", "LLEN"), ("zset", "ZCARD"), ("set", "SCARD"), ("hash", "HLEN")],
)
async def test_what_has_members_is_counted(
    monkeypatch: pytest.MonkeyPatch, kind: str, command: str
) -> None:
    servers = Servers(monkeypatch, TYPE=kind, **{command: 7})
    assert await made("redis", LIST).measure() == 7
    assert servers.asked == [("h:1", "TYPE", "l"), ("h:1", command, "l")]
    assert len(servers.servers) == 1, "one connection for both"


@pytest.mark.parametrize(
    ("answers", "text"),
    [
        ({"TYPE": "string"}, "ERR unsupported key type: string"),
        ({"TYPE": "list", "LLEN": "7"}, "LLEN answered no number"),
        ({"TYPE": RedisError("NOAUTH")}, "NOAUTH"),
        ({"connect": RedisError("dial tcp h:1: refused")}, "dial tcp h:1: refused"),
    ],
)
async def test_a_failure_is_told_and_the_connection_made_anew(
    monkeypatch: pytest.MonkeyPatch, answers: Any, text: str
) -> None:
    servers = Servers(monkeypatch, **answers)
    scaler = made("redis", LIST)
    assert await fails(scaler.measure()) == text
    servers.answers = {"TYPE": "list", "LLEN": 1}
    assert await scaler.measure() == 1
    is_broken = isinstance(answers.get("TYPE"), Exception)
    assert servers.closed == (["h:1"] if is_broken else [])
    await scaler.close()
    assert servers.closed[-1] == "h:1"
    await scaler.close()


# --- streams ---


@pytest.mark.parametrize(
    ("metadata", "answers", "value"),
    [
        (STREAM, {"XLEN": 4}, 4),
        ({**STREAM, "lagCount": "3"}, {"XLEN": 4}, 4),
        (GROUP, {"XPENDING": [6, "1-0", "9-0", []]}, 6),
        (GROUP, {"XPENDING": [0]}, 0),
        (LAG, {"XINFO": [["name", "g", "lag", 5]]}, 5),
        (LAG, {"XINFO": [["name", "other", "lag", 5], ["name", "g", "lag", 2]]}, 2),
        (LAG, {"XINFO": [["name", "g", "lag", None]]}, 0),
        (LAG, {"XINFO": [["name", "other", "lag", 5]], "XLEN": 9}, 9),
        (LAG, {"XINFO": None, "XLEN": 9}, 9),
        (LAG, {"XINFO": RedisError("ERR no such key")}, 0),
    ],
)
async def test_how_much_of_a_stream_is_left(
    monkeypatch: pytest.MonkeyPatch, metadata: Any, answers: Any, value: float
) -> None:
    servers = Servers(monkeypatch, **answers)
    assert await made("redis-streams", metadata).measure() == value
    if "XPENDING" in answers:
        assert servers.asked == [("h:1", "XPENDING", "s", "g")]
    if "XINFO" in answers:
        assert servers.asked[0] == ("h:1", "XINFO", "GROUPS", "s")


@pytest.mark.parametrize(
    ("metadata", "answers", "text"),
    [
        (GROUP, {"XPENDING": []}, "XPENDING answered no number"),
        (GROUP, {"XPENDING": ["6"]}, "XPENDING answered no number"),
        (GROUP, {"XPENDING": 6}, "XPENDING answered no number"),
        (LAG, {"XINFO": [["name", "g"]]}, "redis version 7+ required for lag"),
        (LAG, {"XINFO": RedisError("ERR other")}, "ERR other"),
        (STREAM, {"XLEN": None}, "XLEN answered no number"),
    ],
)
async def test_a_stream_that_says_nothing_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, metadata: Any, answers: Any, text: str
) -> None:
    Servers(monkeypatch, **answers)
    assert await fails(made("redis-streams", metadata).measure()) == text


# --- sentinels and clusters ---


def master(address: str) -> dict[str, Any]:
    return {"SENTINEL": address.split(":"), "TYPE": "list", "LLEN": 3}


async def test_a_sentinel_is_asked_for_the_master(monkeypatch: pytest.MonkeyPatch) -> None:
    servers = Servers(monkeypatch, **master("m:6"))
    auth = {"username": "u", "password": "p", "sentinelUsername": "v", "sentinelPassword": "q"}
    metadata = {**LIST, "sentinelMaster": "mine", "databaseIndex": "2"}
    assert await made("redis-sentinel", metadata, auth).measure() == 3
    assert servers.asked[0] == ("h:1", "SENTINEL", "get-master-addr-by-name", "mine")
    logins = [(one.address, one.username, one.password, one.database) for one in servers.servers]
    assert logins == [("h:1", "v", "q", 0), ("m:6", "u", "p", 2)]
    assert servers.closed == ["h:1"]


@pytest.mark.parametrize("answer", [None, [], ["m"], "m:6", ["m", "6", "x"]])
async def test_a_sentinel_that_knows_none_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    servers = Servers(monkeypatch, SENTINEL=answer)
    text = "redis: all sentinels specified in configuration are unreachable"
    assert await fails(made("redis-sentinel", LIST).measure()) == text
    assert servers.closed == ["h:1"]


async def test_a_cluster_says_where_a_key_is(monkeypatch: pytest.MonkeyPatch) -> None:
    moved = RedisError("MOVED 3999 n:2")
    servers = Servers(monkeypatch, **{"h:1 TYPE": moved, "TYPE": "list", "LLEN": 3})
    assert await made("redis-cluster", LIST).measure() == 3
    assert servers.asked == [("h:1", "TYPE", "l"), ("n:2", "TYPE", "l"), ("n:2", "LLEN", "l")]
    assert servers.closed == ["h:1"]


@pytest.mark.parametrize(
    ("kind", "error", "text"),
    [
        ("redis-cluster", "MOVED 3999 h:1", "the cluster leads in circles"),
        ("redis-cluster", "MOVED 3999", "MOVED 3999"),
        ("redis-cluster", "ASK 3999 n:2", "ASK 3999 n:2"),
        ("redis", "MOVED 3999 n:2", "MOVED 3999 n:2"),
    ],
)
async def test_a_cluster_that_leads_nowhere_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, kind: str, error: str, text: str
) -> None:
    servers = Servers(monkeypatch, TYPE=RedisError(error))
    assert await fails(made(kind, LIST).measure()) == text
    assert len(servers.asked) == (3 if "circles" in text else 1)
