"""A derived value is computed once for each version of its sources."""

from __future__ import annotations

import pytest

from tiphys.machinery.derived import Derived


class Source:
    def __init__(self) -> None:
        self.version = 0
        self.computed = 0

    def compute(self) -> int:
        self.computed += 1
        return self.version * 10


def test_it_is_computed_again_when_the_version_has_changed_and_only_then() -> None:
    source = Source()
    derived = Derived(lambda: source.version, source.compute)
    assert source.computed == 0, "nothing is computed before it is asked for"
    assert (derived.get(), derived.get(), source.computed) == (0, 0, 1)
    source.version = 3
    assert (derived.get(), derived.get(), source.computed) == (30, 30, 2)
    source.version = 0  # back again is a change, too
    assert (derived.get(), source.computed) == (0, 3)
    derived.forget()
    assert (derived.get(), source.computed) == (0, 4)


def test_a_source_that_changes_while_it_is_read_is_read_again() -> None:
    source = Source()

    def compute() -> int:
        before = source.version
        source.version = 1
        return before

    derived = Derived(lambda: source.version, compute)
    assert [derived.get(), derived.get(), derived.get()] == [0, 1, 1]


def test_a_failure_is_not_kept() -> None:
    source = Source()

    def compute() -> float:
        return 1 / source.version

    derived = Derived(lambda: source.version, compute)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            derived.get()
    source.version = 2
    assert derived.get() == 0.5


def test_a_cache_that_every_change_empties() -> None:
    source = Source()
    cache: Derived[dict[str, int]] = Derived(lambda: source.version, dict)
    cache.get()["a"] = 1
    assert cache.get() == {"a": 1}
    source.version = 1
    assert cache.get() == {}
