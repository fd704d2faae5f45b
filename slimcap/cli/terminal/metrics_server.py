"""An HTTP server for a text. Imported when needed: `http.server` takes 30 ms."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Final, cast

from slimcap.cli.terminal.streams import reason

ADDRESS: Final = "127.0.0.1"
PATH: Final = "/metrics"
_CLIENT_TIMEOUT: Final = 2.0  # seconds for a client; others wait meanwhile


class TextServer(socketserver.TCPServer):
    """A server that answers one request after the other. (HTTPServer asks the DNS for its own name.)

    Parameters
    ----------
    port : int
        TCP port; 0: any that is free.
    text : callable
        Returns the text; it may raise OSError.
    content_type : str
        Its media type.

    Raises
    ------
    OSError
        The port is not free, or this user may not listen on it.
    """

    allow_reuse_address = True
    timeout = 0.2  # seconds that handle_request() waits

    def __init__(self, port: int, text: Callable[[], str], content_type: str) -> None:
        self.text = text
        self.content_type = content_type
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            raise OSError(error.errno, error.strerror, f"{ADDRESS}:{port}") from None

    @property
    def port(self) -> int:
        """The TCP port."""
        return int(self.socket.getsockname()[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    def handle(self) -> None:
        # A time-out of the socket would not end a client that sends a byte now and then.
        timer = threading.Timer(_CLIENT_TIMEOUT, self._cut)
        timer.daemon = True
        timer.start()
        try:
            super().handle()
        finally:
            timer.cancel()

    def _cut(self) -> None:
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def do_GET(self) -> None:
        server = cast("TextServer", self.server)
        if self.path.partition("?")[0] != PATH:
            self.send_error(404, f"use {PATH}")
            return
        try:
            body = server.text().encode()
        except OSError as error:
            self.send_error(503, reason(error))
            return
        self.send_response(200)
        self.send_header("Content-Type", server.content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: standard error has the counts of the capture."""
