"""Seconds per sample of a training step in PyTorch, one thread."""
import json

import torch

from paper import best, inputs, network, optimiser

torch.set_num_threads(1)
x = inputs(8192).float()
y = torch.rand(8192, 1)
out = {"version": torch.__version__}
for batch in [1024, 256]:
    model = network()
    adam = optimiser(model)

    def epoch():
        for start in range(0, 8192, batch):
            adam.zero_grad(set_to_none=True)
            loss = torch.nn.functional.mse_loss(model(x[start : start + batch]), y[start : start + batch])
            loss.backward()
            adam.step()

    out[str(batch)] = best(6, epoch) / 8192
print(json.dumps(out))
