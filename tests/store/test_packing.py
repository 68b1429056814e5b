"""History that was compressed is read as before."""

from __future__ import annotations

from tests.store.builders import PREFIX, cache, key, put
from tiphys.store.cache import Filter, ResourceCache
from tiphys.store.engine import Change
from tiphys.store.entries import Entry
from tiphys.store.packing import pack, packed_alike, unpacked

ALL = Filter(PREFIX)


def long_value(number: int) -> bytes:
    return b'{"metadata":{"name":"x%d"},"note":"%b"}' % (number, b"n" * 1000)


def changed_often(times: int) -> ResourceCache:
    """A cache with an object that was changed so many times since revision 3."""
    made = cache(put(3, "a", "odd", "n1"))
    for revision in range(4, 4 + times):
        made.apply(Change(revision, key("a"), long_value(revision), revision - 1))
    return made


def pack_history(made: ResourceCache) -> int:
    """Compresses all there is; how many objects that were."""
    count = 0
    while entries := made.packable(10):
        values = [entry.data for entry in entries]
        for entry, packed in zip(entries, packed_alike(values), strict=True):
            pack(entry, packed)
        count += len(entries)
    return count


def test_what_is_alike_is_a_tenth_of_its_size() -> None:
    values = [long_value(number) for number in range(10)]
    packed = packed_alike(values)
    assert [unpacked(one) for one in packed] == values
    assert sum(len(one.compressed) for one in packed) < sum(map(len, values)) / 10


def test_history_that_was_compressed_can_be_listed_and_watched() -> None:
    made = changed_often(600)
    assert pack_history(made) > 300
    assert b'"name":"x50"' in made.candidates_at(key("a"), 50)[0].data
    events = [event for _, event in made.watch(ALL, 3, lambda: None).take()]
    assert [event.revision for event in events] == list(range(4, 604))
    previous = events[100].previous
    assert previous is not None and b'"resourceVersion":"103"' in previous.data


def test_history_is_compressed_once_and_what_is_recent_is_left_alone() -> None:
    made = changed_often(600)
    before = pack_history(made)
    assert pack_history(made) == 0
    assert type(made.events[-1].previous) is Entry
    made.apply(Change(604, key("a"), long_value(604), 603))
    assert pack_history(made) == 1
    made.forget(300)
    assert pack_history(made) == 0
    assert before + 1 > 300


def test_the_size_of_history_is_the_same_when_it_was_compressed() -> None:
    made = changed_often(600)
    pack_history(made)
    made.forget(1 << 40)
    assert made._history._size == 0
