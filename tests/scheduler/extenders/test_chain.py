"""Extenders of a profile, asked one after the other over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from tests.builders import node, pod
from tests.scheduler.builders import info
from tiphys.scheduler.extenders.chain import ExtenderChain
from tiphys.scheduler.extenders.extender import Extender
from tiphys.scheduler.preemption import Candidate, PreemptionResult
from tiphys.testing.cluster import free_port

Serve = Callable[..., Awaitable[Extender]]
NODES = [node("a"), node("b"), node("c")]


class Asked(list[Any]):
    """The node names that an extender was asked about, request by request."""


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts an extender that gives fixed answers by verb; a status instead of an answer is one."""
    runners = []

    async def start(asked: Asked | None = None, **answers: Any) -> Extender:
        async def answer(request: web.Request) -> web.Response:
            body = await request.json()
            if asked is not None:
                asked.append(body.get("NodeNames"))
            fixed = answers[request.match_info["verb"]]
            return web.Response(status=fixed) if fixed == 500 else web.json_response(fixed)

        app = web.Application()
        app.router.add_post("/{verb}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        runners.append(runner)
        return Extender(
            f"http://127.0.0.1:{port}",
            **{f"{verb}_verb": verb for verb in answers},
            node_cache_capable=True,
        )

    yield start
    for runner in runners:
        await runner.cleanup()


def failing(**reasons: str) -> dict[str, Any]:
    return {"NodeNames": [n for n in "abc" if n not in reasons], "FailedNodes": reasons}


async def test_each_looks_at_what_those_before_it_passed(serve: Serve) -> None:
    asked = Asked()
    first = await serve(filter=failing(a="full"), prioritize=[{"Host": "b", "Score": 3}])
    second = await serve(
        asked, filter={"NodeNames": ["a", "b"]}, prioritize=[{"Host": "b", "Score": 1}]
    )
    verdict = await ExtenderChain([first, second]).filter_and_score(pod(), NODES)
    assert asked == [["b", "c"], ["b"]]
    assert verdict.passed == {"b"}
    assert verdict.scores == {"b": 40.0}, "scores of up to 10 count as those of plugins do"
    assert verdict.reasons == {"full": 1}
    assert verdict.unresolvable == {"c"}, "of which nothing was said"


async def test_when_no_node_is_left_nobody_else_is_asked(serve: Serve) -> None:
    asked = Asked()
    first = await serve(filter=failing(a="full", b="full", c="broken"))
    second = await serve(asked, filter={"NodeNames": ["a"]})
    verdict = await ExtenderChain([first, second]).filter_and_score(pod(), NODES)
    assert (verdict.passed, verdict.reasons, asked) == (set(), {"full": 2, "broken": 1}, [])


@pytest.mark.parametrize("answer", [500, {"Error": "no idea"}])
async def test_an_error_ends_the_attempt(serve: Serve, answer: Any) -> None:
    broken = await serve(filter=answer)
    verdict = await ExtenderChain([broken]).filter_and_score(pod(), NODES)
    assert verdict.error


async def test_scores_that_fail_do_not_count(serve: Serve) -> None:
    broken = await serve(filter=failing(), prioritize=500)
    verdict = await ExtenderChain([broken]).filter_and_score(pod(), NODES)
    assert (verdict.passed, verdict.scores, verdict.error) == ({"a", "b", "c"}, {}, "")


async def test_candidates_that_all_agree_with_remain(serve: Serve) -> None:
    """With the victims that they name; one that names others is not followed."""
    keeps_one = {"Pods": [{"UID": "x"}], "NumPDBViolations": 1}
    names_others = {"Pods": [{"UID": "somebody"}]}
    agreed = {"a": keeps_one, "b": names_others, "c": {"Pods": []}}
    extender = await serve(preempt={"NodeNameToMetaVictims": agreed})
    victims = [info("x"), info("y")]
    result = PreemptionResult(candidates=[Candidate(name, victims, 0) for name in "abcd"])
    await ExtenderChain([extender]).filter_candidates(pod(), result)
    [left] = result.candidates
    assert (left.node_name, [v.uid for v in left.victims], left.pdb_violations) == ("a", ["x"], 1)


async def test_candidates_that_cannot_be_asked_about_are_none(serve: Serve) -> None:
    extender = await serve(preempt=500)
    result = PreemptionResult(candidates=[Candidate("a", [info("x")], 0)])
    await ExtenderChain([extender]).filter_candidates(pod(), result)
    assert not result.candidates and "500" in result.error


def test_only_the_extender_that_binds_binds() -> None:
    gpu = frozenset(("example.com/gpu",))
    filters, binds = Extender("http://x", "filter"), Extender("http://y", bind_verb="bind")
    picky = Extender("http://z", bind_verb="bind", managed_resources=gpu)
    assert ExtenderChain([filters, binds]).binder_for(pod()) is binds
    assert ExtenderChain([filters]).binder_for(pod()) is None
    assert ExtenderChain([picky]).binder_for(pod()) is None
    assert not ExtenderChain([picky]).is_interested(pod())
