"""Bootstrap tokens: what they sign, and when they go."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_asyncio

from tests.controllers.bench import Bench
from tests.controllers.builders import NOW, ago
from tiphys.api.core_v1 import ConfigMap, Secret
from tiphys.api.meta_v1 import ObjectMeta
from tiphys.controllers.bootstraptokens import BootstrapSigner, TokenCleaner, signed
from tiphys.machinery import timestamps

together = pytest.mark.asyncio(loop_scope="package")
JWS = "jws-kubeconfig-"


def token(name: str = "abcdef", **data: str) -> Secret:
    given = {"token-id": name, "token-secret": "0123456789abcdef"}
    given |= {
        "usage-bootstrap-signing": "true",
        **{k.replace("_", "-"): v for k, v in data.items()},
    }
    meta = ObjectMeta(name=f"bootstrap-token-{name}", namespace="kube-system")
    content = {key: text.encode() for key, text in given.items()}
    return Secret(metadata=meta, type="bootstrap.kubernetes.io/token", data=content)


@pytest.mark.parametrize(
    ("secret", "signs"),
    [
        (token(), True),
        (token(expiration=ago(-5)), True),
        (token(expiration=ago(5)), False),
        (token(usage_bootstrap_signing="false"), False),
        (token(token_id="other1"), False),
    ],
)
def test_every_token_that_may_signs(secret: Secret, signs: bool) -> None:
    data = {"kubeconfig": "k", "more": "m", f"{JWS}gone00": "x"}
    result = signed(data, [secret], NOW)
    assert result is not None and (f"{JWS}abcdef" in result) is signs
    assert result["kubeconfig"] == "k" and result["more"] == "m" and f"{JWS}gone00" not in result
    assert signed({"more": "m"}, [secret], NOW) is None


@together
async def test_cluster_info_is_signed_again_when_it_changes(bench: Bench) -> None:
    controller = bench.start(BootstrapSigner)
    for each in (controller._tokens, controller._infos):
        bench.follow(each)
    key = "kube-public/cluster-info"
    await bench.seen()
    assert await controller.reconcile(key) is None, "there is none"
    made = token("aaaaaa")
    await bench.client.create(made)
    meta = ObjectMeta(name="cluster-info", namespace="kube-public")
    await bench.client.create(ConfigMap(metadata=meta, data={"kubeconfig": "k"}))
    await bench.seen()
    assert len(controller.queue) == 1, "both have one key"
    await controller.reconcile(key)
    info = await bench.client.get(ConfigMap, "cluster-info", "kube-public")
    assert set(info.data) == {"kubeconfig", f"{JWS}aaaaaa"}
    await bench.seen()
    await controller.reconcile(key)
    assert await bench.client.get(ConfigMap, "cluster-info", "kube-public") == info
    await bench.client.delete(Secret, made.metadata.name, "kube-system")
    await bench.client.delete(ConfigMap, "cluster-info", "kube-public")


@pytest_asyncio.fixture(loop_scope="package")
async def cleaner(bench: Bench) -> TokenCleaner:
    made = bench.start(TokenCleaner)
    bench.follow(made._tokens)
    return made


@pytest.mark.parametrize(("left", "stays"), [(None, True), (60, True), (-60, False)])
@together
async def test_a_token_goes_when_it_expires(
    bench: Bench, cleaner: TokenCleaner, left: float | None, stays: bool
) -> None:
    limit: dict[str, Any] = {}
    if left is not None:
        limit["expiration"] = timestamps.rfc3339(bench.now() + left)
    made = await bench.client.create(token("bbbbbb", **limit))
    wait = await bench.step(cleaner, f"kube-system/{made.metadata.name}")
    assert (wait is not None and 55 < wait <= 60) if left == 60 else wait is None
    await bench.seen()
    assert (cleaner._tokens.get(f"kube-system/{made.metadata.name}") is not None) is stays
    if stays:
        await bench.client.delete(Secret, made.metadata.name, "kube-system")
    await bench.seen()
    assert await bench.step(cleaner, f"kube-system/{made.metadata.name}") is None
