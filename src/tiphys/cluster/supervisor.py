"""The supervisor: starts a cluster's components, starts again what dies, tells in a file how they are.

It imports little on purpose: it lives as long as the cluster does.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

FIRST = 0.2  # seconds between a death and the next start
LIMIT = 30.0  # seconds of the longest such pause
CALM = 60.0  # seconds of life that clear the record


@dataclass
class Component:
    """A process to keep alive. `env` is added to ours."""

    name: str
    command: list[str]
    address: str = ""
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    failures: int = 0  # deaths in a row, each before it had lived for CALM seconds
    started: float = 0.0
    due: float = 0.0
    pause: float = 0.0
    last_exit: int | None = None


class Supervisor:
    def __init__(self, root: Path, components: list[Component]) -> None:
        self._root = root
        self._components = components
        self._stopping = False
        self._reloading = False

    def run(self) -> None:
        """Until SIGTERM or SIGINT; then ends the components, the last started first."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._ask_to_reload)
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        import select

        while not self._stopping:
            changed = self._look()
            if changed:
                self._write()
            due = [c.due - time.monotonic() for c in self._components if c.process is None]
            ready, _, _ = select.select([reader], [], [], max(0.01, min([*due, 5.0])))
            if ready:
                os.read(reader, 4096)
            if self._reloading:
                self._reloading = False
                self._reload()
        self._end()

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _ask_to_reload(self, *_: object) -> None:
        self._reloading = True

    def _reload(self) -> None:
        """Reads the plan again: ends what is in it no more, and starts what is new. What stays is not touched."""
        try:
            wanted = read_plan(self._root / "components.json")
        except (OSError, ValueError, TypeError, KeyError) as error:
            print(f"the plan cannot be read and stays as it was: {error}", file=sys.stderr)
            return
        names = {component.name for component in wanted}
        known = {component.name for component in self._components}
        for component in self._components:
            if component.name not in names:
                _end(component)
        kept = [component for component in self._components if component.name in names]
        self._components = kept + [c for c in wanted if c.name not in known]
        self._write()

    def _look(self) -> bool:
        """Starts what is due, notes what died. True when something changed."""
        changed, now = False, time.monotonic()
        for component in self._components:
            if component.process is not None and component.process.poll() is not None:
                component.last_exit = component.process.returncode
                calm = now - component.started > CALM
                component.pause = (
                    FIRST if calm or not component.pause else min(component.pause * 2, LIMIT)
                )
                component.due, component.process = now + component.pause, None
                component.restarts += 1
                component.failures = 1 if calm else component.failures + 1
                changed = True
            if component.process is None and now >= component.due:
                self._start(component)
                changed = True
        return changed

    def _start(self, component: Component) -> None:
        log = self._root / "logs" / f"{component.name}.log"
        with open(log, "ab") as out:
            os.fchmod(out.fileno(), 0o600)
            component.process = subprocess.Popen(
                component.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **component.env},
                start_new_session=True,
            )
        component.started = time.monotonic()

    def _write(self) -> None:
        rows = [
            {
                "name": c.name,
                "pid": c.process.pid if c.process else None,
                "address": c.address,
                "restarts": c.restarts,
                "failures": c.failures,
                "last_exit": c.last_exit,
                "started": time.time() - (time.monotonic() - c.started),
            }
            for c in self._components
        ]
        temporary = self._root / "status.json.new"
        temporary.write_text(json.dumps({"supervisor": os.getpid(), "components": rows}))
        temporary.rename(self._root / "status.json")

    def _end(self) -> None:
        for component in reversed(self._components):
            _end(component)
        (self._root / "status.json").unlink(missing_ok=True)


def _end(component: Component) -> None:
    """SIGTERM, and SIGKILL for what still lives ten seconds later."""
    process = component.process
    if process is None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def read_plan(file: Path) -> list[Component]:
    """The components of a plan. Raises OSError, ValueError, TypeError and KeyError for what is none."""
    return [Component(**row) for row in json.loads(file.read_text())["components"]]


def main() -> None:
    """``python -m tiphys.cluster.supervisor PLAN``: PLAN is a JSON file that `up` wrote."""
    plan = Path(sys.argv[1])
    Supervisor(plan.parent, read_plan(plan)).run()


if __name__ == "__main__":
    main()
