#!/usr/bin/env python3
"""Writes the corpora of study and cluster files, tables and surrogates: small, and one of each kind of content."""

import json, pathlib, struct

root = pathlib.Path(__file__).parent
corpora = root / "Corpora"


def write(target, name, content):
    folder = corpora / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


for study in sorted((root.parent / "Studies").glob("*.yaml")):
    write("study", study.name, study.read_bytes())
write("study", "attached.yaml", "study: s\ndata: {training: a.csv, test: b.csv}\nsurrogate: {file: m.safetensors}\n"
      "search: {seeds: {file: s.csv}, gradient: differences, budget: {oracleCalls: 9, wallClock: 3s}}\n")
write("study", "purge.yaml", "study: s\nrandomSeed: 0x1F\nscan: {rule: counts, radius: 0.1, proximalCount: 5}\n"
      "mitigation: {action: purge, weights: [0.5, 1]}\ntraining: {optimizer: sgd, batch: full, halt: {relativeChange: 0.1, overEpochs: 2}}\n")
write("cluster", "cluster.yaml", (root.parent / "cluster.yaml").read_bytes())
write("cluster", "limits.yaml", "version: 1\nname: c\nlimits: {maxFrame: 64MiB, crashLimit: 3}\ntrainer: {threads: auto}\n")
write("csv", "two.csv", "x,y\n1,2\n-3e-5,+4.25\n")
write("csv", "quoted.csv", b'\xef\xbb\xbf"y", "x" ,z\r\n"1",2,a\r\n,nan,inf\r\n')
npy = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2), }"
npy += b" " * (63 - (10 + len(npy)) % 64 + 1 - 1) + b"\n"
write("npy", "two.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(npy)) + npy + struct.pack("<4d", 1, 2, 3, 4))
npy = b"{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2), }\n"
write("npy", "float.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", len(npy)) + npy + struct.pack("<2f", 1, 2))
header = {"__metadata__": {"activation": "relu"}, "layers.0.weight": {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]},
          "layers.0.bias": {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]}}
text = json.dumps(header).encode()
write("safetensors", "one.safetensors", struct.pack("<Q", len(text)) + text + struct.pack("<3f", 1, 2, 3))
write("samples", "one.bin", b"CairnSamples1\0\0\0" + struct.pack("<QQ", 2, 1) + struct.pack("<3d", 0.5, 1, 7))
