"""Writes the golden messages of Protos/oracle.proto, with Google's protobuf: Tests/PlugInsTests/Resources/golden.

    PYTHONPATH=Examples/python/src python3 Tests/References/oracle_messages.py

The replies are those of the oracle in Examples/c/forward.c.
"""

import pathlib

from cairn_oracle import oracle_pb2 as pb

folder = pathlib.Path(__file__).parent.parent / "PlugInsTests" / "Resources" / "golden"
folder.mkdir(parents=True, exist_ok=True)

descriptor = pb.Descriptor(
    name="forward",
    version="1",
    fingerprint="c-1",
    summary="Forward price of a share without dividends",
    licence="Apache-2.0",
    gradient=pb.Descriptor.EXACT,
    cost_seconds=1e-8,
)
descriptor.inputs.add(name="rate", unit="1/yr", meaning="interest rate", lower=0, upper=0.1)
descriptor.inputs.add(name="maturityYears", unit="yr", meaning="time to delivery", lower=0.1, upper=5)
descriptor.test_vectors.add(inputs=[0.05, 2], price=1.1, tolerance=1e-15)

messages = {
    "request-describe": pb.Request(id=1, describe=pb.Describe()),
    "request-evaluate": pb.Request(
        id=300, evaluate=pb.Evaluate(count=3, inputs=[0.05, 0.025, 0.1, 2, 0.5, -1], gradient=True)
    ),
    "request-nothing": pb.Request(id=2),
    "reply-descriptor": pb.Reply(id=1, descriptor=descriptor),
    "reply-valuations": pb.Reply(
        id=300,
        valuations=pb.Valuations(
            fingerprint="c-1",
            prices=[1 + 0.05 * 2, 1 + 0.025 * 0.5, 0],
            gradients=[2, 0.5, 0, 0.05, 0.025, 0],
            statuses=[pb.OK, pb.OK, pb.INVALID],
        ),
    ),
    "reply-failure": pb.Reply(id=2, failure="neither describe nor evaluate was asked"),
}
for name, message in messages.items():
    (folder / name).write_bytes(message.SerializeToString(deterministic=True))
