"""Resources, their versions, and who hears of what."""

from __future__ import annotations

from google.protobuf.wrappers_pb2 import StringValue

from tiphys.network.xds.cache import CLUSTER, ENDPOINTS, ROUTE, Cache, resource, varint


def text(value: str) -> StringValue:
    return StringValue(value=value)


def test_equal_messages_have_equal_versions() -> None:
    assert resource(CLUSTER, "a", text("x")) == resource(CLUSTER, "a", text("x"))
    assert resource(CLUSTER, "a", text("x")).version != resource(CLUSTER, "a", text("y")).version


def test_only_what_changed_is_announced_clusters_before_routes() -> None:
    cache = Cache()
    cache.update({CLUSTER: {"a": text("1"), "b": text("1")}})
    heard: list[tuple[str, frozenset[str]]] = []
    end = cache.listen(lambda type_url, names: heard.append((type_url, names)))
    cache.update({ROUTE: {"r": text("1")}, CLUSTER: {"a": text("2"), "b": text("1")}})
    assert heard == [(CLUSTER, frozenset("a")), (ROUTE, frozenset("r"))]
    end()
    cache.update({CLUSTER: {"a": None}})
    assert len(heard) == 2


def test_what_goes_is_announced_once() -> None:
    cache = Cache()
    cache.update({ENDPOINTS: {"a": text("1")}})
    assert cache.update({ENDPOINTS: {"a": None, "never": None}}) == {ENDPOINTS: frozenset("a")}
    assert cache.update({ENDPOINTS: {"a": None}}) == {}


def test_replacing_takes_away_what_is_not_named() -> None:
    cache = Cache()
    cache.replace(CLUSTER, {"a": text("1"), "b": text("1")})
    assert cache.replace(CLUSTER, {"b": text("1"), "c": text("1")}) == frozenset("ac")
    assert sorted(cache.all(CLUSTER)) == ["b", "c"]


def test_numbers_are_written_as_protobuf_has_them() -> None:
    assert [varint(n) for n in (0, 127, 128, 300)] == [b"\0", b"\x7f", b"\x80\x01", b"\xac\x02"]
