"""Does the Dockerfile name what is there? Docker itself is not needed for that."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib

import pytest
from conftest import ROOT

from linnet.cli.serve import Options
from linnet.cli.terminal import parse

LINES = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
IGNORED = (ROOT / ".dockerignore").read_text().split()


def arguments_of(instruction: str) -> list[str]:
    """What stands behind each line of an instruction."""
    return [line.split(maxsplit=1)[1] for line in LINES if line.startswith(f"{instruction} ")]


def test_what_is_copied_is_there_and_sent_to_the_builder() -> None:
    for copied in arguments_of("COPY"):
        if copied.startswith("--from"):
            continue
        for name in copied.split()[:-1]:
            assert (ROOT / name).exists(), name
            assert f"!{name}" in IGNORED, f"{name} is left out by .dockerignore"
    assert IGNORED[0] == "*"


def test_all_packages_of_the_extra_are_installed() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = {re.split("[>=<]", each)[0] for each in extras["serve"]} | {"numpy", "Pillow", "safetensors", "tyro"}
    installed = {word for line in arguments_of("RUN") if "pip install" in line for word in shlex.split(line)}
    assert wanted <= installed


def test_the_image_serves_what_the_command_understands() -> None:
    (entry,), (command,) = arguments_of("ENTRYPOINT"), arguments_of("CMD")
    program, name, *flags = json.loads(entry)
    assert (program, name) == ("linnet", "serve")
    options = parse(Options, "serve", "", [*flags, *json.loads(command)])
    assert options.host == "0.0.0.0"
    assert str(options.port) in arguments_of("EXPOSE")


def test_a_server_needs_no_more_than_the_image_has() -> None:
    """Everything else is hidden from it, and it loads all that it serves with."""
    left_out = {
        "faster_coco_eval",
        "tflite",
        "flatbuffers",
        "yaml",
        "threadpoolctl",
        "rich",
        "torch",
        "onnx",
        "pyarrow",
    }
    code = f"""
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {left_out!r}:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Hidden())
from linnet.cli.serve import Options, make_service
import linnet.serving.application, linnet.serving.processes
service = make_service(Options(), {{"cifar10": {str(ROOT / "src/linnet/zoo/cifar10.safetensors")!r}}}, None)
linnet.serving.application.application(service)
assert service.metrics.text()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("status", [200, 503])
def test_the_health_check_is_right(status: int) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    (check,) = arguments_of("HEALTHCHECK")
    program, flag, code = json.loads(check[check.index("[") :])
    assert program == "python"
    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        code = code.replace(":8000", f":{server.server_port}")
        done = subprocess.run([sys.executable, flag, code], capture_output=True, check=False)
    finally:
        server.shutdown()
        server.server_close()
    assert (done.returncode == 0) == (status == 200)
