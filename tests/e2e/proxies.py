"""Servers in front of the emulated ones, which answer otherwise where a test says so.

One holds a request, before or after it takes effect, so a test can kill the pipeline exactly between
two steps: at a request that was never made, or at one whose answer never came (yet). One has no permission. One
only listens. One breaks the contents of objects.
"""

from __future__ import annotations

import http.client
import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

__all__ = ["BreakingProxy", "FailingProxy", "ForbiddingProxy", "HoldingProxy", "RecordingProxy"]

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: list[tuple[str, str]]
    content: bytes


class Proxy:
    """Forwards to `backend` what its subclass does not answer itself, while a `with` block lasts."""

    def __init__(self, backend: str) -> None:
        self._backend = urlsplit(backend).netloc
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, request: str, body: bytes, forward: Callable[[], Answer]) -> Answer:
        """The answer to a request, `METHOD path`."""
        raise NotImplementedError

    def send(self, handler: BaseHTTPRequestHandler, request: str, answer: Answer) -> None:
        """Send an answer, whole."""
        self.send_head(handler, answer, len(answer.content))
        handler.wfile.write(answer.content)

    def send_head(self, handler: BaseHTTPRequestHandler, answer: Answer, length: int) -> None:
        """Send what comes before the content, which is said to have `length` bytes."""
        handler.send_response(answer.status)
        for name, value in answer.headers:
            if name.lower() not in HOP_BY_HOP and name.lower() not in {"server", "date"}:
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(length))
        handler.end_headers()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _forward(self, handler: BaseHTTPRequestHandler, body: bytes) -> Answer:
        connection = http.client.HTTPConnection(self._backend, timeout=60)
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in HOP_BY_HOP}
        connection.request(handler.command, handler.path, body or None, headers)
        answer = connection.getresponse()
        found = Answer(answer.status, answer.getheaders(), answer.read())
        connection.close()
        return found

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = f"{self.command} {self.path}"
                answer = proxy.answer(request, body, lambda: proxy._forward(self, body))
                proxy.send(self, request, answer)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

            def log_message(self, format: str, *args: object) -> None:
                return

        return Handler


class HoldingProxy(Proxy):
    """`hold(pattern, after)` arms it for the next POST whose body matches."""

    def __init__(self, backend: str) -> None:
        self.held = threading.Event()
        """Set once the armed request has come (and, with `after`, has taken effect)."""
        self._pattern: re.Pattern[bytes] | None = None
        self._after = False
        self._released = threading.Event()
        super().__init__(backend)

    def hold(self, pattern: str, after: bool) -> None:
        """Hold the next request whose body matches; `after`: only its answer."""
        self.held.clear()
        self._released = threading.Event()
        self._pattern, self._after = re.compile(pattern.encode(), re.DOTALL), after

    def release(self) -> None:
        """Let the held request go on, and hold no other."""
        self._pattern = None
        self._released.set()

    def answer(self, request: str, body: bytes, forward: Callable[[], Answer]) -> Answer:
        if not (request.startswith("POST ") and self._pattern is not None and self._pattern.search(body)):
            return forward()
        found = forward() if self._after else None
        self.held.set()
        self._released.wait()
        return found or forward()


class RecordingProxy(Proxy):
    """Keeps what is asked: `METHOD path`, and the body."""

    def __init__(self, backend: str) -> None:
        self.requests: list[tuple[str, bytes]] = []
        super().__init__(backend)

    def answer(self, request: str, body: bytes, forward: Callable[[], Answer]) -> Answer:
        self.requests.append((request, body))
        return forward()


class ForbiddingProxy(Proxy):
    """Answers as Google does where the caller lacks a permission, to the requests whose `METHOD path` matches."""

    def __init__(self, backend: str, pattern: str, message: str, reason: str) -> None:
        self.asked = 0
        """How often it has refused."""
        self._pattern = re.compile(pattern)
        errors = [{"message": message, "domain": "global", "reason": reason}]
        self._content = json.dumps({"error": {"code": 403, "message": message, "errors": errors}}).encode()
        super().__init__(backend)

    def answer(self, request: str, body: bytes, forward: Callable[[], Answer]) -> Answer:
        if not self._pattern.search(request):
            return forward()
        self.asked += 1
        return Answer(403, [("Content-Type", "application/json; charset=UTF-8")], self._content)


class FailingProxy(Proxy):
    """While it is `failing`, answers 503 and 429 in turn, every second pair after the request has taken effect."""

    STATUSES = ((503, "backendError"), (429, "rateLimitExceeded"))

    def __init__(self, backend: str) -> None:
        self.failing = threading.Event()
        self.failed = {False: 0, True: 0}
        """How many have failed without effect, and after it."""
        self._lock = threading.Lock()
        super().__init__(backend)

    def answer(self, request: str, body: bytes, forward: Callable[[], Answer]) -> Answer:
        if not self.failing.is_set():
            return forward()
        with self._lock:
            number = sum(self.failed.values())
            effect = number % 4 > 1
            self.failed[effect] += 1
        if effect:
            forward()
        status, reason = self.STATUSES[number % 2]
        error = {"code": status, "message": "try again", "errors": [{"reason": reason, "message": "try again"}]}
        return Answer(status, [("Content-Type", "application/json")], json.dumps({"error": error}).encode())


class BreakingProxy(Proxy):
    """Breaks the contents of objects, in the way that `breaks` names; those that come whole break `times` times.

    `cut`: the connection ends after `share` of what was announced. `short`: so much is announced and sent. `stall`: no
    more comes, for as long as the proxy lives. `repeat`: so much is sent twice, in the length that was asked for.
    `longer`: some bytes are too many. `flip`: a byte is another one.
    """

    def __init__(self, backend: str) -> None:
        self.breaks = ""
        self.times = 0
        self.share = 0.5
        self.broken = 0
        """How many answers have been."""
        self._over = threading.Event()
        super().__init__(backend)

    def arm(self, breaks: str, times: int, share: float = 0.5) -> None:
        """Break the next `times` contents."""
        self.breaks, self.times, self.share, self.broken = breaks, times, share, 0

    def answer(self, request: str, body: bytes, forward: Callable[[], Answer]) -> Answer:
        return forward()

    def send(self, handler: BaseHTTPRequestHandler, request: str, answer: Answer) -> None:
        content = answer.content
        half = int(len(content) * self.share)
        if self.broken >= self.times or "alt=media" not in request or answer.status >= 300:
            super().send(handler, request, answer)
            return
        self.broken += 1
        match self.breaks:
            case "short":
                super().send(handler, request, answer._replace(content=content[:half]))
            case "repeat":
                twice = (content[:half] + content[:half] + content[-1:])[: len(content)]
                super().send(handler, request, answer._replace(content=twice))
            case "longer":
                super().send(handler, request, answer._replace(content=content + content[:9]))
            case "flip":
                flipped = content[:half] + bytes([content[half] ^ 1]) + content[half + 1 :]
                super().send(handler, request, answer._replace(content=flipped))
            case "cut" | "stall":
                self.send_head(handler, answer, len(content))
                handler.wfile.write(content[:half])
                handler.wfile.flush()
                if self.breaks == "stall":
                    self._over.wait(60)
                handler.close_connection = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        super().__exit__(kind, error, trace)
