"""A connection to Redis: a command and its reply, or many commands at once."""

import socket


class Resp:
    """Speaks Redis's protocol, as far as a benchmark needs it."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def __call__(self, *command):
        """The reply to one command."""
        self.socket.sendall(encode(*command))
        return self.read()

    def all(self, commands):
        """Sends encoded commands one after another, each before the reply to the last is read, and returns the last reply."""
        reply, waiting = None, 0
        for command in commands:
            self.socket.sendall(command)
            waiting += 1
            if waiting > 8:
                reply, waiting = self.read(), waiting - 1
        for _ in range(waiting):
            reply = self.read()
        return reply

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(f"Redis: {rest.decode()}")
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        return None if rest == b"-1" else [self.read() for _ in range(int(rest))]

    def info(self, section, name):
        """One field of INFO."""
        lines = self("INFO", section).decode().splitlines()
        return next(line.split(":", 1)[1] for line in lines if line.startswith(f"{name}:"))

    def close(self):
        self.file.close()
        self.socket.close()


def encode(*command):
    """A command's bytes."""
    words = [word if isinstance(word, bytes) else str(word).encode() for word in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
