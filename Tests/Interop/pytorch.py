"""Both directions between Cairn's safetensors files and PyTorch: see pytorch.sh."""
import csv
import json
import subprocess
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file

cairn, work = sys.argv[1:]
result = f"{work}/quick"

# The two lines of Docs/Studies.md, and what they import.
from functools import reduce
from safetensors.torch import load_file
from torch.nn.functional import linear

w = load_file(f"{result}/surrogate.safetensors"); layers = [(w[f"layers.{k}.weight"], w[f"layers.{k}.bias"]) for k in range(len(w) // 2)]
predict = lambda x: linear(reduce(lambda h, layer: linear(h, *layer).relu(), layers[:-1], x), *layers[-1])

metadata = safe_open(f"{result}/surrogate.safetensors", "pt").metadata()
domain, scale = json.loads(metadata["domain"]), float(metadata["labelScale"])
rows = list(csv.DictReader(open(f"{result}/maximizers.csv")))
raw = torch.tensor([[float(row[i["name"]]) for i in domain] for row in rows], dtype=torch.float64)
lower, upper = (torch.tensor([i[end] for i in domain], dtype=torch.float64) for end in ("lower", "upper"))
theirs = predict(((raw - lower) / (upper - lower)).float())[:, 0].double()
ours = torch.tensor([float(row["prediction"]) for row in rows], dtype=torch.float64)
worst = (theirs - ours).abs().max().item()
print(f"predictions of {len(rows)} maximizers: PyTorch and Cairn differ by {worst:.2e} at the most, label scale {scale}")
assert worst <= 1e-5 * scale


class Surrogate(torch.nn.Module):
    """A module whose own names are those of the layout."""

    def __init__(self, *widths):
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(i, o) for i, o in zip(widths, widths[1:]))

    def forward(self, x):
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        return self.layers[-1](x)


shapes = [weight.shape for weight, _ in layers]
module = Surrogate(shapes[0][1], *(s[0] for s in shapes))
module.load_state_dict(w)

# The other way: a model of PyTorch's own goes into a study, and its predictions come back in maximizers.csv.
torch.manual_seed(1)
model = Surrogate(5, 33, 17, 1)
save_file(model.state_dict(), f"{work}/model.safetensors")
open(f"{work}/study.yaml", "w").write(
    "study: theirs\ndata: {base: 2000, test: 100}\nsurrogate: {file: model.safetensors}\n"
    "search: {seeds: {random: 200}, stages: [{steps: 20}]}\nmitigation: {action: none}\n"
)
subprocess.run([cairn, "run", f"{work}/study.yaml", "--no-progress", "--out", f"{work}/theirs"], check=True, stdout=subprocess.DEVNULL)
rows = list(csv.DictReader(open(f"{work}/theirs/maximizers.csv")))
normalised = torch.tensor([[float(row[i["name"] + "_n"]) for i in domain] for row in rows], dtype=torch.float64)
theirs = model(normalised.float()).detach()[:, 0].double()
ours = torch.tensor([float(row["prediction"]) for row in rows], dtype=torch.float64)
worst = (theirs - ours).abs().max().item()
print(f"a model of PyTorch's: {len(rows)} maximizers, predictions differ by {worst:.2e} at the most")
assert len(rows) > 10 and worst <= 1e-5 * scale
