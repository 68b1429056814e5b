"""What the etcd engine makes of what its watch says, and of errors: without an etcd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from tiphys.cluster.certificates import Authority
from tiphys.machinery import protobuf
from tiphys.store import etcd as module
from tiphys.store import etcdpb as pb
from tiphys.store.engine import TOO_LARGE, Change, StoreError, StoreTimeout, TooLarge, Write
from tiphys.store.etcd import EtcdEngine
from tiphys.store.etcdclient import target_of

NOBODY = "127.0.0.1:1"


@pytest.mark.parametrize(
    ("endpoints", "target"),
    [
        (["127.0.0.1:2379"], "ipv4:127.0.0.1:2379"),
        (["10.0.0.1:2379", "10.0.0.2:2379"], "ipv4:10.0.0.1:2379,10.0.0.2:2379"),
        (["etcd.local:2379"], "etcd.local:2379"),
        (["10.0.0.1:2379", "etcd.local:2379"], "10.0.0.1:2379"),
    ],
)
def test_the_name_of_a_cluster(endpoints: list[str], target: str) -> None:
    assert target_of(endpoints) == target


# --- what the watch says ---


class Following:
    """An engine that has loaded `live`, up to revision 10, and what it tells its listener."""

    def __init__(self, **live: int) -> None:
        self.engine = EtcdEngine([NOBODY], "/p")
        self.heard: list[Change] = []
        self.engine._listener = self.heard.extend
        self.engine._applied = 10
        self.engine._live = {f"/{name}": revision for name, revision in live.items()}

    def hear(self, revision: int, *events: pb.Event, **flags: bool) -> None:
        header = pb.ResponseHeader(revision=revision)
        self.engine._deliver(pb.WatchResponse(header=header, events=list(events), **flags))


def put(name: str, revision: int, previous: int | None = None) -> pb.Event:
    before = None if previous is None else pb.KeyValue(mod_revision=previous)
    key = pb.KeyValue(key=f"/p/{name}".encode(), mod_revision=revision, value=b"v")
    return pb.Event(type=0, kv=key, prev_kv=before)


def deleted(name: str, revision: int, previous: int | None = None) -> pb.Event:
    before = None if previous is None else pb.KeyValue(mod_revision=previous)
    key = pb.KeyValue(key=f"/p/{name}".encode(), mod_revision=revision)
    return pb.Event(type=1, kv=key, prev_kv=before)


def test_events_are_changes_and_change_what_is_live() -> None:
    following = Following(a=3, b=4)
    following.hear(13, put("a", 11, 3), deleted("b", 12, 4), put("c", 13))
    assert following.heard == [
        Change(11, "/a", b"v", 3),
        Change(12, "/b", None, 4),
        Change(13, "/c", b"v", 0),
    ]
    assert following.engine._live == {"/a": 11, "/c": 13}
    following.hear(14, deleted("nobody", 14))
    assert following.heard[3] == Change(14, "/nobody", None, 0)


def test_a_response_says_how_far_the_watch_is() -> None:
    following = Following()
    following.hear(20, created=True)
    assert following.engine._applied == 10, "it is of the store, and not of what has come"
    following.hear(21, put("a", 15))
    assert following.engine._applied == 15, "more may follow it"
    following.hear(22)
    assert following.engine._applied == 22 and len(following.heard) == 1
    following.hear(19)
    assert following.engine._applied == 22


def test_a_mark_says_how_far_the_watch_is_and_is_no_change() -> None:
    following = Following()
    mark = pb.Event(kv=pb.KeyValue(key=b"/p.mark", mod_revision=12))
    following.hear(30, put("a", 11), mark)
    assert following.engine._applied == 12 and [one.key for one in following.heard] == ["/a"]
    following.hear(30, pb.Event(kv=pb.KeyValue(key=b"/p.mark", mod_revision=13)))
    assert following.engine._applied == 13 and len(following.heard) == 1


async def test_who_waits_for_a_revision_is_woken_when_it_has_come() -> None:
    following = Following()
    waiting = [
        asyncio.ensure_future(following.engine._reached(revision)) for revision in (10, 11, 12)
    ]
    gone = asyncio.ensure_future(following.engine._reached(11))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    assert [task.done() for task in waiting] == [True, False, False]
    following.hear(11)
    await waiting[1]
    assert not waiting[2].done() and len(following.engine._waiters) == 1
    following.hear(12)
    await waiting[2]
    assert not following.engine._waiters


async def test_a_watch_that_says_nothing_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_TIMEOUT", 0.01)
    with pytest.raises(StoreTimeout, match=f"etcd at ipv4:{NOBODY} sends no changes"):
        await Following().engine._reached(11)


async def test_keys_that_are_no_text_keep_their_bytes() -> None:
    engine = EtcdEngine([NOBODY], "/p")
    assert engine._key(engine._name(b"/p/a\xff")) == b"/p/a\xff"


def test_revisions_are_ahead_by_the_offset_but_for_what_never_was() -> None:
    engine = EtcdEngine([NOBODY])
    assert engine._ahead(print) is print
    engine._offset = 100
    heard: list[Change] = []
    engine._ahead(heard.extend)([Change(5, "/a", b"v", 0), Change(6, "/a", None, 5)])
    assert heard == [Change(105, "/a", b"v", 0), Change(106, "/a", None, 105)]


# --- an etcd that says what it is told to ---


class Etcd:
    """Answers questions about keys with `error`, while there is one."""

    def __init__(self) -> None:
        self.error: tuple[grpc.StatusCode, str] | None = None
        self.asked: list[Any] = []

    async def range(self, request: pb.RangeRequest, context: Any) -> pb.RangeResponse:
        self.asked.append(request)
        if self.error is not None:
            await context.abort(*self.error)
        return pb.RangeResponse(header=pb.ResponseHeader(revision=5))

    def served(self, credentials: grpc.ServerCredentials | None = None) -> tuple[Any, str]:
        """A server that is to be started, and where it will be."""
        server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(
            self.range,
            request_deserializer=lambda data: protobuf.decode(data, kind=pb.RangeRequest),
            response_serializer=protobuf.encode,
        )
        generic = grpc.method_handlers_generic_handler("etcdserverpb.KV", {"Range": handler})
        server.add_generic_rpc_handlers((generic,))
        if credentials is None:
            port = server.add_insecure_port("127.0.0.1:0")
        else:
            port = server.add_secure_port("127.0.0.1:0", credentials)
        return server, f"127.0.0.1:{port}"


@pytest.fixture
async def asked() -> AsyncIterator[tuple[Etcd, EtcdEngine]]:
    """An etcd, and an engine that is connected to it and not open."""
    etcd = Etcd()
    server, endpoint = etcd.served()
    await server.start()
    engine = EtcdEngine([endpoint], "/p")
    engine._connect()
    yield etcd, engine
    await engine.close()
    await server.stop(None)


@pytest.mark.parametrize(
    ("code", "words", "kind"),
    [
        (grpc.StatusCode.DEADLINE_EXCEEDED, "too slow", StoreTimeout),
        (grpc.StatusCode.INVALID_ARGUMENT, TOO_LARGE, TooLarge),
        (grpc.StatusCode.UNAVAILABLE, "no leader", StoreError),
    ],
)
async def test_what_etcd_refuses_is_an_error_of_its_kind(
    asked: tuple[Etcd, EtcdEngine], code: grpc.StatusCode, words: str, kind: type[StoreError]
) -> None:
    etcd, engine = asked
    etcd.error = (code, words)
    for ask in (engine.ping, engine.barrier):
        with pytest.raises(StoreError, match=words) as refused:
            await ask()
        assert type(refused.value) is kind


async def test_a_ping_asks_for_a_key_of_ours(asked: tuple[Etcd, EtcdEngine]) -> None:
    etcd, engine = asked
    await engine.ping()
    assert [request.key for request in etcd.asked] == [b"/p/health"]
    assert not engine.lags()


async def test_which_history_is_kept_is_known_only_of_an_etcd_that_answers(
    asked: tuple[Etcd, EtcdEngine],
) -> None:
    etcd, engine = asked
    assert await engine._is_kept(3)
    etcd.error = (grpc.StatusCode.OUT_OF_RANGE, "compacted")
    assert not await engine._is_kept(3)
    etcd.error = (grpc.StatusCode.UNAVAILABLE, "no leader")
    with pytest.raises(grpc.aio.AioRpcError):
        await engine._is_kept(3)
    with pytest.raises(grpc.aio.AioRpcError):
        await engine._load_past(1)


async def test_an_etcd_that_fails_at_the_start_is_an_error(
    asked: tuple[Etcd, EtcdEngine],
) -> None:
    etcd, engine = asked
    etcd.error = (grpc.StatusCode.UNAVAILABLE, "no leader")
    with pytest.raises(StoreError, match="no leader"):
        await engine.open(lambda changes: None)
    with pytest.raises(StoreError):
        await engine.commit(Write("/a/b/x", b"1"))


async def test_etcd_and_the_server_show_each_other_certificates(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    served = authority.ensure("server", "server", (), ("127.0.0.1",), server=True)
    asking = authority.ensure("client", "client")
    trusted = authority.path.read_bytes()
    pair = (served[1].read_bytes(), served[0].read_bytes())
    etcd = Etcd()
    server, endpoint = etcd.served(grpc.ssl_server_credentials([pair], trusted, True))
    await server.start()
    files = (trusted, asking[0].read_bytes(), asking[1].read_bytes())
    engine = EtcdEngine([endpoint], tls=files)
    engine._connect()
    await engine.ping()
    assert len(etcd.asked) == 1
    await engine.close()
    await server.stop(None)
