"""What is shipped: the compose file, the image, the locks, and what CI runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from hogsend.settings import Settings

ROOT = Path(__file__).parents[1]
PROJECT = "${HOGSEND_PROJECT:-./project}:/app:ro"
SCHEMA = "builtin_schemas/vendor/compose-spec.json"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    return compose["services"]


def test_compose_is_valid_by_the_compose_specification(compose: dict[str, Any]) -> None:
    schema = json.loads(files("check_jsonschema").joinpath(SCHEMA).read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(compose)] == []
    broken = {**compose, "services": {**compose["services"], "api": {"imagee": "hogsend"}}}
    assert not validator.is_valid(broken)


def has_compose() -> bool:
    docker = shutil.which("docker")
    return (
        docker is not None
        and subprocess.run([docker, "compose", "version"], capture_output=True).returncode == 0
    )


@pytest.mark.skipif(not has_compose(), reason="docker compose is not installed")
def test_docker_compose_reads_it() -> None:
    secrets = dict.fromkeys(("POSTGRES_PASSWORD", "ADMIN_API_KEY", "HOGSEND_SECRET_KEY"), "secret")
    read = subprocess.run(
        ["docker", "compose", "--file", str(ROOT / "compose.yaml"), "config", "--quiet"],
        env={**os.environ, **secrets},
        capture_output=True,
        text=True,
    )
    assert read.returncode == 0, read.stderr


def test_compose_runs_the_whole_of_hogsend(services: dict[str, Any]) -> None:
    assert {"api", "worker", "migrate", "timescaledb", "redis", "hatchet-lite"} <= set(services)
    ours = [services[name] for name in ("api", "worker", "migrate")]
    assert [service["command"] for service in ours] == [["api"], ["worker"], ["migrate"]]
    assert len({json.dumps([service["image"], service["build"]]) for service in ours}) == 1
    for name in ("api", "worker"):
        conditions = services[name]["depends_on"]
        assert conditions["migrate"] == {"condition": "service_completed_successfully"}


def test_whoever_is_waited_for_exists_and_can_become_healthy(
    compose: dict[str, Any], services: dict[str, Any]
) -> None:
    for service in services.values():
        for name, wanted in service.get("depends_on", {}).items():
            assert name in services
            if wanted["condition"] == "service_healthy":
                assert "healthcheck" in services[name], name
        for volume in service.get("volumes", []):
            assert volume == PROJECT or volume.split(":")[0] in compose["volumes"]


def test_compose_sets_nothing_that_hogsend_does_not_read(services: dict[str, Any]) -> None:
    read = {(field.alias or name).upper() for name, field in Settings.model_fields.items()}
    sets = {name for name in services["api"]["environment"] if not name.startswith("HATCHET_CLIENT_")}
    assert sets <= read
    assert services["api"]["environment"] == services["worker"]["environment"]


def test_what_an_operator_sets_reaches_the_containers(services: dict[str, Any]) -> None:
    named = set(services["api"]["environment"])
    assert {
        "HOGSEND_EMAIL_PROVIDER",
        "SMTP_URL",
        "RESEND_API_KEY",
        "HOGSEND_JOURNEYS",
        "HOGSEND_TEMPLATES",
    } <= named
    for name in ("api", "worker", "migrate"):
        assert services[name]["env_file"] == [{"path": ".env", "required": False}], "all others"
        assert PROJECT in services[name]["volumes"], "journeys and templates"
        assert services[name]["environment"]["HOGSEND_DEV"] == "false"


def test_no_port_is_open_to_other_machines(services: dict[str, Any]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_images_are_pinned_to_a_version(services: dict[str, Any]) -> None:
    images = [service["image"] for service in services.values() if "build" not in service]
    images += re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert len(images) > 4
    for image in images:
        tag = image.replace("${HATCHET_VERSION:-", "").rpartition(":")[2]
        assert re.match(r"v?\d+\.\d+", tag), image


def test_no_secret_of_ours_has_a_default(services: dict[str, Any]) -> None:
    for name in ("api", "worker", "migrate", "timescaledb"):
        for variable, value in services[name]["environment"].items():
            if re.search(r"PASSWORD|SECRET_KEY|ADMIN_API_KEY|DATABASE_URL", variable):
                assert ":?" in value, f"{name}.{variable}"
            elif re.search(r"SECRET|API_KEY|TOKEN", variable):
                assert re.fullmatch(r"\$\{\w+:-\}", value), f"{name}.{variable}"


def test_the_image_has_stages_is_not_root_and_copies_what_is_there() -> None:
    text = (ROOT / "Dockerfile").read_text()
    stages = re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]
    assert len(stages) >= 2
    user = re.search(r"^USER (\S+)", stages[-1], flags=re.MULTILINE)
    assert user is not None
    assert user[1] not in ("0", "root")
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", text, flags=re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
            assert f"!{source}" in ignored, source


def locked(name: str) -> dict[str, str]:
    """Requirement by name, with its version and hashes."""
    entries = re.split(r"^(?=\S)", (ROOT / name).read_text(), flags=re.MULTILINE)
    return {entry.split("==")[0]: entry for entry in entries if entry.strip()}


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_locks_hold_names_versions_and_hashes_only(name: str) -> None:
    for entry in locked(name).values():
        assert re.match(r"[a-z0-9.-]+==[^ ]+ (; [^\\]+ )?\\\n", entry), entry
        assert "--hash=sha256:" in entry
        assert "://" not in entry


@pytest.mark.parametrize(
    ("name", "extras"), [("requirements.lock", ()), ("requirements-dev.lock", ("dev", "test"))]
)
def test_locks_hold_what_the_project_asks_for(name: str, extras: tuple[str, ...]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [
        *project["dependencies"],
        *(item for e in extras for item in project["optional-dependencies"][e]),
    ]
    names = {re.split(r"[\[<>=;~! ]", item)[0].lower() for item in asked}
    assert names - set(locked(name)) == set()


def test_production_runs_the_versions_that_were_tested() -> None:
    tested = locked("requirements-dev.lock")
    assert [name for name, entry in locked("requirements.lock").items() if tested[name] != entry] == []


def test_ci_runs_the_checks_and_the_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert {"make check", "make test-all"} <= set(script.read_text().splitlines())


# What the code does not import by name: uvicorn finds the first four, Starlette's forms and zoneinfo the next two.
NOT_IMPORTED = {"httptools", "uvloop", "websockets", "uvicorn", "python-multipart", "tzdata"}
MODULES = {
    "opentelemetry-api": "opentelemetry",
    "opentelemetry-exporter-otlp-proto-http": "opentelemetry.exporter.otlp.proto.http",
    "opentelemetry-sdk": "opentelemetry.sdk",
    "pyjwt": "jwt",
    "python-dotenv": "dotenv",
    "strawberry-graphql": "strawberry",
}


def test_nothing_is_depended_on_that_nothing_imports() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[\[<>=;~! ]", item)[0].lower() for item in project["dependencies"]}
    code = "\n".join(
        path.read_text() for base in ("hogsend", "worker") for path in (ROOT / base).rglob("*.py")
    )
    unused = {
        name
        for name in names - NOT_IMPORTED
        if not re.search(rf"^\s*(import|from) {MODULES.get(name, name.replace('-', '_'))}\b", code, re.M)
    }
    assert unused == set()


def test_the_version_stands_in_one_place() -> None:
    number = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    copies = [
        str(path.relative_to(ROOT))
        for base in ("hogsend", "worker")
        for path in (ROOT / base).rglob("*.py")
        if f'"{number}"' in path.read_text()
    ]
    assert copies == []
