"""Seconds an epoch of ResNet-20 v1 on images like CIFAR-10's that stay on the device."""

import functools
import os
from typing import NamedTuple

import jax

from jaxml.config import DataConfig
from launch import cpu
from launch.benchmark import competitors
from launch.benchmark.campaign.report import Report
from launch.benchmark.campaign.timing import measure
from launch.benchmark.competitors import OURS
from launch.benchmark.settings import Settings
from launch.benchmark.task import Operation, Prepared, Task

# Everything in a loop is one CUDA graph, the loop included.
LOOPS = (
    "--xla_gpu_enable_command_buffer="
    "FUSION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,CONDITIONAL,WHILE,DYNAMIC_SLICE_FUSION"
)
# A measurement is not started with less time: an epoch of ours is ready after 33 s on an H200.
LEAST_SECONDS = 45.0


class Variant(NamedTuple):
    """One way to take an epoch.

    Attributes:
      label: name of the measurement.
      precision: of the computation.
      name: of the competitor.
      steps_per_call: of ours; None takes an epoch in one call.
      xla_flags: of ours.
    """

    label: str
    precision: str
    name: str = OURS
    steps_per_call: int | None = None
    xla_flags: str = ""


# Most valuable first. PyTorch's epochs do without augmentation.
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
        if reason := competitors.why_not(variant.name, task):
            report.say(f"{variant.label}: left out, {reason}")
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
    """Makes an epoch ready; ours crops and flips as the recipe of CIFAR-10 does."""
    if variant.name != OURS:
        return competitors.prepare(variant.name, task)
    from launch.benchmark.competitors import ours  # in the process that computes

    cpu.tune(os.environ)
    data = DataConfig(normalization="per_channel", crop_padding=4, flip=True)
    take = ours.epoch(ours.model_config(task), task, data, steps_per_call=variant.steps_per_call)
    device = jax.devices()[0].device_kind
    return Prepared({"epoch": Operation(take)}, device, {"jax": jax.__version__})
