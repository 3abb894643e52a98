"""Reference numbers of an independent framework: Tests/RegressionTests/Resources/network.json.

PyTorch in double precision: predictions, derivatives by the inputs, derivatives of the mean squared error by every weight,
and the weights after five steps of Adam and of gradient descent with momentum, for a network with odd widths. The start
is made of multiples of 1/64, which float32 holds exactly.

    pip install torch && python3 network.py > ../RegressionTests/Resources/network.json
"""
import json
import random

import torch

WIDTHS = [3, 7, 19, 5, 1]
ROWS, STEPS = 11, 5
generator = random.Random(7)


def dyadic(count, scale):
    return [generator.randrange(-scale, scale + 1) / 64 for _ in range(count)]


start = [(dyadic(i * o, 40), dyadic(o, 20)) for i, o in zip(WIDTHS, WIDTHS[1:])]
inputs = [generator.randrange(0, 65) / 64 for _ in range(ROWS * WIDTHS[0])]
labels = dyadic(ROWS, 200)


def build():
    layers = []
    for (w, b), i, o in zip(start, WIDTHS, WIDTHS[1:]):
        layer = torch.nn.Linear(i, o, dtype=torch.float64)
        layer.weight.data = torch.tensor(w, dtype=torch.float64).reshape(o, i)
        layer.bias.data = torch.tensor(b, dtype=torch.float64)
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


x = torch.tensor(inputs, dtype=torch.float64).reshape(ROWS, WIDTHS[0])
y = torch.tensor(labels, dtype=torch.float64)


def numbers(model):
    return [
        {"weights": layer.weight.detach().flatten().tolist(), "biases": layer.bias.detach().tolist()}
        for layer in model
        if isinstance(layer, torch.nn.Linear)
    ]


model = build()
probe = x.clone().requires_grad_(True)
predictions = model(probe)[:, 0]
predictions.sum().backward()
model.zero_grad()
((model(x)[:, 0] - y) ** 2).mean().backward()
gradients = [
    {"weights": layer.weight.grad.flatten().tolist(), "biases": layer.bias.grad.tolist()}
    for layer in model
    if isinstance(layer, torch.nn.Linear)
]


def train(make):
    model = build()
    optimizer = make(model.parameters())
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = ((model(x)[:, 0] - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {"losses": losses, "layers": numbers(model)}


print(
    json.dumps(
        {
            "origin": f"PyTorch {torch.__version__}, float64; see Tests/References/network.py",
            "widths": WIDTHS,
            "start": [{"weights": w, "biases": b} for w, b in start],
            "inputs": inputs,
            "labels": labels,
            "predictions": predictions.detach().tolist(),
            "inputGradients": probe.grad.flatten().tolist(),
            "weightGradients": gradients,
            "adam": train(lambda p: torch.optim.Adam(p, lr=0.01)),
            "sgd": train(lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9)),
        },
        indent=0,
    )
)
