"""A client of a few lines that speaks RESP2: one connection, pipelines, and times as the client sees them."""

import socket
import time

ANSWER_SECONDS_MAX = 600
READ_BYTES = 1 << 16


class Refused(Exception):
    """An error reply."""


def encode(*words):
    """One request as bytes."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
    return b"".join(parts)


class Client:
    """One connection to a server on this machine."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS_MAX)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.position = 0

    def close(self):
        """Ends the connection."""
        self.socket.close()

    def ask(self, *words):
        """The reply to one command."""
        self.socket.sendall(encode(*words))
        return self.reply()

    def pipeline(self, requests, count):
        """Sends `requests`, `count` commands in bytes, and takes their replies; raises the first error."""
        self.socket.sendall(requests)
        for _ in range(count):
            self.reply()

    def milliseconds(self, *words):
        """How long the reply took to arrive whole, and the reply."""
        # Taking a long reply apart costs more than it took: the end is known by the reply to a PING behind it.
        request, end = encode(*words) + encode("PING"), b"+PONG\r\n"
        self.buffer, self.position = self.buffer[self.position:], 0
        begin = time.perf_counter()
        self.socket.sendall(request)
        while not self.buffer.endswith(end):
            self._read()
        took = (time.perf_counter() - begin) * 1e3
        reply = self.reply()
        self.reply()
        return took, reply

    def info(self, section):
        """The fields of a section of INFO."""
        lines = self.ask("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def reply(self):
        """The next reply: bytes, an integer, None or a list."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest
        if kind == b"-":
            raise Refused(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._bytes(int(rest))
        if kind == b"*":
            return None if rest == b"-1" else [self.reply() for _ in range(int(rest))]
        raise ValueError(f"not a reply of RESP2: {line!r}")

    def _line(self):
        while (end := self.buffer.find(b"\r\n", self.position)) < 0:
            self._read()
        line = self.buffer[self.position:end]
        self.position = end + 2
        return line

    def _bytes(self, length):
        while len(self.buffer) - self.position < length + 2:
            self._read()
        data = self.buffer[self.position:self.position + length]
        self.position += length + 2
        return data

    def _read(self):
        piece = self.socket.recv(READ_BYTES)
        if not piece:
            raise ConnectionError("the server has closed the connection")
        self.buffer = self.buffer[self.position:] + piece
        self.position = 0
