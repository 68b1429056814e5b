"""Which resources a server serves, and their versions."""

from __future__ import annotations

from tiphys.apiserver.registry.served import ServedResources


def test_groups_name_their_versions_once_and_in_order() -> None:
    groups = ServedResources().group_versions()
    assert [gv.version for gv in groups["autoscaling"]] == ["v2", "v1"]
    assert [gv.version for gv in groups[""]] == ["v1"]
    assert all(len(versions) == len(set(versions)) for versions in groups.values())


def test_rows_that_are_the_same_are_no_change() -> None:
    served = ServedResources()
    before = served.generation
    served.replace_added([])
    assert served.generation == before


def test_the_same_objects_have_names_in_other_versions_alone() -> None:
    served = ServedResources()
    scaler = served.find("autoscaling", "v1", "horizontalpodautoscalers")
    pods = served.find("", "v1", "pods")
    assert scaler is not None and pods is not None
    others = [(other.version, other.plural) for other in served.equivalents(scaler)]
    assert others == [("v2", "horizontalpodautoscalers")] and served.equivalents(pods) == []
