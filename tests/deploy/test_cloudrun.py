"""The Dockerfile is clean by hadolint; service.yaml is what Cloud Run takes and what this router reads."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
SERVICE: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "cloudrun" / "service.yaml").read_text("utf-8"))
HADOLINT = Path(sys.executable).with_name("hadolint")


def lint(text: str) -> str:
    done = subprocess.run([HADOLINT, "-"], input=text, capture_output=True, text=True, check=False, timeout=30)
    return done.stdout


# --- the image ------------------------------------------------------------------------------------


def test_hadolint_finds_nothing_and_would() -> None:
    assert lint(DOCKERFILE) == ""
    assert "DL3007" in lint("FROM python:latest\nRUN true\n")


def test_both_stages_are_one_image_pinned_by_digest() -> None:
    assert re.search(r"^ARG PYTHON=python:3\.13\.\d+-slim-trixie@sha256:[0-9a-f]{64}$", DOCKERFILE, re.MULTILINE)
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${PYTHON}", "${PYTHON}"]


def test_it_runs_as_nobody_by_the_exec_form_what_cloud_run_is_started_by() -> None:
    assert "USER 65532:65532" in DOCKERFILE
    assert 'ENTRYPOINT ["/opt/pointsman/bin/python", "-m", "handlers.cloud_run"]' in DOCKERFILE
    assert (ROOT / "handlers" / "cloud_run.py").exists()


def test_all_that_is_copied_is_let_through_and_nothing_else() -> None:
    copied = {name.removeprefix("./") for name in re.findall(r"^COPY (?!--from)(\S+)", DOCKERFILE, re.MULTILINE)}
    ignore = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert {line[1:] for line in ignore if line.startswith("!")} == copied
    assert "*" in ignore


# --- the service ----------------------------------------------------------------------------------


def exactly(required: tuple[str, ...] = (), **properties: object) -> dict[str, object]:
    """Return the schema of an object with these fields and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def among(*names: str) -> dict[str, object]:
    """Return the schema of annotations: texts, of these names alone."""
    return exactly(**{name: {"type": "string"} for name in names})


TEXT, WHOLE = {"type": "string"}, {"type": "integer", "minimum": 0}
HTTP_PROBE = exactly(
    ("httpGet",),
    httpGet=exactly(("path",), path={"type": "string", "pattern": "^/"}, port=WHOLE),
    periodSeconds={"type": "integer", "minimum": 1, "maximum": 3600},
    timeoutSeconds={"type": "integer", "minimum": 1, "maximum": 3600},
    failureThreshold={"type": "integer", "minimum": 1},
    initialDelaySeconds={"type": "integer", "minimum": 0, "maximum": 240},
)
CONTAINER = exactly(
    ("image",),
    image=TEXT,
    ports={"type": "array", "maxItems": 1, "items": exactly(name={"enum": ["http1", "h2c"]}, containerPort=WHOLE)},
    resources=exactly(limits=exactly(cpu=TEXT, memory=TEXT)),
    env={
        "type": "array",
        "items": {
            "oneOf": [
                exactly(("name", "value"), name=TEXT, value=TEXT),
                exactly(
                    ("name", "valueFrom"),
                    name=TEXT,
                    valueFrom=exactly(("secretKeyRef",), secretKeyRef=exactly(("name", "key"), name=TEXT, key=TEXT)),
                ),
            ]
        },
    },
    startupProbe=HTTP_PROBE,
    livenessProbe=HTTP_PROBE,
)
# The part that is used of Knative's Service and of the annotations in Google's "Cloud Run YAML reference" (v1); strict,
# so that a typo is found here and not ignored there. Every field name was also held against the Service of Knative
# Serving 1.17 (2026-11).
SCHEMA = exactly(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "serving.knative.dev/v1"},
    kind={"const": "Service"},
    metadata=exactly(("name",), name=TEXT, annotations=among("run.googleapis.com/ingress")),
    spec=exactly(
        ("template",),
        template=exactly(
            ("spec",),
            metadata=exactly(
                annotations=among(
                    "autoscaling.knative.dev/minScale",
                    "autoscaling.knative.dev/maxScale",
                    "run.googleapis.com/startup-cpu-boost",
                    "run.googleapis.com/cpu-throttling",
                )
            ),
            spec=exactly(
                ("containers",),
                serviceAccountName=TEXT,
                containerConcurrency={"type": "integer", "minimum": 1, "maximum": 1000},
                timeoutSeconds={"type": "integer", "minimum": 1, "maximum": 3600},
                containers={"type": "array", "minItems": 1, "maxItems": 1, "items": CONTAINER},
            ),
        ),
        traffic={"type": "array", "items": exactly(latestRevision={"type": "boolean"}, percent=WHOLE)},
    ),
)


def test_the_service_is_what_cloud_run_takes() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator(SCHEMA).validate(SERVICE)


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        (("spec", "template", "spec"), "containerConcurency", 80),
        (("spec", "template", "spec"), "timeoutSeconds", 3601),
        (("spec", "template", "metadata", "annotations"), "run.googleapis.com/startup-cpu-bost", "true"),
        (("spec", "template", "metadata", "annotations"), "run.googleapis.com/startup-cpu-boost", True),
    ],
)
def test_a_slip_in_it_would_be_found(path: tuple[str, ...], name: str, value: object) -> None:
    changed = yaml.safe_load(yaml.safe_dump(SERVICE))
    found = changed
    for step in path:
        found = found[step]
    found[name] = value
    with pytest.raises(ValidationError):
        Draft202012Validator(SCHEMA).validate(changed)


def test_it_sets_what_the_router_reads_and_asks_where_the_router_answers() -> None:
    container = SERVICE["spec"]["template"]["spec"]["containers"][0]
    settings = (ROOT / "runtime" / "serve" / "settings.py").read_text("utf-8")
    ours = [entry["name"] for entry in container["env"] if entry["name"].startswith("POINTSMAN_")]
    assert ours
    for name in ours:
        assert f'"{name}"' in settings
    assert container["startupProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    port = container["ports"][0]["containerPort"]
    assert {container[probe]["httpGet"]["port"] for probe in ("startupProbe", "livenessProbe")} == {port}
    assert f"PORT={port}" in DOCKERFILE


def test_nothing_secret_is_written_into_it() -> None:
    for entry in SERVICE["spec"]["template"]["spec"]["containers"][0]["env"]:
        assert "valueFrom" in entry or not entry["name"].endswith(("_KEY", "_KEYS"))
