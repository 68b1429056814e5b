"""What a pod as a whole is, may and asks for, on both sides of each rule."""

from __future__ import annotations

from typing import Any

from tests.apiserver.kit import container, spec
from tests.apiserver.rules import fields, wrong_with
from tests.apiserver.tables import each_row

IN_C = "spec.containers[0]"
LARGEST = 2**31 - 1


def judged(parts: dict[str, Any], wrong: list[str]) -> None:
    assert fields(wrong_with("pods", parts)) == wrong


# --- identity and privileges ---


def secured(**context: Any) -> dict[str, Any]:
    return spec(securityContext=context)


def windows(**options: Any) -> dict[str, Any]:
    return secured(windowsOptions=options)


def sysctl(*names: str, **more: Any) -> dict[str, Any]:
    return spec(securityContext={"sysctls": [{"name": n, "value": "1"} for n in names]}, **more)


POD = "spec.securityContext"


@each_row(
    [
        (secured(runAsUser=LARGEST, runAsGroup=LARGEST, fsGroup=LARGEST), []),
        (secured(runAsUser=LARGEST + 1), [f"{POD}.runAsUser"]),
        (secured(runAsGroup=LARGEST + 1), [f"{POD}.runAsGroup"]),
        (secured(fsGroup=LARGEST + 1), [f"{POD}.fsGroup"]),
        (secured(supplementalGroups=[LARGEST, LARGEST + 1]), [f"{POD}.supplementalGroups[1]"]),
        (secured(seccompProfile={"type": "RuntimeDefault"}), []),
        (secured(seccompProfile={"type": "RuntimeDefault", "localhostProfile": "p"}), [f"{POD}.seccompProfile.localhostProfile"]),
        (secured(seccompProfile={"type": "RuntimeDefault", "localhostProfile": ""}), []),
        (secured(seccompProfile={"type": "Localhost", "localhostProfile": "p"}), []),
        (secured(seccompProfile={"type": "Localhost"}), [f"{POD}.seccompProfile.localhostProfile"]),
        (secured(seccompProfile={"type": ""}), [f"{POD}.seccompProfile.type"]),
        (secured(appArmorProfile={"type": "Unconfined"}), []),
        (secured(appArmorProfile={"type": "Unconfined", "localhostProfile": ""}), [f"{POD}.appArmorProfile.localhostProfile"]),
        (secured(appArmorProfile={"type": "Localhost", "localhostProfile": "p"}), []),
        (secured(appArmorProfile={"type": ""}), [f"{POD}.appArmorProfile.type"]),
        (container(securityContext={"runAsUser": LARGEST + 1}), [f"{IN_C}.securityContext.runAsUser"]),
        (container(securityContext={"procMount": "Default"}), []),
        (container(securityContext={"privileged": True, "allowPrivilegeEscalation": True}), []),
        (container(securityContext={"privileged": False, "allowPrivilegeEscalation": False}), []),
        (container(securityContext={"privileged": True}), []),
        (windows(gmsaCredentialSpecName="a.b", gmsaCredentialSpec="x" * 65536), []),
        (windows(gmsaCredentialSpec="x" * 65537), [f"{POD}.windowsOptions.gmsaCredentialSpec"]),
        (windows(gmsaCredentialSpec=""), [f"{POD}.windowsOptions.gmsaCredentialSpec"]),
        (windows(runAsUserName="u"), []),
        (windows(runAsUserName="D\\u"), []),
        (windows(runAsUserName="D\\"), [f"{POD}.windowsOptions.runAsUserName"]),
        (windows(runAsUserName="u\x1f"), [f"{POD}.windowsOptions.runAsUserName"]),
        (windows(runAsUserName="u\x7f"), [f"{POD}.windowsOptions.runAsUserName"]),
        (windows(runAsUserName="u v"), []),
        (windows(runAsUserName="u:v"), [f"{POD}.windowsOptions.runAsUserName"]),
        (sysctl("kernel.shm_rmid_forced", "net/ipv4/ping"), []),
        (sysctl(""), [f"{POD}.sysctls[0].name"]),
        (sysctl("a" * 253), []),
        (sysctl("a" * 254), [f"{POD}.sysctls[0].name"]),
        (sysctl("net.a", hostIPC=True), []),
        (sysctl("net.a", hostNetwork=True), [f"{POD}.sysctls[0].name"]),
        (sysctl("kernel.sem", hostNetwork=True), []),
        (sysctl("kernel.sem", "fs/mqueue/x", hostIPC=True), [f"{POD}.sysctls[{n}].name" for n in (0, 1)]),
    ],
)  # fmt: skip
def test_identities_and_privileges(parts: dict[str, Any], wrong: list[str]) -> None:
    judged(parts, wrong)


# --- what is asked for ---


def asking(requests: Any = None, limits: Any = None, **more: Any) -> dict[str, Any]:
    return {"requests": requests or {}, "limits": limits or {}, **more}


def whole(resources: dict[str, Any], *containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A pod that asks for something itself, with containers that ask, too."""
    each = [{"name": f"c{n}", "image": "i", "resources": one} for n, one in enumerate(containers)]
    return spec(resources=resources, containers=each or [{"name": "c", "image": "i"}], **more)


GPU = "example.com/gpu"
PAGES = "hugepages-2Mi"
GIVEN = {"resourceClaims": [{"name": name, "resourceClaimName": name} for name in "ab"]}


def claiming(*claims: dict[str, str], **more: Any) -> dict[str, Any]:
    one = {"name": "c", "image": "i", "resources": {"claims": list(claims)}}
    return spec(containers=[one], **GIVEN, **more)


def resizing(policy: str, restart: str = "Always", resource: str = "cpu") -> dict[str, Any]:
    one = {"name": "c", "image": "i"}
    one["resizePolicy"] = [{"resourceName": resource, "restartPolicy": policy}]  # type: ignore[assignment]
    return spec(containers=[one], restartPolicy=restart)


@each_row(
    [
        (container(resources=asking({"cpu": "0"}, {"cpu": "0"})), []),
        (container(resources=asking({"cpu": "1"})), []),
        (container(resources=asking({"ephemeral-storage": "2"}, {"ephemeral-storage": "1"})), [f"{IN_C}.resources.requests"]),
        (container(resources=asking({GPU: "2"}, {GPU: "2"})), []),
        (container(resources=asking({GPU: "1"}, {GPU: "2"})), [f"{IN_C}.resources.requests"]),
        (container(resources=asking({PAGES: "2Mi"})), [f"{IN_C}.resources.limits"]),
        (container(resources=asking({"gpu": "1"}, {"gpu": "1"})), [f"{IN_C}.resources.limits[gpu]"] * 2 + [f"{IN_C}.resources.requests[gpu]"] * 2),
        (container(resources=asking(None, {GPU: "1500m"})), [f"{IN_C}.resources.{kind}[{GPU}]" for kind in ("limits", "requests")]),
        (whole(asking({"cpu": "1", "memory": "1Gi"}, {"cpu": "1"})), []),
        (whole(asking({"cpu": "1001m"}, {"cpu": "1"})), ["spec.resources.requests"]),
        (whole(asking({"ephemeral-storage": "1"})), ["spec.resources.requests[ephemeral-storage]"]),
        (whole(asking(None, {GPU: "1"})), [f"spec.resources.limits[{GPU}]"]),
        (whole(asking({"cpu": "2"}), asking({"cpu": "1"}), asking({"cpu": "1"})), []),
        (whole(asking({"cpu": "2"}), asking({"cpu": "1"}), asking({"cpu": "1001m"})), ["spec.resources.requests[cpu]"]),
        (whole(asking(None, {"cpu": "1"}), asking(None, {"cpu": "1"}), asking(None, {"memory": "1Gi"})), []),
        (whole(asking(None, {"cpu": "2"}), asking({"cpu": "0"}, {"cpu": "2001m"})), ["spec.resources.containers[0][cpu].limits"]),
        (whole(asking({PAGES: "4Mi"}, {"cpu": "1", PAGES: "4Mi"}), *[asking(None, {"cpu": "1m", PAGES: "2Mi"})] * 2), []),
        (claiming({"name": "a"}, {"name": "b"}), []),
        (claiming({"name": "a", "request": "x"}, {"name": "a", "request": "y"}), []),
        (claiming({"name": "a", "request": "x"}, {"name": "a", "request": "x"}), [f"{IN_C}.resources.claims[1]"]),
        (claiming({"name": "a"}, {"name": "a", "request": "x"}), [f"{IN_C}.resources.claims[1]"]),
        (claiming({"name": "a", "request": "X"}), [f"{IN_C}.resources.claims[0].request"]),
        (claiming({"name": ""}), [f"{IN_C}.resources.claims[0]"]),
        (claiming({"name": "z"}), [f"{IN_C}.resources.claims[0]"]),
        (resizing("NotRequired"), []),
        (resizing("RestartContainer"), []),
        (resizing("NotRequired", "Never"), []),
        (resizing("RestartContainer", "Never"), [f"{IN_C}.resizePolicy"]),
        (resizing("", resource=""), [f"{IN_C}.resizePolicy"] * 2),
        (spec(resourceClaims=[{"name": "a", "resourceClaimTemplateName": "t"}]), []),
        (spec(resourceClaims=[{"name": "A", "resourceClaimName": "a"}]), ["spec.resourceClaims[0].name"]),
        (spec(resourceClaims=[{"name": "a", "resourceClaimTemplateName": ""}]), ["spec.resourceClaims[0].resourceClaimTemplateName"]),
    ],
)  # fmt: skip
def test_what_pods_and_containers_ask_for(parts: dict[str, Any], wrong: list[str]) -> None:
    judged(parts, wrong)


# --- how it is called, and finds others ---


def dns(policy: str = "ClusterFirst", **config: Any) -> dict[str, Any]:
    return spec(dnsPolicy=policy, dnsConfig=config)


SERVERS = [f"1.1.1.{number}" for number in range(4)]


def overridden(name: str, **more: Any) -> dict[str, Any]:
    return spec(hostnameOverride=name, **more)


@each_row(
    [
        (dns("None", nameservers=SERVERS[:3]), []),
        (dns(nameservers=SERVERS), ["spec.dnsConfig.nameservers"]),
        (dns("None", nameservers=[]), ["spec.dnsConfig.nameservers"]),
        (dns(nameservers=[]), []),
        (dns(searches=["."]), []),
        (dns(searches=["a.b."]), []),
        (dns(searches=["_a.b_c"]), []),
        (dns(searches=["..", "a.b"]), ["spec.dnsConfig.searches[0]"]),
        (dns(searches=["a"] * 32), []),
        (dns(searches=["a"] * 33), ["spec.dnsConfig.searches"]),
        (dns(searches=["a" * 1023, "b" * 1024]), []),
        (dns(searches=["a" * 1024, "b" * 1024]), ["spec.dnsConfig.searches"]),
        (dns(options=[{"name": "ndots", "value": "2"}, {"name": ""}]), ["spec.dnsConfig.options[1]"]),
        (spec(hostAliases=[{"ip": "1.1.1.1", "hostnames": ["a", "B"]}]), ["spec.hostAliases[0].hostnames[1]"]),
        (overridden("a" * 63), []),
        (overridden("a" * 62 + ".b"), []),
        (overridden("a" * 63 + ".b"), ["spec.hostnameOverride"]),
        (overridden(""), ["spec.hostnameOverride"]),
        (overridden("a", setHostnameAsFQDN=True), ["spec.hostnameOverride"]),
        (overridden("a", setHostnameAsFQDN=False), []),
        (spec(hostname="a", subdomain="b"), []),
        (spec(subdomain="B"), ["spec.subdomain"]),
        (spec(serviceAccountName="A"), ["spec.serviceAccountName"]),
    ],
)  # fmt: skip
def test_names_of_and_for_a_pod(parts: dict[str, Any], wrong: list[str]) -> None:
    judged(parts, wrong)


# --- its host, and when it starts ---


@each_row(
    [
        (spec(os={"name": "windows"}), []),
        (spec(hostUsers=False), []),
        (spec(hostUsers=True, hostNetwork=True, hostPID=True, hostIPC=True), []),
        (spec(hostUsers=False, hostNetwork=True), ["spec.hostNetwork"]),
        (spec(hostUsers=False, hostIPC=True, hostPID=True), ["spec.hostPID", "spec.hostIPC"]),
        (spec(shareProcessNamespace=True), []),
        (spec(hostPID=True), []),
        (spec(readinessGates=[{"conditionType": "a.b/c"}]), []),
        (spec(schedulingGates=[{"name": "a"}, {"name": "b"}]), []),
        (spec(schedulingGates=[{"name": "a"}, {"name": "b"}, {"name": "a"}]), ["spec.schedulingGates[2]"]),
        (spec(priorityClassName="a-b", runtimeClassName="c", preemptionPolicy="Never"), []),
        (spec(restartPolicy="OnFailure", dnsPolicy="ClusterFirstWithHostNet"), []),
    ],
)  # fmt: skip
def test_hosts_and_gates(parts: dict[str, Any], wrong: list[str]) -> None:
    judged(parts, wrong)
