"""The manifests of config/kubernetes: they fit the schemas of Kubernetes, and their pods may do as little as can be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from rotator.config import load
from rotator.entrypoints.http.server import SECONDS

FOLDER = Path(__file__).parents[2] / "config" / "kubernetes"
MANIFESTS = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
VERSIONS = ("1.30", kubernetes_validate.latest_version())
WORKLOADS = ("deployment.yaml", "cronjob.yaml")
IDENTITY = re.compile(
    r"^( *)# (- \{name: vault,.*|- name: vault| +projected:| +defaultMode:.*| +sources:.*)$", re.MULTILINE
)


def manifest(name: str) -> dict[str, Any]:
    (document,) = yaml.safe_load_all((FOLDER / name).read_text())
    return document


def with_identity(name: str) -> dict[str, Any]:
    """A workload with the variant for Vault's Kubernetes login, which is commented out."""
    text, changed = IDENTITY.subn(r"\1\2", (FOLDER / name).read_text())
    assert changed == 5
    return yaml.safe_load(text)


def pod_of(workload: dict[str, Any]) -> dict[str, Any]:
    spec = workload["spec"]
    return spec.get("jobTemplate", {}).get("spec", spec)["template"]["spec"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [path.name for path in MANIFESTS])
def test_a_manifest_fits_the_schema(name: str, version: str) -> None:
    kubernetes_validate.validate(manifest(name), version, strict=True)


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_variant_with_the_identity_of_the_pod_fits_the_schema_too(name: str) -> None:
    workload = with_identity(name)
    kubernetes_validate.validate(workload, VERSIONS[-1], strict=True)
    pod = pod_of(workload)
    assert {volume["name"] for volume in pod["volumes"]} == {
        mount["name"] for mount in pod["containers"][0]["volumeMounts"]
    }
    (source,) = pod["volumes"][-1]["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == "vault"


def test_the_schemas_find_a_field_that_does_not_exist() -> None:
    """The tests before can fail."""
    broken = manifest("deployment.yaml")
    broken["spec"]["template"]["spec"]["securityContext"]["runAsNonroot"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_pod_keeps_to_the_restricted_standard_writes_to_its_state_alone_and_has_no_token(name: str) -> None:
    """Source: Kubernetes, Pod Security Standards, "Restricted"."""
    pod = pod_of(manifest(name))
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert {"hostNetwork", "hostPID", "hostIPC", "initContainers"}.isdisjoint(pod)
    assert container["resources"]["limits"]["memory"]
    assert [mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")] == [
        "/var/lib/rotator"
    ]
    assert {volume["name"] for volume in pod["volumes"]} == {mount["name"] for mount in container["volumeMounts"]}


def test_service_and_pass_have_the_same_pod_but_for_what_makes_the_pass() -> None:
    service, once = (pod_of(manifest(name)) for name in WORKLOADS)
    for probe in ("startupProbe", "livenessProbe", "readinessProbe", "ports"):
        assert service["containers"][0].pop(probe)
    assert once.pop("restartPolicy") == "Never"
    assert once["containers"][0].pop("args") == ["--run-once"]
    assert once == service


def test_the_names_that_the_manifests_refer_to_are_theirs() -> None:
    made = {
        (document["kind"], document["metadata"]["name"])
        for document in map(manifest, (path.name for path in MANIFESTS))
    }
    pod = pod_of(manifest("deployment.yaml"))
    assert ("ServiceAccount", pod["serviceAccountName"]) in made
    claims = [
        volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume
    ]
    maps = [volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume]
    assert {("PersistentVolumeClaim", name) for name in claims} | {("ConfigMap", name) for name in maps} <= made
    kustomization = manifest("kustomization.yaml")
    text = (FOLDER / "kustomization.yaml").read_text()
    assert set(kustomization["resources"]) | {"cronjob.yaml"} == {path.name for path in MANIFESTS}
    assert "# - cronjob.yaml" in text
    assert kustomization["images"][0]["name"] == pod["containers"][0]["image"]


def test_the_monitoring_alone_may_call_it_and_no_role_gives_it_anything() -> None:
    rules = manifest("networkpolicy.yaml")["spec"]
    assert rules["policyTypes"] == ["Ingress", "Egress"]
    (ingress,) = rules["ingress"]
    assert [*ingress["from"][0]] == ["namespaceSelector"]
    assert [port["port"] for port in ingress["ports"]] == [9464]
    labels = manifest("deployment.yaml")["spec"]["template"]["metadata"]["labels"]
    assert rules["podSelector"]["matchLabels"].items() <= labels.items()
    ports = {port["port"] for rule in rules["egress"] for port in rule["ports"]}
    assert ports == {53, 443, 8200}
    assert {manifest(path.name)["kind"] for path in MANIFESTS} == {
        "ConfigMap", "CronJob", "Deployment", "NetworkPolicy", "PersistentVolumeClaim", "ServiceAccount",
    }  # fmt: skip


@pytest.mark.parametrize("login", ["approle", "kubernetes"])
def test_the_configuration_in_the_map_loads_with_the_files_that_the_pod_has(login: str, tmp_path: Path) -> None:
    text = manifest("configmap.yaml")["data"]["rotator.yaml"]
    if login == "kubernetes":
        text = re.sub(r"^    auth:\n(?:      .*\n)+", "", text, count=1, flags=re.MULTILINE)
        text = text.replace("    # auth: {method: kubernetes", "    auth: {method: kubernetes")
    for name in re.findall(r"(?:file|token_file): (/run/secrets/[\w/-]+)", text):
        file = tmp_path / name.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
    config = tmp_path / "rotator.yaml"
    config.write_text(text.replace("/run/secrets/", f"{tmp_path}/run/secrets/"))
    loaded = load(config, {})
    container = pod_of(manifest("deployment.yaml"))["containers"][0]
    (port,) = container["ports"]
    assert loaded.http is not None
    assert loaded.http.token is not None
    assert (loaded.http.host, loaded.http.port) == ("0.0.0.0", port["containerPort"])  # noqa: S104 - in a pod of its own
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert container[probe]["httpGet"] == {"path": path, "port": port["name"]}
        assert container[probe]["timeoutSeconds"] >= SECONDS, "an answer, if there is one, comes sooner"
    bound = pod_of(manifest("deployment.yaml"))["terminationGracePeriodSeconds"]
    assert loaded.service.shutdown_timeout.total_seconds() < bound
    mounts = {mount["mountPath"] for mount in pod_of(with_identity("deployment.yaml"))["containers"][0]["volumeMounts"]}
    assert {str(Path(name).parent) for name in re.findall(r"file: (/run/secrets/[\w/-]+)", text)} <= mounts
    assert "/etc/rotator" in mounts
