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
    on_the_node, mirrored = pod(), pod()
    on_the_node["spec"]["hostNetwork"] = True
    mirrored["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "hash"}
    for one in (on_the_node, mirrored, annotated(inject="disabled")):
        assert inject(one, PROXY) == []
    assert inject(annotated(inject="enabled"), PROXY)


@pytest.mark.parametrize("metadata", [None, {}, {"annotations": None}])
def test_a_pod_may_say_nothing_of_itself(metadata: Any) -> None:
    before = pod()
    before["metadata"] = metadata or {}
    assert injected(before)["metadata"]["annotations"]["mesh.tiphys.dev/status"] == "injected"


def test_volumes_and_containers_of_the_pod_stay() -> None:
    before = pod()
    before["spec"]["volumes"] = [{"name": "own", "emptyDir": {}}]
    spec = injected(before)["spec"]
    assert [one["name"] for one in spec["volumes"]] == ["own", "mesh-token", "mesh-own"]
    assert spec["containers"] == before["spec"]["containers"], "there is nothing to replace"
    paths = [one["path"] for one in inject(before, PROXY)]
    assert paths == ["/spec/initContainers", "/spec/volumes", "/metadata/annotations"]


def test_probes_of_each_container_are_replaced_in_their_place() -> None:
    before = pod()
    probed = pod(readinessProbe={"tcpSocket": {"port": 1}})["spec"]["containers"][0]
    before["spec"]["containers"].append({**probed, "name": "second"})
    before["spec"]["initContainers"] = [{**probed, "name": "early"}]
    operations = inject(before, PROXY)
    assert operations[0]["path"] == "/spec/containers/1"
    after: Any = json_patch(before, operations)
    asked = after["spec"]["initContainers"][2]["readinessProbe"]["httpGet"]["path"]
    assert asked == "/probes/early/readiness"
    assert set(probes.read(after["metadata"]["annotations"])) == {
        "second/readiness",
        "early/readiness",
    }


def sidecar(drain: int = 2) -> dict[str, Any]:
    found: Any = json_patch(pod(), inject(pod(), Proxy("proxy:1", "{}", drain)))
    return dict(found["spec"]["initContainers"][1])


def test_a_sidecar_has_no_rights_and_is_waited_for() -> None:
    made = sidecar()
    security = made["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert not security["allowPrivilegeEscalation"] and security["readOnlyRootFilesystem"]
    assert security["runAsNonRoot"] and security["runAsGroup"] == 1337
    assert made["startupProbe"]["httpGet"] == {"path": "/ready", "port": 15021, "scheme": "HTTP"}
    # Two minutes until it has a certificate.
    assert (made["startupProbe"]["periodSeconds"], made["startupProbe"]["failureThreshold"]) == (
        1,
        120,
    )
    assert made["lifecycle"] == {"preStop": {"sleep": {"seconds": 2}}}
    assert "lifecycle" not in sidecar(0), "the API server refuses a sleep of nothing"


def test_the_redirect_may_change_the_network_and_nothing_else() -> None:
    redirect = injected(pod())["spec"]["initContainers"][0]
    security = redirect["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN"]}
    assert (security["runAsUser"], security["runAsNonRoot"]) == (0, False)
    assert not security["allowPrivilegeEscalation"] and security["readOnlyRootFilesystem"]
    assert "restartPolicy" not in redirect, "it ends before the others begin"


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        ({"inject": "no"}, "'no' is neither enabled nor disabled"),
        ({"skip_inbound_ports": "80,http"}, "'http' is no port"),
        ({"skip_outbound_ports": "65536"}, "'65536' is no port"),
        ({"skip_outbound_ports": "80; drop"}, "'80;' is no port"),
        ({"skip_outbound_ports": "0"}, "'0' is no port"),
        ({"skip_outbound_ports": "-1"}, "'-1' is no port"),
        ({"skip_outbound_ports": "000080"}, "'000080' is no port"),
        ({"skip_outbound_ports": "٨٠"}, "'٨٠' is no port"),
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


def rules(**annotations: str) -> list[str]:
    """Of the pod's two chains, what stands between their head and their end."""
    redirect = injected(annotated(**annotations))["spec"]["initContainers"][0]
    assert redirect["command"][0] == "/usr/sbin/nft"
    chains = [line for line in redirect["command"][1].splitlines() if line.startswith("chain")]
    return [line.partition("priority -100; ")[2].removesuffix("; }") for line in chains]


@pytest.mark.parametrize(
    ("annotations", "inbound", "outbound"),
    [
        ({}, "{ 15020, 15021 }", ""),
        ({"skip_inbound_ports": "80, 1 65535"}, "{ 1, 80, 15020, 15021, 65535 }", ""),
        ({"skip_outbound_ports": "3306,53"}, "{ 15020, 15021 }", "tcp dport { 53, 3306 } return; "),
    ],
)
def test_all_but_some_ports_go_through_the_sidecar(
    annotations: dict[str, str], inbound: str, outbound: str
) -> None:
    assert rules(**annotations) == [
        f"tcp dport {inbound} return; meta l4proto tcp redirect to :15006",
        'meta skuid 1337 return; oifname "lo" return; '
        f"{outbound}meta l4proto tcp redirect to :15001",
    ]


@pytest.mark.parametrize(
    ("port", "number"),
    [
        (1, 1),
        (65535, 65535),
        ("http", 8080),
        ("8081", 8081),
        (0, 0),
        (65536, 0),
        ("x", 0),
        (None, 0),
    ],
)
def test_a_probes_port_is_a_number_or_a_name(port: Any, number: int) -> None:
    container = pod(livenessProbe={"tcpSocket": {"port": port}})["spec"]["containers"][0]
    _, original = rewrite(container)
    assert original == ({"web/liveness": Probe("tcp", number)} if number else {})


@pytest.mark.parametrize(
    ("handler", "probe"),
    [
        ({"httpGet": {"port": 1, "path": "up"}}, Probe("http", 1, "/up")),
        ({"httpGet": {"port": 1, "path": None}}, Probe("http", 1, "/")),
        ({"httpGet": {"port": 1, "scheme": "HTTP"}}, Probe("http", 1, "/")),
        ({"grpc": {"port": 1, "service": None}}, Probe("grpc", 1)),
        ({"httpGet": None}, None),
        ({"tcpSocket": {"port": 1, "host": "h"}}, None),
    ],
)
def test_what_a_probe_asks(handler: dict[str, Any], probe: Probe | None) -> None:
    _, original = rewrite(pod(startupProbe=handler)["spec"]["containers"][0])
    assert original == ({"web/startup": probe} if probe else {})


def test_headers_of_a_probe_are_sent_to_the_sidecar() -> None:
    headers = [{"name": "a", "value": "b"}]
    probe = {"httpGet": {"port": 1, "httpHeaders": headers}, "timeoutSeconds": 3}
    changed, _ = rewrite(pod(readinessProbe=probe)["spec"]["containers"][0])
    assert changed["readinessProbe"]["httpGet"]["httpHeaders"] == headers
    assert changed["readinessProbe"]["timeoutSeconds"] == 3


@pytest.mark.parametrize("hook", [{"exec": {"command": ["x"]}}, {"sleep": {"seconds": 1}}, None])
def test_other_hooks_stay(hook: Any) -> None:
    container = pod(lifecycle={"preStop": hook})["spec"]["containers"][0]
    assert rewrite(container) == (container, {})


def test_the_container_that_is_given_stays_as_it_is() -> None:
    hooks = {"postStart": {"httpGet": {"port": 1}}, "preStop": {"sleep": {"seconds": 1}}}
    container = pod(lifecycle=hooks)["spec"]["containers"][0]
    changed, original = rewrite(container)
    assert container["lifecycle"]["postStart"] == {"httpGet": {"port": 1}}
    assert changed["lifecycle"]["preStop"] == hooks["preStop"]
    assert list(original) == ["web/post-start"]


@pytest.mark.parametrize(
    ("name", "probe", "is_usable"),
    [
        ("a", Probe("http", 1, "/"), True),
        ("a", Probe("http", 65535, "/"), True),
        ("a", Probe("http", 0, "/"), False),
        ("a", Probe("http", 65536, "/"), False),
        ("a", Probe("http", 1, "/\n"), False),
        ("ä", Probe("http", 1, "/"), False),
    ],
)
def test_a_probe_that_envoy_would_refuse_is_none(name: str, probe: Probe, is_usable: bool) -> None:
    text = probes.written({name: probe, "z": Probe("tcp", 1)})
    assert (name in probes.read({probes.ANNOTATION: text})) is is_usable
    assert "z" in probes.read({probes.ANNOTATION: text})


def test_of_many_probes_the_first_by_name_are_served() -> None:
    many = {f"{number:03}": Probe("tcp", 1) for number in reversed(range(70))}
    found = probes.read({probes.ANNOTATION: probes.written(many)})
    assert list(found) == [f"{number:03}" for number in range(64)]
    assert probes.read({}) == {}


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
