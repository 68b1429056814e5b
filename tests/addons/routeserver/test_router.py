"""The small router: what it is asked with, and what it answers before and after its first table."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tiphys.addons.routeserver import Settings
from tiphys.addons.routeserver.compiling.objects import Ingress, Metadata, Problem
from tiphys.addons.routeserver.compiling.options import Options
from tiphys.addons.routeserver.eskip import read_routes
from tiphys.addons.routeserver.router import Router, arguments
from tiphys.addons.routeserver.server import Reporter, options_of
from tiphys.client.tasks import TaskGroup


def test_its_ports_are_skippers() -> None:
    """Skipper listens at 9090 and tells of itself at 9911; its route server at 9990."""
    asked = arguments([])
    assert (asked.port, asked.support) == (9090, 9911)
    assert asked.routes == "http://127.0.0.1:9990/routes"
    assert (asked.mode, asked.zone, asked.kubeconfig) == ("Exec", "", "")
    with pytest.raises(SystemExit):
        arguments(["--mode", "Maybe"])


Ask = tuple[Router, int, int]


@pytest.fixture
async def started() -> AsyncIterator[Ask]:
    """One whose route server is away, with its ports."""
    tasks = TaskGroup("test")
    router = Router("Exec", "http://127.0.0.1:1/routes", None, tasks)
    yield router, *await router.start(Options(), "127.0.0.1", 0, 0)
    await tasks.stop()
    await router.stop()


async def status(port: int, path: str, **parts: Any) -> tuple[int, str]:
    url = f"http://127.0.0.1:{port}{path}"
    async with aiohttp.ClientSession() as session, session.request("GET", url, **parts) as answer:
        return answer.status, await answer.text()


async def test_it_answers_by_the_table_it_was_given(started: Ask) -> None:
    router, port, support = started
    assert await status(port, "/a") == (503, "no routes yet\n")
    assert (await status(support, "/ready"))[0] == 503
    router.use(read_routes('a: Path("/a") -> inlineContent("hi") -> <shunt>'))
    assert await status(port, "/a") == (200, "hi")
    assert (await status(port, "/b"))[0] == 404
    assert (await status(support, "/ready"))[0] == 200
    assert (await status(support, "/other"))[0] == 404


async def test_it_says_how_the_servers_table_differs(started: Ask) -> None:
    router, _, support = started
    assert await status(support, "/diff") == (200, "")
    router.use(read_routes("a: * -> <shunt>"))
    router.served = read_routes("b: * -> <shunt>")
    assert await status(support, "/diff") == (200, "- a: * -> <shunt>\n+ b: * -> <shunt>\n")


@pytest.mark.parametrize(("mode", "is_used"), [("Exec", True), ("Pre", False)])
def test_a_table_of_the_server_is_used_in_mode_exec_alone(mode: str, is_used: bool) -> None:
    router = Router(mode, "", None, TaskGroup("test"))
    router._take_served(read_routes("a: * -> <shunt>"))
    assert (router.ready, len(router.served)) == (is_used, 1)


# --- what owners are told ---


class Recorder:
    """Remembers events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str, str]] = []
        self.recorder = self

    def record(self, obj: Any, kind: str, reason: str, message: str) -> None:
        self.events.append((obj.metadata.name, kind, reason, message))


def problem(name: str, message: str = "wrong") -> Problem:
    return Problem(Ingress(metadata=Metadata(name, "a")), message)


def test_a_problem_is_told_when_it_is_new() -> None:
    recorder: Any = Recorder()
    reporter = Reporter(recorder)
    rows: list[tuple[list[Problem], list[str]]] = [
        ([problem("x")], ["x"]),
        ([problem("x"), problem("y")], ["y"]),
        ([problem("x"), problem("y")], []),
        ([problem("x", "worse")], ["x"]),
        ([], []),
        ([problem("x")], ["x"]),
    ]
    for problems, told in rows:
        recorder.events.clear()
        reporter.report(problems)
        assert [event[0] for event in recorder.events] == told
    assert recorder.events == [("x", "Warning", "NotRouted", "wrong")]


def test_settings_are_options_of_the_same_name() -> None:
    made = options_of(Settings(https_redirect=True, load_balancer="random", external_names=True))
    assert (made.https_redirect, made.load_balancer, made.external_names) == (True, "random", True)
    assert options_of(Settings()) == Options()
