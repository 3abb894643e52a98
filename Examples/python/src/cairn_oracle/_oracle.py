"""The decorator, and the answers to Protos/oracle.proto."""

from __future__ import annotations

import hashlib
import inspect
import math
import os
import select
import struct
import sys
import time
import traceback
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Any, BinaryIO, Callable, Mapping, Optional, Sequence, Union, cast

from . import oracle_pb2 as pb

#: The longest request that is read, in bytes.
LONGEST_FRAME = 64 << 20

Value = Union[float, int, str]


class NoPrice(Exception):
    """Raise it at an input that makes no sense. Any other exception means that the pricer failed."""


@dataclass(frozen=True)
class Input:
    """One coordinate of an oracle's input, and the interval that a study gets when it names no other.

    Without `kind` and `words` it is continuous. `words` makes it a choice: the function is given the word itself.
    """

    name: str
    lower: float = 0.0
    upper: float = 0.0
    unit: str = "1"
    meaning: str = ""
    integer: bool = False
    words: Sequence[str] = ()
    logarithmic: bool = False
    #: The value of whoever does not name one.
    usual: Optional[Value] = None

    @property
    def is_plain(self) -> bool:
        """Whether the function is given the number itself."""
        return not self.words and not self.integer

    def number(self, value: Value) -> float:
        """What stands for a value in a row of numbers."""
        return float(list(self.words).index(str(value))) if self.words else float(value)

    def value(self, number: float) -> Value:
        """What the function is given for a number."""
        if self.words:
            if not (number.is_integer() and 0 <= number < len(self.words)):
                raise NoPrice(f"{self.name}: no word has number {number}")
            return self.words[int(number)]
        if self.integer:
            if not number.is_integer():
                raise NoPrice(f"{self.name}: {number} is no integer")
            return int(number)
        return number


@dataclass(frozen=True)
class Constraint:
    """Where the contract is worth pricing: the sum of coefficient * input is at most `bound`."""

    name: str
    coefficients: Mapping[str, float]
    bound: float = 0.0


@dataclass(frozen=True)
class TestVector:
    """Inputs and their price, repeated by everyone who starts the oracle. The tolerance is absolute."""

    __test__ = False  # not one of pytest's

    inputs: Mapping[str, Value]
    price: float
    tolerance: float


@dataclass(frozen=True)
class Valuation:
    """More than a price: what it is known to, its derivatives by the inputs (by name; 0 where one is left out)."""

    price: float
    standard_error: float = 0.0
    gradient: Optional[Mapping[str, float]] = None
    #: `OK`, `EXTENDED` (outside of the contract's range, such as knocked out at the start) or `NOT_CONVERGED`.
    status: str = "OK"


#: What became of a point; a price that is alone is a float.
Result = Union[float, Valuation, Exception]

_STATUSES = {"OK": pb.OK, "EXTENDED": pb.EXTENDED, "NOT_CONVERGED": pb.NOT_CONVERGED}

_GRADIENTS = {
    "none": pb.Descriptor.NO_GRADIENT,
    "exact": pb.Descriptor.EXACT,
    "differences": pb.Descriptor.DIFFERENCES,
    "commonPaths": pb.Descriptor.COMMON_PATHS,
}


def oracle(
    *,
    version: str,
    inputs: Sequence[Input],
    name: Optional[str] = None,
    vectorised: bool = False,
    summary: Optional[str] = None,
    citation: str = "",
    licence: str = "",
    constraints: Sequence[Constraint] = (),
    test_vectors: Sequence[TestVector] = (),
    gradient: str = "none",
    stochastic: bool = False,
    cost_seconds: float = 1e-3,
    depends: Sequence[str] = (),
    fingerprint: Optional[str] = None,
) -> Callable[[Callable[..., Any]], "Oracle"]:
    """Makes a function an oracle.

    Pointwise, the function gets each input by name and returns a price, or a `Valuation`. Vectorised, it gets a list per
    input and returns a sequence of prices or `Valuation`s. An oracle with derivatives (`gradient`: exact, differences
    or commonPaths) also gets `gradient`, whether they are wanted; a stochastic one gets `seed` (vectorised: `seeds`).

    Args:
        version: of the oracle, in letters, digits and . _ + : -.
        depends: what else belongs to the fingerprint, such as ["QuantLib", "curves.py"]: installed packages (their
            versions), and files beside the one that holds the function (their bytes).
        fingerprint: by default a hash of the file that holds the function, of `version`, of Python's version and of
            `depends`. Other files of yours that it imports or reads are not in it unless `depends` names them.

    Raises:
        ValueError: if the description contradicts itself, or `depends` names what is neither a file nor installed.
    """

    def decorate(function: Callable[..., Any]) -> Oracle:
        return Oracle(
            function,
            vectorised=vectorised,
            descriptor=_descriptor(
                name or function.__name__,
                version,
                fingerprint or _fingerprint(function, version, depends),
                summary if summary is not None else (inspect.getdoc(function) or "").split("\n")[0],
                citation,
                licence,
                inputs,
                constraints,
                test_vectors,
                gradient,
                stochastic,
                cost_seconds,
            ),
            inputs=tuple(inputs),
        )

    return decorate


def _fingerprint(function: Callable[..., Any], version: str, depends: Sequence[str]) -> str:
    parts = [version, ".".join(map(str, sys.version_info[:3]))]
    try:
        source = inspect.getsourcefile(function) or ""
        parts.append(_digest(source))
    except (OSError, TypeError):
        raise ValueError("the function has no source file; name a fingerprint") from None
    for name in depends:
        path = os.path.join(os.path.dirname(source), name)
        try:
            parts.append(f"{name} {_digest(path) if os.path.isfile(path) else metadata.version(name)}")
        except metadata.PackageNotFoundError:
            raise ValueError(f"depends: {name} is no file beside {source} and no installed package") from None
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def _descriptor(
    name: str,
    version: str,
    fingerprint: str,
    summary: str,
    citation: str,
    licence: str,
    inputs: Sequence[Input],
    constraints: Sequence[Constraint],
    test_vectors: Sequence[TestVector],
    gradient: str,
    stochastic: bool,
    cost_seconds: float,
) -> pb.Descriptor:
    if gradient not in _GRADIENTS:
        raise ValueError(f"gradient: {gradient!r} is none of {', '.join(_GRADIENTS)}")
    names = [given.name for given in inputs]
    if not names or len(set(names)) != len(names):
        raise ValueError("inputs: there must be one at least, and none twice")
    descriptor = pb.Descriptor(
        name=name,
        version=version,
        fingerprint=fingerprint,
        summary=summary,
        citation=citation,
        licence=licence,
        gradient=_GRADIENTS[gradient],
        stochastic=stochastic,
        cost_seconds=cost_seconds,
    )
    for given in inputs:
        entry = descriptor.inputs.add(
            name=given.name,
            unit=given.unit,
            meaning=given.meaning,
            lower=given.lower,
            upper=given.upper,
            words=given.words,
            scale=pb.Descriptor.LOGARITHMIC if given.logarithmic else pb.Descriptor.LINEAR,
        )
        entry.kind = (
            pb.Descriptor.CHOICE if given.words else pb.Descriptor.INTEGER if given.integer else pb.Descriptor.CONTINUOUS
        )
        if given.usual is not None:
            entry.usual = given.number(given.usual)
    for constraint in constraints:
        unknown = set(constraint.coefficients) - set(names)
        if unknown:
            raise ValueError(f"constraint {constraint.name}: {', '.join(sorted(unknown))} is no input")
        descriptor.constraints.add(
            name=constraint.name,
            inputs=[names.index(key) for key in constraint.coefficients],
            coefficients=list(constraint.coefficients.values()),
            bound=constraint.bound,
        )
    for vector in test_vectors:
        if set(vector.inputs) != set(names):
            raise ValueError(f"a test vector has inputs {sorted(vector.inputs)}, not {sorted(names)}")
        descriptor.test_vectors.add(
            inputs=[given.number(vector.inputs[given.name]) for given in inputs],
            price=vector.price,
            tolerance=vector.tolerance,
        )
    return descriptor


class Oracle:
    """A pricer that answers Cairn. It is still the function that it was: `forward(rate=0.05, maturityYears=1)`."""

    def __init__(
        self, function: Callable[..., Any], *, vectorised: bool, descriptor: pb.Descriptor, inputs: Sequence[Input]
    ) -> None:
        self.function = function
        self.vectorised = vectorised
        self.descriptor = descriptor
        self.inputs = inputs
        self.__doc__ = function.__doc__
        self._names = [entry.name for entry in inputs]
        self._is_plain = all(entry.is_plain for entry in inputs)
        self._has_gradient = descriptor.gradient != pb.Descriptor.NO_GRADIENT
        self._in_order = _takes_in_order(function, self._names)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    # Answers

    def answer(self, request: bytes) -> bytes:
        """The reply to a request, both without their length.

        Raises:
            ValueError: if the bytes are no request.
        """
        try:
            asked = pb.Request.FromString(request)
        except Exception as error:  # protobuf's own, which has another name in every version
            raise ValueError("no request") from error
        reply = pb.Reply(id=asked.id)
        kind = asked.WhichOneof("what")
        if kind == "describe":
            reply.descriptor.CopyFrom(self.descriptor)
        elif kind == "evaluate":
            what = self._problem(asked.evaluate)
            if what:
                reply.failure = what
            else:
                self._evaluate(asked.evaluate, reply.valuations)
        else:
            reply.failure = "neither describe nor evaluate was asked"
        return bytes(reply.SerializeToString())

    def _problem(self, asked: pb.Evaluate) -> Optional[str]:
        count, width = asked.count, len(self.inputs)
        if count * width != len(asked.inputs):
            return f"{len(asked.inputs)} numbers for {count} points of {width} inputs"
        if self.descriptor.stochastic and len(asked.seeds) != count:
            return f"{len(asked.seeds)} seeds for {count} points"
        if asked.gradient and self.descriptor.gradient == pb.Descriptor.NO_GRADIENT:
            return "there are no derivatives"
        return None

    def _evaluate(self, asked: pb.Evaluate, given: pb.Valuations) -> None:
        count, gradient = asked.count, asked.gradient
        numbers = list(asked.inputs)
        columns = [numbers[i * count : (i + 1) * count] for i in range(len(self.inputs))]
        if self.vectorised:
            results = self._vector(columns, asked)
        elif self._is_plain and self._in_order and not asked.seeds:
            results = self._plain_points(columns, gradient)
        else:
            seeds: Sequence[Optional[int]] = list(asked.seeds) or [None] * count
            results = [self._point(row, gradient, seed) for row, seed in zip(zip(*columns), seeds)]
        given.fingerprint = self.descriptor.fingerprint
        if not gradient and not self.descriptor.stochastic:
            # The usual case: prices and nothing else.
            if set(map(type, results)) == {float} and all(map(math.isfinite, cast("list[float]", results))):
                given.prices.extend(cast("list[float]", results))
                return
        self._report(results, count, gradient, given)

    def _report(self, results: Sequence[Result], count: int, gradient: bool, given: pb.Valuations) -> None:
        gradients = [0.0] * (count * len(self.inputs) if gradient else 0)
        prices: list[float] = []
        errors: list[float] = []
        statuses: list[Any] = []
        messages: list[str] = []
        for k, result in enumerate(results):
            if isinstance(result, Exception):
                prices.append(0.0)
                errors.append(0.0)
                statuses.append(pb.INVALID if isinstance(result, NoPrice) else pb.FAILED)
                if not isinstance(result, NoPrice):
                    messages.append(f"{type(result).__name__}: {result}")
                continue
            if isinstance(result, float):
                result = Valuation(result)
            isNumber = math.isfinite(result.price) and math.isfinite(result.standard_error)
            if gradient:
                slopes = [(result.gradient or {}).get(entry.name, 0.0) for entry in self.inputs]
                isNumber = isNumber and all(map(math.isfinite, slopes))
                for i, slope in enumerate(slopes):
                    gradients[i * count + k] = slope
            prices.append(result.price)
            errors.append(result.standard_error)
            statuses.append(_STATUSES[result.status] if isNumber else pb.NON_FINITE)
        given.prices.extend(prices)
        if self.descriptor.stochastic:
            given.standard_errors.extend(errors)
        given.gradients.extend(gradients)
        if any(statuses):
            given.statuses.extend(statuses)
        given.message = messages[0][:1000] if messages else ""

    def _plain_points(self, columns: Sequence[Sequence[float]], gradient: bool) -> list[Result]:
        """Like `_point` for each row, where all inputs are numbers and there are no seeds: nothing is made but the call."""
        function = partial(self.function, gradient=gradient) if self._has_gradient else self.function
        count = len(columns[0]) if columns else 0
        results: list[Result] = []
        calls = map(function, *columns)
        # A call that throws ends the inner loop and no more: the next one goes on behind it. Not once per call, because
        # this is the loop that costs.
        while len(results) < count:
            try:
                for result in calls:
                    results.append(result if type(result) is float else _valuation(result))
                if len(results) < count:
                    raise RuntimeError("the pricer raised StopIteration")
            except NoPrice as problem:
                results.append(problem)
            except Exception as problem:  # whatever the pricer throws fails this point alone
                traceback.print_exc()
                results.append(problem)
        return results

    def _point(self, row: Sequence[float], gradient: bool, seed: Optional[int]) -> Result:
        try:
            values: Sequence[Value] = row
            if not self._is_plain:
                values = [entry.value(x) for entry, x in zip(self.inputs, row)]
            arguments: dict[str, Any] = dict(zip(self._names, values))
            if self._has_gradient:
                arguments["gradient"] = gradient
            if seed is not None:
                arguments["seed"] = seed
            return _valuation(self.function(**arguments))
        except NoPrice as problem:
            return problem
        except Exception as problem:  # whatever the pricer throws fails this point alone
            traceback.print_exc()
            return problem

    def _vector(self, columns: Sequence[Sequence[float]], asked: pb.Evaluate) -> list[Result]:
        count = asked.count
        try:
            arguments: dict[str, Any] = {
                entry.name: column if entry.is_plain else [entry.value(x) for x in column]
                for entry, column in zip(self.inputs, columns)
            }
            if self._has_gradient:
                arguments["gradient"] = asked.gradient
            if self.descriptor.stochastic:
                arguments["seeds"] = list(asked.seeds)
            results: list[Result] = [_valuation(value) for value in self.function(**arguments)]
            if len(results) != count:
                raise RuntimeError(f"{len(results)} results for {count} points")
            return results
        except Exception as problem:
            if count == 1:
                if not isinstance(problem, NoPrice):
                    traceback.print_exc()
                return [problem]
        # One of them is bad: it shall fail alone.
        results = []
        for k in range(count):
            alone = pb.Evaluate(count=1, seeds=asked.seeds[k : k + 1], gradient=asked.gradient)
            results += self._vector([[column[k]] for column in columns], alone)
        return results

    # Transports

    def run(self, arguments: Optional[Sequence[str]] = None) -> None:
        """What a program does: serves Cairn on standard input and output, or with `--bind ADDRESS` on a ZeroMQ socket;
        with `--fingerprint` it prints that."""
        given = list(sys.argv[1:] if arguments is None else arguments)
        if given == ["--fingerprint"]:
            print(self.descriptor.fingerprint)
        elif len(given) == 2 and given[0] == "--bind":
            self.serve(given[1])
        elif given:
            sys.exit(f"{sys.argv[0]}: takes no argument, --fingerprint, or --bind ADDRESS such as tcp://127.0.0.1:7001")
        else:
            # What the pricer prints must not end up among the answers, and what it starts must not read the requests.
            requests = os.fdopen(os.dup(0), "rb")
            answers = os.fdopen(os.dup(1), "wb")
            with open(os.devnull, "rb") as nothing:
                os.dup2(nothing.fileno(), 0)
            os.dup2(2, 1)
            self.stream(requests, answers)

    def stream(self, requests: BinaryIO, answers: BinaryIO) -> None:
        """Answers requests until they end. Each message follows its length: four bytes, little-endian.

        Raises:
            ValueError: if the bytes are no requests.
        """
        lookout = _Lookout(requests)
        while True:
            lookout.look()
            head = requests.read(4)
            if not head:
                return
            if len(head) < 4:
                raise ValueError("the input ends in the middle of a length")
            (size,) = struct.unpack("<I", head)
            if size > LONGEST_FRAME:
                raise ValueError(f"a request of {size} bytes")
            request = requests.read(size)
            if len(request) < size:
                raise ValueError("the input ends in the middle of a request")
            answer = self.answer(request)
            answers.write(struct.pack("<I", len(answer)) + answer)
            answers.flush()

    def serve(self, address: str) -> None:
        """Answers requests on a ZeroMQ socket that is bound to `address`; needs pyzmq. Never returns."""
        import zmq

        socket: Any = zmq.Context.instance().socket(zmq.REP)
        socket.setsockopt(zmq.MAXMSGSIZE, LONGEST_FRAME)
        socket.bind(address)
        while True:
            request = socket.recv()
            try:
                socket.send(self.answer(request))
            except ValueError as problem:
                socket.send(pb.Reply(failure=str(problem)).SerializeToString())


class _Lookout:
    """Looks for the next request before going to sleep: sleep and awakening cost more than many a price, on a virtual
    machine by far. Each look-out that is in vain, or lost the core for too long, doubles the number of those left out."""

    LONGEST_NANOSECONDS = 150_000

    def __init__(self, file: BinaryIO) -> None:
        self._skipped = 0
        # What is no pipe is not looked for.
        self._to_skip: float = math.inf
        try:
            self._poll = select.poll()
            self._poll.register(file, select.POLLIN)
            self._to_skip = 0
        except (AttributeError, OSError):
            pass

    def look(self) -> None:
        if self._to_skip > 0:
            self._to_skip -= 1
            return
        end = time.perf_counter_ns() + self.LONGEST_NANOSECONDS
        found = self._poll.poll(0)
        while not found and time.perf_counter_ns() < end:
            os.sched_yield()
            found = self._poll.poll(0)
        came = bool(found) and time.perf_counter_ns() < end
        self._skipped = 0 if came else min(2 * self._skipped + 1, 255)
        self._to_skip = self._skipped


def _takes_in_order(function: Callable[..., Any], names: Sequence[str]) -> bool:
    """Whether a function's first arguments are these, so that they need not be named."""
    try:
        parameters = list(inspect.signature(function).parameters.values())[: len(names)]
    except (TypeError, ValueError):
        return False
    return [entry.name for entry in parameters] == list(names) and all(
        entry.kind == inspect.Parameter.POSITIONAL_OR_KEYWORD for entry in parameters
    )


def _valuation(value: Any) -> Union[float, Valuation]:
    """What a pricer returned, of the types that it must have; whatever is wrong with it is raised here."""
    if not isinstance(value, Valuation):
        return float(value)
    if value.status not in _STATUSES:
        raise ValueError(f"status {value.status!r} is none of {', '.join(_STATUSES)}")
    gradient = value.gradient
    if gradient is not None:
        if not isinstance(gradient, Mapping):
            raise TypeError(f"gradient must be a mapping of inputs' names to derivatives, not {type(gradient).__name__}")
        gradient = {name: float(slope) for name, slope in gradient.items()}
    return Valuation(float(value.price), float(value.standard_error), gradient, value.status)
