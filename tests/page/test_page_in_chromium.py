"""Does the page say in Chromium what `linnet predict` says, also by camera and offline, and what is wrong if any is?"""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import READY, browser, playwright, served, write_film
from numpy.typing import NDArray
from PIL import Image
from segmenters import segmenter

import linnet
from linnet.architecture import MobileNetV2
from linnet.architecture.deeplab import deeplab
from linnet.export import export
from linnet.predictor import Predictor
from linnet.results import Classification, Segmentation
from linnet.results.overlay import palette

pytestmark = pytest.mark.slow

MODELS = ("clothing", "clothing-int8", "blood-cells", "blood-cells-int8")
PICTURES = 50
SECONDS = 60_000
"""Milliseconds that a busy machine may take."""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a page of each model."""
    folder = tmp_path_factory.mktemp("pages")
    for model in MODELS:
        checkpoint = linnet.load(model, threads=1).checkpoint
        export(checkpoint, folder / model, format="page")
    return folder


@pytest.fixture(scope="module")
def address(pages: Path) -> Iterator[str]:
    """Of a server of these pages."""
    with served(pages) as found:
        yield found


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A camera before which a disc moves."""
    path = tmp_path_factory.mktemp("film") / "camera.y4m"
    write_film(path, [disc(place) for place in (120, 320, 520)])
    return path


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    """What starts browsers."""
    with playwright() as found:
        yield found


@pytest.fixture(scope="module")
def chromium(driver: Any, film: Path) -> Iterator[Any]:
    """A browser with that camera, which may be used."""
    camera = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    with browser(driver, *camera, f"--use-file-for-fake-video-capture={film}") as found:
        yield found


@pytest.fixture
def page(chromium: Any) -> Iterator[Any]:
    """A page of a browser that has seen nothing yet; what it complains of fails the test."""
    context = chromium.new_context()
    found = context.new_page()
    wrong: list[str] = []
    found.on("pageerror", lambda error: wrong.append(str(error)))
    yield found
    context.close()
    assert wrong == []


def disc(place: int) -> NDArray[np.uint8]:
    """A red disc on grey, 640 x 480."""
    y, x = np.mgrid[:480, :640]
    inside = (x - place) ** 2 + (y - 240) ** 2 < 90**2
    return np.where(inside[..., None], (200, 40, 60), (180, 180, 175)).astype(np.uint8)


def drawn(count: int) -> list[Image.Image]:
    """Pictures for where there are no real ones: coloured discs on gradients, in all sizes."""
    generator = np.random.default_rng(0)
    images = []
    for _ in range(count):
        height, width = generator.integers(40, 700, 2)
        y, x = np.mgrid[:height, :width]
        pixels = np.stack([x * 255 / width, y * 255 / height, (x + y) % 256], axis=2)
        for _ in range(5):
            place = generator.uniform(0, 1, 2) * (height, width)
            near = (y - place[0]) ** 2 + (x - place[1]) ** 2 < generator.uniform(100, 20_000)
            pixels[near] = generator.uniform(0, 255, 3)
        images.append(Image.fromarray(pixels.astype(np.uint8)))
    return images


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Path]]:
    """Real pictures for a model where they are, drawn ones elsewhere, as PNG."""
    from conftest import SAMPLES

    folder, found = tmp_path_factory.mktemp("pictures"), {}

    def give(model: str) -> list[Path]:
        name = "bccd-coco" if model.startswith("blood") else "clothing"
        if name not in found:
            real = sorted((SAMPLES / name).rglob("*.jp*g"))
            real = real[:: max(len(real) // PICTURES, 1)][:PICTURES]
            images = [Image.open(path).convert("RGB") for path in real] or drawn(PICTURES)
            found[name] = [folder / f"{name}-{number}.png" for number in range(len(images))]
            for path, image in zip(found[name], images, strict=True):
                image.save(path, compress_level=1)
        return found[name]

    return give


LOOK = """async (pictures) => {
  const { Looker } = await import("./looker.js");
  const { bitmapOf } = await import("./pixels.js");
  const looker = new Looker();
  await looker.open("model.safetensors", () => {});
  const answers = [];
  for (const picture of pictures) {
    const bytes = Uint8Array.from(atob(picture), (letter) => letter.charCodeAt(0));
    answers.push(await looker.look(await bitmapOf(new Blob([bytes])), null));
  }
  return answers;
}"""
"""What the page's own worker says of pictures, with all digits."""


@pytest.mark.parametrize("model", MODELS)
def test_answers_are_those_of_predict(model: str, page: Any, address: str, files: Callable[[str], list[Path]]) -> None:
    page.goto(f"{address}/{model}/")
    predictor, paths = linnet.load(model, threads=1), files(model)
    assert len(paths) >= PICTURES
    answers = page.evaluate(LOOK, [base64.b64encode(path.read_bytes()).decode() for path in paths])
    largest = 0 if model.endswith("int8") else 1e-4
    for path, answer in zip(paths, answers, strict=True):
        expected = predictor(path)
        found = answer["classes"] if "classes" in answer else answer["found"]
        best = expected.top(5) if isinstance(expected, Classification) else expected.top()
        assert [each["index"] for each in found] == [each.index for each in best], path.name
        scores = np.array([each["score"] for each in found], np.float32)
        assert np.abs(scores - np.array([each.score for each in best], np.float32)).max(initial=0) <= largest
        if not isinstance(expected, Classification):
            boxes = np.array([each["box"] for each in found], np.float32).reshape(-1, 4)
            boxes *= np.array([answer["width"], answer["height"]] * 2, np.float32)
            assert np.abs(boxes - expected.boxes).max(initial=0) <= (0 if largest == 0 else 0.01)


def png(image: Image.Image) -> bytes:
    """A picture's file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def chosen(name: str, image: Image.Image) -> dict[str, Any]:
    """A file as one chooses it."""
    return {"name": name, "mimeType": "image/png", "buffer": png(image)}


def of_all_kinds(image: Image.Image) -> dict[str, bytes]:
    """A picture as files of the kinds that people have."""
    turned = Image.Exif()
    turned[0x0112] = 6  # by a quarter
    faded = image.copy()
    faded.putalpha(Image.linear_gradient("L").resize(image.size))
    kinds: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        "turned": (image, "JPEG", {"exif": turned}),
        "progressive": (image, "JPEG", {"progressive": True}),
        "grey": (image.convert("L"), "PNG", {}),
        "palette": (image.convert("P"), "PNG", {}),
        "transparent": (faded, "PNG", {}),
        "webp": (image, "WEBP", {"lossless": True}),
        "gif": (image, "GIF", {}),
        "bmp": (image, "BMP", {}),
    }
    files = {}
    for name, (picture, kind, options) in kinds.items():
        file = io.BytesIO()
        picture.save(file, kind, **options)
        files[name] = file.getvalue()
    return files


def test_files_of_all_kinds_are_seen_as_predict_sees_them(page: Any, address: str) -> None:
    page.goto(f"{address}/clothing/")
    predictor, files = linnet.load("clothing", threads=1), of_all_kinds(drawn(4)[3])
    answers = page.evaluate(LOOK, [base64.b64encode(content).decode() for content in files.values()])
    for (name, content), answer in zip(files.items(), answers, strict=True):
        expected = predictor(content)
        for found in answer["classes"]:
            # What is half transparent is rounded in the browser's own way.
            allowed = 0.01 if name == "transparent" else 1e-4
            assert abs(found["score"] - expected.scores[found["index"]]) <= allowed, name


SEGMENTER = deeplab(backbone=MobileNetV2(width=0.35), resolution=(96, 128), classes=4, variant="modern")
PIXELS = """() => {
  const canvas = document.getElementById("overlay");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  const seen = [];
  for (const y of [0.2, 0.5, 0.8]) {
    for (const x of [0.1, 0.3, 0.5, 0.7, 0.9]) {
      const at = 4 * (Math.floor(y * canvas.height) * canvas.width + Math.floor(x * canvas.width));
      seen.push([y, x, ...data.subarray(at, at + 4)]);
    }
  }
  return seen;
}"""
"""Places on the overlay in shares of its sides, with their red, green, blue and opacity."""


def test_a_label_map_is_laid_over_the_picture_and_the_camera(page: Any, tmp_path: Path) -> None:
    names = ("background", "road", "sky", "tree")
    for name in ("float32", "int8"):
        checkpoint = segmenter(SEGMENTER, name, classes=names)
        export(checkpoint, tmp_path / name, format="page")
        predictor = Predictor(checkpoint, threads=1)
        images = [*drawn(3), Image.fromarray(disc(320))]
        with served(tmp_path / name) as address:
            page.goto(address)
            page.wait_for_selector(READY, timeout=SECONDS)
            answers = page.evaluate(LOOK_AT_LABELS, [base64.b64encode(png(image)).decode() for image in images])
            for image, answer in zip(images, answers, strict=True):
                expected = predictor(image)
                assert isinstance(expected, Segmentation)
                labels = np.frombuffer(base64.b64decode(answer["labels"]), np.uint8).reshape(expected.labels.shape)
                # In float32 another order of sums may decide between two equals.
                assert (labels == expected.labels).mean() >= (1 if name == "int8" else 0.999)
            page.set_input_files("#file", [chosen("disc.png", images[-1])])
            page.wait_for_selector("#results li", timeout=SECONDS)
            _check_legend(page, expected)
            _check_tints(page, expected)
            page.click("#camera")
            until(page, "document.getElementById('times').textContent.includes('frames a second')")
            assert any(opacity > 0 for *_, opacity in page.evaluate(PIXELS))
            page.click("#camera")


def _check_legend(page: Any, expected: Segmentation) -> None:
    regions = sorted(expected.top(), key=lambda region: region.index)
    assert len(regions) > 1
    assert page.locator("#results .label").all_inner_texts() == [region.label for region in regions]
    shares = [float(share.rstrip("%")) for share in page.locator("#results .score").all_inner_texts()]
    assert np.abs(np.array(shares) - [100 * region.share for region in regions]).max() < 0.11


def _check_tints(page: Any, expected: Segmentation) -> None:
    """Away from the lines between classes a place has its class's colour, and the background none."""
    height, width = expected.labels.shape
    checked = 0
    for y, x, *colour in page.evaluate(PIXELS):
        row, column = int(y * height), int(x * width)
        around = expected.labels[max(row - 4, 0) : row + 5, max(column - 4, 0) : column + 5]
        if (around != around[0, 0]).any():
            continue
        checked += 1
        index = int(around[0, 0])
        tint = (0, 0, 0, 0) if expected.name(index) == "background" else (*palette()[index].tolist(), 128)
        assert np.abs(np.array(colour) - tint).max() <= 3
    assert checked > 0


LOOK_AT_LABELS = LOOK.replace(
    "  return answers;",
    """  const text = (bytes) => {
    let letters = "";
    for (const byte of bytes) letters += String.fromCharCode(byte);
    return btoa(letters);
  };
  return answers.map(({ labels }) => ({ labels: text(labels) }));""",
)
"""The same with a segmenter's labels as base64."""


def best_line(page: Any) -> str:
    """The first line of the results."""
    page.wait_for_selector("#results li", timeout=SECONDS)
    return str(page.inner_text("#results li:first-child .label"))


def test_pictures_are_chosen_looked_at_and_explained(page: Any, address: str) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/clothing-int8/")
    page.wait_for_selector(READY, timeout=SECONDS)
    assert page.title() == "clothing-int8"
    assert "never leave this device" in page.inner_text("header")
    images = drawn(3)
    page.set_input_files("#file", [chosen(f"{number}.png", image) for number, image in enumerate(images)])
    predictor = linnet.load("clothing-int8", threads=1)
    first, second = (predictor(np.asarray(image)) for image in images[:2])
    assert best_line(page) == first.label
    lines = page.locator("#results li").all()
    assert len(lines) == 5
    assert lines[0].locator(".score").inner_text() == f"{first.score:.1%}"
    assert "ms" in page.inner_text("#times")
    # By keyboard: the second picture, then its best line, and back.
    page.locator("#strip button").nth(1).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#picture[aria-label='1.png']", timeout=SECONDS)
    until(page, f"document.querySelector('#results .label').textContent === {second.label!r}")
    line = page.locator("#results button").first
    for shown in ("true", "false"):
        line.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector(f"#results button[aria-pressed='{shown}'] >> nth=0")
        until(page, f"document.getElementById('note').textContent.includes('exactly') === {shown}")
        painted = "() => { const c = document.getElementById('overlay'); return c.width > 0 && c.getContext('2d')"
        painted += ".getImageData(0, 0, c.width, c.height).data.some((value) => value > 0); }"
        assert page.evaluate(painted) == (shown == "true")
    # What a screen reader finds.
    tree = page.locator("body").aria_snapshot()
    for said in ("Choose pictures", 'button "Camera"', "What the model says", "1.png, picture 2 of 3", "listitem"):
        assert said in tree, tree
    # Nothing went anywhere else.
    assert asked
    assert all(url.startswith((address, "blob:", "data:")) for url in asked), asked


def test_pictures_are_pasted_and_dropped(page: Any, address: str) -> None:
    page.goto(f"{address}/blood-cells-int8/")
    page.wait_for_selector(READY, timeout=SECONDS)
    give = """([kind, target, bytes]) => {
      const transfer = new DataTransfer();
      if (bytes) transfer.items.add(new File([new Uint8Array(bytes)], "given.png", { type: "image/png" }));
      const Kind = kind === "paste" ? ClipboardEvent : DragEvent;
      const data = kind === "paste" ? { clipboardData: transfer } : { dataTransfer: transfer };
      document.body.dispatchEvent(new Kind(kind, { bubbles: true, cancelable: true, ...data }));
    }"""
    for kind in ("paste", "drop"):
        page.evaluate(give, [kind, "body", None])
        until(page, "document.getElementById('status').textContent.includes('That was no picture')")
        page.evaluate(give, [kind, "body", list(png(drawn(1)[0]))])
        page.wait_for_selector("#picture[aria-label='given.png']", timeout=SECONDS)
        until(page, "document.getElementById('status').textContent === ''")


def test_the_camera_is_looked_through(page: Any, address: str) -> None:
    page.goto(f"{address}/clothing-int8/")
    page.wait_for_selector(READY, timeout=SECONDS)
    page.click("#camera")
    until(page, "document.getElementById('times').textContent.includes('frames a second')")
    predictor = linnet.load("clothing-int8", threads=1)
    assert best_line(page) in {predictor(disc(place)).label for place in (120, 320, 520)}
    assert page.inner_text("#camera") == "Stop camera"
    # Live, with a map over it.
    page.click("#results li:first-child button")
    until(page, "document.getElementById('note').textContent.includes('exactly')")
    page.click("#camera")
    assert page.inner_text("#camera") == "Camera"
    assert page.evaluate("document.getElementById('video').srcObject === null")


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_screen(width: int, chromium: Any, address: str) -> None:
    for scheme in ("light", "dark"):
        context = chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page = context.new_page()
        page.goto(f"{address}/clothing-int8/")
        page.wait_for_selector(READY, timeout=SECONDS)
        page.set_input_files("#file", [chosen(f"{number}.png", image) for number, image in enumerate(drawn(12))])
        best_line(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        colours = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
        ground, ink = (sum(map(int, colour[4:-1].split(","))) for colour in colours)
        assert (ground > ink) == (scheme == "light")
        context.close()


def test_it_works_without_a_network_after_the_first_visit(pages: Path, chromium: Any) -> None:
    context = chromium.new_context()
    page = context.new_page()
    with served(pages) as address:
        page.goto(f"{address}/clothing-int8/")
        until(page, "document.getElementById('kept').textContent.includes('without a network')")
    # The server is gone.
    page.reload()
    page.wait_for_selector(READY, timeout=SECONDS)
    image = drawn(1)[0]
    page.set_input_files("#file", [chosen("one.png", image)])
    assert best_line(page) == linnet.load("clothing-int8", threads=1)(np.asarray(image)).label
    context.close()


def until(page: Any, condition: str) -> None:
    """Waits for a condition. Not in the page: its rules let nobody evaluate texts there."""
    end = time.monotonic() + SECONDS / 1000
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"{condition}: {page.inner_text('body')}"
        time.sleep(0.03)


def status(page: Any, part: str) -> None:
    """Waits for a sentence."""
    until(page, f"document.getElementById('status').textContent.includes({part!r})")
    assert "error" in (page.get_attribute("#status", "class") or "")


def test_what_is_no_picture_is_named_and_the_others_are_looked_at(page: Any, address: str) -> None:
    page.goto(f"{address}/clothing-int8/")
    page.wait_for_selector(READY, timeout=SECONDS)
    wrong = {"name": "notes.png", "mimeType": "image/png", "buffer": b"no picture"}
    page.set_input_files("#file", [wrong])
    status(page, "“notes.png” is no picture that this browser can read")
    page.set_input_files("#file", [wrong, chosen("one.png", drawn(1)[0])])
    best_line(page)
    status(page, "“notes.png” is no picture")


def test_a_camera_that_is_not_there_or_not_allowed(address: str, driver: Any) -> None:
    with browser(driver) as found:
        page = found.new_page()
        page.goto(f"{address}/clothing-int8/")
        page.wait_for_selector(READY, timeout=SECONDS)
        page.click("#camera")
        status(page, "There is no camera here. Choose a picture instead.")
    with browser(driver, "--use-fake-device-for-media-stream", "--deny-permission-prompts") as found:
        page = found.new_page()
        page.goto(f"{address}/clothing-int8/")
        page.wait_for_selector(READY, timeout=SECONDS)
        page.click("#camera")
        status(page, "The camera may not be used: allow it")


def test_a_page_that_is_not_from_https_has_no_camera(page: Any, address: str) -> None:
    page.add_init_script("Object.defineProperty(navigator, 'mediaDevices', { value: undefined });")
    page.goto(f"{address}/clothing-int8/")
    page.wait_for_selector(READY, timeout=SECONDS)
    page.click("#camera")
    status(page, "Browsers give cameras only to pages from https://")


BROKEN: dict[str, tuple[str, Callable[[bytes], bytes | None], str]] = {
    "no vectors": (
        "**/engine.js",
        lambda content: content + b"\nWebAssembly.validate = () => false;\n",
        "This browser has no WebAssembly SIMD",
    ),
    "a cut model": ("**/model.safetensors", lambda content: content[:5000], "The model's file is damaged"),
    "no model": ("**/model.safetensors", lambda content: None, "could not load its files"),
    "no worker": ("**/worker.js", lambda content: None, "could not load its files"),
    "no memory": (
        "**/engine.js",
        lambda content: content.replace(b"this.exports.malloc(Math.max(count, 1))", b"0"),
        "too big for the memory",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_missing_or_damaged_is_said(kind: str, chromium: Any, address: str, pages: Path) -> None:
    pattern, change, sentence = BROKEN[kind]
    context = chromium.new_context()
    page = context.new_page()

    def answer(route: Any) -> None:
        name = route.request.url.split("/")[-1]
        content = change((pages / "clothing-int8" / name).read_bytes())
        if content is None:
            route.fulfill(status=404, body="")
        else:
            kind = "text/javascript" if name.endswith("js") else "application/octet-stream"
            route.fulfill(status=200, body=content, content_type=kind)

    context.route(pattern, answer)
    page.goto(f"{address}/clothing-int8/")
    status(page, sentence)
    context.close()
