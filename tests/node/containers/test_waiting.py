"""Why containers wait, as their status shows it."""

from __future__ import annotations

import pytest

from tests.builders import pod
from tests.node.builders import Events
from tiphys.node.containers.records import ContainerRecords, WaitingReason
from tiphys.node.containers.waiting import WaitingReasons
from tiphys.node.runtime import RuntimeFault

CRASH = WaitingReason("CrashLoopBackOff", "later")
PULL_BACKOFF = 'Back-off pulling image "img"'


class Waiters:
    """The reasons of one pod, at second 100."""

    def __init__(self) -> None:
        self.records = ContainerRecords()
        self.events = Events()
        self.reasons = WaitingReasons(self.records, lambda: 100.0, self._event, lambda: None)
        self.pod = pod()
        self.pod.metadata.uid = "u"

    def _event(self, kind: str, reason: str, message: str, container: str = "") -> None:
        self.events.record(None, kind, reason, message, container)

    def fail(self, reason: str, message: str = "m") -> None:
        [container] = self.pod.spec.containers
        self.reasons.start_failed(container, RuntimeFault(reason, message))

    def shown(self) -> str:
        waiting = self.records["c"].waiting
        return waiting.reason if waiting is not None else ""


async def test_a_back_off_is_an_event_once() -> None:
    waiters = Waiters()
    for _ in range(2):
        waiters.reasons.update({"c": CRASH}, waiters.pod)
    text = "Back-off restarting failed container c in pod p_default(u)"
    assert waiters.events.recorded == [("Warning", "BackOff", text, "c")]
    assert waiters.records["c"].waiting == CRASH


@pytest.mark.parametrize(
    ("reason", "stays"),
    [
        ("CrashLoopBackOff", False),
        ("RunContainerError", False),
        ("CreateContainerConfigError", True),
        ("CreateContainerError", True),
        ("ErrImagePull", True),
        ("ImagePullBackOff", True),
        ("ErrImageNeverPull", True),
        ("InvalidImageName", True),
    ],
)
async def test_what_could_not_be_started_shows_why_until_the_next_attempt(
    reason: str, stays: bool
) -> None:
    waiters = Waiters()
    waiters.records["c"].waiting = WaitingReason(reason, "m")
    waiters.reasons.update({}, waiters.pod)
    assert waiters.shown() == (reason if stays else "")


async def test_every_reason_stays_while_the_container_is_being_started() -> None:
    waiters = Waiters()
    waiters.records["c"].waiting = CRASH
    waiters.records["c"].starting = object()  # type: ignore[assignment]
    waiters.reasons.update({}, waiters.pod)
    assert waiters.shown() == "CrashLoopBackOff"


@pytest.mark.parametrize(
    ("reason", "text", "delay"),
    [
        ("CreateContainerError", "Error: m", 2.0),
        ("CreateContainerConfigError", "Error: m", 2.0),
        ("ErrImageNeverPull", "Error: ErrImageNeverPull", 10.0),
        ("InvalidImageName", "Error: InvalidImageName", 10.0),
        ("ErrImagePull", "Error: ErrImagePull", 10.0),
    ],
)
async def test_a_failure_is_an_event_and_a_pause(reason: str, text: str, delay: float) -> None:
    waiters = Waiters()
    waiters.fail(reason)
    assert waiters.events.recorded == [("Warning", "Failed", text, "c")]
    assert waiters.shown() == reason
    assert waiters.records["c"].start_failures.remaining(100.0) == delay


async def test_a_pull_that_fails_again_shows_its_back_off() -> None:
    waiters = Waiters()
    waiters.fail("ErrImagePull")
    assert waiters.shown() == "ErrImagePull"
    waiters.fail("ErrImagePull", "no such image")
    message = f"{PULL_BACKOFF}: ErrImagePull: no such image"
    assert waiters.records["c"].waiting == ("ImagePullBackOff", message)
    assert [text for _, _, text, _ in waiters.events.recorded[2:]] == [
        PULL_BACKOFF,
        "Error: ImagePullBackOff",
    ]


async def test_the_first_failed_pull_shows_its_back_off_a_moment_later() -> None:
    waiters = Waiters()
    waiters.fail("ErrImagePull")
    [container] = waiters.pod.spec.containers
    waiters.reasons._show_first_pull_backoff(container, RuntimeFault("ErrImagePull", "m"))
    assert waiters.shown() == "ImagePullBackOff"


async def test_a_pull_that_succeeded_meanwhile_shows_none() -> None:
    waiters = Waiters()
    waiters.fail("ErrImagePull")
    waiters.records["c"].waiting = None
    [container] = waiters.pod.spec.containers
    waiters.reasons._show_first_pull_backoff(container, RuntimeFault("ErrImagePull", "m"))
    assert waiters.shown() == ""


async def test_the_image_of_a_volume_is_named() -> None:
    waiters = Waiters()
    [container] = waiters.pod.spec.containers
    for _ in range(2):
        waiters.reasons.start_failed(container, RuntimeFault("ErrImagePull", "m", "data:1"))
    assert waiters.records["c"].waiting is not None
    assert waiters.records["c"].waiting.message.startswith('Back-off pulling image "data:1"')
