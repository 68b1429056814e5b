"""Real servers for triggers to ask. Each listens on this machine's address and is filled by its own
tool or protocol."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.addons.keda.processes import (
    HOST,
    Server,
    is_listening,
    post,
    program,
    run,
    running,
    until,
)
from tiphys.testing.cluster import free_port


@dataclass
class Asked:
    """What a trigger is told of a server, and how the server gets as much as is wanted."""

    server: Server
    metadata: dict[str, str]
    fill: Callable[[int], Any]
    auth: dict[str, str] = field(default_factory=dict)


Started = Callable[[Path], contextlib.AbstractAsyncContextManager[Asked]]


def redis_command(folder: Path, port: int, *more: str) -> list[str]:
    return [
        "redis-server", "--bind", HOST, "--port", str(port), "--protected-mode", "no",
        "--save", "", "--dir", str(folder), *more,
    ]  # fmt: skip


async def redis_cli(server: Server, *words: str) -> str:
    return await run("redis-cli", "-h", HOST, "-p", str(server.port), *words)


@contextlib.asynccontextmanager
async def redis_list(folder: Path) -> AsyncIterator[Asked]:
    """With a password."""
    port = free_port()
    command = redis_command(folder, port, "--requirepass", "secret")
    async with running(Server(command, port)) as server:
        login = ("--no-auth-warning", "-a", "secret")

        async def fill(count: int) -> None:
            await redis_cli(server, *login, "DEL", "q")
            await redis_cli(server, *login, "RPUSH", "q", *map(str, range(count)))

        metadata = {"address": server.address, "listName": "q", "activationListLength": "3"}
        yield Asked(server, metadata, fill, {"password": "secret"})


@contextlib.asynccontextmanager
async def redis_stream(folder: Path) -> AsyncIterator[Asked]:
    """A group of consumers that has read nothing: all of it is its lag."""
    port = free_port()
    async with running(Server(redis_command(folder, port), port)) as server:

        async def fill(count: int) -> None:
            await redis_cli(server, "DEL", "s")
            await redis_cli(server, "XGROUP", "CREATE", "s", "g", "$", "MKSTREAM")
            for number in range(count):
                await redis_cli(server, "XADD", "s", "*", "n", str(number))

        metadata = {
            "address": server.address,
            "stream": "s",
            "consumerGroup": "g",
            "lagCount": "5",
            "activationLagCount": "3",
        }
        yield Asked(server, metadata, fill)


@contextlib.asynccontextmanager
async def redis_sentinel(folder: Path) -> AsyncIterator[Asked]:
    """The trigger knows the sentinel alone, which knows the master."""
    port, watcher = free_port(), free_port()
    config = folder / "sentinel.conf"
    config.write_text(
        f"bind {HOST}\nport {watcher}\nprotected-mode no\ndir {folder}\n"
        f"sentinel monitor m {HOST} {port} 1\n"
    )
    async with (
        running(Server(redis_command(folder, port), port)) as master,
        running(Server(["redis-server", str(config), "--sentinel"], watcher)) as server,
    ):

        async def fill(count: int) -> None:
            await redis_cli(master, "DEL", "q")
            await redis_cli(master, "RPUSH", "q", *map(str, range(count)))

        metadata = {
            "address": server.address,
            "sentinelMaster": "m",
            "listName": "q",
            "activationListLength": "3",
        }
        yield Asked(server, metadata, fill)


@contextlib.asynccontextmanager
async def redis_cluster(folder: Path) -> AsyncIterator[Asked]:
    """Two nodes; the trigger knows the one that does not have the key."""
    halves = {"one": "0 8191", "two": "8192 16383"}
    async with contextlib.AsyncExitStack() as stack:
        nodes = []
        for name, slots in halves.items():
            port = free_port()
            (folder / name).mkdir()
            command = redis_command(
                folder / name, port, "--cluster-enabled", "yes", "--cluster-port", str(free_port())
            )
            node = await stack.enter_async_context(running(Server(command, port)))
            await redis_cli(node, "CLUSTER", "ADDSLOTSRANGE", *slots.split())
            nodes.append((node, command[-1]))
        (first, _), (second, bus) = nodes
        await redis_cli(first, "CLUSTER", "MEET", HOST, str(second.port), bus)
        async with asyncio.timeout(60):
            for node in (first, second):
                while "cluster_state:ok" not in await redis_cli(node, "CLUSTER", "INFO"):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
        key = "q"  # of slot 11958: the second node's

        async def fill(count: int) -> None:
            await redis_cli(second, "DEL", key)
            await redis_cli(second, "RPUSH", key, *map(str, range(count)))

        metadata = {"addresses": first.address, "listName": key, "activationListLength": "3"}
        yield Asked(first, metadata, fill)


@contextlib.asynccontextmanager
async def beanstalkd(folder: Path) -> AsyncIterator[Asked]:
    port = free_port()
    async with running(Server(["beanstalkd", "-l", HOST, "-p", str(port)], port)) as server:
        put = 0

        async def fill(count: int) -> None:
            nonlocal put
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(b"use q\r\n" + b"put 1 0 60 1\r\nx\r\n" * (count - put))
            for _ in range(1 + count - put):
                await reader.readuntil(b"\r\n")
            put = count
            writer.close()

        metadata = {"server": server.address, "tube": "q", "value": "5", "activationValue": "3"}
        yield Asked(server, metadata, fill)


@contextlib.asynccontextmanager
async def etcd(folder: Path) -> AsyncIterator[Asked]:
    port, peer = free_port(), free_port()
    client, peers = f"http://{HOST}:{port}", f"http://{HOST}:{peer}"
    command = [
        "etcd", "--data-dir", str(folder), "--log-level", "error",
        "--listen-client-urls", client, "--advertise-client-urls", client,
        "--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers,
        "--initial-cluster", f"default={peers}",
    ]  # fmt: skip
    async with running(Server(command, port)) as server:

        async def fill(count: int) -> None:
            pair = {
                name: base64.b64encode(text).decode()
                for name, text in (("key", b"jobs"), ("value", str(count).encode()))
            }
            await post(f"{client}/v3/kv/put", pair)

        metadata = {"endpoints": client, "watchKey": "jobs", "value": "5", "activationValue": "3"}
        yield Asked(server, metadata, fill)


@contextlib.asynccontextmanager
async def prometheus(folder: Path) -> AsyncIterator[Asked]:
    """The number is the query's own: what is asked is that it comes back."""
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text("global: {}\n")
    command = [
        "prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}",
        f"--web.listen-address={HOST}:{port}",
    ]  # fmt: skip
    async with running(Server(command, port)) as server:
        metadata = {
            "serverAddress": f"http://{server.address}",
            "threshold": "5",
            "activationThreshold": "3",
        }

        async def fill(count: int) -> None:
            metadata["query"] = f"vector({count})"

        await fill(0)
        yield Asked(server, metadata, fill)


@contextlib.asynccontextmanager
async def nats(folder: Path) -> AsyncIterator[Asked]:
    """A stream whose consumer has acknowledged nothing."""
    port, monitoring = free_port(), free_port()
    command = [
        "nats-server", "-a", HOST, "-p", str(port), "-m", str(monitoring), "-js",
        "-sd", str(folder),
    ]  # fmt: skip
    async with running(Server(command, monitoring)) as server:
        # which it opens after the one for monitoring
        while not await is_listening(port):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
        put = 0

        async def ask(subject: str, body: Any) -> bytes:
            reader, writer = await asyncio.open_connection(HOST, port)
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            writer.write(b'CONNECT {"verbose":false}\r\nSUB inbox 1\r\n')
            writer.write(f"PUB {subject} inbox {len(data)}\r\n".encode() + data + b"\r\n")
            await reader.readuntil(b"MSG inbox 1 ")
            answer = await reader.readexactly(int(await reader.readuntil(b"\r\n")))
            writer.close()
            return answer

        stream = {"name": "S", "subjects": ["jobs"], "storage": "memory", "retention": "limits"}
        await ask("$JS.API.STREAM.CREATE.S", stream)
        consumer = {"durable_name": "C", "ack_policy": "explicit", "deliver_policy": "all"}
        await ask("$JS.API.CONSUMER.DURABLE.CREATE.S.C", {"stream_name": "S", "config": consumer})

        async def fill(count: int) -> None:
            nonlocal put
            for _ in range(count - put):
                await ask("jobs", b"x")
            put = count

        metadata = {
            "natsServerMonitoringEndpoint": server.address,
            "account": "$G",
            "stream": "S",
            "consumer": "C",
            "activationLagThreshold": "3",
        }
        yield Asked(server, metadata, fill)


@contextlib.asynccontextmanager
async def rabbitmq(folder: Path, by: str) -> AsyncIterator[Asked]:
    """By AMQP, and by the management's HTTP. Its name server of nodes (epmd) is its own."""
    amqp, http, epmd, node = (free_port() for _ in range(4))
    (folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
    (folder / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = {HOST}:{amqp}\nmanagement.tcp.ip = {HOST}\n"
        f"management.tcp.port = {http}\nloopback_users = none\n"
        "management.rates_mode = basic\ncollect_statistics_interval = 500\n"
    )
    folder.chmod(0o777)
    environment = {
        "HOME": str(folder),
        "RABBITMQ_NODENAME": f"keda{amqp}@localhost",
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_DIST_PORT": str(node),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "ERL_EPMD_PORT": str(epmd),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    }
    program = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    server = Server([program], http, environment)
    try:
        async with running(server, 120):
            root = f"http://{HOST}:{http}/api"
            login = {"Authorization": "Basic Z3Vlc3Q6Z3Vlc3Q="}
            await post(f"{root}/queues/%2F/q", {"durable": False}, "PUT", **login)
            put = 0

            async def fill(count: int) -> None:
                nonlocal put
                message = {
                    "properties": {},
                    "routing_key": "q",
                    "payload": "x",
                    "payload_encoding": "string",
                }
                for _ in range(count - put):
                    url = f"{root}/exchanges/%2F/amq.default/publish"
                    await post(url, message, **login)
                put = count

            metadata = {
                "host": f"{by}://{HOST}:{http if by == 'http' else amqp}/",
                "queueName": "q",
                "mode": "QueueLength",
                "value": "5",
                "activationValue": "3",
            }
            yield Asked(server, metadata, fill, {"username": "guest", "password": "guest"})
    finally:
        with contextlib.suppress(Exception):
            await run("epmd", "-port", str(epmd), "-kill")


@contextlib.asynccontextmanager
async def postgresql(folder: Path) -> AsyncIterator[Asked]:
    """With a password, as its own user."""
    port = free_port()
    programs = next(Path("/usr/lib/postgresql").glob("*/bin"))
    data = folder / "data"
    folder.chmod(0o777)
    for parent in folder.parents:
        if parent.name.startswith("pytest"):
            parent.chmod(0o755)
    data.mkdir()
    shutil.chown(data, "postgres")
    (folder / "password").write_text("secret")
    await run(
        "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups",
        str(programs / "initdb"), "-D", str(data), "-U", "keda", "--no-sync",
        "--auth=scram-sha-256", f"--pwfile={folder / 'password'}",
    )  # fmt: skip
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write(f"host all all {HOST}/32 scram-sha-256\n")
    command = [
        "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups",
        str(programs / "postgres"), "-D", str(data), "-p", str(port), "-h", HOST, "-k", "",
        "-c", "fsync=off",
    ]  # fmt: skip
    async with running(Server(command, port)) as server:

        async def fill(count: int) -> None:
            sql = (
                "CREATE TABLE IF NOT EXISTS jobs (n int); DELETE FROM jobs; "
                f"INSERT INTO jobs SELECT generate_series(1, {count})"
            )
            await until(
                "psql", "-h", HOST, "-p", str(port), "-U", "keda", "-d", "postgres",
                "-c", sql, PGPASSWORD="secret",
            )  # fmt: skip

        metadata = {
            "host": HOST,
            "port": str(port),
            "userName": "keda",
            "dbName": "postgres",
            "sslmode": "disable",
            "query": "SELECT count(*) FROM jobs",
            "targetQueryValue": "5",
            "activationTargetQueryValue": "3",
        }
        yield Asked(server, metadata, fill, {"password": "secret"})


@contextlib.asynccontextmanager
async def mariadb(folder: Path) -> AsyncIterator[Asked]:
    port = free_port()
    data, socket = folder / "data", folder / "s"
    await run("mariadb-install-db", "--no-defaults", f"--datadir={data}", "--user=root",
              "--auth-root-authentication-method=normal", "--skip-test-db")  # fmt: skip
    command = [
        "mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={socket}", "--user=root",
        f"--port={port}", f"--bind-address={HOST}", "--innodb-flush-log-at-trx-commit=0",
    ]  # fmt: skip
    async with running(Server(command, port)) as server:

        async def sql(text: str) -> None:
            await run("mariadb", "--no-defaults", f"--socket={socket}", "-e", text)

        await sql(
            "CREATE DATABASE shop; CREATE TABLE shop.jobs (n int); "
            "CREATE USER keda@'%' IDENTIFIED BY 'secret'; GRANT ALL ON shop.* TO keda@'%'"
        )

        async def fill(count: int) -> None:
            rows = ",".join(f"({number})" for number in range(count))
            await sql(f"DELETE FROM shop.jobs; INSERT INTO shop.jobs VALUES {rows}")

        metadata = {
            "host": HOST,
            "port": str(port),
            "username": "keda",
            "dbName": "shop",
            "query": "SELECT count(*) FROM jobs",
            "queryValue": "5",
            "activationQueryValue": "3",
        }
        yield Asked(server, metadata, fill, {"password": "secret"})


@dataclass(frozen=True)
class Broker:
    """A broker listens on one port, and tells clients to come to another where something stands
    before it. `client` is what clients must say there."""

    port: int
    shown: int
    client: Mapping[str, Any] = field(default_factory=dict)


@contextlib.asynccontextmanager
async def kafka(folder: Path, broker: Broker | None = None) -> AsyncIterator[Asked]:
    """tansu speaks Kafka's protocol. The group has committed offset 0 of a topic of one
    partition."""
    import aiokafka
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    if broker is None:
        port = free_port()
        broker = Broker(port, port)
    address = f"{HOST}:{broker.shown}"
    tansu = program("tansu", "TANSU")
    assert tansu is not None
    command = [
        tansu, "broker", "--kafka-cluster-id=keda",
        f"--kafka-listener-url=tcp://{HOST}:{broker.port}",
        f"--kafka-advertised-listener-url=tcp://{address}", "--storage-engine=memory://tansu/",
    ]  # fmt: skip
    async with running(Server(command, broker.port)) as server:
        given = {"bootstrap_servers": address, **broker.client}
        admin = AIOKafkaAdminClient(**given)
        await admin.start()
        await admin.create_topics([NewTopic("jobs", 1, 1)])
        await admin.close()
        producer = aiokafka.AIOKafkaProducer(**given)
        await producer.start()
        consumer = aiokafka.AIOKafkaConsumer(group_id="g", enable_auto_commit=False, **given)
        await consumer.start()
        one = aiokafka.TopicPartition("jobs", 0)
        consumer.assign([one])
        await consumer.commit({one: 0})
        await consumer.stop()
        put = 0

        async def fill(count: int) -> None:
            nonlocal put
            for _ in range(count - put):
                await producer.send_and_wait("jobs", b"x")
            put = count

        metadata = {
            "bootstrapServers": address,
            "consumerGroup": "g",
            "topic": "jobs",
            "lagThreshold": "5",
            "activationLagThreshold": "3",
            "allowIdleConsumers": "true",
        }
        try:
            yield Asked(server, metadata, fill)
        finally:
            await producer.stop()


@contextlib.asynccontextmanager
async def temporal(folder: Path) -> AsyncIterator[Asked]:
    """Workflows that nobody works on wait in the queue. Its own parts find each other by the
    loopback alone, so it listens everywhere."""
    port = free_port()
    command = [
        program("temporal", "TEMPORAL") or "temporal", "server", "start-dev", "--headless",
        "--ip", "0.0.0.0", "--port", str(port), "--log-level", "error",
    ]  # fmt: skip
    async with running(Server(command, port)) as server:
        put = 0
        await until(command[0], "operator", "namespace", "describe", "-n", "default",
                    "--address", server.address)  # fmt: skip

        async def fill(count: int) -> None:
            nonlocal put
            for _ in range(count - put):
                await run(
                    command[0], "workflow", "start", "--address", server.address,
                    "--task-queue", "q", "--type", "W",
                )  # fmt: skip
            put = count

        metadata = {
            "endpoint": server.address,
            "taskQueue": "q",
            "enableTLS": "false",
            "activationTargetQueueSize": "3",
        }
        yield Asked(server, metadata, fill)
