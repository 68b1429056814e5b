"""The process in which enabled add-ons run, each with its own account, none able to take the others
down.

It follows the objects of kind Addon: what is enabled is started, what fails is started again after
a growing pause, what is disabled is cancelled. How each one is stands in its object's condition
Ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tiphys.addons import types
from tiphys.addons.installing import AddonError, check_dependencies, settings_of
from tiphys.addons.machines import Machines
from tiphys.addons.optional import NAMESPACE, Context, OptionalAddon
from tiphys.api import authentication_v1, core_v1
from tiphys.api.base import decode, to_builtins
from tiphys.api.catalog import resource_of
from tiphys.api.meta_v1 import Condition
from tiphys.client.client import MERGE, Client, Unreachable
from tiphys.client.config import Config
from tiphys.client.events import EventRecorder
from tiphys.client.informer import Informers
from tiphys.client.metrics import ComponentMetrics
from tiphys.client.tasks import TaskGroup
from tiphys.machinery import conditions
from tiphys.machinery.errors import StatusError, is_not_found

log = logging.getLogger(__name__)

_FIRST_PAUSE = 1.0  # seconds between a failure and the next start; doubled each time
_LONGEST_PAUSE = 60.0
_STEADY = 60.0  # seconds of life after which a failure counts as the first again
_LIFETIME = 3600  # seconds that a token is valid
_RENEWED = 0.8  # of its lifetime, after which a token is renewed
_ACCOUNTS = resource_of(core_v1.ServiceAccount)


@dataclass
class _Running:
    """An enabled add-on. `generation` is that of the settings it runs with."""

    addon: OptionalAddon
    generation: int
    task: asyncio.Task[None]
    restarts: int = 0


def pause_after(failures: int) -> float:
    """Seconds until an add-on is started again that has failed so often in a row."""
    doublings = min(failures - 1, 10)  # beyond any pause, and no number too large for a float
    return min(_FIRST_PAUSE * 2.0**doublings, _LONGEST_PAUSE)


class Host:
    """`client` is the host's own identity; `data_dir` has a folder for each add-on, `machines` is
    the socket where nodes are requested."""

    def __init__(
        self,
        client: Client,
        offered: Mapping[str, OptionalAddon],
        data_dir: Path,
        tasks: TaskGroup,
        now: Callable[[], float] = time.time,
        machines: Path | None = None,
    ) -> None:
        self._machines = Machines(machines) if machines is not None else None
        self._client = client
        self._offered = offered
        self._data_dir = data_dir
        self._tasks = tasks
        self._now = now
        self._running: dict[str, _Running] = {}

    def start(self) -> Informers:
        """Follows the enabled add-ons until its tasks end."""
        informers = Informers(self._client, self._tasks)
        informers.of(types.Addon).on_change(self._changed)
        return informers

    def _changed(self, old: types.Addon | None, new: types.Addon | None) -> None:
        enabled = new if new is not None and not new.metadata.deletion_timestamp else None
        if enabled is None or enabled.spec.paused:
            gone = new or old
            assert gone is not None
            self._stop(gone.metadata.name)
            return
        running = self._running.get(enabled.metadata.name)
        if running is not None and running.generation == enabled.metadata.generation:
            return
        self._stop(enabled.metadata.name)
        addon = self._offered.get(enabled.metadata.name)
        if addon is None:
            self._tasks.start(self._unknown(enabled), "unknown-addon")
            return
        task = self._tasks.start(self._keep(addon, enabled), f"addon-{addon.name}")
        self._running[addon.name] = _Running(addon, enabled.metadata.generation, task)

    def _stop(self, name: str) -> None:
        running = self._running.pop(name, None)
        if running is not None:
            log.info("add-on %s is stopped", name)
            running.task.cancel()

    async def _unknown(self, enabled: types.Addon) -> None:
        await self._report(enabled, False, "Unknown", "this release has no add-on of that name")

    # --- one add-on ---

    async def _keep(self, addon: OptionalAddon, enabled: types.Addon) -> None:
        """Runs the add-on, again and again if need be, until it is cancelled."""
        failures = 0
        restarts = enabled.status.restarts
        while True:
            started = time.monotonic()
            try:
                await self._run_once(addon, enabled, restarts)
                reason = "Ended"
                message = "it ended by itself"
            except AddonError as error:
                reason = "Misconfigured"
                message = str(error)
            except (StatusError, Unreachable) as error:
                reason = "Refused"
                message = str(error)
                log.warning("add-on %s: %s", addon.name, error)
            except Exception as error:
                reason = "Crashed"
                message = f"{type(error).__name__}: {error}"
                log.exception("add-on %s crashed", addon.name)
            is_first = time.monotonic() - started > _STEADY
            failures = 1 if is_first else failures + 1
            restarts += 1
            await self._report(enabled, False, reason, message, restarts)
            await asyncio.sleep(pause_after(failures))

    async def _run_once(self, addon: OptionalAddon, enabled: types.Addon, restarts: int) -> None:
        check_dependencies(addon)
        settings = settings_of(addon, (), enabled.spec.settings)
        folder = self._data_dir / addon.name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        token_file = folder / "token"
        await self._renew(addon, token_file)
        tasks = TaskGroup(addon.name)
        config = replace(
            self._client.config, certificate=None, key=None, token="", token_file=token_file
        )

        def ready(message: str) -> None:
            self._tasks.start(
                self._report(enabled, True, "Running", message, restarts), f"ready-{addon.name}"
            )

        async with _own_client(config, addon, self._client.metrics) as client:
            informers = Informers(client, tasks)
            recorder = EventRecorder(client, addon.name)
            context = Context(
                addon.name,
                client,
                informers,
                tasks,
                recorder,
                settings,
                folder,
                self._now,
                ready,
                machines=self._machines,
            )
            tasks.start(recorder.run(), "events")
            tasks.start(self._renewing(addon, token_file), "token", vital=True)
            work = tasks.start(addon.run(context), "work")
            failed = tasks.start(tasks.failed.wait(), "failed")
            try:
                await asyncio.wait((work, failed), return_when=asyncio.FIRST_COMPLETED)
                if work.done():
                    work.result()
                else:
                    raise RuntimeError("a task that it depends on failed; the log says which")
            finally:
                await tasks.stop()

    # --- its identity ---

    async def _renewing(self, addon: OptionalAddon, file: Path) -> None:
        while True:
            await asyncio.sleep(_LIFETIME * _RENEWED)
            with contextlib.suppress(Unreachable):  # the old one lasts for a while
                await self._renew(addon, file)

    async def _renew(self, addon: OptionalAddon, file: Path) -> None:
        spec = authentication_v1.TokenRequestSpec(expiration_seconds=_LIFETIME)
        request = authentication_v1.TokenRequest(spec=spec)
        answer = await self._client.post(_ACCOUNTS, NAMESPACE, addon.name, "token", request)
        token = decode(answer, authentication_v1.TokenRequest).status.token
        temporary = file.with_suffix(".new")
        temporary.touch(mode=0o600)
        temporary.write_text(token)
        temporary.rename(file)

    async def _report(
        self,
        enabled: types.Addon,
        ok: bool,
        reason: str,
        message: str,
        restarts: int = 0,
    ) -> None:
        await report(self._client, enabled.metadata.name, ok, reason, message, restarts)


async def report(
    client: Client, name: str, ok: bool, reason: str, message: str, restarts: int = 0
) -> None:
    """Writes the condition Ready of an add-on. A failure to do so is logged: the add-on runs all
    the same."""
    try:
        current = await client.get(types.Addon, name)
        wanted = Condition(
            type="Ready",
            status=conditions.status_of(ok),
            reason=reason,
            message=message,
            observed_generation=current.metadata.generation,
        )
        status = types.AddonStatus(
            observed_generation=current.metadata.generation,
            restarts=restarts,
            conditions=conditions.updated(current.status.conditions, wanted, time.time()),
        )
        patch = {"status": to_builtins(status)}
        await client.patch(types.Addon, name, patch, "", "status", media=MERGE)
    except (StatusError, Unreachable) as error:
        if not is_not_found(error):  # a pod of `tiphys addon manifest` has none
            log.warning("the status of add-on %s was not written: %s", name, error)


def _own_client(config: Config, addon: OptionalAddon, metrics: ComponentMetrics) -> Client:
    return Client(config, f"tiphys-addon/{addon.name}", metrics)


async def run_alone(
    client: Client,
    addon: OptionalAddon,
    settings: Mapping[str, object],
    data_dir: Path,
    tasks: TaskGroup,
) -> None:
    """Runs one add-on with the identity of `client`: what a pod on any Kubernetes does (`addon
    manifest`)."""
    check_dependencies(addon)
    informers = Informers(client, tasks)
    recorder = EventRecorder(client, addon.name)
    tasks.start(recorder.run(), "events")
    data_dir.mkdir(parents=True, exist_ok=True)

    def ready(message: str) -> None:
        log.info("add-on %s is ready: %s", addon.name, message)
        tasks.start(report(client, addon.name, True, "Running", message), "ready")

    await addon.run(
        Context(
            addon.name,
            client,
            informers,
            tasks,
            recorder,
            settings_of(addon, (), settings),
            data_dir,
            time.time,
            ready,
        )
    )
