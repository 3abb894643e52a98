from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor
EXTENDED: Status
FAILED: Status
INVALID: Status
NON_FINITE: Status
NOT_CONVERGED: Status
OK: Status

class Describe(_message.Message):
    __slots__ = []
    def __init__(self) -> None: ...

class Descriptor(_message.Message):
    __slots__ = ["citation", "constraints", "cost_seconds", "fingerprint", "gradient", "inputs", "licence", "name", "stochastic", "summary", "test_vectors", "version"]
    class Gradient(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    class Scale(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = []
    class Constraint(_message.Message):
        __slots__ = ["bound", "coefficients", "inputs", "name"]
        BOUND_FIELD_NUMBER: _ClassVar[int]
        COEFFICIENTS_FIELD_NUMBER: _ClassVar[int]
        INPUTS_FIELD_NUMBER: _ClassVar[int]
        NAME_FIELD_NUMBER: _ClassVar[int]
        bound: float
        coefficients: _containers.RepeatedScalarFieldContainer[float]
        inputs: _containers.RepeatedScalarFieldContainer[int]
        name: str
        def __init__(self, name: _Optional[str] = ..., inputs: _Optional[_Iterable[int]] = ..., coefficients: _Optional[_Iterable[float]] = ..., bound: _Optional[float] = ...) -> None: ...
    class Input(_message.Message):
        __slots__ = ["kind", "lower", "meaning", "name", "scale", "unit", "upper", "usual", "words"]
        KIND_FIELD_NUMBER: _ClassVar[int]
        LOWER_FIELD_NUMBER: _ClassVar[int]
        MEANING_FIELD_NUMBER: _ClassVar[int]
        NAME_FIELD_NUMBER: _ClassVar[int]
        SCALE_FIELD_NUMBER: _ClassVar[int]
        UNIT_FIELD_NUMBER: _ClassVar[int]
        UPPER_FIELD_NUMBER: _ClassVar[int]
        USUAL_FIELD_NUMBER: _ClassVar[int]
        WORDS_FIELD_NUMBER: _ClassVar[int]
        kind: Descriptor.Kind
        lower: float
        meaning: str
        name: str
        scale: Descriptor.Scale
        unit: str
        upper: float
        usual: float
        words: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, name: _Optional[str] = ..., unit: _Optional[str] = ..., meaning: _Optional[str] = ..., lower: _Optional[float] = ..., upper: _Optional[float] = ..., kind: _Optional[_Union[Descriptor.Kind, str]] = ..., words: _Optional[_Iterable[str]] = ..., scale: _Optional[_Union[Descriptor.Scale, str]] = ..., usual: _Optional[float] = ...) -> None: ...
    class TestVector(_message.Message):
        __slots__ = ["inputs", "price", "tolerance"]
        INPUTS_FIELD_NUMBER: _ClassVar[int]
        PRICE_FIELD_NUMBER: _ClassVar[int]
        TOLERANCE_FIELD_NUMBER: _ClassVar[int]
        inputs: _containers.RepeatedScalarFieldContainer[float]
        price: float
        tolerance: float
        def __init__(self, inputs: _Optional[_Iterable[float]] = ..., price: _Optional[float] = ..., tolerance: _Optional[float] = ...) -> None: ...
    CHOICE: Descriptor.Kind
    CITATION_FIELD_NUMBER: _ClassVar[int]
    COMMON_PATHS: Descriptor.Gradient
    CONSTRAINTS_FIELD_NUMBER: _ClassVar[int]
    CONTINUOUS: Descriptor.Kind
    COST_SECONDS_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES: Descriptor.Gradient
    EXACT: Descriptor.Gradient
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    INTEGER: Descriptor.Kind
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    LINEAR: Descriptor.Scale
    LOGARITHMIC: Descriptor.Scale
    NAME_FIELD_NUMBER: _ClassVar[int]
    NO_GRADIENT: Descriptor.Gradient
    STOCHASTIC_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    TEST_VECTORS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    citation: str
    constraints: _containers.RepeatedCompositeFieldContainer[Descriptor.Constraint]
    cost_seconds: float
    fingerprint: str
    gradient: Descriptor.Gradient
    inputs: _containers.RepeatedCompositeFieldContainer[Descriptor.Input]
    licence: str
    name: str
    stochastic: bool
    summary: str
    test_vectors: _containers.RepeatedCompositeFieldContainer[Descriptor.TestVector]
    version: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., fingerprint: _Optional[str] = ..., summary: _Optional[str] = ..., citation: _Optional[str] = ..., licence: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[Descriptor.Input, _Mapping]]] = ..., constraints: _Optional[_Iterable[_Union[Descriptor.Constraint, _Mapping]]] = ..., gradient: _Optional[_Union[Descriptor.Gradient, str]] = ..., stochastic: bool = ..., cost_seconds: _Optional[float] = ..., test_vectors: _Optional[_Iterable[_Union[Descriptor.TestVector, _Mapping]]] = ...) -> None: ...

class Evaluate(_message.Message):
    __slots__ = ["count", "gradient", "inputs", "seeds"]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    SEEDS_FIELD_NUMBER: _ClassVar[int]
    count: int
    gradient: bool
    inputs: _containers.RepeatedScalarFieldContainer[float]
    seeds: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, count: _Optional[int] = ..., inputs: _Optional[_Iterable[float]] = ..., seeds: _Optional[_Iterable[int]] = ..., gradient: bool = ...) -> None: ...

class Reply(_message.Message):
    __slots__ = ["descriptor", "failure", "id", "valuations"]
    DESCRIPTOR_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    VALUATIONS_FIELD_NUMBER: _ClassVar[int]
    descriptor: Descriptor
    failure: str
    id: int
    valuations: Valuations
    def __init__(self, id: _Optional[int] = ..., descriptor: _Optional[_Union[Descriptor, _Mapping]] = ..., valuations: _Optional[_Union[Valuations, _Mapping]] = ..., failure: _Optional[str] = ...) -> None: ...

class Request(_message.Message):
    __slots__ = ["describe", "evaluate", "id"]
    DESCRIBE_FIELD_NUMBER: _ClassVar[int]
    EVALUATE_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    describe: Describe
    evaluate: Evaluate
    id: int
    def __init__(self, id: _Optional[int] = ..., describe: _Optional[_Union[Describe, _Mapping]] = ..., evaluate: _Optional[_Union[Evaluate, _Mapping]] = ...) -> None: ...

class Valuations(_message.Message):
    __slots__ = ["fingerprint", "gradients", "message", "prices", "seconds", "standard_errors", "statuses"]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    GRADIENTS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PRICES_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    STANDARD_ERRORS_FIELD_NUMBER: _ClassVar[int]
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    fingerprint: str
    gradients: _containers.RepeatedScalarFieldContainer[float]
    message: str
    prices: _containers.RepeatedScalarFieldContainer[float]
    seconds: _containers.RepeatedScalarFieldContainer[float]
    standard_errors: _containers.RepeatedScalarFieldContainer[float]
    statuses: _containers.RepeatedScalarFieldContainer[Status]
    def __init__(self, fingerprint: _Optional[str] = ..., prices: _Optional[_Iterable[float]] = ..., standard_errors: _Optional[_Iterable[float]] = ..., gradients: _Optional[_Iterable[float]] = ..., statuses: _Optional[_Iterable[_Union[Status, str]]] = ..., seconds: _Optional[_Iterable[float]] = ..., message: _Optional[str] = ...) -> None: ...

class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = []
