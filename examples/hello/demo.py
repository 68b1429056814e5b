"""`make demo`: a cluster from nothing, an application on it, its page from every replica."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
TIPHYS = [sys.executable, "-m", "tiphys.cli.main"]

from image import build  # noqa: E402

from tiphys.cli.progress import Steps  # noqa: E402


def run(*command: str) -> str:
    """Output of a command; ends the demo with its words when it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def fetch_until_all(steps: Steps, what: str, fetch: object, wanted: int = 3) -> None:
    """Fetches the page until every replica has answered once."""
    with steps.step(what):
        seen: set[str] = set()
        deadline = time.monotonic() + 60
        while len(seen) < wanted:
            if time.monotonic() > deadline:
                sys.exit(f"only {sorted(seen)} answered within a minute")
            found = re.search(r"<p>(.+)</p>", fetch())  # type: ignore[operator]
            if found:
                seen.add(found[1])


def over_http(address: str) -> str:
    try:
        with urllib.request.urlopen(f"http://{address}/", timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def main() -> None:
    steps = Steps()
    subprocess.run([*TIPHYS, "up", "--wait"], check=False).returncode == 0 or sys.exit(1)
    status = json.loads(run(*TIPHYS, "status", "-o", "json"))
    hollow = status["runtime"] != "containerd"
    if hollow:
        print(
            "  ! No root or no containerd here: the node is hollow. Pods go through their life, "
            "but nothing runs in them."
        )
    else:
        with steps.step("Image from files"), tempfile.TemporaryDirectory() as folder:
            run(*TIPHYS, "image", "load", str(build(Path(folder) / "hello.tar")))
    with steps.step("kubectl apply -f examples/hello/"):
        run("kubectl", "--context", "tiphys", "apply", "-f", str(HERE))
    with steps.step("Deployment of 3 replicas is ready"):
        run(
            "kubectl",
            "--context",
            "tiphys",
            "rollout",
            "status",
            "deployment/hello",
            "--timeout=120s",
        )
    if not hollow:
        address = run(
            "kubectl",
            "--context",
            "tiphys",
            "get",
            "service",
            "hello",
            "-o",
            "jsonpath={.spec.clusterIP}",
        )
        fetch_until_all(
            steps,
            f"Page from all replicas through the cluster IP {address}",
            lambda: over_http(address),
        )
        inside = [
            "kubectl",
            "--context",
            "tiphys",
            "exec",
            "deploy/hello",
            "--",
            "wget",
            "-qO-",
            "http://hello.default.svc.cluster.local/",
        ]
        fetch_until_all(
            steps,
            "Page from all replicas by DNS name, from inside a pod",
            lambda: subprocess.run(inside, capture_output=True, text=True).stdout,
        )
    print(
        run(
            "kubectl", "--context", "tiphys", "get", "nodes,deployments,pods,services", "-o", "wide"
        )
    )
    print(
        f"From nothing to here took {steps.elapsed():.1f} s. The cluster goes on running. Go on "
        f"with:"
    )
    print(
        "  kubectl get pods -o wide          kubectl logs -f deploy/hello        kubectl scale "
        "deploy/hello --replicas=5"
    )
    print(
        "  kubectl exec -it deploy/hello -- sh   kubectl port-forward svc/hello 8080:80   "
        ".venv/bin/tiphys status"
    )
    print("and remove everything with: make down")


if __name__ == "__main__":
    main()
