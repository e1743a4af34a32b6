"""A small HTTP server on this machine alone that speaks chat completions, for tests of what asks one."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class ChatServer:
    """Where it listens (`http://127.0.0.1:PORT/v1`), and the bodies of all requests in the order they came."""

    url: str
    asked: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def chat_server(reply: Callable[[dict[str, Any]], str]) -> Iterator[ChatServer]:
    """A server that answers each request with the text that `reply` makes of its body."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.asked.append(body)
            choice = {"index": 0, "message": {"role": "assistant", "content": reply(body)}, "finish_reason": "stop"}
            said = json.dumps({"object": "chat.completion", "choices": [choice]}).encode()
            self.send_response(200 if self.path == "/v1/chat/completions" else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = ChatServer(f"http://127.0.0.1:{server.server_address[1]}/v1")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()
