"""Is a cluster that is not there, or that is another, a sentence?"""

from __future__ import annotations

import socket
import sys
import threading
from importlib.util import find_spec

import pytest

from linnet.cluster import connect
from linnet.cluster.connecting import ray_module

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray: pip install 'linnet[cluster]'")


@needs_ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "nonsense", "127.0.0.1:x"])
def test_an_address_without_a_cluster_is_a_sentence(address: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = address.format(port=free.getsockname()[1])
    said = r"There is no Ray cluster at .*`ray start --head|must be `local`, `auto` or HOST:PORT"
    with pytest.raises((OSError, ValueError), match=said), connect(place):
        pass


@needs_ray
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_what_listens_and_is_no_cluster_is_a_sentence(answer: bytes) -> None:
    """Ray itself would wait for it for minutes."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        def reply() -> None:
            there, _ = other.accept()
            with there:
                there.recv(100)
                there.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        with (
            pytest.raises(OSError, match="what listens there is something else"),
            connect(f"127.0.0.1:{other.getsockname()[1]}"),
        ):
            pass
        thread.join()


@needs_ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (RuntimeError, "Version mismatch: The cluster was started with:\n Ray: 2.9.0", "runs other versions .* 2.9.0"),
        (ConnectionError, "Could not find any running Ray instance.\nStart one.", "There is no Ray cluster at 'auto'"),
        (Exception, "The current node timed out during startup. This could happen because", r"Ray did not start \(The"),
    ],
)
def test_what_ray_refuses_is_a_sentence(
    kind: type[Exception], text: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Ray says it, which another version of it would be needed for."""

    def refuse(**options: object) -> None:
        raise kind(text)

    monkeypatch.setattr(ray_module(), "init", refuse)
    with pytest.raises((OSError, ValueError), match=said) as caught, connect("auto"):
        pass
    assert "\n" not in str(caught.value)


@needs_ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_that_wants_its_token_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray 2.60 has what is wrong two causes deep, and reads the token of an explicit address only if it is told to."""
    ray = ray_module()

    def refuse(**options: object) -> None:
        try:
            raise RuntimeError("Failed to connect to GCS. Last connection error: … RPC error: InvalidAuthToken: …")
        except RuntimeError as error:
            raise ConnectionError("Failed to connect to Ray cluster at 10.0.0.1:6379") from error

    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(OSError, match=r"wants its token .*RAY_AUTH_MODE=token"), connect("auto"):
        pass


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'linnet\[cluster\]'"), connect():
        pass
