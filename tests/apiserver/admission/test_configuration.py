"""The file that configures PodSecurity."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiphys.apiserver.admission.configuration import (
    ConfigurationError,
    PodSecurityConfiguration,
    read,
)

HEAD = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\n"
INNER = "apiVersion: pod-security.admission.config.k8s.io/v1\nkind: PodSecurityConfiguration\n"


def configured(folder: Path, text: str) -> PodSecurityConfiguration:
    file = folder / "admission.yaml"
    file.write_text(text)
    return read(file)


def plugin(text: str) -> str:
    return f"{HEAD}plugins:\n- name: PodSecurity\n  configuration: {{{text}}}\n"


def test_without_a_file_everything_is_privileged(tmp_path: Path) -> None:
    assert read(None) == PodSecurityConfiguration() == configured(tmp_path, HEAD)
    assert configured(tmp_path, f"{HEAD}plugins:\n- name: PodSecurity\n") == read(None)


def test_what_a_file_says(tmp_path: Path) -> None:
    said = configured(
        tmp_path,
        plugin(
            "defaults: {enforce: baseline, enforce-version: v1.30, warn: restricted},"
            " exemptions: {usernames: [u], namespaces: [n], runtimeClasses: [r]}"
        ),
    )
    defaults = said.defaults
    assert str(defaults.enforce) == "baseline:v1.30"
    assert (str(defaults.warn), str(defaults.audit)) == ("restricted:latest", "privileged:latest")
    assert (said.usernames, said.namespaces, said.runtime_classes) == ({"u"}, {"n"}, {"r"})


def test_a_file_beside_it_says_it_as_well(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text(f"{INNER}defaults: {{enforce: baseline}}\n")
    text = f"{HEAD}plugins:\n- name: PodSecurity\n  path: inner.yaml\n"
    assert configured(tmp_path, text).defaults.enforce.level == "baseline"
    (tmp_path / "inner.yaml").write_text(f"{HEAD}defaults: {{enforce: baseline}}\n")
    with pytest.raises(ConfigurationError, match="a PodSecurityConfiguration is needed"):
        configured(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[", "while parsing"),
        ("text", "a AdmissionConfiguration is needed"),
        (HEAD.replace("Admission", "Other"), "a AdmissionConfiguration is needed"),
        (HEAD.replace("apiserver.config", "other"), "a AdmissionConfiguration is needed"),
        (f"{HEAD}plugins:\n- name: Other\n", "no configuration is known for plugin 'Other'"),
        (plugin("defaults: {warn: strict}"), "defaults.warn: 'strict' is none of"),
        (plugin("defaults: {audit-version: '1.30'}"), "defaults.audit-version: '1.30' is neither"),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        configured(tmp_path, text)
