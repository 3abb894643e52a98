"""A plug-in oracle that misbehaves in the way that its first argument names, when it comes to an input with rate 0.5.

It prices 1 + rate * maturityYears. It speaks the protocol by hand, so that it can also speak it wrongly, and needs no
package. What it must remember across its lives it keeps in files of the folder that it works in.
"""

import os
import signal
import struct
import sys
import time

KIND = sys.argv[1]
BAD = 0.5
LIFE = len([name for name in os.listdir(".") if name.startswith("life-")])
open(f"life-{LIFE}-{os.getpid()}", "w").close()


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


def write(data):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def send(identity, number, content, extra=b""):
    body = field(1, identity) + field(number, content)
    write(struct.pack("<I", len(body)) + body + extra)


def description():
    def entry(name, lower, upper):
        return field(1, name) + field(2, "1") + field(4, lower) + field(5, upper)

    fingerprint = "b" if KIND == "changed fingerprint" and LIFE > 0 else "a"
    return (
        field(1, "forward") + field(2, "1") + field(3, fingerprint)
        + field(7, entry("rate", 0.0, 1.0)) + field(7, entry("maturityYears", 0.1, 5.0)) + field(11, 1e-6)
    )  # fmt: skip


def note(name, rows=()):
    """Adds lines to a file, in one piece."""
    with open(name, "a") as file:
        file.write("".join(f"{row}\n" for row in rows))


def misbehave():
    """Whether the answer that follows is as ever."""
    print(f"about to: {KIND}", file=sys.stderr, flush=True)
    note("misbehaved")
    if KIND == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if KIND == "exit 0":
        sys.exit(0)
    if KIND == "ignored SIGTERM":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if KIND == "hanging family":
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if KIND in ("hang", "hanging family", "ignored SIGTERM"):
        while True:
            time.sleep(1)
    if KIND == "slow":
        time.sleep(0.1)
    if KIND == "huge frame":
        write(struct.pack("<I", 0xFFFFFFF0))
        time.sleep(60)
    if KIND == "truncated frame":
        write(struct.pack("<I", 100) + b"0123456789")
        sys.exit(3)
    if KIND == "garbage on stdout":
        print("Price is about 1.5, I think", flush=True)
        time.sleep(60)
    if KIND == "flood on stderr":
        for _ in range(1000):
            sys.stderr.write("flood " * 1000 + "\n")
    if KIND == "memory leak":
        leak = []
        while True:
            leak.append(bytearray(1 << 24))
    if KIND == "forked children":
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(600)
        open("child", "w").write(str(child))
        os._exit(4)
    if KIND in ("changed answer", "changed fingerprint"):
        os._exit(5)
    if KIND == "late answer":
        time.sleep(8)
    if KIND == "closed stdin":
        os.close(0)
        send(IDENTITY, 3, field(1, "a") + field(2, struct.pack("<d", 1.5)))
        time.sleep(60)


while True:
    head = sys.stdin.buffer.read(4)
    if len(head) < 4:
        break
    request = dict(fields(sys.stdin.buffer.read(struct.unpack("<I", head)[0])))
    IDENTITY = request.get(1, 0)
    if 2 in request:
        send(IDENTITY, 2, description())
        continue
    asked = dict(fields(request[3]))
    count, numbers = asked[1], doubles(asked[2])
    prices = [1 + numbers[k] * numbers[count + k] for k in range(count)]
    statuses = b""
    isBad = BAD in numbers[:count]
    if KIND == "not deterministic":
        prices = [price + 1e-9 * time.time() for price in prices]
    if KIND == "batch":
        prices = [price + 1e-12 * count for price in prices]
    if KIND == "late life":
        prices = [price + LIFE * maturity for price, maturity in zip(prices, numbers[count:])]
    if KIND == "slow and counted":
        note("asked", zip(numbers[:count], numbers[count:]))
    if KIND in ("slow everywhere", "slow and counted"):
        time.sleep(0.01 * count)
    if KIND == "crash everywhere" and any(rate > 0.98 for rate in numbers[:count]):
        KIND = "crash"
        misbehave()
    if KIND == "hanging family":
        misbehave()
    if isBad:
        misbehave()
        bad = numbers.index(BAD)
        if KIND == "wrong count":
            prices.append(7.0)
        if KIND == "wrong order":
            IDENTITY += 1
        if KIND == "not a number":
            prices[bad] = float("nan")
        if KIND == "infinity":
            prices[bad] = float("inf")
        if KIND == "exception":
            statuses = field(5, bytes(5 if k == bad else 0 for k in range(count))) + field(7, "ValueError: no curve")
    if KIND == "changed answer" and LIFE > 0:
        prices = [price + 1e-15 for price in prices]
    if KIND == "unknown status" and isBad:
        statuses = field(5, bytes([9] * count))
    content = field(1, "a") + field(2, struct.pack(f"<{len(prices)}d", *prices)) + statuses
    send(IDENTITY, 3, content, b"more than was asked" if KIND == "too much" and isBad else b"")
    if KIND == "slow and counted":
        note("answered", zip(numbers[:count], numbers[count:]))
