"""Replies as they stand on the wire: one line of text per reply, so that a test can name every byte of it."""

import socket


class Wire:
    """A connection that shows replies, such as `*2 :1 +12.5`, instead of parsing them into values."""

    def __init__(self, port, protocol=2):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._input = self._socket.makefile("rb")
        if protocol == 3:
            self("HELLO", 3)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends the connection."""
        self._input.close()
        self._socket.close()

    def send(self, *args):
        """Sends a command without waiting; one string is split at its spaces."""
        words = args[0].split(" ") if len(args) == 1 and isinstance(args[0], str) else args
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        parts = b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        self._socket.sendall(b"*%d\r\n%s" % (len(words), parts))

    def __call__(self, *args):
        """Sends a command and returns its reply: each element with its type byte, bulk strings in quotes."""
        self.send(*args)
        return self.read()

    def read(self):
        """The next reply."""
        line = self._input.readline().decode()
        assert line.endswith("\r\n"), f"the server has closed the connection after {line!r}"
        kind, rest = line[0], line[1:-2]
        if kind == "$" and rest != "-1":
            text = self._input.read(int(rest) + 2)[:-2].decode(errors="backslashreplace")
            return f'"{text}"'
        if kind in "*~>%" and rest != "-1":
            count = int(rest) * (2 if kind == "%" else 1)
            return " ".join([line[:-2], *(self.read() for _ in range(count))])
        return line[:-2]
