"""``monitor streams`` against answers that are not what it hopes for; with a real daemon it is tested elsewhere."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

TOKEN = "a-token-of-24-characters"
ROW = {
    "id": "a",
    "platform": "p",
    "account": "[red]acc[/red]",
    "room": "房间\x1b[31m",
    "state": "backing_off",
    "reason": "not_found",
    "detail": "failures=3",
    "sampled_per_s": 0.5,
    "origin": "api",
    "hook": None,
}
FIELDS = ("--platform", "p", "--account", "a", "--room", "r")


class Server(ThreadingHTTPServer):
    """Answers every request with ``answer`` and keeps what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes, dict[str, str]]] = []
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        super().__init__(("127.0.0.1", 0), Answering)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answering(BaseHTTPRequestHandler):
    server: Server

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((self.command, self.path, dict(self.headers), body))
        status, body, headers = self.server.answers.pop(0)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("MONITOR_TOKEN", TOKEN)
    monkeypatch.setenv("COLUMNS", "160")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


Monitor = Callable[..., tuple[int, str, str]]


def page(*rows: dict[str, object], following: str | None = None) -> tuple[int, bytes, dict[str, str]]:
    return 200, json.dumps({"streams": rows, "next": following}).encode(), {}


def test_the_list_is_read_to_its_last_page(monitor: Monitor, server: Server) -> None:
    server.answers = [page(ROW, following="/api/v1/streams?limit=1000&after=a"), page(ROW | {"id": "b"})]
    code, out, _ = monitor("streams", "list", "--url", server.url, "--json")
    assert code == 0
    assert [row["id"] for row in json.loads(out)["streams"]] == ["a", "b"]
    assert [path for _, path, _, _ in server.asked][1].endswith("after=a")
    assert all("Authorization" not in headers for _, _, headers, _ in server.asked), "reading needs no token"


def test_what_a_room_is_called_stays_text_in_the_table(monitor: Monitor, server: Server) -> None:
    server.answers = [page(ROW)]
    code, out, _ = monitor("streams", "list", "--url", server.url)
    assert code == 0
    assert "[red]acc[/red]" in out
    assert "房间" in out
    assert "\x1b[31m" not in out
    assert "backing off" in out
    assert "not found" in out
    assert "1 rooms, 0 live" in out


def test_adding_sends_only_what_was_given_and_the_address_from_standard_input(
    monitor: Monitor, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("https://h/x.m3u8?key=s3cret\n"))
    server.answers = [(201, json.dumps(ROW).encode(), {})]
    code, out, _ = monitor("streams", "add", "a", "-", *FIELDS, "--product", "x", "--product", "y", "--url", server.url)
    assert (code, out) == (0, "a: watched\n")
    ((method, path, headers, body),) = server.asked
    assert (method, path, headers["Authorization"]) == ("POST", "/api/v1/streams", f"Bearer {TOKEN}")
    assert json.loads(body) == {
        "id": "a",
        "url": "https://h/x.m3u8?key=s3cret",
        "platform": "p",
        "account": "a",
        "room": "r",
        "products": ["x", "y"],
    }


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((409, b'{"error": {"message": "stands in the streams file"}}', {}), "stands in the streams file"),
        ((502, b"<html>", {}), "what answers there said HTTP 502"),
        ((302, b"", {"Location": "http://127.0.0.1:9/"}), "what answers there said HTTP 302"),
        ((200, b"<html>", {}), "no monitor"),
    ],
)
def test_a_refusal_is_one_line_and_the_token_follows_no_redirect(
    monitor: Monitor, server: Server, answer: tuple[int, bytes, dict[str, str]], says: str
) -> None:
    server.answers = [answer]
    code, out, err = monitor("streams", "remove", "a/b", "--url", server.url)
    assert (code, out) == (2, "")
    assert says in err
    assert len(err.splitlines()) == 1
    assert TOKEN not in err
    assert server.asked[0][1] == "/api/v1/streams/a%2Fb"


@pytest.mark.parametrize(
    ("argv", "token", "says"),
    [
        (("remove", "a"), "", "set the environment variable MONITOR_TOKEN"),
        (("remove", "a"), "with\nnewline", "set the environment variable MONITOR_TOKEN"),
        (("remove", "a", "--token-env", "OTHER"), TOKEN, "set the environment variable OTHER"),
        (("list", "--url", "file:///etc/passwd"), TOKEN, "--url: must be the daemon's address"),
        (("list", "--url", "http://127.0.0.1:9"), TOKEN, "no daemon answers at http://127.0.0.1:9"),
    ],
)
def test_what_cannot_be_asked_says_what_to_do(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, ...], token: str, says: str
) -> None:
    monkeypatch.setenv("MONITOR_TOKEN", token)
    code, out, err = monitor("streams", *argv)
    assert (code, out) == (2, "")
    assert says in err
    assert not token or token not in err
