"""Times ResNet-50 on images of 224x224, with jaxml and PyTorch."""

import functools
from typing import Any

from launch.benchmark import competitors
from launch.benchmark.campaign.report import Report
from launch.benchmark.campaign.timing import measure
from launch.benchmark.competitors import OURS
from launch.benchmark.settings import Settings

# Most valuable first; the last ones are skipped if the time is over.
QUEUE = (
    *((what, 256, name) for what in ("train_step", "inference") for name in (OURS, "torch")),
    *((what, 256, "torch_compile") for what in ("train_step", "inference")),
    *(("train_step", 512, name) for name in (OURS, "torch", "torch_compile")),
    *(("inference", 1024, name) for name in (OURS, "torch", "torch_compile")),
    *(("train_step", 128, name) for name in (OURS, "torch")),
    *(("inference", 512, name) for name in (OURS, "torch")),
    *(("train_step", 1024, name) for name in (OURS, "torch")),
    *(("train_step", 64, name) for name in (OURS, "torch")),
)
DRY = (("inference", 4, OURS),)
# Precision of the computation and of float32 products.
PRECISIONS = (
    ("float32", "", OURS),
    ("float32", "highest", OURS),
    ("bfloat16", "", OURS),
    ("float32", "", "torch"),
)
# Time that a measurement needs: XLA takes 79 s to compile and tune a training step on an H200 with
# 16 cores.
LEAST_SECONDS = 90.0


def run(report: Report) -> None:
    """Times training and inference in bfloat16 at several batch sizes; reports the best."""
    best: dict[str, tuple[float, int]] = {}
    for what, batch_size, name in DRY if report.dry else QUEUE:
        if not report.dry and report.left() < LEAST_SECONDS:
            report.say(f"{name}, {what}, batch {batch_size} and all later ones: no time is left")
            break
        found = _measure(report, what, batch_size, name, "bfloat16")
        if found:
            key = f"{name}, {what}"
            best[key] = max(best.get(key, (0.0, 0)), (found["images_per_second"], batch_size))
            report.note(best=best)
    for key, (speed, batch_size) in best.items():
        report.say(f"best: {key}: {speed:,.0f} images/s at batch {batch_size}")


def precisions(report: Report) -> None:
    """Times a training step in TF32, in full float32 and in bfloat16."""
    for precision, products, name in PRECISIONS[1:2] if report.dry else PRECISIONS:
        if not report.dry and report.left() < LEAST_SECONDS:
            report.say(f"{name}, {precision} {products}: no time is left")
            break
        _measure(report, "train_step", 4 if report.dry else 128, name, precision, products)


def _measure(
    report: Report, what: str, batch_size: int, name: str, precision: str, products: str = ""
) -> dict[str, Any] | None:
    model, size = ("resnet_tiny", 8) if report.dry else ("resnet50", 224)
    label = ", ".join(filter(None, (name, what, f"batch {batch_size}", precision, products)))
    task = Settings(what=what, model=model, image_size=size, precision=precision).task(batch_size)
    if reason := competitors.unsupported_reason(name, task):
        report.say(f"{label}: omitted, {reason}")
        return None
    return measure(
        report,
        label,
        functools.partial(competitors.prepare, name, task),
        operation=what,
        images=batch_size,
        repeats=2 if report.dry else 15,
        variables={"JAX_DEFAULT_MATMUL_PRECISION": products} if products else None,
    )
