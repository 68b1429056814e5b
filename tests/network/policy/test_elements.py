"""What has to be written when pods come and go."""

from __future__ import annotations

from tiphys.network.policy.elements import Elements, Verdicts


def test_an_element_that_two_bring_stays_until_the_second_goes() -> None:
    elements = Elements()
    elements.add("a")
    elements.add("a")
    assert elements.take() == (["a"], [])
    elements.discard("a")
    assert elements.take() == ([], []) and list(elements) == ["a"]
    elements.discard("a")
    assert elements.take() == ([], ["a"]) and len(elements) == 0


def test_what_came_and_went_between_two_writes_is_not_written() -> None:
    elements = Elements()
    elements.add("a")
    elements.discard("a")
    assert elements.take() == ([], [])
    elements.add("b")
    elements.take()
    elements.discard("b")
    elements.add("b")
    assert elements.take() == ([], [])


def test_one_row_of_elements_takes_the_place_of_another() -> None:
    elements = Elements()
    elements.replace([], ["a", "b"])
    elements.take()
    elements.replace(["a", "b"], ["b", "c"])
    assert elements.take() == (["c"], ["a"])


def test_of_two_pods_with_one_address_the_later_counts() -> None:
    verdicts = Verdicts()
    verdicts.put("10.0.0.1", "old", "goto a")
    verdicts.put("10.0.0.1", "new", "goto b")
    assert verdicts.take() == (["10.0.0.1 : goto b"], [])
    verdicts.drop("10.0.0.1", "new")
    assert verdicts.take() == (["10.0.0.1 : goto a"], ["10.0.0.1 : goto b"])
    verdicts.drop("10.0.0.1", "old")
    assert verdicts.take() == ([], ["10.0.0.1 : goto a"]) and len(verdicts) == 0


def test_a_pod_that_comes_again_is_the_later() -> None:
    verdicts = Verdicts()
    verdicts.put("10.0.0.1", "one", "goto a")
    verdicts.put("10.0.0.1", "two", "goto b")
    verdicts.put("10.0.0.1", "one", "goto c")
    assert list(verdicts) == ["10.0.0.1 : goto c"]
    assert verdicts.take() == (["10.0.0.1 : goto c"], []) and verdicts.take() == ([], [])
