"""What a node's server shows, over its own HTTPS, to who may see it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from tests.builders import pod
from tests.node.builders import RecordingRuntime, container, state
from tiphys.api import core_v1
from tiphys.api.base import from_builtins
from tiphys.cluster.certificates import Authority
from tiphys.node.metrics import KubeletMetrics
from tiphys.node.runtime import RuntimeFault, Streams
from tiphys.node.server import pages
from tiphys.node.server.access import AccessError
from tiphys.node.server.spdybridge import ERROR, STDERR, STDIN, STDOUT, V5
from tiphys.node.server.streaming import StreamingServer
from tiphys.node.states import EXITED, PodState, Usage


class Runtime(RecordingRuntime):
    """Hollow, with logs in a folder and a streaming server at a url."""

    logs = Path()
    url = ""
    used: dict[str, dict[str, Usage]] = {}

    async def usage(self) -> dict[str, dict[str, Usage]]:
        return self.used

    def open_log(self, pod: Any, container: str, attempt: int) -> int:
        return os.open(self.logs / f"{pod.name}-{container}-{attempt}.log", os.O_RDONLY)

    async def exec_url(self, id: str, command: list[str], streams: Streams) -> str:
        self.calls.append(("exec", f"{id} {' '.join(command)} {streams}"))
        return self.url

    async def attach_url(self, id: str, streams: Streams) -> str:
        self.calls.append(("attach", id))
        return self.url

    async def port_forward_url(self, sandbox: str, ports: list[int]) -> str:
        self.calls.append(("forward", f"{sandbox} {ports}"))
        return self.url


class Host:
    """A node of one pod, `p`, whose container `c` runs, and `d` has ended."""

    name = "n"
    answers_log_queries = False

    def __init__(self) -> None:
        self.runtime = Runtime()
        self.metrics = KubeletMetrics(CollectorRegistry())
        one = pod("p", containers=[{"name": "c", "image": "i"}, {"name": "d", "image": "j"}])
        one.metadata.uid = "u"
        self.shown: list[tuple[core_v1.Pod, PodState]] = [
            (one, state(container("c"), container("d", what=EXITED)))
        ]

    def pods(self) -> list[core_v1.Pod]:
        return [one for one, _ in self.shown]

    def find(self, namespace: str, name: str) -> tuple[core_v1.Pod, PodState] | None:
        for one, shown in self.shown:
            if (one.metadata.namespace, one.metadata.name) == (namespace, name):
                return one, shown
        return None

    def volume_usage(self) -> dict[str, Any]:
        return {}

    def configuration(self) -> dict[str, Any]:
        return {"maxPods": 110}


class Gate:
    """Lets everybody in, or refuses."""

    refusal: AccessError | None = None

    async def check(self, certificate: Any, authorization: str, method: str, path: Any) -> None:
        if self.refusal is not None:
            raise self.refusal


class Node:
    def __init__(self) -> None:
        self.host, self.gate = Host(), Gate()
        self.server = StreamingServer(self.host, self.gate)  # type: ignore[arg-type]
        self.url = ""

    async def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        async with aiohttp.ClientSession() as session:
            asked = session.request(method, self.url + path, ssl=False)
            async with asked as answer:
                return answer.status, await answer.text()

    @contextlib.asynccontextmanager
    async def websocket(self, path: str, protocol: str) -> AsyncIterator[Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(self.url + path, protocols=[protocol], ssl=False) as socket,
        ):
            yield socket


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    authority = Authority(tmp_path_factory.mktemp("pki"))
    pair = authority.ensure("n", "n", (), ("127.0.0.1",), server=True)
    return (*pair, authority.path)


@pytest.fixture
async def node(keys: tuple[Path, Path, Path], tmp_path: Path) -> AsyncIterator[Node]:
    made = Node()
    made.host.runtime.logs = tmp_path
    port = await made.server.start("127.0.0.1", 0, *keys)
    made.url = f"https://127.0.0.1:{port}"
    yield made
    await made.server.stop()


@pytest.mark.parametrize("path", ["healthz", "healthz/ping", "healthz/syncloop", "healthz/log"])
async def test_it_is_well(node: Node, path: str) -> None:
    assert await node.get(f"/{path}") == (200, "ok")
    assert (await node.get(f"/{path}/", "POST"))[0] == 404


@pytest.mark.parametrize(
    "path", ["", "healthz/other", "pods/x", "stats", "metrics/other", "exec/p"]
)
async def test_there_is_nothing_else(node: Node, path: str) -> None:
    assert await node.get(f"/{path}") == (404, "404 page not found\n")


@pytest.mark.parametrize(("code", "text"), [(401, "Unauthorized"), (403, "Forbidden (x)")])
async def test_who_may_not_see_it_is_told_so(node: Node, code: int, text: str) -> None:
    node.gate.refusal = AccessError(code, text)
    assert await node.get("/pods") == (code, f"{text}\n")


async def test_pods_are_shown_whole_and_those_that_run_with_what_runs(node: Node) -> None:
    listed = json.loads((await node.get("/pods"))[1])
    assert (listed["kind"], listed["apiVersion"]) == ("PodList", "v1")
    assert [one["metadata"]["name"] for one in listed["items"]] == ["p"]
    assert "kind" not in listed["items"][0]
    [running] = json.loads((await node.get("/runningpods"))[1])["items"]
    assert running["metadata"] == {"name": "p", "namespace": "default", "uid": "u"}
    assert [(c["name"], c["image"]) for c in running["spec"]["containers"]] == [("c", "i")]
    ended = pod("ended")
    node.host.shown.append((ended, state(container(what=EXITED))))
    assert len(json.loads((await node.get("/runningpods"))[1])["items"]) == 1
    assert len(json.loads((await node.get("/pods"))[1])["items"]) == 2


async def test_a_pod_that_has_gone_meanwhile_does_not_run(node: Node) -> None:
    node.host.find = lambda namespace, name: None  # type: ignore[method-assign]
    assert json.loads((await node.get("/runningpods"))[1])["items"] == []


async def test_its_configuration_and_usage(node: Node) -> None:
    shown = json.loads((await node.get("/configz"))[1])
    assert shown == {"kubeletconfig": {"maxPods": 110}}
    node.host.runtime.used = {"u": {"c": Usage(cpu=2 * 10**9, working_set=7)}}
    summary = json.loads((await node.get("/stats/summary"))[1])
    assert summary["node"]["nodeName"] == "n"
    assert summary["pods"][0]["containers"][0]["memory"]["workingSetBytes"] == 7


async def test_metrics_are_of_the_node_its_probes_and_its_containers(node: Node) -> None:
    [one] = node.host.pods()
    running = {
        "name": "c",
        "image": "img",
        "state": {"running": {"startedAt": "1970-01-01T00:00:09Z"}},
    }
    one.status = from_builtins({"containerStatuses": [running]}, core_v1.PodStatus)
    used = Usage(cpu=2 * 10**9, working_set=7, disk=5, rss=3)
    node.host.runtime.used = {"u": {"c": used, "d": Usage(cpu=10**9, working_set=1, usage=4)}}
    assert "kubelet_" in (await node.get("/metrics"))[1]
    assert (await node.get("/metrics/probes"))[0] == 200
    resource = (await node.get("/metrics/resource"))[1].splitlines()
    where = 'namespace="default",pod="p"'
    for line in (
        "# TYPE container_cpu_usage_seconds_total counter",
        f'container_cpu_usage_seconds_total{{container="c",{where}}} 2',
        f'container_memory_working_set_bytes{{container="d",{where}}} 1',
        f'container_start_time_seconds{{container="c",{where}}} 9',
        f"pod_cpu_usage_seconds_total{{{where}}} 3",
        f"pod_memory_working_set_bytes{{{where}}} 8",
        "resource_scrape_error 0",
    ):
        assert line in resource
    assert not [line for line in resource if line.startswith("container_start") and '"d"' in line]
    advisor = (await node.get("/metrics/cadvisor"))[1].splitlines()
    for line in (
        f'container_memory_usage_bytes{{container="c",image="img",{where}}} 7',
        f'container_memory_usage_bytes{{container="d",image="",{where}}} 4',
        f'container_fs_usage_bytes{{container="c",image="img",{where}}} 5',
        f'container_memory_rss{{container="c",image="img",{where}}} 3',
    ):
        assert line in advisor


async def test_without_containers_there_is_no_metric_of_one(node: Node) -> None:
    node.host.shown.clear()
    assert "container_" not in (await node.get("/metrics/resource"))[1]
    assert (await node.get("/metrics/cadvisor"))[1] == ""


# --- logs of containers ---


async def test_the_log_of_an_attempt_is_shown(node: Node, tmp_path: Path) -> None:
    line = "1970-01-01T00:00:0{}Z stdout F {}\n"
    (tmp_path / "p-c-0.log").write_text(line.format(1, "one") + line.format(2, "two"))
    assert await node.get("/containerLogs/default/p/c") == (200, "one\ntwo\n")
    assert (await node.get("/containerLogs/default/p/c?tailLines=1"))[1] == "two\n"


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        ("default/none/c", 500, 'pod "none" not found'),
        ("default/p/x", 400, 'container "x" in pod "p" is waiting to start: ContainerCreating'),
        (
            "default/p/c?previous=true",
            400,
            'previous terminated container "c" in pod "p" not found',
        ),
        ("default/p/c?tailLines=x", 400, "invalid options of a log"),
    ],
)
async def test_why_there_is_no_log(node: Node, path: str, code: int, text: str) -> None:
    status, answer = await node.get(f"/containerLogs/{path}")
    assert status == code and text in (json.loads(answer)["message"] if code == 400 else answer)
    if code == 400:
        assert json.loads(answer)["reason"] == "BadRequest" and json.loads(answer)["code"] == 400


# --- the machine's logs ---


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "log"
    (folder / "sub").mkdir(parents=True)
    (folder / "syslog").write_text("hello\n")
    (folder / "sub" / "in.log").write_text("inner\n")
    (folder / "link").symlink_to(folder / "syslog")
    monkeypatch.setattr(pages, "_LOGS", folder)
    return folder


async def test_a_file_and_a_folder_of_the_machines_logs(node: Node, logs: Path) -> None:
    assert await node.get("/logs/syslog") == (200, "hello\n")
    assert await node.get("/logs/sub/in.log") == (200, "inner\n")
    listed = (await node.get("/logs/"))[1]
    assert '<a href="sub/">sub/</a>' in listed and '<a href="syslog">syslog</a>' in listed
    assert listed.index("link") < listed.index("sub/") < listed.index("syslog")


@pytest.mark.parametrize("path", ["none", "link", "sub/none", "none/x", "%2e%2e/x"])
async def test_nothing_is_shown_that_is_not_there_or_leads_elsewhere(
    node: Node, logs: Path, path: str
) -> None:
    assert await node.get(f"/logs/{path}") == (404, "404 page not found\n")


async def test_queries_of_logs_are_answered_where_that_is_allowed(
    node: Node, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(service: str) -> bool:
        return False

    monkeypatch.setattr(pages, "in_journal", nothing)
    assert (await node.get("/logs/?query=sub"))[1].startswith("<!doctype"), "not here"
    node.host.answers_log_queries = True
    (logs / "web.log").write_text("web\n")
    (logs / "deep").mkdir()
    (logs / "deep" / "deep.log").write_text("deep\n")
    assert await node.get("/logs/?query=web&query=deep") == (200, "web\ndeep\n")
    assert (await node.get("/logs/?query=nobody"))[1] == "\nlog not found for nobody\n"
    assert (
        "options present and query resolved to log files for [web]"
        in ((await node.get("/logs/?query=web&tailLines=3"))[1])
    )
    assert (await node.get("/logs/?query=/syslog")) == (200, "hello\n")
    assert (await node.get("/logs/?query=web&tailLines=x"))[0] == 400
    assert (await node.get("/logs/syslog")) == (200, "hello\n")


async def test_the_journal_is_read_where_a_service_has_one(
    node: Node, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def always(service: str) -> bool:
        return True

    async def journal(query: Any, services: Any) -> AsyncIterator[bytes]:
        yield f"journal of {services}".encode()

    monkeypatch.setattr(pages, "in_journal", always)
    monkeypatch.setattr(pages, "journal", journal)
    node.host.answers_log_queries = True
    assert (await node.get("/logs/?query=web"))[1] == "journal of ('web',)"


# --- commands and ports ---


def frame(stream: int, data: bytes, end: bool = False) -> bytes:
    """A data frame of SPDY."""
    return struct.pack(">II", stream, (int(end) << 24) | len(data)) + data


class Streaming:
    """The runtime's streaming server: upgrades, keeps what it gets, and says what a test has it
    say."""

    def __init__(self) -> None:
        self.says: list[bytes] = []
        self.upgrades = True
        self.head, self.heard = b"", b""
        self.port = 0
        self.over = asyncio.Event()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.head = await reader.readuntil(b"\r\n\r\n")
        if self.upgrades:
            writer.write(b"HTTP/1.1 101 Switching\r\nUpgrade: SPDY/3.1\r\n\r\n")
        else:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        for each in self.says:
            writer.write(each)
        while data := await reader.read(999):
            self.heard += data
            if b"echo" in data:
                writer.write(data)
        writer.close()
        self.over.set()


@pytest.fixture
async def streaming(node: Node) -> AsyncIterator[Streaming]:
    made = Streaming()
    server = await asyncio.start_server(made.handle, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    node.host.runtime.url = f"http://127.0.0.1:{made.port}/exec/token?a=b"
    yield made
    server.close()


EXEC = "/exec/default/p/c?command=ls&command=-l&stdin=true&stdout=1&stderr=true"


@pytest.mark.parametrize("path", ["exec/default/p/d", "exec/default/p/x", "attach/default/p/d"])
async def test_a_command_wants_a_container_that_runs(node: Node, path: str) -> None:
    status, answer = await node.get(f"/{path}", "POST")
    name = path[-1]
    assert status == 400 and json.loads(answer)["message"] == f'container not found ("{name}")'
    assert (await node.get("/exec/default/none/c"))[0] == 500


async def test_a_command_writes_and_ends(node: Node, streaming: Streaming) -> None:
    # streams are opened in the order: error 1, stdin 3, stdout 5, stderr 7
    streaming.says = [frame(5, b"out"), frame(7, b"oops"), frame(1, b'{"status":"Failure"}', True)]
    streaming.says += [frame(5, b"", True), frame(7, b"", True)]
    async with node.websocket(EXEC, V5) as socket:
        await socket.send_bytes(bytes([STDIN]) + b"typed")
        await socket.send_bytes(bytes([STDIN]))
        await socket.send_bytes(bytes([99]) + b"nobody")
        await socket.send_bytes(bytes([255, STDIN]))
        answers = [message.data async for message in socket]
    assert answers == [
        bytes([STDOUT]) + b"out",
        bytes([STDERR]) + b"oops",
        bytes([ERROR]) + b'{"status":"Failure"}',
    ]
    assert streaming.head.startswith(b"POST /exec/token?a=b HTTP/1.1")
    assert b"X-Stream-Protocol-Version: v4.channel.k8s.io" in streaming.head
    await asyncio.wait_for(streaming.over.wait(), 5)
    assert frame(3, b"typed") in streaming.heard and b"nobody" not in streaming.heard
    assert streaming.heard.endswith(frame(3, b"", True))
    streams = Streams(stdin=True, stdout=True, stderr=True)
    assert node.host.runtime.calls == [("exec", f"id-c-0 ls -l {streams}")]


async def test_a_command_that_says_nothing_of_its_end_has_succeeded(
    node: Node, streaming: Streaming
) -> None:
    streaming.says = [
        frame(5, b"out"),
        frame(5, b"", True),
        frame(7, b"", True),
        frame(1, b"", True),
    ]
    async with node.websocket(EXEC.replace("exec", "attach", 1), V5) as socket:
        answers = [message.data async for message in socket]
    assert answers[0] == bytes([STDOUT]) + b"out"
    assert answers[1][0] == ERROR and json.loads(answers[1][1:])["status"] == "Success"
    assert len(answers) == 2 and node.host.runtime.calls == [("attach", "id-c-0")]


async def test_a_runtime_that_refuses_is_told(node: Node, streaming: Streaming) -> None:
    streaming.upgrades = False
    async with node.websocket(EXEC, V5) as socket:
        [answer] = [message.data async for message in socket]
    failure = json.loads(answer[1:])
    assert answer[0] == ERROR and failure["status"] == "Failure"
    assert "403 Forbidden" in failure["message"]


async def test_a_port_is_forwarded_within_a_websocket(node: Node, streaming: Streaming) -> None:
    streaming.says = [b"first"]
    path = "/portForward/default/p?ports=80,81&port=82"
    async with node.websocket(path, "SPDY/3.1+portforward.k8s.io") as socket:
        assert (await socket.receive()).data == b"first"
        await socket.send_bytes(b"echo")
        assert (await socket.receive()).data == b"echo"
    assert node.host.runtime.calls == [("forward", "s [80, 81, 82]")]
    assert b"portforward.k8s.io" in streaming.head


async def test_who_speaks_spdy_itself_is_joined_to_the_runtime(
    node: Node, streaming: Streaming
) -> None:
    streaming.says = [b"first"]
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", int(node.url.rpartition(":")[2]), ssl=_anyone()
    )
    head = "POST /portForward/default/p?ports=80 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
    writer.write((head + "Upgrade: SPDY/3.1\r\nContent-Length: 0\r\n\r\n").encode())
    async with asyncio.timeout(5):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
        assert await reader.readexactly(5) == b"first"
        writer.write(b"echo")
        assert await reader.readexactly(4) == b"echo"
    writer.close()
    assert streaming.head.startswith(b"POST /exec/token?a=b HTTP/1.1")


def _anyone() -> Any:
    import ssl

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("none?ports=80", 'pod "none" is not running'),
        ("p?ports=80,x", "ports are numbers"),
        ("p?ports=123456", "ports are numbers"),
        ("p?port=-1", "ports are numbers"),
    ],
)
async def test_why_a_port_is_not_forwarded(node: Node, path: str, text: str) -> None:
    status, answer = await node.get(f"/portForward/default/{path}", "POST")
    assert status == 400 and json.loads(answer)["message"] == text


async def test_a_fault_of_the_runtime_is_an_error_of_the_server(node: Node) -> None:
    async def fail() -> Any:
        raise RuntimeFault("x", "containerd is gone")

    node.host.runtime.usage = fail  # type: ignore[method-assign]
    assert await node.get("/stats/summary") == (500, "containerd is gone\n")
