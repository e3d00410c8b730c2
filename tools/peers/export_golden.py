#!/usr/bin/env python3
"""Writes small networks that PyTorch has run, as files that the tests compare Saturn with.

    export_golden.py FOLDER

For each network NAME.safetensors holds PyTorch's state_dict as it is, and NAME.expected.safetensors what the network computed
from it in float64: "logits" in evaluation mode, then "losses" of five training steps of SGD (rate 0.002, momentum 0.9, weight
decay 5e-4 on all parameters), then "trained_logits" in evaluation mode again. Images and labels follow from a formula that the
test repeats: pixel i of the batch in the order (image, channel, row, column) of image n is
sin((0.1 + 0.05 n) i), and its label is 3n mod classes.

A network whose weights follow from a formula too (closed_form) has NAME.expected.safetensors alone. Beside the above it holds, for
each parameter and running statistic P, "P.change": the change over the training steps at up to 64 evenly spaced elements. Its
activation is smooth: among a million ReLU inputs some lie so near zero that rounding decides about their gradients.
"""

import copy
import json
import math
import pathlib
import struct
import sys

import torch
from torch import nn


def convolution(inputs, outputs, kernel, stride=1, padding=0, bias=False):
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, bias=bias)


class Block(nn.Module):
    """conv-norm-activation-conv-norm, or the three convolutions of a bottleneck with the stride on the middle one, plus shortcut, then activation."""

    def __init__(self, inputs, inner, stride, bottleneck, activation):
        super().__init__()
        self.activation = activation
        outputs = inner * 4 if bottleneck else inner
        if bottleneck:
            sizes = [(inputs, inner, 1, 1), (inner, inner, 3, stride), (inner, outputs, 1, 1)]
        else:
            sizes = [(inputs, inner, 3, stride), (inner, outputs, 3, 1)]
        self.count = len(sizes)
        for i, (a, b, kernel, s) in enumerate(sizes, 1):
            setattr(self, f"conv{i}", convolution(a, b, kernel, s, kernel // 2))
            setattr(self, f"bn{i}", nn.BatchNorm2d(b))
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            if i < self.count:
                y = self.activation(y)
        return self.activation(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    def __init__(self, blocks, bottleneck, width, classes, large_images, activation=torch.relu):
        super().__init__()
        self.activation = activation
        self.conv1 = convolution(3, width, 7, 2, 3) if large_images else convolution(3, width, 3, 1, 1)
        self.bn1 = nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(3, 2, 1) if large_images else nn.Identity()
        channels = width
        for stage, count in enumerate(blocks):
            inner = width << stage
            layers = []
            for i in range(count):
                layers.append(Block(channels, inner, 2 if stage and not i else 1, bottleneck, activation))
                channels = inner * 4 if bottleneck else inner
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        x = self.pool(self.activation(self.bn1(self.conv1(x))))
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(x.mean((2, 3)))


class Vgg16(nn.Module):
    def __init__(self, width, classes, pixels):
        super().__init__()
        layers, channels = [], 3
        for multiple in [1, 1, 0, 2, 2, 0, 4, 4, 4, 0, 8, 8, 8, 0, 8, 8, 8, 0]:
            if multiple:
                layers += [convolution(channels, multiple * width, 3, 1, 1, bias=True), nn.BatchNorm2d(multiple * width), nn.ReLU()]
                channels = multiple * width
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(channels * (pixels // 32) ** 2, classes)

    def forward(self, x):
        return self.classifier(torch.flatten(self.features(x), 1))


def write_safetensors(path, tensors):
    header, parts, offset = {}, [], 0
    for name, tensor in tensors.items():
        data = tensor.detach().contiguous().numpy().tobytes()
        header[name] = {
            "dtype": {torch.float32: "F32", torch.int64: "I64"}[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + len(data)],
        }
        parts.append(data)
        offset += len(data)
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))


def images(batch, pixels):
    index = torch.arange(batch * 3 * pixels * pixels, dtype=torch.float64)
    number = index // (3 * pixels * pixels)
    return torch.sin((0.1 + 0.05 * number) * index).float().reshape(batch, 3, pixels, pixels)


def export(folder, name, network, batch, pixels, classes):
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            # Anything but the starting values, so that each of the four vectors matters.
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, 0.2, 1.0)
    x = images(batch, pixels)
    for _ in range(10):
        network(x + 0.1 * torch.randn_like(x))
    write_safetensors(folder / f"{name}.safetensors", network.state_dict())
    labels = torch.tensor([3 * n % classes for n in range(batch)])
    expected = run(copy.deepcopy(network).double(), x.double(), labels)
    single = run(network, x, labels)
    error = max((single[key] - expected[key]).abs().max().item() for key in expected)
    spread = expected["logits"].std(0).mean().item()
    print(name, "losses", [round(loss, 4) for loss in expected["losses"].tolist()])
    print("  logits differ between images by", round(spread, 4), "and PyTorch's float32 from its float64 by at most", f"{error:.1e}")
    assert spread > 1e-3 and error < 1e-4, "the network is dead or chaotic; choose another one"
    write_safetensors(folder / f"{name}.expected.safetensors", {key: value.float() for key, value in expected.items()})


def closed_form(network):
    """Element i of the tensor NAME is low + (high - low) u, with u = h / 2^32 and h a hash of NAME and i."""
    for name, tensor in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        key = 2166136261
        for letter in name.encode():
            key = (key ^ letter) * 16777619 & 0xFFFFFFFF
        h = (torch.arange(tensor.numel(), dtype=torch.int64) * 0x9E3779B1 + key) & 0xFFFFFFFF
        for shift, factor in [(16, 0x45D9F3B), (15, 0x119DE1F3), (16, 1)]:
            h = ((h ^ (h >> shift)) * factor) & 0xFFFFFFFF
        if tensor.dim() > 1:
            high = math.sqrt((6 if tensor.dim() == 4 else 1) / tensor[0].numel())
            low = -high
        else:
            # The last norm of a block is small, so that the sums along the shortcuts stay tame.
            low, high = {
                "weight": (0.2, 0.5) if "bn3" in name else (0.5, 1.5), "bias": (-0.5, 0.5), "running_mean": (-0.2, 0.2), "running_var": (0.5, 1.5),
            }[name.split(".")[-1]]
        tensor.copy_((low + (high - low) * (h.double() / 2.0**32)).reshape(tensor.shape))


def export_closed_form(folder, name, network, batch, pixels, classes, rate):
    closed_form(network)
    x = images(batch, pixels)
    labels = torch.tensor([3 * n % classes for n in range(batch)])
    results = []
    for one, data in [(copy.deepcopy(network).double(), x.double()), (copy.deepcopy(network), x)]:
        before = {key: value.clone() for key, value in one.state_dict().items()}
        result = run(one, data, labels, rate)
        for key, value in one.state_dict().items():
            if value.is_floating_point():
                change = (value - before[key]).flatten()
                result[key + ".change"] = change[:: max(1, change.numel() // 64)][:64]
        results.append(result)
    expected, single = results
    error = max(((single[key] - expected[key]).abs().max() / expected[key].abs().max()).item() for key in expected)
    print(name, "losses", [round(loss, 4) for loss in expected["losses"].tolist()])
    print("  PyTorch's float32 differs from its float64 by at most", f"{error:.1e}", "of the largest entry")
    assert error < 2e-4, "the network is chaotic; choose another one"
    write_safetensors(folder / f"{name}.expected.safetensors", {key: value.float() for key, value in expected.items()})


def run(network, x, labels, rate=0.002):
    network.eval()
    results = {"logits": network(x).detach()}
    network.train()
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4)
    losses = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    results["losses"] = torch.tensor(losses, dtype=torch.float64)
    network.eval()
    results["trained_logits"] = network(x).detach()
    return results


def main():
    folder = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)
    export_closed_form(folder, "resnet50-silu", ResNet([3, 4, 6, 3], True, 8, 5, True, nn.functional.silu), 8, 72, 5, 0.05)
    torch.manual_seed(4)
    export(folder, "resnet50", ResNet([3, 4, 6, 3], True, 1, 5, True), 8, 72, 5)
    torch.manual_seed(1)
    export(folder, "resnet18", ResNet([2, 2, 2, 2], False, 2, 10, False), 4, 16, 10)
    torch.manual_seed(8)
    export(folder, "vgg16", Vgg16(1, 7, 64), 4, 64, 7)


if __name__ == "__main__":
    main()
