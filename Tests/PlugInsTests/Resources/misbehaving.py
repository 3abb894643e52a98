"""A plug-in oracle that misbehaves in the way that its first argument names, when it comes to an input with rate 0.5, or
one that is no farther from it than CAIRN_TEST_WIDTH of its environment; a price takes CAIRN_TEST_SECONDS.

It prices 1 + rate * maturityYears. It speaks the protocol by hand, so that it can also speak it wrongly, and needs no
package: on its standard streams, or, with a path as its second argument, as a ZeroMQ service on that Unix socket (ZMTP
3.0, rfc.zeromq.org/spec/23). What it must remember across its lives it keeps in files of the folder that it works in.
"""

import os
import signal
import socket
import struct
import sys
import threading
import time

KIND = sys.argv[1]
PATH = sys.argv[2] if len(sys.argv) > 2 else None
CHANGES = KIND in ("changed answer", "changed fingerprint", "changed descriptor")
BAD = 0.5
WIDTH = float(os.environ.get("CAIRN_TEST_WIDTH", 0))
SECONDS = float(os.environ.get("CAIRN_TEST_SECONDS", 0))


class Gone(Exception):
    """Whoever asks is not there any more, or shall not be answered any more."""


def begin():
    """The number of lives before this one, as a child of the same process."""
    mine = f"life-of-{os.getppid()}-"
    before = len([name for name in os.listdir(".") if name.startswith(mine)])
    open(f"{mine}{before}-{os.getpid()}", "w").close()
    return before


# Protobuf


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 1) + struct.pack("<d", value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def fields(data):
    """Field numbers and values of a message: numbers for varints, bytes for the rest."""
    at = 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 0:
            yield key >> 3, number()
        else:
            size = number()
            yield key >> 3, data[at : at + size]
            at += size


def doubles(data):
    return list(struct.unpack(f"<{len(data) // 8}d", data))


# Transports


class Streams:
    """Each message follows its length."""

    def __init__(self):
        self.life = begin()

    def receive(self):
        head = sys.stdin.buffer.read(4)
        if len(head) < 4:
            raise Gone
        return sys.stdin.buffer.read(struct.unpack("<I", head)[0])

    def raw(self, data):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def head(self, size):
        return struct.pack("<I", size)

    def send(self, body, extra=b""):
        self.raw(self.head(len(body)) + body + extra)

    def end(self, code):
        os._exit(code)


class Connection:
    """Of a ZeroMQ peer: an empty frame and a message at a time."""

    isBad = False

    def __init__(self, peer):
        self.life = begin()
        self.peer = peer
        self.raw(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32))
        self.exactly(64)
        properties = b"\x0bSocket-Type" + struct.pack(">I", 6) + b"ROUTER" + b"\x08Identity" + bytes(4)
        self.frame(b"\x05READY" + properties, 4)

    def exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.peer.recv(size - len(data))
            if not more:
                raise Gone
            data += more
        return data

    def raw(self, data):
        try:
            self.peer.sendall(data)
        except OSError:
            raise Gone from None

    def frame(self, data, flags):
        short = len(data) < 256
        self.raw(bytes([flags | (0 if short else 2)]) + struct.pack(">B" if short else ">Q", len(data)) + data)

    def receive(self):
        while True:
            flags = self.exactly(1)[0]
            size = struct.unpack(">Q", self.exactly(8))[0] if flags & 2 else self.exactly(1)[0]
            data = self.exactly(size)
            if flags & 5 == 0:  # neither a command nor the empty frame before
                return data

    def head(self, size):
        return b"\x01\x00\x02" + struct.pack(">Q", size)

    def send(self, body, extra=b""):
        if KIND == "no empty frame" and self.isBad:
            return self.frame(body, 0)
        self.frame(b"", 1)
        self.frame(body, 1 if extra else 0)
        if extra:
            self.frame(extra, 0)

    def end(self, code):
        raise Gone


# The oracle


def description(life):
    def entry(name, lower, upper):
        return field(1, name) + field(2, "1") + field(4, lower) + field(5, upper)

    second, lower, upper, fingerprint = "maturityYears", 0.1, 5.0, "a"
    if KIND == "changed fingerprint" and life > 0:
        fingerprint = "b"
    if KIND == "changed descriptor" and life > 0:
        upper = 6.0
    if KIND == "a fingerprint of 1 MB":
        fingerprint = "a" * (1 << 20)
    if KIND == "input names twice":
        second = "rate"
    if KIND == "bounds that are no numbers":
        lower = float("nan")
    if KIND == "bounds the wrong way":
        lower, upper = upper, lower
    if KIND == "a descriptor of 5 MB":
        second = "x" * (5 << 20)
    return (
        field(1, "forward") + field(2, "1") + field(3, fingerprint)
        + field(7, entry("rate", 0.0, 1.0)) + field(7, entry(second, lower, upper)) + field(11, 1e-6)
        # Who will change has something to be judged by.
        + (field(12, field(1, struct.pack("<2d", 0.01, 2.0)) + field(2, 1.02) + field(3, 1e-9)) if CHANGES else b"")
    )  # fmt: skip


def note(name, rows=()):
    """Adds lines to a file, in one piece."""
    with open(name, "a") as file:
        file.write("".join(f"{row}\n" for row in rows))


def reply(identity, number, content):
    return field(1, identity) + field(number, content)


def answer(prices, rest=b"", fingerprint="a"):
    return field(1, fingerprint) + field(2, struct.pack(f"<{len(prices)}d", *prices)) + rest


def misbehave(channel, kind, identity, prices):
    """Does what shall be done before the answer that follows."""
    print(f"about to: {kind}", file=sys.stderr, flush=True)
    note("misbehaved")
    if kind == "crash":
        if PATH is None:
            os.kill(os.getpid(), signal.SIGSEGV)
        channel.end(0)
    if kind == "the service crashes":
        os._exit(1)
    if kind == "exit 0":
        channel.end(0)
    if kind == "ignored SIGTERM":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if kind == "hanging family":
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if kind == "left its group":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.setpgid(0, os.getpgid(os.getppid()))
    if kind in ("hang", "hanging family", "ignored SIGTERM", "left its group"):
        while True:
            time.sleep(1)
    if kind == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    if kind == "slow":
        time.sleep(0.1)
    if kind == "huge frame":
        channel.raw(channel.head(0xFFFFFFF0))
        time.sleep(60)
    if kind == "truncated frame":
        channel.raw(channel.head(100) + b"0123456789")
        channel.end(3)
    if kind == "endless answer":
        channel.raw(channel.head(1000))
        while True:
            channel.raw(b".")
            time.sleep(0.1)
    if kind == "garbage on stdout":
        channel.raw(b"Price is about 1.5, I think\n")
        time.sleep(60)
    if kind == "no message":
        channel.send(b"Price is about 1.5, I think\n")
        time.sleep(60)
    if kind == "text that is none":
        channel.send(reply(identity, 3, answer([1.5], field(7, b"\xff\xfe"))))
        time.sleep(60)
    if kind == "flood on stderr":
        for _ in range(1000):
            sys.stderr.write("flood " * 1000 + "\n")
    if kind == "memory leak":
        leak = []
        while True:
            leak.append(bytearray(1 << 24))
    if kind == "descriptor leak":
        leak = []
        while True:
            leak.append(open(__file__))
    if kind == "endless computation":
        while True:
            pass
    if kind in ("forked children", "escaped child"):
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if kind == "escaped child":
                os.setsid()
            time.sleep(60)
            os._exit(0)
        open("child", "w").write(str(child))
        os._exit(4)
    if CHANGES:
        channel.end(5)
    if kind == "late answer":
        time.sleep(8)
    if kind == "closed stdout":
        os.close(1)
        time.sleep(60)
    if kind == "closed stderr":
        os.close(2)
        time.sleep(1)
    if kind == "closed stdin":
        os.close(0)
        channel.send(reply(identity, 3, answer(prices)))
        time.sleep(60)


def evaluate(channel, identity, asked):
    """Answers a request for prices."""
    kind = KIND
    count, numbers = asked[1], doubles(asked[2])
    prices = [1 + numbers[k] * numbers[count + k] for k in range(count)]
    rest, extra, fingerprint = b"", b"", "a"
    bads = [k for k in range(count) if abs(numbers[k] - BAD) <= WIDTH]
    channel.isBad = bads != []
    time.sleep(SECONDS * count)
    if kind == "not deterministic":
        prices = [price + 1e-9 * time.time() for price in prices]
    if kind == "batch":
        prices = [price + 1e-12 * count for price in prices]
    if kind == "late life":
        prices = [price + channel.life * maturity for price, maturity in zip(prices, numbers[count:])]
    if kind == "other prices":
        prices = [price + 1e-15 for price in prices]
    if kind == "slow and counted":
        note("asked", zip(numbers[:count], numbers[count:]))
    if kind in ("slow everywhere", "slow and counted"):
        time.sleep(0.01 * count)
    if kind == "crash everywhere" and any(rate > 0.98 for rate in numbers[:count]):
        misbehave(channel, "crash", identity, prices)
    if kind == "hanging family":
        misbehave(channel, kind, identity, prices)
    if channel.isBad:
        misbehave(channel, kind, identity, prices)
        bad = bads[0]
        if kind == "wrong count":
            prices.append(7.0)
        if kind == "no prices":
            prices = []
        if kind == "wrong order":
            identity += 1
        if kind == "an older answer":
            identity -= 1
        if kind == "not a number":
            prices[bad] = float("nan")
        if kind == "infinity":
            prices[bad] = float("inf")
        if kind == "exception":
            rest = field(5, bytes(5 if k == bad else 0 for k in range(count))) + field(7, "ValueError: no curve")
        if kind == "unknown status":
            rest = field(5, bytes([9] * count))
        if kind == "derivatives that nobody wants":
            rest = field(4, struct.pack(f"<{2 * count}d", *([0.0] * 2 * count)))
        if kind == "a message of 1 MB":
            rest = field(7, "x" * (1 << 20))
        if kind == "another fingerprint in mid-life":
            fingerprint = "b"
        if kind == "too much":
            extra = b"more than was asked"
    if kind == "changed answer" and channel.life > 0:
        prices = [price + 1e-15 for price in prices]
    body = reply(identity, 3, answer(prices, rest, fingerprint))
    if kind == "in small pieces":
        for byte in channel.head(len(body)) + body:
            channel.raw(bytes([byte]))
    else:
        channel.send(body, extra)
    if kind == "slow and counted":
        note("answered", zip(numbers[:count], numbers[count:]))


def converse(channel):
    try:
        if KIND == "a banner":
            channel.raw(b"Pricer 3.1, licensed to Desk\n")
        while True:
            request = dict(fields(channel.receive()))
            identity = request.get(1, 0)
            if 2 not in request:
                evaluate(channel, identity, dict(fields(request[3])))
            elif KIND == "prices instead of a descriptor":
                channel.send(reply(identity, 3, answer([])))
            else:
                channel.send(reply(identity, 2, description(channel.life)))
    except Gone:
        pass


def connected(peer):
    try:
        converse(Connection(peer))
    except Gone:
        pass
    peer.close()


if PATH is None:
    converse(Streams())
else:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(PATH)
    listener.listen()
    while True:
        threading.Thread(target=connected, args=(listener.accept()[0],), daemon=True).start()
