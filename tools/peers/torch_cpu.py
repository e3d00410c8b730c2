#!/usr/bin/env python3
"""PyTorch on the CPU as a measuring peer.

Reads one JSON request a line on standard input and answers each with one JSON line on standard output, so that a bench can
interleave its own rounds with PyTorch's on the same machine in the same minutes. Work is set up by the first request that names it
(the request without "warmup" and "repetitions" is the name) and kept until it is released, so later rounds measure only the work.

Requests
  {"do": "hello"}                          -> {"torch": "...", "onednn": "...", "capability": "...", "peak_rss_bytes": n}
  {"do": "release"}                        -> {"released": n}       forgets all work
  {"do": "run", "work": W, ...,
   "warmup": 1, "repetitions": 3}          -> {"milliseconds": [...], "peak_rss_bytes": n, "loss": x or null}
  {"do": "peak_memory", "work": W, ...,
   "repetitions": 3}                       -> the same, from a fresh process that did nothing else

Work (all float32, channels_last; "threads" defaults to PyTorch's own choice)
  "train_step"    batch, width (64) or channels ([64, 128, 256, 512]), optionally inner (the eight counts between a block's two
                  convolutions), classes (10), image (32): ResNet-18 for small images, one whole step of SGD with momentum 0.9 and weight
                  decay 5e-4 on cross entropy, train mode, fixed random input
  "convolution"   pass ("forward", "data_gradient", "filter_gradient"), batch, height, width, in, out, kernel, stride, padding
  "batch_norm"    pass ("forward", "backward"), batch, height, width, in: batch statistics, affine, followed by an in-place ReLU
  "optimizer"     elements, tensors: SGD with momentum 0.9 and weight decay 5e-4 over equally large tensors

An error is answered as {"error": "..."}; the process stays usable.
"""

import json
import re
import subprocess
import sys
import time

try:
    import torch
    import torch.nn.functional as F
    from torch import nn
except ImportError as missing:
    print(json.dumps({"error": f"PyTorch cannot be imported ({missing}); tools/install-peers.sh installs it for /usr/bin/python3"}), flush=True)
    sys.exit(3)


def peak_resident_bytes():
    """The largest resident set that this process has had (VmHWM)."""
    with open("/proc/self/status", encoding="ascii") as status:
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read()).group(1)) * 1024


class Block(nn.Module):
    """Basic residual block: 3x3, norm, ReLU, 3x3, norm, shortcut sum, ReLU; a strided 1x1 shortcut where the shape changes."""

    def __init__(self, channels_in, inner, channels_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, inner, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, channels_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = None
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out))

    def forward(self, x):
        y = self.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        y += x if self.shortcut is None else self.shortcut(x)
        return self.relu(y)


class ResNet18(nn.Module):
    """ResNet-18 with a 3x3 stem and no maximum pooling, as used on 32x32 images. channels: the four stages; inner: inside the eight blocks."""

    def __init__(self, channels, inner, classes):
        super().__init__()
        self.stem = nn.Conv2d(3, channels[0], 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU(inplace=True)
        blocks = []
        channels_in = channels[0]
        for i in range(8):
            stage = i // 2
            stride = 2 if stage > 0 and i % 2 == 0 else 1
            blocks.append(Block(channels_in, inner[i], channels[stage], stride))
            channels_in = channels[stage]
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(channels_in, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        x = self.blocks(self.relu(self.norm(self.stem(x))))
        return self.classifier(x.mean((2, 3)))


def random_image(*shape):
    return torch.randn(*shape).contiguous(memory_format=torch.channels_last)


def prepare_train_step(request):
    if request.get("model", "resnet18") != "resnet18":
        raise ValueError(f"model '{request['model']}' is not known; known: resnet18")
    width = request.get("width", 64)
    channels = request.get("channels") or [width, 2 * width, 4 * width, 8 * width]
    inner = request.get("inner") or [channels[i // 2] for i in range(8)]
    if len(channels) != 4 or len(inner) != 8:
        raise ValueError(f"channels has four counts and inner eight, but there are {len(channels)} and {len(inner)}")
    size = request.get("image", 32)
    classes = request.get("classes", 10)
    model = ResNet18(channels, inner, classes).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    images = random_image(request["batch"], 3, size, size)
    labels = torch.randint(0, classes, (request["batch"],))

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def prepare_convolution(request):
    batch, channels_in, channels_out = request["batch"], request["in"], request["out"]
    kernel, stride, padding = request.get("kernel", 3), request.get("stride", 1), request.get("padding", 1)
    x = random_image(batch, channels_in, request["height"], request["width"])
    w = random_image(channels_out, channels_in, kernel, kernel)
    which = request["pass"]
    if which == "forward":
        def forward():
            with torch.no_grad():
                F.conv2d(x, w, None, stride, padding)
        return forward

    masks = {"data_gradient": [True, False, False], "filter_gradient": [False, True, False]}
    if which not in masks:
        raise ValueError(f"pass '{which}' is not known; known: forward, data_gradient, filter_gradient")
    gradient = random_image(*F.conv2d(x, w, None, stride, padding).shape)

    def backward():
        torch.ops.aten.convolution_backward(
            gradient, x, w, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], 1, masks[which])
    return backward


def prepare_batch_norm(request):
    x = random_image(request["batch"], request["in"], request["height"], request["width"])
    norm = nn.BatchNorm2d(request["in"]).train()
    if request["pass"] == "forward":
        def forward():
            with torch.no_grad():
                F.relu_(norm(x))
        return forward

    x.requires_grad_()
    y = F.relu_(norm(x))
    gradient = random_image(*y.shape)

    def backward():
        torch.autograd.grad(y, [x, norm.weight, norm.bias], gradient, retain_graph=True)
    return backward


def prepare_optimizer(request):
    parameters = [nn.Parameter(torch.randn(request["elements"])) for _ in range(request.get("tensors", 1))]
    for parameter in parameters:
        parameter.grad = torch.randn(request["elements"])
    optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, weight_decay=5e-4)
    return optimizer.step


PREPARE = {"train_step": prepare_train_step, "convolution": prepare_convolution, "batch_norm": prepare_batch_norm, "optimizer": prepare_optimizer}
prepared = {}


def run(request):
    request = dict(request)
    warmup = request.pop("warmup", 0)
    repetitions = request.pop("repetitions", 1)
    if "threads" in request:
        torch.set_num_threads(request["threads"])
    name = json.dumps(request, sort_keys=True)
    if name not in prepared:
        if request.get("work") not in PREPARE:
            raise ValueError(f"work '{request.get('work')}' is not known; known: {', '.join(PREPARE)}")
        torch.manual_seed(1)
        prepared[name] = PREPARE[request["work"]](request)
    work = prepared[name]
    for _ in range(warmup):
        work()
    milliseconds = []
    loss = None
    for _ in range(repetitions):
        start = time.perf_counter()
        result = work()
        milliseconds.append((time.perf_counter() - start) * 1e3)
        if isinstance(result, torch.Tensor):
            loss = result.item()
    return {"milliseconds": milliseconds, "peak_rss_bytes": peak_resident_bytes(), "loss": loss}


def answer(request):
    do = request.pop("do", "run")
    if do == "hello":
        onednn = re.search(r"MKL-DNN v?([\d.]+)", torch.__config__.show())
        capability = re.search(r"CPU capability usage: (\S+)", torch.__config__.show())
        return {
            "torch": torch.__version__,
            "onednn": onednn.group(1) if onednn else None,
            "capability": capability.group(1) if capability else None,
            "peak_rss_bytes": peak_resident_bytes(),
        }
    if do == "release":
        count = len(prepared)
        prepared.clear()
        return {"released": count}
    if do == "run":
        return run(request)
    if do == "peak_memory":
        request["do"] = "run"
        fresh = subprocess.run([sys.executable, __file__], input=json.dumps(request) + "\n", capture_output=True, text=True, check=True)
        return json.loads(fresh.stdout)
    raise ValueError(f"request '{do}' is not known; known: hello, run, release, peak_memory")


def main():
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            reply = answer(json.loads(line))
        except Exception as failure:  # every failure is the requester's to see; the process goes on
            reply = {"error": f"{type(failure).__name__}: {failure}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
