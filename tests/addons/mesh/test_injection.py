"""What becomes of a pod: containers before its own, its probes, and what its annotations say."""

from __future__ import annotations

import base64
import json
import subprocess
from typing import Any

import msgspec
import pytest

from tests.addons.mesh.builders import pod
from tiphys.addons.mesh import probes
from tiphys.addons.mesh.injection import InjectionError, Proxy, inject
from tiphys.addons.mesh.probes import Probe, rewrite
from tiphys.addons.mesh.redirect import ruleset
from tiphys.addons.mesh.webhook import review
from tiphys.machinery.jsonpatch import json_patch

PROXY = Proxy("proxy:1", "{}", 2)


def injected(before: dict[str, Any]) -> dict[str, Any]:
    after: dict[str, Any] = json_patch(before, inject(before, PROXY))
    return after


def annotated(**annotations: str) -> dict[str, Any]:
    made = pod()
    made["metadata"]["annotations"] = {
        f"mesh.tiphys.dev/{name.replace('_', '-')}": value for name, value in annotations.items()
    }
    return made


def test_the_redirect_and_the_sidecar_come_before_everything() -> None:
    before = pod()
    before["spec"]["initContainers"] = [{"name": "own", "image": "own"}]
    spec = injected(before)["spec"]
    redirect, sidecar, own = spec["initContainers"]
    assert redirect["securityContext"]["capabilities"]["add"] == ["NET_ADMIN"]
    assert sidecar["restartPolicy"] == "Always" and "add" not in sidecar["securityContext"]
    assert sidecar["securityContext"]["runAsUser"] == 1337
    assert own["name"] == "own"
    token = spec["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]
    assert token["audience"] == "mesh.tiphys.dev"


def test_a_pod_is_injected_once() -> None:
    once = injected(pod())
    assert inject(once, PROXY) == []


def test_who_stays_out_is_left_alone() -> None:
    on_the_node = pod()
    on_the_node["spec"]["hostNetwork"] = True
    for one in (on_the_node, annotated(inject="disabled")):
        assert inject(one, PROXY) == []


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        ({"inject": "no"}, "'no' is neither enabled nor disabled"),
        ({"skip_inbound_ports": "80,http"}, "'http' is no port"),
        ({"skip_outbound_ports": "65536"}, "'65536' is no port"),
        ({"skip_outbound_ports": "80; drop"}, "'80;' is no port"),
    ],
)
def test_what_makes_no_sense_is_refused(annotations: dict[str, str], said: str) -> None:
    with pytest.raises(InjectionError, match=said):
        inject(annotated(**annotations), PROXY)


def test_a_scrape_of_the_pods_own_stays() -> None:
    before = pod()
    before["metadata"]["annotations"] = {"prometheus.io/port": "9090"}
    assert injected(before)["metadata"]["annotations"]["prometheus.io/port"] == "9090"
    assert injected(pod())["metadata"]["annotations"]["prometheus.io/port"] == "15020"


@pytest.mark.parametrize(
    ("handler", "probe"),
    [
        ({"httpGet": {"path": "/up?x=1", "port": "http"}}, Probe("http", 8080, "/up?x=1")),
        ({"httpGet": {"port": 1, "scheme": "HTTPS"}}, Probe("https", 1, "/")),
        ({"tcpSocket": {"port": "http"}}, Probe("tcp", 8080)),
        ({"grpc": {"port": 5, "service": "s"}}, Probe("grpc", 5, service="s")),
    ],
)
def test_a_probe_asks_the_sidecar(handler: dict[str, Any], probe: Probe) -> None:
    changed = injected(pod(readinessProbe={**handler, "periodSeconds": 3}))
    asked = changed["spec"]["containers"][0]["readinessProbe"]
    action = {"path": "/probes/web/readiness", "port": 15021, "scheme": "HTTP"}
    assert asked == {"periodSeconds": 3, "httpGet": action}
    assert probes.read(changed["metadata"]["annotations"]) == {"web/readiness": probe}


@pytest.mark.parametrize(
    "handler",
    [
        {"exec": {"command": ["true"]}},
        {"httpGet": {"port": 1, "host": "elsewhere"}},
        {"httpGet": {"port": "unknown"}},
    ],
)
def test_a_probe_that_does_not_come_to_the_pod_stays(handler: dict[str, Any]) -> None:
    container = pod(livenessProbe=handler)["spec"]["containers"][0]
    assert rewrite(container) == (container, {})


def test_hooks_over_http_are_asked_of_the_sidecar() -> None:
    hooks = {"preStop": {"httpGet": {"path": "/bye", "port": 8080}}}
    changed, original = rewrite(pod(lifecycle=hooks)["spec"]["containers"][0])
    assert changed["lifecycle"]["preStop"]["httpGet"]["path"] == "/probes/web/pre-stop"
    assert original == {"web/pre-stop": Probe("http", 8080, "/bye")}


@pytest.mark.parametrize("text", ["", "[]", '{"a":{"kind":"http","port":-1}}', '{"a":{"kind":1}}'])
def test_an_annotation_that_somebody_wrote_is_no_probe(text: str) -> None:
    assert probes.read({probes.ANNOTATION: text}) == {}


@pytest.mark.needs("nft")
@pytest.mark.root
def test_the_kernel_takes_the_rules() -> None:
    for rules in (ruleset(), ruleset([80, 81], [3306])):
        subprocess.run(["nft", "--check", rules], check=True)
    assert "tcp dport { 80, 81, 15020, 15021 } return" in rules


def test_a_review_is_answered_with_a_patch_or_a_reason() -> None:
    def answered(obj: Any) -> Any:
        request = {"uid": "7", "object": obj}
        body = json.dumps({"kind": "AdmissionReview", "request": request}).encode()
        return json.loads(review(body, PROXY))["response"]

    patched = answered(pod())
    assert patched["uid"] == "7" and patched["allowed"]
    paths = [one["path"] for one in json.loads(base64.b64decode(patched["patch"]))]
    assert paths == ["/spec/initContainers", "/spec/volumes", "/metadata/annotations"]
    refused = answered(annotated(inject="maybe"))
    assert not refused["allowed"] and "maybe" in refused["status"]["message"]
    with pytest.raises(msgspec.DecodeError):
        review(b'{"request": {"uid": "7"}}', PROXY)
