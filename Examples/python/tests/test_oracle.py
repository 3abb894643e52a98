"""The package: answers, bad inputs, streams, and the golden bytes that Swift and C read and write too."""

import io
import math
import pathlib
import random
import struct
import subprocess
import sys

import pytest

from cairn_oracle import Constraint, Input, NoPrice, Oracle, TestVector, Valuation, oracle
from cairn_oracle import oracle_pb2 as pb

ROOT = pathlib.Path(__file__).parent.parent.parent.parent
GOLDEN = ROOT / "Tests" / "PlugInsTests" / "Resources" / "golden"
FORWARD = pathlib.Path(__file__).parent.parent / "examples" / "forward.py"


def forward(rate, maturityYears, gradient):
    if maturityYears < 0:
        raise NoPrice("a negative maturity")
    return Valuation(1 + rate * maturityYears, gradient={"rate": maturityYears, "maturityYears": rate})


# The oracle of Examples/c/forward.c.
golden = oracle(
    name="forward",
    version="1",
    fingerprint="c-1",
    summary="Forward price of a share without dividends",
    licence="Apache-2.0",
    gradient="exact",
    cost_seconds=1e-8,
    inputs=[
        Input("rate", 0, 0.1, unit="1/yr", meaning="interest rate"),
        Input("maturityYears", 0.1, 5, unit="yr", meaning="time to delivery"),
    ],
    test_vectors=[TestVector({"rate": 0.05, "maturityYears": 2.0}, 1.1, 1e-15)],
)(forward)


# The second one of Examples/c/golden.c: every kind of input, a constraint, seeds, standard errors, statuses.
@oracle(
    name="lottery",
    version="2",
    fingerprint="l-1",
    summary="A price with noise",
    citation="nobody",
    licence="Apache-2.0",
    gradient="commonPaths",
    stochastic=True,
    cost_seconds=0.5,
    inputs=[
        Input("spot", 50, 200, meaning="price today", logarithmic=True, usual=100),
        Input("steps", 1, 12, meaning="dates", integer=True),
        Input("payoff", unit="word", meaning="right", words=["call", "put"], usual="put"),
    ],
    constraints=[Constraint("not too dear", {"spot": 1, "steps": -10}, 150)],
    test_vectors=[TestVector({"spot": 128, "steps": 3, "payoff": "put"}, 5.625, 0.5)],
)
def lottery(spot, steps, payoff, seed, gradient):
    price = spot / 64 + steps + (payoff == "put") / 2 + seed % 8 / 8
    status = "EXTENDED" if spot < 64 else "OK"
    return Valuation(price, 0.25, {"spot": 1 / 64, "steps": 1, "payoff": 0.5}, status)


def ask(to: Oracle, *rows: "list[float]", seeds: "list[int]" = [], gradient: bool = False) -> pb.Valuations:
    columns = [x for column in zip(*rows) for x in column]
    request = pb.Request(id=7, evaluate=pb.Evaluate(count=len(rows), inputs=columns, seeds=seeds, gradient=gradient))
    reply = pb.Reply.FromString(to.answer(request.SerializeToString()))
    assert reply.id == 7
    assert reply.WhichOneof("what") == "valuations", reply
    return reply.valuations


@pytest.mark.parametrize(
    "asked, request_name, reply_name",
    [
        (golden, "request-describe", "reply-descriptor"),
        (golden, "request-evaluate", "reply-valuations"),
        (golden, "request-nothing", "reply-failure"),
        (lottery, "request-describe", "reply-descriptor-all"),
        (lottery, "request-evaluate-seeds", "reply-valuations-errors"),
    ],
)
def test_golden_requests_get_golden_replies(asked, request_name, reply_name):
    assert asked.answer((GOLDEN / request_name).read_bytes()) == (GOLDEN / reply_name).read_bytes()


def test_it_is_still_a_function():
    assert golden(0.05, 2, gradient=False).price == 1.1


def test_words_and_integers_arrive_as_such():
    seen = []

    @oracle(
        version="1",
        inputs=[
            Input("spot", 80, 120),
            Input("optionType", words=["call", "put"], usual="put"),
            Input("fixings", 1, 12, integer=True),
        ],
        constraints=[Constraint("spot<=100", {"spot": 1}, 100)],
    )
    def price(spot, optionType, fixings):
        """One line.

        More lines.
        """
        seen.append((spot, optionType, fixings))
        return spot

    answer = ask(price, [100.0, 1.0, 12.0], [90.0, 0.0, 1.0])
    assert seen == [(100.0, "put", 12), (90.0, "call", 1)] and list(answer.prices) == [100, 90]
    assert price.descriptor.name == "price" and price.descriptor.summary == "One line."
    assert price.descriptor.inputs[1].usual == 1 and price.descriptor.constraints[0].inputs == [0]
    assert ask(price, [100.0, 2.0, 12.0]).statuses == [pb.INVALID]
    assert ask(price, [100.0, 0.0, 1.5]).statuses == [pb.INVALID]


@pytest.mark.parametrize("vectorised", [False, True])
def test_a_bad_point_fails_alone(vectorised):
    def one(x):
        if x < 0:
            raise NoPrice("negative")
        if x > 10:
            raise RuntimeError("no curve beyond 10")
        return float("nan") if x == 5 else 2 * x

    @oracle(version="1", name="double", inputs=[Input("x", 0, 10)], vectorised=vectorised)
    def double(x):
        return [one(y) for y in x] if vectorised else one(x)

    answer = ask(double, [1.0], [-1.0], [11.0], [5.0], [3.0])
    assert list(answer.statuses) == [pb.OK, pb.INVALID, pb.FAILED, pb.NON_FINITE, pb.OK]
    assert (answer.prices[0], answer.prices[4]) == (2, 6)
    assert answer.message == "RuntimeError: no curve beyond 10"
    assert not answer.standard_errors and not answer.gradients


def test_whatever_a_point_raises_the_others_are_priced():
    @oracle(version="1", inputs=[Input("x", 0, 1)])
    def first_above(x):
        return next(float(y) for y in [0.25, 0.5] if y > x)

    # StopIteration is what ends loops, and must not end this one.
    answer = ask(first_above, [0.75], [0.25], [0.5], [0.0], [0.9])
    assert list(answer.statuses) == [pb.FAILED, pb.OK, pb.FAILED, pb.OK, pb.FAILED]
    assert (answer.prices[1], answer.prices[3]) == (0.5, 0.25)


def test_an_unknown_status_fails_its_point_alone():
    @oracle(version="1", inputs=[Input("x", 0, 1)])
    def price(x):
        return Valuation(x, status="GOOD" if x > 0.5 else "NOT_CONVERGED")

    answer = ask(price, [0.6], [0.25])
    assert list(answer.statuses) == [pb.FAILED, pb.NOT_CONVERGED] and answer.prices[1] == 0.25
    assert answer.message == "ValueError: status 'GOOD' is none of OK, EXTENDED, NOT_CONVERGED"


@pytest.mark.parametrize(
    "bad, message",
    [
        (lambda x: Valuation(None), "TypeError: float() argument"),
        (lambda x: Valuation("a price"), "ValueError: could not convert"),
        (lambda x: Valuation(x, standard_error=None), "TypeError: float() argument"),
        (lambda x: Valuation(x, gradient=[1.0]), "TypeError: gradient must be a mapping"),
        (lambda x: Valuation(x, gradient={"x": None}), "TypeError: float() argument"),
        (lambda x: Valuation(x, status=["OK"]), "TypeError: unhashable"),
    ],
)
@pytest.mark.parametrize("vectorised", [False, True])
def test_a_valuation_of_wrong_types_fails_its_point_alone(bad, message, vectorised):
    def one(x):
        return bad(x) if x > 0.5 else Valuation(x, gradient={"x": 1})

    @oracle(version="1", inputs=[Input("x", 0, 1)], gradient="exact", vectorised=vectorised)
    def price(x, gradient):
        return [one(y) for y in x] if vectorised else one(x)

    answer = ask(price, [0.25], [0.75], [0.5], gradient=True)
    assert list(answer.statuses) == [pb.OK, pb.FAILED, pb.OK]
    assert list(answer.prices) == [0.25, 0, 0.5] and list(answer.gradients) == [1, 0, 1]
    assert answer.message.startswith(message)


def test_a_batch_leaves_no_trace():
    rng = random.Random(1)
    rows = [[rng.uniform(0, 0.1), rng.uniform(0.1, 5)] for _ in range(50)]
    whole = ask(golden, *rows, gradient=True)
    for k, row in enumerate(rows):
        alone = ask(golden, row, gradient=True)
        assert alone.prices[0] == whole.prices[k]
        assert list(alone.gradients) == [whole.gradients[k], whole.gradients[50 + k]]


def test_a_stochastic_oracle_gets_its_seed():
    @oracle(version="1", inputs=[Input("x", 0, 1)], stochastic=True)
    def noisy(x, seed):
        rng = random.Random(seed)
        draws = [x + rng.gauss(0, 1) for _ in range(1000)]
        return Valuation(sum(draws) / 1000, 1 / math.sqrt(1000))

    answer = ask(noisy, [0.5], [0.5], [0.5], seeds=[1, 1, 2])
    assert answer.prices[0] == answer.prices[1] != answer.prices[2]
    assert len(answer.standard_errors) == 3
    without = pb.Request(id=1, evaluate=pb.Evaluate(count=1, inputs=[0.5]))
    assert "seeds" in pb.Reply.FromString(noisy.answer(without.SerializeToString())).failure


@pytest.mark.parametrize(
    "evaluate",
    [
        pb.Evaluate(count=2, inputs=[1, 2, 3]),
        pb.Evaluate(count=4_000_000_000),
        pb.Evaluate(count=0, inputs=[1]),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(evaluate):
    reply = pb.Reply.FromString(golden.answer(pb.Request(id=3, evaluate=evaluate).SerializeToString()))
    assert reply.id == 3 and "points" in reply.failure


def test_damaged_requests_do_no_harm():
    rng = random.Random(2)
    seeds = [path.read_bytes() for path in GOLDEN.glob("request-*")]
    answered = 0
    for _ in range(20_000):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            pb.Reply.FromString(golden.answer(bytes(data[: rng.randrange(len(data) + 1)])))
            answered += 1
        except ValueError as problem:
            assert str(problem) == "no request"
    assert answered > 1000


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"gradient": "some"}, "gradient"),
        ({"inputs": []}, "inputs"),
        ({"inputs": [Input("x"), Input("x")]}, "twice"),
        ({"constraints": [Constraint("c", {"y": 1})]}, "no input"),
        ({"test_vectors": [TestVector({"y": 1}, 1, 1)]}, "test vector"),
    ],
)
def test_a_bad_description_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        oracle(**{"version": "1", "inputs": [Input("x", 0, 1)], **arguments})(lambda x: x)


def test_the_fingerprint_follows_the_source(tmp_path):
    texts = ["return x", "return x", "return 2 * x"]
    prints = []
    for k, text in enumerate(texts):
        path = tmp_path / f"o{k}.py"
        path.write_text(
            "from cairn_oracle import Input, oracle\n"
            f"@oracle(version='1', inputs=[Input('x', 0, 1)])\ndef o(x):\n    {text}\no.run()\n"
        )
        run = subprocess.run([sys.executable, path, "--fingerprint"], capture_output=True, text=True, check=True)
        prints.append(run.stdout.strip())
    assert prints[0] == prints[1] != prints[2] and len(prints[0]) == 16


def test_the_fingerprint_follows_the_files_that_are_named(tmp_path):
    path = tmp_path / "o.py"
    path.write_text(
        "from cairn_oracle import Input, oracle\n"
        "@oracle(version='1', inputs=[Input('x', 0, 1)], depends=['protobuf', 'curves.csv'])\n"
        "def o(x):\n    return x\no.run()\n"
    )
    prints = []
    for curves in ["1, 2", "1, 2", "1, 3"]:
        (tmp_path / "curves.csv").write_text(curves)
        run = subprocess.run([sys.executable, path, "--fingerprint"], capture_output=True, text=True, check=True)
        prints.append(run.stdout.strip())
    assert prints[0] == prints[1] != prints[2]
    (tmp_path / "curves.csv").unlink()
    run = subprocess.run([sys.executable, path, "--fingerprint"], capture_output=True, text=True)
    assert run.returncode == 1 and "depends: curves.csv is no file beside" in run.stderr


# Streams


def frame(message) -> bytes:
    data = message.SerializeToString()
    return struct.pack("<I", len(data)) + data


def test_a_process_answers_and_ends_with_its_input():
    request = frame(pb.Request(id=1, describe=pb.Describe())) + frame(
        pb.Request(id=2, evaluate=pb.Evaluate(count=1, inputs=[0.05, 2]))
    )
    run = subprocess.run([sys.executable, FORWARD], input=request, capture_output=True, check=True)
    stream = io.BytesIO(run.stdout)
    replies = []
    while head := stream.read(4):
        replies.append(pb.Reply.FromString(stream.read(struct.unpack("<I", head)[0])))
    assert [reply.id for reply in replies] == [1, 2] and replies[1].valuations.prices == [1.1]


def test_what_it_prints_or_starts_stays_out_of_the_streams(tmp_path):
    path = tmp_path / "loud.py"
    path.write_text(
        "import os\nfrom cairn_oracle import Input, oracle\n"
        "@oracle(version='1', inputs=[Input('x', 0, 1)])\n"
        "def loud(x):\n    print('pricing')\n    os.system('echo shell; cat')\n    return x\nloud.run()\n"
    )
    request = frame(pb.Request(id=2, evaluate=pb.Evaluate(count=1, inputs=[0.5])))
    run = subprocess.run([sys.executable, path], input=request + request, capture_output=True, check=True)
    (size,) = struct.unpack("<I", run.stdout[:4])
    first, second = run.stdout[4 : 4 + size], run.stdout[8 + size :]
    assert [pb.Reply.FromString(reply).valuations.prices for reply in (first, second)] == [[0.5], [0.5]]
    assert b"pricing" in run.stderr and b"shell" in run.stderr


@pytest.mark.parametrize("bad", [b"\x01\x00", b"\xff\xff\xff\xff", b"\x05\x00\x00\x00abc", b"\x01\x00\x00\x00\xff"])
def test_a_broken_stream_ends_the_process(bad):
    run = subprocess.run([sys.executable, FORWARD], input=bad, capture_output=True)
    assert run.returncode != 0 and b"ValueError" in run.stderr and run.stdout == b""
