"""What real containers and their node's server let others do."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request

import pytest

from tests.e2e.machine import (
    Machine,
    discard,
    gone,
    phase,
    run_pod,
    running,
)


def test_a_pods_token_is_its_service_account_at_the_apis_own_service(machine: Machine) -> None:
    run_pod(machine, "caller", "exec sleep 3600")
    running(machine, "caller")
    token = machine.kubectl(
        "exec", "caller", "--", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/token"
    )
    address = machine.get("service/kubernetes")["spec"]["clusterIP"]
    asked = urllib.request.Request(
        f"https://{address}/api/v1/pods", headers={"Authorization": f"Bearer {token}"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(asked, timeout=10, context=ssl._create_unverified_context())
    assert (
        refused.value.code == 403
        and b"system:serviceaccount:default:default" in refused.value.read()
    )
    discard(machine, "caller")


def test_a_container_that_must_not_be_root_does_not_start_as_root(machine: Machine) -> None:
    run_pod(
        machine, "nobody", "exec sleep 3600", container={"securityContext": {"runAsNonRoot": True}}
    )

    def waiting() -> dict[str, str]:
        [status] = machine.get("pod/nobody")["status"].get("containerStatuses") or [{"state": {}}]
        return dict(status["state"].get("waiting", {}))

    machine.eventually(lambda: waiting().get("reason") == "CreateContainerConfigError")
    assert waiting()["message"].startswith(
        'container has runAsNonRoot and image will run as root (pod: "nobody_default('
    )
    gone(machine, "nobody")
    run_pod(
        machine,
        "somebody",
        "cat /var/run/secrets/kubernetes.io/serviceaccount/token && exec sleep 3600",
        securityContext={"runAsNonRoot": True, "runAsUser": 1234, "fsGroup": 4321},
    )
    running(machine, "somebody")
    facts = machine.kubectl(
        "exec",
        "somebody",
        "--",
        "stat",
        "-Lc",
        "%a %u %g",
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
    )
    assert facts == "640 1234 4321\n"
    discard(machine, "somebody")


def test_what_the_runtime_cannot_do_is_refused_with_its_reason(machine: Machine) -> None:
    run_pod(machine, "strict", "sleep 9", securityContext={"supplementalGroupsPolicy": "Strict"})
    run_pod(machine, "mapped", "sleep 9", hostUsers=False)
    mount = {"name": "v", "mountPath": "/v", "readOnly": True, "recursiveReadOnly": "Enabled"}
    volumes = [{"name": "v", "emptyDir": {}}]
    run_pod(machine, "deep", "sleep 9", container={"volumeMounts": [mount]}, volumes=volumes)
    machine.eventually(
        lambda: (
            machine.get("pod/strict")["status"].get("reason")
            == "SupplementalGroupsPolicyNotSupported"
        )
    )

    def events(name: str) -> str:
        return machine.kubectl("get", "events", f"--field-selector=involvedObject.name={name}")

    machine.eventually(lambda: "runtime does not support user namespaces" in events("mapped"))
    machine.eventually(lambda: "not supported by the runtime" in events("deep"))
    assert phase(machine, "mapped") == phase(machine, "deep") == "Pending"
    discard(machine, "strict", "mapped", "deep")


def test_a_nodes_own_server_is_asked_with_rights_only(machine: Machine) -> None:
    node = machine.get("nodes")["items"][0]
    port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    base, name = (
        f"https://{node['status']['addresses'][0]['address']}:{port}",
        node["metadata"]["name"],
    )

    def ask(path: str, token: str = "") -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        asked = urllib.request.Request(base + path, headers=headers)
        try:
            with urllib.request.urlopen(
                asked, timeout=10, context=ssl._create_unverified_context()
            ) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    machine.kubectl("create", "serviceaccount", "scraper")
    machine.kubectl("create", "clusterrole", "scraper", "--verb=get", "--resource=nodes/metrics")
    machine.kubectl(
        "create",
        "clusterrolebinding",
        "scraper",
        "--clusterrole=scraper",
        "--serviceaccount=default:scraper",
    )
    token = machine.kubectl("create", "token", "scraper").strip()
    assert (
        ask("/metrics/resource") == ask("/metrics/resource", "nonsense") == (401, "Unauthorized\n")
    )
    status, told = ask("/pods", token)
    assert status == 403 and told == (
        "Forbidden (user=system:serviceaccount:default:scraper, verb=get, resource=nodes, subresource(s)=[pods proxy])\n"
    )
    run_pod(machine, "metered", "exec sleep 3600", nodeName=name)
    running(machine, "metered")
    shown = 'container_memory_working_set_bytes{container="c",namespace="default",pod="metered"}'
    machine.eventually(lambda: shown in ask("/metrics/resource", token)[1])
    counted = ask("/metrics", token)[1]
    assert 'kubelet_runtime_operations_total{operation_type="start_container"}' in counted
    assert 'kubelet_running_containers{container_state="running"}' in counted
    assert "kubelet_pod_start_sli_duration_seconds_count 0.0" not in counted

    def raw(path: str) -> str:
        return machine.kubectl("get", "--raw", f"/api/v1/nodes/{name}/proxy/{path}")

    assert any(
        pod["metadata"]["name"] == "metered" for pod in json.loads(raw("runningpods/"))["items"]
    )
    assert json.loads(raw("configz"))["kubeletconfig"]["containerLogMaxSize"] == "10Mi"
    assert raw("healthz") == "ok" and "<pre>" in raw("logs/")
    machine.kubectl("delete", "clusterrolebinding,clusterrole,serviceaccount", "scraper")
    discard(machine, "metered")
