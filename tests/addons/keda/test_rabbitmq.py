"""rabbitmq by AMQP: where it connects, who it says it is, and what becomes of a connection."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.addons.keda.tables import fails, made
from tiphys.addons.keda.amqp_protocol import Amqp, Login
from tiphys.addons.keda.scaler import Measured, ScalerError
from tiphys.addons.keda.triggers import rabbitmq

METADATA = {"queueName": "q", "mode": "QueueLength", "value": "5"}


class Broker:
    """`logins` are those that came, `answer` is what it says of queues."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dialed: list[tuple[str, int, bool]] = []
        self.logins: list[Login] = []
        self.asked: list[str] = []
        self.closed = 0
        self.answer: Any = 7
        self.refuses: Exception | None = None
        broker = self

        async def dial(config: Any, host: str, port: int, tls: Any) -> Any:
            broker.dialed.append((host, port, tls is not None))
            return None, None

        class Pretended(Amqp):
            async def log_in(self, login: Login) -> None:
                broker.logins.append(login)
                if broker.refuses is not None:
                    raise broker.refuses

            async def messages(self, queue: str) -> int:
                broker.asked.append(queue)
                if isinstance(broker.answer, Exception):
                    raise broker.answer
                if broker.answer is None:
                    await asyncio.Event().wait()
                return int(broker.answer)

            def close(self) -> None:
                broker.closed += 1

        monkeypatch.setattr(rabbitmq, "dial", dial)
        monkeypatch.setattr(rabbitmq, "Amqp", Pretended)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    return Broker(monkeypatch)


async def test_a_connection_is_kept_while_it_answers(broker: Broker) -> None:
    scaler = made("rabbitmq", {**METADATA, "host": "amqp://h", "activationValue": "6"})
    assert await scaler.look("") == Measured(7, True)
    broker.answer = 6
    assert await scaler.look("") == Measured(6, False)
    assert (len(broker.dialed), broker.asked) == (1, ["q", "q"])
    await scaler.close()
    await scaler.close()
    assert broker.closed == 1


@pytest.mark.parametrize(
    ("host", "metadata", "auth", "dialed", "login"),
    [
        ("amqp://h", {}, {}, ("h", 5672, False), ("guest", "guest", "/")),
        ("amqps://h", {}, {}, ("h", 5671, True), ("guest", "guest", "/")),
        ("amqp://h:7/vh", {}, {}, ("h", 7, False), ("guest", "guest", "vh")),
        ("amqp://u:p%2F@h/a%2Fb", {}, {}, ("h", 5672, False), ("u", "p/", "a/b")),
        ("amqp://h/vh", {"vhostName": "own"}, {}, ("h", 5672, False), ("guest", "guest", "own")),
        (
            "amqp://u:p@h",
            {},
            {"username": "x", "password": "y"},
            ("h", 5672, False),
            ("x", "y", "/"),
        ),
        ("amqp://", {}, {}, ("localhost", 5672, False), ("guest", "guest", "/")),
    ],
)
async def test_the_address_says_where_and_who(
    broker: Broker,
    host: str,
    metadata: dict[str, str],
    auth: dict[str, str],
    dialed: tuple[str, int, bool],
    login: tuple[str, str, str],
) -> None:
    scaler = made("rabbitmq", {**METADATA, **metadata, "host": host}, auth)
    await scaler.look("")
    assert broker.dialed == [dialed]
    assert broker.logins == [Login(*login, "keda-ns-w")]


@pytest.mark.parametrize(
    ("host", "more", "name"),
    [
        ("amqps://h", {}, ""),
        ("amqps://u@h", {}, ""),
        ("amqps://u:p@h", {}, "u"),
        ("amqps://h", {"username": "x", "password": "y"}, "x"),
    ],
)
async def test_a_certificate_says_who_asks_where_nothing_else_does(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, host: str, more: dict[str, str], name: str
) -> None:
    given: dict[str, Any] = {}

    def context(*pair: str, **options: Any) -> object:
        given["pair"], given["options"] = pair, options
        return object()

    monkeypatch.setattr(rabbitmq, "tls_context", context)
    auth = {"cert": "c", "key": "k", "ca": "a", "keyPassword": "s", **more}
    await made("rabbitmq", {**METADATA, "host": host, "unsafeSsl": "true"}, auth).look("")
    assert broker.logins[0].username == name
    assert given == {"pair": ("a", "c", "k"), "options": {"password": "s", "unsafe": True}}


async def test_a_failure_ends_the_connection(broker: Broker) -> None:
    scaler = made("rabbitmq", {**METADATA, "host": "amqp://h"})
    broker.refuses = ScalerError("refused by u:p@h")
    text = "error inspecting RabbitMQ: refused by user:password@h"
    assert await fails(scaler.look("")) == text
    assert broker.closed == 1
    broker.refuses = None
    broker.answer = ScalerError("no queue")
    assert await fails(scaler.look("")) == "error inspecting RabbitMQ: no queue"
    assert broker.closed == 2
    broker.answer = 7
    assert (await scaler.look("")).value == 7
    assert len(broker.dialed) == 3, "anew each time"


async def test_a_broker_that_does_not_answer_is_not_waited_for(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaler = made("rabbitmq", {**METADATA, "host": "amqp://h"})
    object.__setattr__(scaler.config.surroundings, "timeout", 0.01)
    broker.answer = None
    assert await fails(scaler.look("")) == "error inspecting RabbitMQ: i/o timeout"
    assert broker.closed == 1


async def test_a_port_that_is_none_is_a_failure_of_the_trigger(broker: Broker) -> None:
    scaler = made("rabbitmq", {**METADATA, "host": "amqp://h:99999"})
    assert "Port out of range" in await fails(scaler.look(""))


def test_a_timeout_may_be_the_triggers_own() -> None:
    assert made("rabbitmq", {**METADATA, "host": "http://h/v"}).seconds == 3.0
    assert made("rabbitmq", {**METADATA, "host": "http://h/v", "timeout": "500"}).seconds == 0.5
