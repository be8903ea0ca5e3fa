"""The same networks in PyTorch: channels_last, all cores, with and without torch.compile."""

import importlib
import importlib.metadata
import operator
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from jaxml.config import OptimConfig
from launch.benchmark import convolutions
from launch.benchmark.networks import NETWORKS, Network
from launch.benchmark.task import (
    CHANNELS,
    Operation,
    Prepared,
    Task,
    cores,
    random_images,
)


class Value(NamedTuple):
    """A node of a graph, and the number of channels of its result."""

    node: Any
    channels: int


class TorchLayers:
    """The layers of torch; they record a graph that becomes a module of plain code."""

    def __init__(self, torch: Any, *, epsilon: float) -> None:
        self._torch = torch
        self._epsilon = epsilon
        self.graph = torch.fx.Graph()
        self.modules: dict[str, Any] = {}

    def images(self) -> Value:
        """Returns the input, uint8 images `[batch, channels, height, width]` scaled to [0, 1]."""
        scaled = self.graph.call_method("float", (self.graph.placeholder("images"),))
        return Value(self.graph.call_function(operator.truediv, (scaled, 255)), CHANNELS)

    def conv(self, x: Value, features: int, kernel_size: int = 3, strides: int = 1) -> Value:
        """Convolves with half of the kernel size as padding."""
        conv = self._torch.nn.Conv2d(
            x.channels, features, kernel_size, strides, kernel_size // 2, bias=False
        )
        return self.call(conv, x, features)

    def norm(self, x: Value) -> Value:
        """Applies batch normalization."""
        return self.call(self._torch.nn.BatchNorm2d(x.channels, eps=self._epsilon), x)

    def relu(self, x: Value) -> Value:
        """Applies a ReLU in place, as torchvision does."""
        return self.call(self._torch.nn.ReLU(inplace=True), x)

    def add(self, new: Value, x: Value) -> Value:
        """Adds two arrays in place, as torchvision does."""
        return new._replace(node=self.graph.call_function(operator.iadd, (new.node, x.node)))

    def concatenate(self, xs: Sequence[Value]) -> Value:
        """Concatenates along the channels."""
        nodes = [x.node for x in xs]
        channels = sum(x.channels for x in xs)
        return Value(self.graph.call_function(self._torch.cat, (nodes, 1)), channels)

    def average_pool(self, x: Value, window: int, strides: int) -> Value:
        """Averages each window, excluding padding."""
        pad = (window - 1) // 2
        pool = self._torch.nn.AvgPool2d(
            window, strides, pad, ceil_mode=strides > 1, count_include_pad=False
        )
        return self.call(pool, x)

    def max_pool(self, x: Value, window: int, strides: int) -> Value:
        """Takes the maximum of each window, with half of its size as padding."""
        return self.call(self._torch.nn.MaxPool2d(window, strides, window // 2), x)

    def call(self, module: Any, x: Value, channels: int = 0) -> Value:
        """Calls a module; its result has the channels of `x` unless a number is given."""
        name = f"layer{len(self.modules)}"
        self.modules[name] = module
        return Value(self.graph.call_module(name, (x.node,)), channels or x.channels)

    def finish(self, x: Value) -> Any:
        """Returns the module of the whole graph."""
        self.graph.output(x.node)
        return self._torch.fx.GraphModule(self.modules, self.graph)


class Session(NamedTuple):
    """The context shared by all operations."""

    torch: Any
    task: Task
    device: Any
    compiled: bool

    def model(self) -> Any:
        """Creates the network in channels_last, on the device."""
        network = NETWORKS[self.task.model]
        model = create_model(self.torch, network, self.task.num_classes)
        return model.to(self.device, memory_format=self.torch.channels_last)

    def callable(self, model: Any) -> Any:
        """Returns the model, compiled if requested."""
        return self.torch.compile(model) if self.compiled else model

    def images(self, count: int) -> tuple[Any, Any]:
        """Draws uint8 images `[count, height, width, channels]` and labels, on the device."""
        images, labels = random_images(self.task, count)
        tensors = (self.torch.from_numpy(images), self.torch.from_numpy(labels).long())
        return tensors[0].to(self.device), tensors[1].to(self.device)

    def autocast(self) -> Any:
        """Returns a context in which a network computes in the precision of the task."""
        return self.torch.autocast(
            self.device.type, self.torch.bfloat16, enabled=self.task.precision == "bfloat16"
        )

    def wait(self) -> None:
        """Waits until the device is idle."""
        if self.device.type == "cuda":
            self.torch.cuda.synchronize()


def prepare(name: str, task: Task) -> Prepared:
    """Prepares a task; "torch_compile" compiles the network."""
    if task.what == "compile":
        os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"
    torch = importlib.import_module("torch")
    torch.set_num_threads(cores())
    torch.set_float32_matmul_precision("high")  # as JAX on a GPU
    torch.backends.cudnn.benchmark = True
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    session = Session(torch, task, device, compiled=name == "torch_compile")
    parameters = 0
    if task.what == "conv":
        operations = _convolutions(session)
    else:
        model = session.model()
        parameters = sum(p.numel() for p in model.parameters())
        operations = {task.what: Operation(_OPERATIONS[task.what](session, model))}
    return Prepared(
        operations,
        torch.cuda.get_device_name() if cuda else "cpu",
        {"torch": importlib.metadata.version("torch")},
        parameters,
    )


def create_model(torch: Any, network: Network, num_classes: int) -> Any:
    """Builds a network from uint8 images `[batch, channels, height, width]` to logits."""
    net = TorchLayers(torch, epsilon=network.epsilon)
    x = network.body(net, net.images())
    x = net.call(torch.nn.AdaptiveAvgPool2d(1), x)
    x = net.call(torch.nn.Flatten(), x)
    return net.finish(net.call(torch.nn.Linear(x.channels, num_classes), x))


def _optimizer(torch: Any, model: Any) -> Any:
    """Builds momentum with weight decay on the kernels."""
    config = OptimConfig()
    kernels = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim == 1]
    return torch.optim.SGD(
        [{"params": kernels, "weight_decay": config.weight_decay}, {"params": others}],
        config.learning_rate,
        config.momentum,
        nesterov=config.nesterov,
        fused=True,
    )


def _stepper(session: Session, model: Any) -> Callable[[Any, Any], None]:
    """Returns a function that takes one training step on NHWC images and labels."""
    torch, forward = session.torch, session.callable(model.train())
    optimizer = _optimizer(torch, model)

    def step(images: Any, labels: Any) -> None:
        optimizer.zero_grad(set_to_none=True)
        with session.autocast():
            # NHWC in memory, viewed as NCHW, is channels_last.
            logits = forward(images.permute(0, 3, 1, 2))
            loss = torch.nn.functional.cross_entropy(logits.float(), labels)
        loss.backward()
        optimizer.step()

    return step


def _train_step(session: Session, model: Any) -> Callable[[], object]:
    """Prepares a training step; the first call compiles, if requested."""
    step, batch = _stepper(session, model), session.images(session.task.batch_size)

    def take() -> None:
        step(*batch)
        session.wait()

    return take


def _inference(session: Session, model: Any) -> Callable[[], object]:
    forward = session.callable(model.eval())
    images, _ = session.images(session.task.batch_size)

    def infer() -> None:
        with session.torch.inference_mode(), session.autocast():
            forward(images.permute(0, 3, 1, 2))
        session.wait()

    return infer


def _epoch(session: Session, model: Any) -> Callable[[], object]:
    """Prepares a loop over shuffled batches of a training set on the device."""
    step, task = _stepper(session, model), session.task
    images, labels = session.images(task.images)
    for _ in range(3):  # compiles, and selects algorithms
        step(images[: task.batch_size], labels[: task.batch_size])

    def epoch() -> None:
        order = session.torch.randperm(task.images, device=session.device)
        for number in range(task.steps):
            chosen = order[number * task.batch_size :][: task.batch_size]
            step(images[chosen], labels[chosen])
        session.wait()

    return epoch


_OPERATIONS = {
    "train_step": _train_step,
    "inference": _inference,
    "compile": _train_step,
    "epoch": _epoch,
}


def _convolutions(session: Session) -> dict[str, Operation]:
    """Prepares all shapes and passes."""
    torch, task = session.torch, session.task
    dtype = getattr(torch, task.precision)
    found = {}
    for size, channels in convolutions.SHAPES:
        images = (task.batch_size, size, size, channels)
        x, y = (torch.randn(images, dtype=dtype, device=session.device) for _ in range(2))
        kernel = torch.randn((channels, channels, 3, 3), dtype=dtype, device=session.device)
        arrays = (
            x.permute(0, 3, 1, 2),
            y.permute(0, 3, 1, 2),
            kernel.contiguous(memory_format=torch.channels_last),
        )
        for number, direction in enumerate(convolutions.PASSES):
            name = convolutions.name(size, channels, direction)
            call = _convolution(session, number, *arrays)
            found[name] = Operation(call, convolutions.flops(task, size, channels))
    return found


def _convolution(
    session: Session, direction: int, x: Any, y: Any, kernel: Any
) -> Callable[[], object]:
    """Prepares the forward pass (0), or the gradient of the input (1) or the kernel (2)."""
    torch = session.torch

    def call() -> None:
        if direction == 0:
            torch.nn.functional.conv2d(x, kernel, padding=1)
        else:
            wanted = [direction == 1, direction == 2, False]
            ones, zeros = [1, 1], [0, 0]
            torch.ops.aten.convolution_backward(
                y, x, kernel, None, ones, ones, ones, False, zeros, 1, wanted
            )
        session.wait()

    return call
