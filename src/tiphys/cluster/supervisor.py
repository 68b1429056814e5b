"""The supervisor: starts a cluster's components, restarts those that exit, and reports them in a
file (`status.json`).

It imports little on purpose: it runs as long as the cluster does, and its memory counts.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tiphys.cluster.planfiles import Component, read_list, read_machines, read_plan

FIRST = 0.2  # seconds between an exit and the restart
LIMIT = 30.0  # seconds of the longest such pause
CALM = 60.0  # seconds after which a component that runs counts as healthy again
LISTENING = "TIPHYS_LISTENING"  # environment: file descriptor of the socket that we hold
# Environment: file descriptor that a process which was started beside the one it follows writes to
# as soon as that may end.
READY = "TIPHYS_READY"
_LEAVES_WITHIN = 90.0  # seconds that a process has which another one follows: its clients' time
_BACKLOG = 1024  # connections that wait
RENEW_AT = "renew-at"  # file: when certificates are due, in seconds since the epoch
_DOOR_TIME = 180.0  # seconds that a process has for what was asked at the plan's socket
_MOST_VISITORS = 4  # of these processes at a time: others wait
_RENEWAL_AGAIN = 600.0  # seconds until a renewal that failed is tried again


class Supervisor:
    """Runs components in the order of the plan. SIGHUP has it read the plan again."""

    def __init__(self, root: Path, components: list[Component]) -> None:
        self._root = root
        self._components = components
        self._stopping = False
        self._reloading = False
        self._sockets: dict[str, socket.socket] = {}  # by address
        self._leaving: list[tuple[subprocess.Popen[bytes], float]] = []  # and until when
        self._door: socket.socket | None = None  # where machines are asked for
        self._visitors: list[subprocess.Popen[bytes]] = []  # of `_leaving`
        self._renewal: subprocess.Popen[bytes] | None = None
        self._renewal_from = 0.0  # on the monotonic clock: no renewal starts earlier

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

        self._door = _door(read_machines(self._root / "components.json"))
        while not self._stopping:
            if self._restart_exited():
                self._report()
            self._renew()
            self._see_off()
            due = [c.due - time.monotonic() for c in self._components if c.process is None]
            followed = {c.ready: c for c in self._components if c.successor is not None}
            waits = max(0.01, min([*due, 0.5 if self._leaving else 5.0]))
            doors = {self._door.fileno()} if self._door and self._may_enter() else set()
            ready, _, _ = select.select([reader, *followed, *doors], [], [], waits)
            if reader in ready:
                os.read(reader, 4096)
            for descriptor in followed.keys() & set(ready):
                self._follow(followed[descriptor])
            if self._door and doors & set(ready):
                self._let_in(self._door)
            if self._reloading:
                self._reloading = False
                self._reload()
        self._end()

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _ask_to_reload(self, *_: object) -> None:
        self._reloading = True

    def _reload(self) -> None:
        """Reads the plan again: ends what is no longer in it, and adds what is new. The rest is
        not touched."""
        try:
            file = self._root / "components.json"
            wanted = read_plan(file)
            closed = read_list(file, "closes")
            replaced = set(read_list(file, "replaces")) & {component.name for component in wanted}
        except (OSError, ValueError, TypeError, KeyError) as error:
            print(f"The plan cannot be read, nothing is changed: {error}", file=sys.stderr)
            return
        names = {component.name for component in wanted}
        known = {component.name for component in self._components}
        for component in self._components:
            if component.name not in names:
                _end(component, signal.SIGINT)  # the machine stays on: a node leaves its pods
        for address in closed:
            self._close_socket(address)
        of_plan = {component.name: component for component in wanted}
        for component in self._components:
            if component.name in replaced and component.process and not component.successor:
                component.command = of_plan[component.name].command
                component.env = of_plan[component.name].env
                self._start_beside(component)
        kept = [component for component in self._components if component.name in names]
        self._components = kept + [c for c in wanted if c.name not in known]
        self._report()

    def _renew(self) -> None:
        """Has certificates renewed that are due, by a process of its own: what it needs would stay
        in this one's memory. By the wall clock, which may jump."""
        if self._renewal is not None:
            if self._renewal.poll() is None:
                return
            self._renewal = None
        now = time.monotonic()
        if now < self._renewal_from or time.time() < _number_in(self._root / RENEW_AT):
            return
        self._renewal_from = now + _RENEWAL_AGAIN
        command = [sys.executable, "-m", "tiphys.cluster.renewal", str(self._root)]
        self._renewal = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def _restart_exited(self) -> bool:
        """Notes which components have exited, and starts those that are due. Whether anything
        changed."""
        changed = False
        now = time.monotonic()
        for component in self._components:
            if component.process is not None and component.process.poll() is not None:
                _note_exit(component, component.process.returncode, now)
                changed = True
            if component.process is None and now >= component.due:
                self._start(component)
                changed = True
        return changed

    def _socket(self, address: str) -> socket.socket | None:
        """The socket that listens at an address; None when it cannot be had: the component itself
        tries then, and says what is wrong."""
        listening = self._sockets.get(address)
        if listening is not None:
            return listening
        host, _, port = address.rpartition(":")
        is_v6 = host.startswith("[")
        listening = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            if is_v6:  # whatever the machine's default: clients of IPv4 are to be served there, too
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listening.bind((host.strip("[]"), int(port)))
            listening.listen(_BACKLOG)
        except OSError:
            listening.close()
            return None
        self._sockets[address] = listening
        return listening

    def _close_socket(self, address: str) -> None:
        """Notifies the component, too, that no replacement follows it."""
        listening = self._sockets.pop(address, None)
        if listening is not None:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            listening.close()

    def _start(self, component: Component) -> None:
        component.process = self._launch(component)
        component.started = time.monotonic()

    def _launch(self, component: Component, ready: int | None = None) -> subprocess.Popen[bytes]:
        """A process of a component. `ready` is the descriptor for one that follows another."""
        held = self._socket(component.listen) if component.listen else None
        environment = {**os.environ, **component.env}
        passed = []
        if held is not None:
            environment[LISTENING] = str(held.fileno())
            passed.append(held.fileno())
        if ready is not None:
            environment[READY] = str(ready)
            passed.append(ready)
        log = self._root / "logs" / f"{component.name}.log"
        with open(log, "ab") as out:
            os.fchmod(out.fileno(), 0o600)
            return subprocess.Popen(
                component.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=environment,
                pass_fds=passed,
                start_new_session=True,
            )

    # --- who asks for machines ---

    def _may_enter(self) -> bool:
        self._visitors = [visitor for visitor in self._visitors if visitor.poll() is None]
        return len(self._visitors) < _MOST_VISITORS

    def _let_in(self, door: socket.socket) -> None:
        """A process of its own does what is asked, for what it needs would stay in our memory."""
        with contextlib.suppress(OSError):
            connection, _ = door.accept()
            with connection:
                command = [sys.executable, "-m", "tiphys.cluster.machines", str(self._root)]
                ends = connection.fileno()
                visitor = subprocess.Popen(command, stdin=ends, stdout=ends, start_new_session=True)
            self._visitors.append(visitor)
            self._leaving.append((visitor, time.monotonic() + _DOOR_TIME))

    # --- one process after another ---

    def _start_beside(self, component: Component) -> None:
        """Starts the process that is to follow a component's: until it is ready, that one works."""
        component.ready, theirs = os.pipe()
        component.successor = self._launch(component, theirs)
        os.close(theirs)

    def _follow(self, component: Component) -> None:
        """Ends a component's process for its successor, or forgets one that ended itself."""
        is_ready = bool(os.read(component.ready, 1))
        os.close(component.ready)
        successor = component.successor
        component.successor = None
        assert successor is not None
        now = time.monotonic()
        if is_ready:
            if component.process is not None:
                component.process.terminate()
                self._leaving.append((component.process, now + _LEAVES_WITHIN))
            component.process = successor
            component.started = now
        else:
            component.refused += 1
            self._leaving.append((successor, now))
        self._report()

    def _see_off(self) -> None:
        """Waits for those who leave, in passing."""
        for process, until in list(self._leaving):
            if process.poll() is None:
                if time.monotonic() > until:
                    process.kill()
                continue
            self._leaving.remove((process, until))

    def _report(self) -> None:
        rows = [
            {
                "name": c.name,
                "pid": c.process.pid if c.process else None,
                "address": c.address,
                "restarts": c.restarts,
                "failures": c.failures,
                "last_exit": c.last_exit,
                "refused": c.refused,
                "started": time.time() - (time.monotonic() - c.started),
            }
            for c in self._components
        ]
        temporary = self._root / "status.json.new"
        temporary.write_text(json.dumps({"supervisor": os.getpid(), "components": rows}))
        temporary.rename(self._root / "status.json")

    def _end(self) -> None:
        if self._door is not None:
            self._door.close()
        for visitor in self._visitors:
            visitor.kill()
            visitor.wait()
        for component in reversed(self._components):
            if component.listen:
                self._close_socket(component.listen)
            if component.successor is not None:
                component.successor.kill()
                component.successor.wait()
            _end(component)
        for process, _ in self._leaving:
            process.kill()
            process.wait()
        (self._root / "status.json").unlink(missing_ok=True)


def _door(path: str) -> socket.socket | None:
    """A socket for this user alone; None without a path."""
    if not path:
        return None
    Path(path).unlink(missing_ok=True)
    door = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        door.bind(path)
        door.listen()
    except OSError as error:
        print(f"Nobody can ask for machines: {path}: {error}", file=sys.stderr)
        door.close()
        return None
    finally:
        os.umask(before)
    return door


def _number_in(file: Path) -> float:
    """What a file says; infinite when it says nothing."""
    try:
        return float(file.read_text())
    except (OSError, ValueError):
        return float("inf")


def _note_exit(component: Component, code: int, now: float) -> None:
    """Sets when the component is restarted: after a pause that doubles while it keeps exiting."""
    was_healthy = now - component.started > CALM
    if was_healthy or not component.pause:
        component.pause = FIRST
    else:
        component.pause = min(component.pause * 2, LIMIT)
    component.due = now + component.pause
    component.process = None
    component.last_exit = code
    component.restarts += 1
    component.failures = 1 if was_healthy else component.failures + 1


def _end(component: Component, number: int = signal.SIGTERM) -> None:
    """Sends a signal, and SIGKILL to what still runs when the component's time is over."""
    process = component.process
    if process is None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
    try:
        process.wait(component.patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def main() -> None:
    """``python -m tiphys.cluster.supervisor PLAN``: PLAN is a JSON file that `up` wrote."""
    plan = Path(sys.argv[1])
    Supervisor(plan.parent, read_plan(plan)).run()


if __name__ == "__main__":
    main()
