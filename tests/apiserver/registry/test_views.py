"""Which objects a request's selectors choose."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.apiserver.registry.builders import created, registry
from tests.builders import config_map, node, pod
from tiphys.api import core_v1
from tiphys.api.catalog import BY_PATH, resource_of
from tiphys.apiserver.registry.views import view_of
from tiphys.machinery.errors import StatusError

EVENTS = BY_PATH["events.k8s.io", "v1", "events"]


def call(namespace: str = "", path_name: str = "", **query: str) -> Any:
    """A request, as far as a view depends on it."""
    info = SimpleNamespace(namespace=namespace, path_name=path_name)
    return SimpleNamespace(info=info, query=query, selectors={})


async def names(kind: Any, request: Any) -> list[str]:
    """Which of the objects below are in the view."""
    async with registry() as objects:
        for namespace in ("a", "b"):
            for name in ("x", "y"):
                await created(
                    objects, pod(name, namespace, labels={"l": name}, nodeName="n" + name)
                )
                await created(objects, config_map(name, namespace))
        await created(objects, node("x"))
        await created(objects, node("y"))
        resource = resource_of(kind)
        entries = objects.cache(resource).select(view_of(request, resource, objects))
        return [entry.key.removeprefix(resource.prefix) for entry in entries]


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        (call(), ["a/x", "a/y", "b/x", "b/y"]),
        (call("a"), ["a/x", "a/y"]),
        (call("a", labelSelector="l=x"), ["a/x"]),
        (call(labelSelector="l!=x"), ["a/y", "b/y"]),
        (call(fieldSelector="spec.nodeName=nx"), ["a/x", "b/x"]),
        (call("b", fieldSelector="spec.nodeName=nx"), ["b/x"]),
        (call("a", fieldSelector="metadata.name=y"), ["a/y"]),
        (call(fieldSelector="metadata.name=y"), ["a/y", "b/y"]),
        (call(fieldSelector="metadata.namespace=b"), ["b/x", "b/y"]),
        (call("a", fieldSelector="metadata.namespace=b"), []),
        (call("a", fieldSelector="metadata.namespace=a"), ["a/x", "a/y"]),
        (call("a", fieldSelector="metadata.name=y,spec.nodeName=nx"), []),
        (call("a", fieldSelector="metadata.name=y,metadata.name=x"), []),
        (call("a", fieldSelector="metadata.name=y", labelSelector="l=x"), []),
        (call("a", "x"), ["a/x"]),
        (call("a", "x", labelSelector="l=y"), []),
        (call("a", "x", fieldSelector="metadata.name=x"), ["a/x"]),
    ],
)
async def test_selectors_choose_pods(request_: Any, found: list[str]) -> None:
    assert await names(core_v1.Pod, request_) == found


async def test_what_is_in_no_namespace_is_chosen_by_name() -> None:
    assert await names(core_v1.Node, call(fieldSelector="metadata.name=x")) == ["x"]
    assert await names(core_v1.Node, call(path_name="y")) == ["y"]


@pytest.mark.parametrize(
    ("resource", "query", "message"),
    [
        (core_v1.Pod, {"labelSelector": "a in ("}, "unable to parse requirement"),
        (core_v1.Pod, {"fieldSelector": "a"}, "invalid selector: .a."),
        (core_v1.Pod, {"fieldSelector": "spec.foo=a"}, "field label not supported: spec.foo"),
        (
            core_v1.ConfigMap,
            {"fieldSelector": "data=a"},
            '"data" is not a known field selector: only "metadata.name", "metadata.namespace"',
        ),
    ],
)
async def test_what_cannot_be_selected_is_refused(
    resource: Any, query: dict[str, str], message: str
) -> None:
    with pytest.raises(StatusError, match=message) as refused:
        await names(resource, call("a", **query))
    assert refused.value.reason == "BadRequest"


async def test_a_watch_of_one_object_may_not_select_another() -> None:
    with pytest.raises(StatusError, match="doesn't match requested name"):
        await names(core_v1.Pod, call("a", "x", fieldSelector="metadata.name=y"))


async def test_events_are_selected_by_the_names_of_either_version() -> None:
    async with registry() as objects:
        view = view_of(call(fieldSelector="regarding.name=p"), EVENTS, objects)
        assert [r.key for r in view.fields.requirements] == ["involvedObject.name"]
