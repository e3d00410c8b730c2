#!/usr/bin/env python3
"""PyTorch on a GPU as a measuring peer, eager and compiled.

Speaks the protocol of torch_cpu.py: one JSON request a line on standard input, one JSON answer a line on standard output, so that a bench
interleaves its own rounds with PyTorch's on the same GPU. Work is set up by the first request that names it and kept until it is released.
The argument names the device (default cuda:0); with "cpu" everything runs the same way on the host, to try it out.

Requests
  {"do": "hello"}                          -> {"name": "PyTorch ... on ...", "torch": "...", "peak_rss_bytes": n}
  {"do": "release"}                        -> {"released": n}       forgets all work and gives its memory back
  {"do": "run", "work": W, "precision": P, "mode": M, ...,
   "warmup": 1, "repetitions": 30}         -> {"milliseconds": [...], "peak_rss_bytes": n, "loss": x or null, "calls": k, "graph": bool, "parameters": n or null}
"peak_rss_bytes" is the device memory that PyTorch's allocator held at most since the work was set up (on the CPU: the resident set).
"milliseconds" has one entry a repetition, each the mean of "calls" calls between two events; "parameters" is the number of a model's weights. "graph" tells whether they were replayed from a
CUDA graph (kernels), so that what the host needs for a launch does not count on either side. Sets of inputs take turns until they hold 200 MiB.

precision: "fp32" (allow_tf32 off), "tf32" (on), "bf16" (activations bfloat16, master weights float32: autocast in model steps)
mode:      "eager", or "compiled": torch.compile(mode="max-autotune"), for kernels without its own CUDA graphs, since all kernels are captured here
All images are channels_last, cudnn.benchmark is on.

Work
  "convolution"    as in torch_cpu.py, and groups
  "normalization"  pass ("forward", "backward"), residual (bool), batch, height, width, in: batch norm in training mode, + residual, ReLU
  "update"         rule ("sgd", "adam"), demon (bool: L1 pressure and noise in passes of their own), elements, tensors: the optimizer with fused=True
  "clip"           elements, tensors: the global norm of gradients, and their clipping
  "matrix"         rows, columns, depth, transpose_left, transpose_right: float32 arrays; "max_pool" pass, batch, height, width, in, kernel, stride, padding
  "average_pool"   as max_pool, without padding; "permutation" (to channels first), "concatenation" (of two, by channels): batch, height, width, in
  "cross_entropy"  rows, classes: forwards and backwards; "softmax" pass, rows, classes; "argument_maximum" rows, classes: float32 arrays
  "model_step"     model ("resnet18", "resnet50", "vgg16"), width, batch, image, classes, plan ({unit group: channels}): one whole step of SGD
                   with momentum 0.9 and weight decay 5e-4; identity shortcuts between different widths read their source by index_select

An error is answered as {"error": "..."}; the process stays usable.
"""

import json
import os
import re
import sys
import time

try:
    import torch
    import torch.nn.functional as F
    from torch import nn
except ImportError as missing:
    print(json.dumps({"error": f"PyTorch cannot be imported ({missing}); name an interpreter that has torch in SATURN_PEER_PYTHON"}), flush=True)
    sys.exit(3)

DEVICE = torch.device(sys.argv[1] if len(sys.argv) > 1 else "cuda:0")
ON_GPU = DEVICE.type == "cuda"
COLD_BYTES = 200 << 20 if ON_GPU else 0
FEWEST_CALLS = 10 if ON_GPU else 1
MOST_CALLS = 400
BATCH_MILLISECONDS = 1.0
STEPS_AT_ONCE = 5 if ON_GPU else 1


def set_precision(precision):
    if precision not in ("fp32", "tf32", "bf16"):
        raise ValueError(f"precision '{precision}' is not known; known: fp32, tf32, bf16")
    allowed = precision != "fp32"
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cudnn.benchmark = True


def activation_type(precision):
    return torch.bfloat16 if precision == "bf16" else torch.float32


def compiled(function, mode, graphs=False):
    if mode == "eager":
        return function
    if mode != "compiled":
        raise ValueError(f"mode '{mode}' is not known; known: eager, compiled")
    if not hasattr(torch, "compile"):
        raise RuntimeError(f"PyTorch {torch.__version__} has no torch.compile")
    # Single kernels are captured into a graph here, as eager ones are; whole steps are left to PyTorch.
    return torch.compile(function, mode="max-autotune" if graphs else "max-autotune-no-cudagraphs", dynamic=False)


def image(request, channels, dtype, height=None, width=None):
    shape = (request["batch"], channels, height or request["height"], width or request["width"])
    return torch.randn(shape, device=DEVICE).to(dtype).contiguous(memory_format=torch.channels_last)


def synchronize():
    if ON_GPU:
        torch.cuda.synchronize(DEVICE)


class Timer:
    """Milliseconds between two points of the stream."""

    def __enter__(self):
        if ON_GPU:
            self.begin, self.end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            self.begin.record()
        else:
            self.start = time.perf_counter()
        return self

    def __exit__(self, *_):
        if ON_GPU:
            self.end.record()
            self.end.synchronize()
            self.milliseconds = self.begin.elapsed_time(self.end)
        else:
            self.milliseconds = (time.perf_counter() - self.start) * 1e3


class Kernels:
    """Calls on several sets of inputs in turn, replayed from a CUDA graph where they can be captured."""

    parameters = None

    def __init__(self, prepare):
        sets = [prepare()]
        synchronize()
        if ON_GPU:
            held = max(1, torch.cuda.memory_allocated(DEVICE))
            while len(sets) < 64 and (len(sets) < 4 or held * len(sets) < COLD_BYTES):
                sets.append(prepare())
        self.sets = sets
        self.next = 0
        for call in sets:
            for _ in range(2):
                call()
        synchronize()
        with Timer() as timer:
            for call in sets:
                call()
        once = max(timer.milliseconds / len(sets), 1e-3)
        self.calls = int(min(MOST_CALLS, max(FEWEST_CALLS, BATCH_MILLISECONDS / once))) if ON_GPU else 1
        self.graph = None
        if ON_GPU:
            self.capture()

    def capture(self):
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=torch.cuda.current_stream(DEVICE)):
                self.issue()
            synchronize()
            self.graph = graph
        except Exception as failure:  # what cannot be captured is timed as it is issued
            print(f"no CUDA graph: {failure}", file=sys.stderr, flush=True)
            self.graph = None
            synchronize()

    def issue(self):
        for _ in range(self.calls):
            self.sets[self.next]()
            self.next = (self.next + 1) % len(self.sets)

    def repeat(self):
        with Timer() as timer:
            if self.graph is not None:
                self.graph.replay()
            else:
                self.issue()
        return timer.milliseconds / self.calls, None


class Steps:
    """Whole training steps, issued as a program issues them."""

    graph = None

    def __init__(self, step, parameters):
        self.step = step
        self.parameters = parameters
        self.calls = STEPS_AT_ONCE

    def repeat(self):
        with Timer() as timer:
            for _ in range(self.calls):
                loss = self.step()
        return timer.milliseconds / self.calls, loss


def prepare_convolution(request, precision, mode):
    kernel, stride, padding, groups = request.get("kernel", 3), request.get("stride", 1), request.get("padding", 1), request.get("groups", 1)
    which = request["pass"]
    masks = {"forward": None, "data_gradient": [True, False, False], "filter_gradient": [False, True, False]}
    if which not in masks:
        raise ValueError(f"pass '{which}' is not known; known: {', '.join(masks)}")
    dtype = activation_type(precision)

    def forward(x, w):
        return F.conv2d(x, w, None, stride, padding, 1, groups)

    def backward(gradient, x, w):
        return torch.ops.aten.convolution_backward(gradient, x, w, None, [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], groups, masks[which])

    function = compiled(forward if which == "forward" else backward, mode)

    def prepare():
        x = image(request, request["in"], dtype)
        w = torch.randn(request["out"], request["in"] // groups, kernel, kernel, device=DEVICE).to(dtype).contiguous(memory_format=torch.channels_last)
        if which == "forward":
            return lambda: function(x, w)
        gradient = torch.randn_like(forward(x, w)).contiguous(memory_format=torch.channels_last)
        return lambda: function(gradient, x, w)

    return no_gradients(prepare)


def no_gradients(prepare):
    """Kernels of work that needs no tape."""

    def wrapped():
        with torch.no_grad():
            call = prepare()

        def run():
            with torch.no_grad():
                return call()
        return run

    return Kernels(wrapped)


def prepare_normalization(request, precision, mode):
    dtype = activation_type(precision)
    channels = request["in"]

    def forward(x, residual, gamma, beta, mean, variance):
        y = F.batch_norm(x, mean, variance, gamma, beta, True, 0.1, 1e-5)
        return F.relu(y if residual is None else y + residual)

    function = compiled(forward, mode)

    def prepare():
        x = image(request, channels, dtype)
        residual = image(request, channels, dtype) if request.get("residual") else None
        gamma, beta = torch.rand(channels, device=DEVICE) + 0.5, torch.randn(channels, device=DEVICE)
        mean, variance = torch.zeros(channels, device=DEVICE), torch.ones(channels, device=DEVICE)
        if request["pass"] == "forward":
            def run():
                with torch.no_grad():
                    return function(x, residual, gamma, beta, mean, variance)
            return run

        wanted = [tensor.requires_grad_() for tensor in (x, residual, gamma, beta) if tensor is not None]
        y = function(x, residual, gamma, beta, mean, variance)
        gradient = torch.randn_like(y)
        return lambda: torch.autograd.grad(y, wanted, gradient, retain_graph=True)

    return Kernels(prepare)


def prepare_update(request, precision, mode):
    def prepare():
        weights = [nn.Parameter(torch.randn(request["elements"], device=DEVICE) * 0.05) for _ in range(request["tensors"])]
        for weight in weights:
            weight.grad = torch.randn_like(weight) * 0.01
        fused = {"fused": True} if ON_GPU else {}
        if request["rule"] == "adam":
            optimizer = torch.optim.Adam(weights, lr=1e-3, weight_decay=5e-4, **({"capturable": True, **fused} if ON_GPU else {}))
        else:
            optimizer = torch.optim.SGD(weights, lr=1e-3, momentum=0.9, weight_decay=5e-4, **fused)
        copies = [weight.detach().to(torch.bfloat16) for weight in weights] if precision == "bf16" else None

        def run():
            with torch.no_grad():
                if request.get("demon"):
                    # λ·sign(w) before the step, σ·N(0, 1) behind it, over lists of tensors where PyTorch has such kernels.
                    torch._foreach_add_([weight.grad for weight in weights], [weight.sign() for weight in weights], alpha=1e-7)
            optimizer.step()
            with torch.no_grad():
                if request.get("demon"):
                    torch._foreach_add_(weights, [torch.randn_like(weight) for weight in weights], alpha=1e-5)
                if copies is not None:
                    for copy, weight in zip(copies, weights):
                        copy.copy_(weight)
        return compiled(run, mode) if mode == "compiled" else run

    return Kernels(prepare)


def prepare_matrix(request, precision, mode):
    function = compiled(torch.matmul, mode)

    def prepare():
        rows, columns, depth = request["rows"], request["columns"], request["depth"]
        a = torch.randn(depth, rows, device=DEVICE).t() if request.get("transpose_left") else torch.randn(rows, depth, device=DEVICE)
        b = torch.randn(columns, depth, device=DEVICE).t() if request.get("transpose_right") else torch.randn(depth, columns, device=DEVICE)
        return lambda: function(a, b)

    return no_gradients(prepare)


def prepare_clip(request, precision, mode):
    def prepare():
        weights = [nn.Parameter(torch.empty(request["elements"], device=DEVICE)) for _ in range(request["tensors"])]
        for weight in weights:
            weight.grad = torch.randn_like(weight) * 0.01
        return lambda: nn.utils.clip_grad_norm_(weights, 0.5)

    return Kernels(prepare)


def forward_without_gradients(function, x):
    def run():
        with torch.no_grad():
            return function(x)
    return run


def backward(function, x):
    x.requires_grad_()
    y = function(x)
    gradient = torch.randn_like(y)
    return lambda: torch.autograd.grad(y, [x], gradient, retain_graph=True)


def prepare_max_pool(request, precision, mode):
    dtype = activation_type(precision)
    function = compiled(lambda x: F.max_pool2d(x, request["kernel"], request["stride"], request["padding"]), mode)

    def prepare():
        x = image(request, request["in"], dtype)
        if request["pass"] == "forward":
            # With the winners kept, as a pass that a backward pass follows does it.
            x.requires_grad_()
            return lambda: function(x)
        return backward(function, x)

    return Kernels(prepare)


def prepare_average_pool(request, precision, mode):
    dtype = activation_type(precision)
    function = compiled(lambda x: F.avg_pool2d(x, request["kernel"], request["stride"]), mode)

    def prepare():
        x = image(request, request["in"], dtype)
        return forward_without_gradients(function, x) if request["pass"] == "forward" else backward(function, x)

    return Kernels(prepare)


def prepare_softmax(request, precision, mode):
    function = compiled(lambda x: torch.softmax(x, -1), mode)

    def prepare():
        x = torch.randn(request["rows"], request["classes"], device=DEVICE)
        return forward_without_gradients(function, x) if request["pass"] == "forward" else backward(function, x)

    return Kernels(prepare)


def prepare_argument_maximum(request, precision, mode):
    function = compiled(lambda x: torch.argmax(x, -1), mode)

    def prepare():
        x = torch.randn(request["rows"], request["classes"], device=DEVICE)
        return lambda: function(x)

    return no_gradients(prepare)


def prepare_permutation(request, precision, mode):
    # Channels last lie in memory as [batch, height, width, channels].
    function = compiled(lambda x: x.contiguous(memory_format=torch.contiguous_format), mode)

    def prepare():
        x = image(request, request["in"], activation_type(precision))
        return lambda: function(x)

    return no_gradients(prepare)


def prepare_concatenation(request, precision, mode):
    function = compiled(lambda x, y: torch.cat([x, y], 1), mode)

    def prepare():
        x, y = (image(request, request["in"], activation_type(precision)) for _ in range(2))
        return lambda: function(x, y)

    return no_gradients(prepare)


def prepare_cross_entropy(request, precision, mode):
    function = compiled(F.cross_entropy, mode)

    def prepare():
        x = torch.randn(request["rows"], request["classes"], device=DEVICE, requires_grad=True)
        labels = torch.randint(0, request["classes"], (request["rows"],), device=DEVICE)
        return lambda: torch.autograd.grad(function(x, labels), [x])

    return Kernels(prepare)


class MappedShortcut(nn.Module):
    """Channel c of the output reads channel c of the source, or zero where there is none, by index_select."""

    def __init__(self, channels_in, channels_out):
        super().__init__()
        self.missing = max(0, channels_out - channels_in)
        index = torch.arange(channels_out)
        self.register_buffer("index", torch.where(index < channels_in, index, torch.full_like(index, channels_in)))

    def forward(self, x):
        if self.missing:
            x = F.pad(x, (0, 0, 0, 0, 0, 1))
        return torch.index_select(x, 1, self.index).contiguous(memory_format=torch.channels_last)


class Block(nn.Module):
    """Residual block: two 3x3 convolutions, or 1x1, 3x3, 1x1 with the stride on the 3x3; each with batch norm."""

    def __init__(self, channels_in, inner, channels_out, stride, projects):
        super().__init__()
        widths = [channels_in, *inner, channels_out]
        bottleneck = len(inner) == 2
        layers = []
        for i in range(len(widths) - 1):
            kernel = 1 if bottleneck and i != 1 else 3
            strided = i == (1 if bottleneck else 0)
            layers += [nn.Conv2d(widths[i], widths[i + 1], kernel, stride if strided else 1, kernel // 2, bias=False), nn.BatchNorm2d(widths[i + 1]), nn.ReLU(inplace=True)]
        self.branch = nn.Sequential(*layers[:-1])
        if projects:
            self.shortcut = nn.Sequential(nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out))
        else:
            self.shortcut = nn.Identity() if channels_in == channels_out else MappedShortcut(channels_in, channels_out)

    def forward(self, x):
        return F.relu(self.branch(x) + self.shortcut(x), inplace=True)


class ResNet(nn.Module):
    """ResNet-18 or 50 at planned widths; images up to 64 pixels get a 3x3 stem, larger ones 7x7 of stride 2 and a pooling."""

    def __init__(self, blocks, bottleneck, width, size, classes, plan):
        super().__init__()
        channels = plan.get("conv1", width)
        stem = [nn.Conv2d(3, channels, 7, 2, 3, bias=False)] if size > 64 else [nn.Conv2d(3, channels, 3, 1, 1, bias=False)]
        stem += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)] + ([nn.MaxPool2d(3, 2, 1)] if size > 64 else [])
        body = []
        dense = width
        for stage, count in enumerate(blocks):
            inner = width << stage
            outer = inner * 4 if bottleneck else inner
            for i in range(count):
                name = f"layer{stage + 1}.{i}"
                stride = 2 if stage > 0 and i == 0 else 1
                widths = [plan.get(f"{name}.conv{k + 1}", inner) for k in range(2 if bottleneck else 1)]
                out = plan.get(name, outer)
                body.append(Block(channels, widths, out, stride, stride != 1 or dense != outer))
                channels, dense = out, outer
        self.features = nn.Sequential(*stem, *body)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


class Vgg16(nn.Module):
    """VGG-16 with batch norm at planned widths; images up to 64 pixels get one linear layer, larger ones three."""

    LAYOUT = [1, 1, 0, 2, 2, 0, 4, 4, 4, 0, 8, 8, 8, 0, 8, 8, 8, 0]

    def __init__(self, width, size, classes, plan):
        super().__init__()
        layers = []
        channels, index = 3, 0
        for multiple in self.LAYOUT:
            if multiple == 0:
                layers.append(nn.MaxPool2d(2))
                index += 1
                continue
            out = plan.get(f"features.{index}", multiple * width)
            layers += [nn.Conv2d(channels, out, 3, 1, 1), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            channels = out
            index += 3
        self.features = nn.Sequential(*layers)
        flat = channels * (size // 32) ** 2
        if size <= 64:
            self.classifier = nn.Linear(flat, classes)
        else:
            first, second = plan.get("classifier.0", 64 * width), plan.get("classifier.3", 64 * width)
            self.classifier = nn.Sequential(
                nn.Linear(flat, first), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(first, second), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(second, classes))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def make_model(request):
    width, size, classes, plan = request.get("width", 64), request["image"], request["classes"], request.get("plan") or {}
    name = request["model"]
    if name == "resnet18":
        return ResNet([2, 2, 2, 2], False, width, size, classes, plan)
    if name == "resnet50":
        return ResNet([3, 4, 6, 3], True, width, size, classes, plan)
    if name == "vgg16":
        return Vgg16(width, size, classes, plan)
    raise ValueError(f"model '{name}' is not known; known: resnet18, resnet50, vgg16")


def prepare_model_step(request, precision, mode):
    size = request["image"]
    model = make_model(request).to(DEVICE, memory_format=torch.channels_last).train()
    fused = {"fused": True} if ON_GPU else {}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, **fused)
    images = image({"batch": request["batch"]}, 3, torch.float32, size, size)
    labels = torch.arange(request["batch"], device=DEVICE) % request["classes"]

    def loss_of(x, y):
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
            return F.cross_entropy(model(x), y)

    forward = compiled(loss_of, mode, graphs=True)

    def step():
        optimizer.zero_grad(set_to_none=True)
        if mode == "compiled" and hasattr(torch, "compiler") and hasattr(torch.compiler, "cudagraph_mark_step_begin"):
            torch.compiler.cudagraph_mark_step_begin()
        loss = forward(images, labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    # Compilation, the choice of algorithms and the first graphs come here, not into the measurement.
    for _ in range(3 if ON_GPU else 1):
        step()
    synchronize()
    return Steps(step, sum(weight.numel() for weight in model.parameters()))


PREPARE = {
    "convolution": prepare_convolution,
    "normalization": prepare_normalization,
    "update": prepare_update,
    "clip": prepare_clip,
    "matrix": prepare_matrix,
    "max_pool": prepare_max_pool,
    "average_pool": prepare_average_pool,
    "softmax": prepare_softmax,
    "argument_maximum": prepare_argument_maximum,
    "permutation": prepare_permutation,
    "concatenation": prepare_concatenation,
    "cross_entropy": prepare_cross_entropy,
    "model_step": prepare_model_step,
}
prepared = {}


def peak_bytes():
    if ON_GPU:
        return torch.cuda.max_memory_reserved(DEVICE)
    with open("/proc/self/status", encoding="ascii") as status:
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read()).group(1)) * 1024


def release():
    count = len(prepared)
    prepared.clear()
    if ON_GPU:
        if hasattr(torch, "_dynamo"):
            torch._dynamo.reset()
        synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(DEVICE)
    return count


def run(request):
    request = dict(request)
    warmup = request.pop("warmup", 0)
    repetitions = request.pop("repetitions", 1)
    name = json.dumps(request, sort_keys=True)
    precision, mode = request.get("precision", "fp32"), request.get("mode", "eager")
    set_precision(precision)
    if name not in prepared:
        if request.get("work") not in PREPARE:
            raise ValueError(f"work '{request.get('work')}' is not known; known: {', '.join(PREPARE)}")
        torch.manual_seed(1)
        prepared[name] = PREPARE[request["work"]](request, precision, mode)
    work = prepared[name]
    for _ in range(warmup):
        work.repeat()
    milliseconds = []
    loss = None
    for _ in range(repetitions):
        taken, loss = work.repeat()
        milliseconds.append(taken)
    return {
        "milliseconds": milliseconds,
        "peak_rss_bytes": peak_bytes(),
        "loss": loss.item() if loss is not None else None,
        "calls": work.calls,
        "graph": work.graph is not None,
        "parameters": work.parameters,
    }


def hello():
    if ON_GPU:
        torch.zeros(1, device=DEVICE)
        where = f"{torch.cuda.get_device_name(DEVICE)}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
    else:
        where = "the CPU (to try the bench out; no GPU times)"
    return {"name": f"PyTorch {torch.__version__} on {where}", "torch": torch.__version__, "peak_rss_bytes": peak_bytes()}


def answer(request):
    do = request.pop("do", "run")
    if do == "hello":
        return hello()
    if do == "release":
        return {"released": release()}
    if do == "run":
        return run(request)
    raise ValueError(f"request '{do}' is not known; known: hello, run, release")


def main():
    if ON_GPU:
        # One stream for everything that can be captured: a backward pass runs on the stream of its forward pass.
        torch.cuda.set_device(DEVICE)
        torch.cuda.set_stream(torch.cuda.Stream(DEVICE))
    try:
        # A retained tape is run again and again here.
        import torch._functorch.config
        torch._functorch.config.donated_buffer = False
    except (ImportError, AttributeError):
        pass
    # Compilers print; standard output belongs to the protocol.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            reply = answer(json.loads(line))
        except Exception as failure:  # every failure is the requester's to see; the process goes on
            reply = {"error": f"{type(failure).__name__}: {failure}"}
        print(json.dumps(reply), file=answers, flush=True)


if __name__ == "__main__":
    main()
