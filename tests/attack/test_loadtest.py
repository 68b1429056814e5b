"""Attacks on load tests: kubeconfigs that name files and programs, services with names that lead
elsewhere, states that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tiphys.addons.loadtest.measuring import NotMeasured, asker, check, read, total
from tiphys.addons.loadtest.production import ProductionError, config_of
from tiphys.addons.loadtest.supervisor import service_of, wanted_of


def kubeconfig(user: dict[str, Any], **cluster: Any) -> bytes:
    content = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://production:6443", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    return yaml.safe_dump(content).encode()


def test_a_kubeconfig_that_holds_everything_is_taken(tmp_path: Path) -> None:
    found = config_of(
        kubeconfig({"token": "t"}, **{"certificate-authority-data": "eA=="}), tmp_path
    )
    assert found.token == "t" and found.ca is not None and found.ca.read_bytes() == b"x"
    assert found.ca.stat().st_mode & 0o777 == 0o600 and not found.insecure


@pytest.mark.parametrize(
    "text",
    [
        kubeconfig({"exec": {"command": "id"}}),
        kubeconfig({"tokenFile": "/etc/shadow"}),
        kubeconfig({"client-certificate": "/root/.ssh/id", "client-key": "/root/.ssh/id"}),
        kubeconfig({"auth-provider": {"name": "x"}}),
        kubeconfig({}, **{"certificate-authority": "/etc/shadow"}),
        kubeconfig({}, **{"certificate-authority-data": "not base64!"}),
        kubeconfig({}, server="file:///etc/shadow"),
        kubeconfig({}, server="http://production"),
        b"[1, 2",
        b"current-context: nobody\ncontexts: []\n",
        b"{}",
        b"\xff\xfe",
    ],
)
def test_one_that_names_files_or_programs_or_is_none_is_refused(
    text: bytes, tmp_path: Path
) -> None:
    with pytest.raises(ProductionError):
        config_of(text, tmp_path)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", ".hidden", "", "a/b"])
def test_a_local_service_is_found_in_its_folder_alone(name: str, tmp_path: Path) -> None:
    (tmp_path / "services").mkdir()
    (tmp_path / "secret.json").write_text('{"versions": {"1": ["id"]}}')
    (tmp_path / "services" / ".hidden.json").write_text('{"versions": {"1": ["id"]}}')
    assert service_of(str(tmp_path / "services"), name) is None
    assert service_of("", "anything") is None


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "169.254.169.254", "0.0.0.0", "localhost"])
async def test_the_machine_itself_is_not_asked(host: str) -> None:
    url = f"http://{host}:1/metrics"
    with pytest.raises(NotMeasured, match="is this machine"):
        check(url, local=False)
        async with asker(local=False) as session:
            await read(session, url, "orders_total")


@given(st.text(max_size=60))
def test_a_state_or_page_of_anything_ends_nothing(text: str) -> None:
    assert wanted_of(text) is None, "no text that is no state becomes one"
    try:
        assert isinstance(total(text, "orders_total"), float)
    except NotMeasured:
        pass
