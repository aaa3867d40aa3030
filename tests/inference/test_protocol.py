"""What comes before a body is bounded too, before any key is looked at."""

import socket

import httpx
import pytest

from inference import protocol
from tests.inference.conftest import Gateway


def connect(gateway: Gateway) -> socket.socket:
    url = httpx.URL(gateway.url)
    assert url.port is not None
    return socket.create_connection((url.host, url.port), timeout=10)


def read_to_end(raw: socket.socket) -> bytes:
    answer = b""
    try:
        while more := raw.recv(65536):
            answer += more
    except ConnectionResetError:
        pass  # what it said may be lost when it closes while we still write
    return answer


@pytest.mark.parametrize("line", [b"x: y\r\n", b"y"])
def test_headers_without_end_are_cut_off(line: bytes, gateway: Gateway) -> None:
    with connect(gateway) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\nhost: here\r\nx-long: ")
        try:
            for _ in range(200):
                raw.sendall(line * (2000 // len(line)))
        except OSError:
            pass  # it has hung up on us, as it should
        answer = read_to_end(raw)  # a connection left open would time out here
        assert answer == b"" or answer.startswith(b"HTTP/1.1 431")
    assert gateway.client.get("/healthz").status_code == 200


def test_a_head_that_is_just_within_the_bound_is_served(gateway: Gateway) -> None:
    padding = "y" * (protocol.MAX_HEAD_BYTES // 2)
    assert gateway.client.get("/healthz", headers={"x-long": padding}).status_code == 200


def test_a_head_that_does_not_end_in_time_is_given_up(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.2)
    with connect(gateway) as raw:
        raw.sendall(b"GET /healthz HTTP/1.1\r\nhost:")
        assert read_to_end(raw).startswith(b"HTTP/1.1 408")


def test_a_connection_that_is_kept_outlives_the_bound_on_heads(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.2)
    with httpx.Client(base_url=gateway.url) as client:
        for _ in range(3):
            assert client.get("/healthz").status_code == 200
