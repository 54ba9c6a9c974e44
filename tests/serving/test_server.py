"""Does a real server answer what `predict` says, within its limits, and end when it is told?"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile import Hostile, draw, request
from networks import checkpoint_of
from PIL import Image
from running import PATIENCE, Running, all_of, running

import linnet
from linnet.architecture import MobileNetV2
from linnet.architecture.ssdlite import ssdlite
from linnet.checkpoint import load_checkpoint, save_checkpoint
from linnet.cli import main
from linnet.images import decode, find_pictures
from linnet.results import document
from linnet.results.drawing import draw as draw_result

for _package in ("starlette", "uvicorn", "python_multipart", "prometheus_client"):
    pytest.importorskip(_package, reason=f"serving needs {_package}: pip install 'linnet[serve]'")

SECONDS = "2"
"""That a slow client has in these tests."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier, a detector, and pictures."""
    folder = tmp_path_factory.mktemp("serving")
    small = checkpoint_of(
        MobileNetV2(width=0.35, resolution=64, classes=4), classes=("ant", "bee", "cat", "dog"), seed=7
    )
    save_checkpoint(small, folder / "small.safetensors")
    detector = ssdlite(backbone=MobileNetV2(width=0.35, resolution=96), classes=3)
    save_checkpoint(checkpoint_of(detector, seed=3), folder / "boxes.safetensors")
    generator = np.random.default_rng(0)
    for number, ending in enumerate(("png", "jpg", "webp")):
        pixels = generator.integers(0, 256, (90 + 7 * number, 120, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"picture{number}.{ending}")
    return folder


@pytest.fixture(scope="module")
def server(files: Path) -> Iterator[Running]:
    with running(
        files, f"small={files}/small.safetensors boxes={files}/boxes.safetensors", "--arrival-seconds", SECONDS
    ) as found:
        yield found


def picture_of(files: Path, number: int = 0) -> bytes:
    return next(files.glob(f"picture{number}.*")).read_bytes()


def agree(answers: Any, wanted: Any) -> bool:
    """Whether two documents say the same, but for the last digits of what other threads and batches add up."""
    if isinstance(wanted, list):
        return len(answers) == len(wanted) and all(map(agree, answers, wanted))
    if isinstance(wanted, dict):
        return answers.keys() == wanted.keys() and all(agree(answers[name], value) for name, value in wanted.items())
    if isinstance(wanted, float):
        return bool(answers == pytest.approx(wanted, rel=1e-4, abs=1e-4))
    return bool(answers == wanted)


def expected(files: Path, picture: bytes, name: str = "picture", model: str = "small", top: int | None = None) -> Any:
    result = linnet.load(files / f"{model}.safetensors")(picture)
    return json.loads(json.dumps(document(name, result, top)))


@pytest.mark.parametrize("model", ["small", "boxes"])
@pytest.mark.parametrize("number", range(3))
def test_a_picture_is_answered_as_predict_answers_it(server: Running, files: Path, model: str, number: int) -> None:
    picture = picture_of(files, number)
    answer = server.predict(picture, f"/v1/predict?model={model}")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert agree(answer.json, [expected(files, picture, model=model)])


def test_the_command_says_the_same(server: Running, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = files / "picture0.png"
    assert main(["predict", str(path), "--model", str(files / "small.safetensors"), "--json", "--top", "3"]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    (answered,) = server.predict(path.read_bytes(), "/v1/predict?top=3").json
    assert agree(answered["predictions"], said["predictions"])


def test_several_pictures_come_in_parts_or_as_json(server: Running, files: Path) -> None:
    pictures = {f"ein Bild {number}": picture_of(files, number) for number in range(3)}
    wanted = [expected(files, picture, name, top=2) for name, picture in pictures.items()]
    parts = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n%s\r\n' % (name.encode(), picture)
        for name, picture in pictures.items()
    )
    field = b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nnot a picture\r\n'
    body = parts + field + b"--b--\r\n"
    form = server.ask("POST", "/v1/predict?top=2", body, Content_Type="multipart/form-data; boundary=b")
    assert form.status == 200
    assert agree(form.json, wanted)
    entries = [{"file": name, "base64": base64.b64encode(picture).decode()} for name, picture in pictures.items()]
    entries[1]["base64"] = f"data:image/jpeg;base64,{entries[1]['base64']}"
    text = json.dumps({"pictures": entries, "top": 2, "model": "small"}).encode()
    answer = server.ask("POST", "/v1/predict", text, Content_Type="application/json")
    assert answer.status == 200
    assert agree(answer.json, wanted)


def test_of_several_pictures_the_readable_ones_are_answered(server: Running, files: Path) -> None:
    entries = [{"base64": base64.b64encode(content).decode()} for content in (b"no picture", picture_of(files))]
    answer = server.ask(
        "POST", "/v1/predict", json.dumps({"pictures": entries}).encode(), Content_Type="application/json"
    )
    assert answer.status == 200
    broken, good = answer.json
    assert set(broken) == {"file", "error"}
    assert "not a picture" in broken["error"]
    assert agree(good, expected(files, picture_of(files), "picture 1"))
    alone = server.predict(b"no picture")
    assert (alone.status, [set(entry) for entry in alone.json]) == (422, [{"file", "error"}])


def test_of_several_pages_the_first_is_answered_and_the_others_are_named(server: Running, files: Path) -> None:
    pages = [Image.fromarray(np.full((20, 30, 3), 60 * number, np.uint8)) for number in range(3)]
    stack = io.BytesIO()
    pages[0].save(stack, "TIFF", save_all=True, append_images=pages[1:])
    (answer,) = server.predict(stack.getvalue()).json
    assert answer.pop("note") == "The file has several pages: the first is what was looked at."
    alone = io.BytesIO()
    pages[0].save(alone, "TIFF")
    (wanted,) = server.predict(alone.getvalue()).json
    assert "note" not in wanted
    assert agree(answer["predictions"], wanted["predictions"])


@pytest.mark.slow
def test_fifty_photographs_are_answered_as_predict_answers_them(
    files: Path, sample_data: Callable[[str], Path]
) -> None:
    """Floats within 1e-4, integers to the bit, whatever ran beside them."""
    photographs = find_pictures([str(sample_data("clothing") / "test")])[::7][:50]
    with running(files, "clothing clothing-int8") as server:
        for name in ("clothing", "clothing-int8"):
            predict = linnet.load(name)
            entries = [{"base64": base64.b64encode(file.read_bytes()).decode()} for file in photographs]
            body = json.dumps({"pictures": entries, "model": name, "top": 10}).encode()
            answers = server.ask("POST", "/v1/predict", body, Content_Type="application/json").json
            for file, answer in zip(photographs, answers, strict=True):
                wanted = json.loads(json.dumps(document(answer["file"], predict(file), 10)))
                assert agree(answer, wanted) if name == "clothing" else answer == wanted, file


@pytest.mark.parametrize("model", ["small", "boxes"])
def test_a_png_is_drawn_for_who_accepts_one(server: Running, files: Path, model: str) -> None:
    picture = picture_of(files)
    answer = server.predict(picture, f"/v1/predict?model={model}", Accept="image/png")
    assert (answer.status, answer.headers["content-type"]) == (200, "image/png")
    wanted = draw_result(decode(picture), linnet.load(files / f"{model}.safetensors")(picture))
    with Image.open(io.BytesIO(answer.content)) as drawn:
        assert np.array_equal(np.asarray(drawn), np.asarray(wanted))
    unread = server.predict(b"no picture", Accept="image/png")
    assert (unread.status, list(unread.json[0])) == (422, ["file", "error"])


def test_models_are_listed_and_called_by_name(server: Running) -> None:
    models = server.ask("GET", "/v1/models").json["models"]
    assert [(each["name"], each["task"]) for each in models] == [("small", "classification"), ("boxes", "detection")]
    assert models[0]["classes"] == ["ant", "bee", "cat", "dog"]
    assert models[0]["size"] == [64, 64]
    missing = server.predict(b"x", "/v1/predict?model=large")
    assert missing.status == 404
    assert "small, boxes" in missing.json["error"]


def test_the_rest_tells_how_it_is(server: Running, files: Path) -> None:
    assert server.ask("GET", "/healthz").json == {"status": "alive"}
    assert server.ask("GET", "/readyz").json == {"status": "ready"}
    assert server.ask("HEAD", "/").content == b""
    assert b"<title>linnet</title>" in server.ask("GET", "/form/").content
    script = server.ask("GET", "/form/form.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert script.headers["x-content-type-options"] == "nosniff"
    before = server.ask("GET", "/metrics").content.decode()
    server.predict(picture_of(files))
    after = server.ask("GET", "/metrics").content.decode()
    name = 'linnet_pictures_total{model="small",outcome="answered"}'
    count = [float(text.partition(name)[2].split()[0]) if name in text else 0.0 for text in (before, after)]
    assert count[1] == count[0] + 1
    described = server.ask("GET", "/openapi.json").json
    assert described["openapi"].startswith("3.")
    for path, methods in described["paths"].items():
        for method in methods:
            assert server.ask(method.upper(), path).status not in (404, 405), path


def test_each_line_of_the_log_is_an_object(server: Running, files: Path) -> None:
    server.predict(picture_of(files))
    server.ask("GET", "/nothing%0a{}")
    asked = server.line(event="request", pictures=1, status=200)
    assert {"time", "process", "method", "path", "status", "seconds", "bytes", "client", "model"} <= set(asked)
    assert server.line(path="/nothing\n{}")["status"] == 404


@pytest.mark.parametrize(
    ("body", "kind", "status", "sentence"),
    [
        (b"", "image/png", 400, "The body is empty"),
        (b"x", "text/plain", 415, "'text/plain'"),
        (b"{", "application/json", 400, "no JSON"),
        (b"[1]", "application/json", 400, "of another form"),
        (b'{"pictures": [{"base64": "?"}]}', "application/json", 400, "Picture 0: `base64` is no base64"),
        (b'{"pictures": []}', "application/json", 400, "no picture in the body"),
        (b'{"pictures": [{"base64": "eA=="}], "top": 0}', "application/json", 400, "`top` must be"),
        (b"--b--\r\n", "multipart/form-data", 400, "no boundary"),
        (b"--b\r\n", "multipart/form-data; boundary=b", 400, "break off"),
        (b"??", "multipart/form-data; boundary=b", 400, "damaged"),
        (
            b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nother\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
            400,
            "a field `model`, which belongs into the address: /v1/predict?model=",
        ),
        (b"x" * 16_000_001, "image/png", 413, "16,000,000 bytes"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(
    server: Running, body: bytes, kind: str, status: int, sentence: str
) -> None:
    answer = server.ask("POST", "/v1/predict", body, Content_Type=kind)
    assert answer.status == status
    assert sentence in answer.json["error"]


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(server: Running) -> None:
    from hostile import png

    answer = server.predict(png(30_000, 30_000, b""))
    assert answer.status == 422
    assert "pixels" in answer.json[0]["error"]
    # Within Pillow's own limit, and above the server's.
    answer = server.predict(png(10_000, 5_001, b""))
    assert "50,000,000" in answer.json[0]["error"]


def test_the_page_stands_at_the_root_and_the_form_where_it_cannot_run_a_model(server: Running, files: Path) -> None:
    from linnet.page.folder import page_files
    from linnet.serving.page import FORM, page_of

    for name, content in page_files(load_checkpoint(files / "small.safetensors"), "small").items():
        assert server.ask("GET", f"/{name}").content == content
    form = (FORM / "index.html").read_bytes()
    assert server.ask("GET", "/form/").content == form
    assert server.ask("GET", "/engine.wasm").headers["content-type"] == "application/wasm"
    features = checkpoint_of(MobileNetV2(width=0.35, resolution=64, classes=4, input_channels=4))
    found = page_of(features, "four channels")
    assert found["/"].content == found["/form/"].content == form


def test_no_path_reaches_the_disk(server: Running) -> None:
    for path in (
        "/../pyproject.toml",
        "/form/../pyproject.toml",
        "/%2e%2e/service.py",
        "//etc/passwd",
        "/etc/passwd",
        "/index.html/",
    ):
        answer = server.ask("GET", path)
        assert (answer.status, list(answer.json)) == (404, ["error"]), path


def send(server: Running, hostile: Hostile) -> bytes:
    """What a hostile request gets."""
    with server.connect() as connection:
        try:
            connection.sendall(hostile.content)
            if hostile.then == "shut":
                connection.shutdown(1)
        except ConnectionError:
            # Refused before all of it was read.
            pass
        return b"" if hostile.then == "hang up" else all_of(connection)


def survive(server: Running, picture: bytes, count: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    good = server.predict(picture).content
    drawn = [draw(generator, picture) for _ in range(count)]
    slow = [each for each in drawn if each.then == "wait"]
    got: list[tuple[Hostile, bytes]] = []
    waiting = [threading.Thread(target=lambda each=each: got.append((each, send(server, each)))) for each in slow]
    for thread in waiting:
        thread.start()
    for number, each in enumerate(each for each in drawn if each.then != "wait"):
        got.append((each, send(server, each)))
        if number % 10 == 0:
            assert server.predict(picture).content == good, each.kind
    for thread in waiting:
        thread.join(PATIENCE)
    assert len(got) == count
    for each, answer in got:
        assert not answer or answer.startswith(b"HTTP/1.1 4"), (each.kind, answer[:200])
    assert server.predict(picture).content == good


def test_a_hundred_hostile_requests_are_refused_and_the_next_is_answered(server: Running, files: Path) -> None:
    survive(server, picture_of(files), 100, seed=1)


@pytest.mark.slow
def test_two_thousand_hostile_requests_are_refused_and_the_next_is_answered(server: Running, files: Path) -> None:
    survive(server, picture_of(files), 2000, seed=2)


def test_kept_connections_answer_one_request_after_another(server: Running, files: Path) -> None:
    whole = request(picture_of(files), "Content-Type: image/png").replace(b"Connection: close\r\n", b"")
    with server.connect() as connection:
        connection.sendall(whole * 3 + request(picture_of(files), "Content-Type: image/png"))
        assert all_of(connection).count(b"HTTP/1.1 200 OK") == 4


def test_a_slow_body_is_told_so(server: Running, files: Path) -> None:
    whole = request(picture_of(files), "Content-Type: image/png")
    with server.connect() as connection:
        connection.sendall(whole[:-1])
        assert b"The body did not arrive within 2 seconds" in all_of(connection)
    with server.connect() as connection:
        connection.sendall(whole[:30])
        assert b"408" in all_of(connection)


def test_a_token_is_asked_for(files: Path) -> None:
    with running(files, files / "small.safetensors", "--token", "open sesame") as server:
        picture = picture_of(files)
        for headers in ({}, {"Authorization": "Bearer open"}, {"Authorization": "open sesame"}):
            answer = server.predict(picture, **headers)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        for path in ("/v1/models", "/metrics"):
            assert server.ask("GET", path).status == 401
        for path in ("/", "/healthz", "/readyz", "/openapi.json"):
            assert server.ask("GET", path).status == 200
        assert server.predict(picture, Authorization="Bearer open sesame").status == 200
        assert "open sesame" not in json.dumps(server.log)


def test_beyond_the_queue_there_is_503_and_when_to_come_again(files: Path) -> None:
    from linnet.serving.limits import Limits, Refusal
    from linnet.serving.service import Service

    picture = picture_of(files)
    service = Service({"small": linnet.load(files / "small.safetensors")}, {}, Limits(queue=3))
    held = threading.Event()

    async def ask() -> tuple[list[Any], Refusal, Refusal, list[Any]]:
        for _ in range(os.cpu_count() or 1):
            service.threads.decoders.submit(held.wait)
        first = asyncio.create_task(service.answer("small", [picture, picture]))
        await asyncio.sleep(0)
        with pytest.raises(Refusal) as second:
            await service.answer("small", [picture, picture])
        third = asyncio.create_task(service.answer("small", [picture]))
        await asyncio.sleep(0)
        with pytest.raises(Refusal) as fourth:
            await service.answer("small", [picture])
        held.set()
        answered = await first
        await third
        return answered, second.value, fourth.value, await service.answer("small", [picture] * 3)

    answered, *refused, after = asyncio.run(ask())
    service.close()
    assert len(answered) == 2
    assert len(after) == 3
    for refusal in refused:
        assert isinstance(refusal, Refusal)
        assert refusal.status == 503
        assert int(refusal.headers["Retry-After"]) >= 1
    assert service.threads.room.taken == 0


def test_who_gets_no_answer_in_time_is_told_and_leaves_nothing_behind(files: Path) -> None:
    from linnet.serving.limits import Limits, Refusal
    from linnet.serving.service import Service

    service = Service({"small": linnet.load(files / "small.safetensors")}, {}, Limits(queue=3, seconds=0.01))
    held = threading.Event()

    async def ask() -> Refusal:
        for _ in range(os.cpu_count() or 1):
            service.threads.decoders.submit(held.wait)
        with pytest.raises(Refusal) as refused:
            await service.answer("small", [picture_of(files)])
        assert service.threads.room.taken == 1
        held.set()
        while service.threads.room.taken:
            await asyncio.sleep(0.01)
        return refused.value

    refusal = asyncio.run(ask())
    service.close()
    assert (refusal.status, service.pipelines["small"].batches) == (503, 0)


def keep_asking(server: Running, whole: bytes, answers: list[bytes], begun: threading.Semaphore) -> None:
    """Asks on kept connections until there is no server; of a connection that closed the answer is empty."""
    while True:
        try:
            with server.connect() as connection:
                closing = b""
                while b"connection: close" not in closing.lower():
                    connection.sendall(whole)
                    begun.release()
                    closing = one_answer(connection)
                    answers.append(closing)
                    if not closing:
                        break
        except OSError:
            return


def one_answer(connection: Any) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received or len(received.partition(b"\r\n\r\n")[2]) < length_of(received):
        try:
            part = connection.recv(1 << 16)
        except ConnectionError:
            part = b""
        if not part:
            return received
        received += part
    return received


def length_of(answer: bytes) -> int:
    return int(answer.lower().partition(b"content-length:")[2].split()[0])


def test_a_stop_under_load_answers_what_was_taken(files: Path) -> None:
    whole = request(picture_of(files), "Content-Type: image/png").replace(b"Connection: close\r\n", b"")
    with running(files, files / "small.safetensors") as server:
        answers: list[bytes] = []
        begun = threading.Semaphore(0)
        clients = [threading.Thread(target=keep_asking, args=(server, whole, answers, begun)) for _ in range(16)]
        for client in clients:
            client.start()
        for _ in range(60):
            assert begun.acquire(timeout=PATIENCE)
        assert server.stop() == 0
        for client in clients:
            client.join(PATIENCE)
    whole_answers = [answer for answer in answers if answer]
    assert all(answer.startswith(b"HTTP/1.1 200 OK") for answer in whole_answers)
    assert all(len(answer.partition(b"\r\n\r\n")[2]) == length_of(answer) for answer in whole_answers)
    # Who is told so sends nothing more to a connection that is being closed.
    assert any(b"connection: close" in answer.lower() for answer in whole_answers)
    told = Counter(line["event"] for line in server.log)
    assert told["request"] == len(whole_answers) >= 44
    assert (told["stopping"], told["stopped"]) == (1, 1)


def test_two_workers_share_a_port_and_count_together(files: Path) -> None:
    with running(files, files / "small.safetensors", "--workers", "2") as server:
        picture = picture_of(files)
        for _ in range(20):
            assert agree(server.predict(picture).json, [expected(files, picture)])
        count = server.ask("GET", "/metrics").content.decode()
        assert 'linnet_pictures_total{model="small",outcome="answered"} 20.0' in count
        workers = {line["process"] for line in server.log}
        assert workers <= set(children(server.process.pid))
        assert server.stop() == 0
    assert sum(line["event"] == "stopped" for line in server.log) == 2


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced(files: Path) -> None:
    with running(files, files / "small.safetensors", "--workers", "2") as server:
        picture = picture_of(files)
        assert server.predict(picture).status == 200
        os.kill(server.line(event="request")["process"], signal.SIGKILL)
        server.line(event="restarting")
        for _ in range(10):
            assert server.predict(picture).status == 200
        assert server.stop() == 0


def children(process: int) -> list[int]:
    text = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=True
    ).stdout
    return [int(number) for number in text.split()]


@pytest.mark.parametrize(
    ("flags", "code", "sentence"),
    [
        (["--port", "70000"], 2, "--port (=70000) must be from 0 to 65535"),
        (["--queue", "0"], 2, "--queue (=0) must be at least 1"),
        (["--seconds", "0"], 2, "--seconds (=0)"),
        (["--token", "ä"], 2, "--token must be of printable ASCII"),
        (["--host", "a" * 300], 1, "is not known here (it is no name)"),
        # Of a network for documentation (RFC 5737): no machine has it.
        (["--host", "192.0.2.1"], 1, "Nothing can be served at 192.0.2.1, port 8000"),
        (["--model", "nothing"], 1, "There is no model 'nothing'"),
        (["--model", "a=cifar10", "a=clothing"], 2, "names two models 'a'"),
    ],
)
def test_wrong_usage_is_said_before_anything_is_served(
    flags: list[str], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = flags if "--model" in flags else [*flags, "--model", "cifar10"]
    assert main(["serve", *given]) == code
    assert sentence in capsys.readouterr().err


def test_a_port_in_use_is_said(server: Running, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--model", str(files / "small.safetensors"), "--port", str(server.port)]) == 1
    assert f"Port {server.port} of 127.0.0.1 is in use; --port takes another one." in capsys.readouterr().err


def test_serving_loads_no_torch() -> None:
    modules = "linnet.serving.processes, linnet.serving.application, linnet.serving.service, linnet.predictor"
    code = f"import sys, {modules}; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
