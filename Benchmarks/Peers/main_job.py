"""The main job's arithmetic in PyTorch: seconds of training, search and retraining, from scaled parts.

205 of the 820 steps of an epoch stand for 14 epochs (and, with the rows of maximizers, for the 2 of retraining); 6 of the
100 steps of the search for all. Wall time: all threads of one process.
"""
import json
import os
import time

import torch

from paper import LOWER, UPPER, inputs, network, optimiser, put

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
torch.set_flush_denormal(True)
ROWS, BATCH, SEEDS, STEPS, PARTS = 210_000, 256, 21_000, 205, 6
whole_epoch = -(-ROWS // BATCH)

x = inputs(ROWS)
y = 100 * put(LOWER + x * (UPPER - LOWER))[:, None].float()
x32 = x.float()
model = network()
adam = optimiser(model)


def train(rows, steps):
    order = torch.randperm(ROWS)
    start = time.perf_counter()
    for k in range(steps):
        batch = order[k * BATCH : k * BATCH + rows]
        adam.zero_grad(set_to_none=True)
        torch.nn.functional.mse_loss(model(x32[batch]), y[batch]).backward()
        adam.step()
    return (time.perf_counter() - start) / steps


train(BATCH, 20)
training = train(BATCH, STEPS) * whole_epoch * 14
retraining = train(BATCH + BATCH // 4, STEPS // 2) * whole_epoch * 2

model.requires_grad_(False)
position = x[:SEEDS].clone()
velocity = torch.zeros_like(position)
best = position.clone()
height = torch.zeros(SEEDS, dtype=torch.float64)
start = 0.0
for step in range(PARTS + 1):
    if step == 1:  # the first warms up
        start = time.perf_counter()
    for k in range(0, SEEDS, 1050):
        rows = slice(k, k + 1050)
        here = position[rows]
        single = here.float().requires_grad_(True)
        prediction = model(single)
        (slope,) = torch.autograd.grad(prediction.sum(), single)
        raw = (LOWER + here * (UPPER - LOWER)).requires_grad_(True)
        price = put(raw)
        (by_raw,) = torch.autograd.grad(price.sum(), raw)
        error = prediction[:, 0].double() - 100 * price.detach()
        higher = error * error > height[rows]
        height[rows] = torch.where(higher, error * error, height[rows])
        best[rows] = torch.where(higher[:, None], here, best[rows])
        g = torch.sign(error)[:, None] * (slope.double() - 100 * by_raw * (UPPER - LOWER))
        v = 0.9 * velocity[rows] + 0.1 * g / g.norm(dim=1, keepdim=True).clamp_min(1e-300)
        moved = (here + 0.05 * v).clamp(0, 1)
        # Barrier at most the strike, in raw units: 0.5 u <= w.
        over = (0.5 * moved[:, 0] - moved[:, 1]).clamp_min(0) / 1.25
        moved[:, 0] -= 0.5 * over
        moved[:, 1] += over
        velocity[rows], position[rows] = v, moved
search = (time.perf_counter() - start) / PARTS * 100
print(json.dumps({"version": torch.__version__, "train": training, "retrain": retraining, "search": search}))
