"""A service that takes notices: what Apprise posts to `json://`."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

__all__ = ["Inbox", "inbox"]


@dataclass
class Inbox:
    """Notices, the newest last."""

    url: str = ""
    refuses: bool = False
    notices: list[dict[str, Any]] = field(default_factory=list)

    def take(self) -> list[str]:
        """Return the texts of the notices that have come since the last call."""
        texts = [f"{notice['title']}\n{notice['message']}" for notice in self.notices]
        self.notices.clear()
        return texts


@contextmanager
def inbox() -> Iterator[Inbox]:
    """Serve an inbox on this machine."""
    found = Inbox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not found.refuses:
                found.notices.append(body)
            self.send_response(503 if found.refuses else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"json://user:hidden-word@127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
