"""Where events go: files that are rotated, and other servers, which may be away."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from tests.apiserver.audit.builders import CONFIG_MAPS, EVERYTHING, audited, policy_file
from tests.servers import Behind, kubeconfig, served
from tiphys.apiserver.audit.auditor import AuditMetrics
from tiphys.apiserver.audit.backends import Batches, Truncation, Webhook
from tiphys.apiserver.audit.events import Event, UserInfo, written
from tiphys.apiserver.audit.logfile import LogFile
from tiphys.apiserver.audit.options import AuditOptions, LogOptions, WebhookOptions, auditor_of
from tiphys.apiserver.audit.records import Line
from tiphys.client.config import load
from tiphys.client.posting import Poster

METADATA = {"level": "Metadata"}
NOW = Batches(wait=0.01)


def line(uri: str = "/") -> Line:
    event = Event("Metadata", "id", "Panic", uri, "get", UserInfo())
    return Line(event, written(event))


# --- the log ---


def test_a_log_is_its_owners_alone_and_is_rotated(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "audit.log"
    log = LogFile(str(path), most_megabytes=1, most_backups=2, compress=True)
    for number in range(5):
        log.write(b"%d" % number + b"x" * 700_000 + b"\n")
    log.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes()[:1] == b"4"
    for backup in log.backups():
        assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    packed = [file for file in log.backups() if file.suffix == ".gz"]
    assert gzip.decompress(packed[-1].read_bytes())[1:2] == b"x"


def test_old_logs_go(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    old = tmp_path / "audit-2020-01-01T00-00-00.000.log"
    old.write_text("")
    os.utime(old, (0, 0))
    log = LogFile(str(path), most_megabytes=1, most_days=1)
    log.write(b"x" * 900_000)
    log.write(b"x" * 900_000)
    log.close()
    assert not old.exists() and len(log.backups()) == 1


async def test_who_is_answered_has_been_told_of(tmp_path: Path) -> None:
    async with audited(tmp_path, METADATA) as server:
        await server.ask("GET", CONFIG_MAPS)
        assert server.last(CONFIG_MAPS)


async def test_a_batch_of_events_is_written_at_the_end(tmp_path: Path) -> None:
    batches = Batches(most=1000, wait=600)
    async with audited(tmp_path, METADATA, log={"mode": "batch", "batches": batches}) as server:
        await server.ask("GET", CONFIG_MAPS)
        assert not server.events(CONFIG_MAPS)
    assert server.last(CONFIG_MAPS)


async def test_a_strict_log_that_cannot_be_written_stops_requests(tmp_path: Path) -> None:
    log = {"mode": "blocking-strict", "path": "/dev/full"}
    options = AuditOptions(policy_file(tmp_path, METADATA), LogOptions(**log))
    auditor = auditor_of(options, CollectorRegistry())
    assert auditor is not None
    [backend] = auditor._backends
    assert not await backend.take(line())


async def test_large_events_lose_their_objects(tmp_path: Path) -> None:
    log = {"truncation": Truncation(most=2000)}
    body = {"metadata": {"name": "c"}, "data": {"a": "x" * 3000}}
    async with audited(tmp_path, EVERYTHING, log=log) as server:
        await server.ask("POST", CONFIG_MAPS, body)
        event = server.last(CONFIG_MAPS)
    assert event["annotations"]["audit.k8s.io/truncated"] == "true"
    assert "requestObject" not in event and event["objectRef"]["name"] == "c"


async def test_large_objects_are_told_whole(tmp_path: Path) -> None:
    body = {"metadata": {"name": "c"}, "data": {"a": "x" * 900_000}}
    async with audited(tmp_path, EVERYTHING, omitManagedFields=True) as server:
        await server.ask("POST", CONFIG_MAPS, body)
        event = server.last(CONFIG_MAPS)
    assert event["requestObject"] == body
    assert len(event["responseObject"]["data"]["a"]) == 900_000


# --- the webhook ---


async def test_a_webhook_gets_lists_of_events(tmp_path: Path) -> None:
    async with served() as behind:
        webhook = WebhookOptions(kubeconfig(tmp_path, behind), batches=NOW)
        async with audited(tmp_path, METADATA, webhook=webhook) as server:
            await server.ask("GET", CONFIG_MAPS)
            await server.cluster.eventually(lambda: _about(behind, CONFIG_MAPS))
    body = behind.bodies[0]
    assert (body["kind"], body["apiVersion"]) == ("EventList", "audit.k8s.io/v1")
    assert {event["stage"] for event in _about(behind, CONFIG_MAPS)} <= {
        "RequestReceived",
        "ResponseComplete",
    }


def _about(behind: Behind, path: str) -> list[dict[str, Any]]:
    events = [event for body in behind.bodies for event in body["items"]]
    return [event for event in events if event["requestURI"] == path]


def webhook_to(behind: Behind, folder: Path, batches: Batches) -> tuple[Webhook, AuditMetrics]:
    metrics = AuditMetrics(CollectorRegistry())
    poster = Poster(load(kubeconfig(folder, behind)))
    return Webhook(poster, "batch", None, batches, metrics, backoff=0.01), metrics


async def test_what_fails_is_sent_again(tmp_path: Path) -> None:
    async with served(lambda request: web.Response(status=503)) as behind:
        webhook, metrics = webhook_to(behind, tmp_path, NOW)
        webhook.start()
        await webhook.take(line())
        await behind.asked(2)
        behind.answer = lambda request: web.json_response({})
        await behind.asked(3)
        await webhook.stop()
    assert metrics.errors.labels("webhook")._value.get() == 0


async def test_a_webhook_that_is_away_costs_no_more_than_the_buffer(tmp_path: Path) -> None:
    async with served() as behind:
        webhook, metrics = webhook_to(behind, tmp_path, Batches(buffer=10, most=400, wait=600))
        webhook.start()
        for _ in range(25):
            assert await webhook.take(line())
        await webhook.stop()
        assert len(_about(behind, "/")) == 10
    assert metrics.errors.labels("webhook")._value.get() == 15


async def test_batches_are_as_small_as_they_have_to_be(tmp_path: Path) -> None:
    async with served() as behind:
        metrics = AuditMetrics(CollectorRegistry())
        poster = Poster(load(kubeconfig(tmp_path, behind)))
        bounds = Truncation(most=1000, most_batch=1000)
        webhook = Webhook(poster, "batch", bounds, Batches(most=10, wait=600), metrics)
        webhook.start()
        for number in range(10):
            await webhook.take(line(f"/{number}"))
        await behind.asked(2)
        await webhook.stop()
    assert all(len(json.dumps(body)) < 1400 for body in behind.bodies)
    assert [event["requestURI"] for body in behind.bodies for event in body["items"]] == [
        f"/{number}" for number in range(10)
    ]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"mode": "later"}, "invalid audit log mode later, allowed modes are"),
        ({"maxage": -1}, "--audit-log-maxage -1 can't be a negative number"),
        ({"truncation": Truncation(0)}, "invalid audit truncate log max event size 0, must be"),
        (
            {"mode": "batch", "batches": Batches(buffer=0)},
            "invalid audit batch log buffer size 0, must be a positive number",
        ),
    ],
)
def test_options_that_make_no_sense_are_told(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        auditor_of(AuditOptions(log=LogOptions("-", **options)), CollectorRegistry())


async def test_a_thousand_events_do_not_hold_the_loop(tmp_path: Path) -> None:
    async with audited(tmp_path, METADATA) as server:
        await asyncio.gather(*(server.ask("GET", CONFIG_MAPS) for _ in range(50)))
        assert len(server.events(CONFIG_MAPS, "ResponseComplete")) == 50
