"""Times epochs of ResNet-20 v1 on random images of the size of CIFAR-10, on the device."""

import functools
import os
from typing import NamedTuple

import jax

from jaxml import _cpu
from jaxml.config import DataConfig
from launch.benchmark import competitors
from launch.benchmark.campaign.report import Report
from launch.benchmark.campaign.timing import measure
from launch.benchmark.competitors import OURS
from launch.benchmark.settings import Settings
from launch.benchmark.task import Operation, Prepared, Task

# Compiles whole loops into CUDA graphs.
LOOPS = (
    "--xla_gpu_enable_command_buffer="
    "FUSION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,CONDITIONAL,WHILE,DYNAMIC_SLICE_FUSION"
)
# Time that a measurement needs: on an H200, an epoch of jaxml is compiled after 33 s.
LEAST_SECONDS = 45.0


class Variant(NamedTuple):
    """One way to run an epoch.

    Attributes:
      label: name of the measurement.
      precision: dtype of the computation.
      name: name of the competitor.
      steps_per_call: steps per call of jaxml; None runs the epoch in one call.
      xla_flags: flags of XLA for jaxml.
    """

    label: str
    precision: str
    name: str = OURS
    steps_per_call: int | None = None
    xla_flags: str = ""


# Most valuable first. The epochs of PyTorch have no augmentation.
VARIANTS = (
    Variant("float32", "float32"),
    Variant("bfloat16", "bfloat16"),
    Variant("torch, float32", "float32", "torch"),
    Variant("float32, loops as graphs", "float32", xla_flags=LOOPS),
    Variant("torch_compile, float32", "float32", "torch_compile"),
    Variant("float32, 39 steps a call", "float32", steps_per_call=39),
    Variant("torch_compile, bfloat16", "bfloat16", "torch_compile"),
    Variant("bfloat16, loops as graphs", "bfloat16", xla_flags=LOOPS),
)
DRY = (Variant("float32, loops as graphs", "float32", OURS, 2, LOOPS),)


def run(report: Report) -> None:
    """Times epochs of 50,000 images in batches of 128, augmentation included."""
    model, size = ("resnet_tiny", 8) if report.dry else ("resnet20v1", 32)
    images, batch_size = (32, 8) if report.dry else (50_000, 128)
    for variant in DRY if report.dry else VARIANTS:
        if not report.dry and report.left() < LEAST_SECONDS:
            report.say(f"{variant.label} and all later ones: no time is left")
            break
        task = Settings(
            what="epoch", model=model, image_size=size, images=images, precision=variant.precision
        ).task(batch_size)
        if reason := competitors.unsupported_reason(variant.name, task):
            report.say(f"{variant.label}: omitted, {reason}")
            continue
        flags = f"{os.environ.get('XLA_FLAGS', '')} {variant.xla_flags}".strip()
        found = measure(
            report,
            variant.label,
            functools.partial(_prepare, variant, task),
            operation="epoch",
            images=task.counted,
            repeats=2 if report.dry else 5,
            warm_up=1,
            variables={"XLA_FLAGS": flags} if variant.xla_flags else None,
        )
        if found:
            report.say(f"{variant.label}: {found['median_seconds']:.4f} s an epoch")


def _prepare(variant: Variant, task: Task) -> Prepared:
    """Prepares an epoch; jaxml augments as in the recipe for CIFAR-10."""
    if variant.name != OURS:
        return competitors.prepare(variant.name, task)
    from launch.benchmark.competitors import ours  # in the process that computes

    _cpu.tune(os.environ)
    data = DataConfig(normalization="per_channel", augment=("crop:padding=4", "flip"))
    take = ours.epoch(ours.model_config(task), task, data, steps_per_call=variant.steps_per_call)
    device = jax.devices()[0].device_kind
    return Prepared({"epoch": Operation(take)}, device, {"jax": jax.__version__})
