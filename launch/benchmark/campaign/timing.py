"""Times one competitor in its own process."""

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from launch.benchmark.campaign.report import Report
from launch.benchmark.ceilings import COPY, PRODUCT
from launch.benchmark.measurements import achieved, ceilings
from launch.benchmark.task import Prepared
from launch.benchmark.worker import Worker

WARM_UP = 3


def measure(
    report: Report,
    label: str,
    prepare: Callable[[], Prepared],
    *,
    operation: str,
    images: int,
    repeats: int,
    warm_up: int = WARM_UP,
    variables: Mapping[str, str] | None = None,
) -> dict[str, Any] | None:
    """Times an operation; reports its throughput and the fractions of peak throughput.

    Args:
      report: receives the measurements under the label.
      label: name of the measurement.
      prepare: prepares the competitor, in its process.
      operation: name of the operation.
      images: number of images that one call processes.
      repeats: number of timed calls.
      warm_up: number of calls before them.
      variables: environment variables of the process.

    Returns:
      The measurements, or None if the competitor failed, for example for lack of memory.
    """
    found: dict[str, Any] = {}

    def take() -> None:
        begin = time.perf_counter()
        with environment(variables or {}), Worker(prepare) as worker:
            for _ in range(warm_up):
                worker.seconds(operation)
            found["ready_seconds"] = time.perf_counter() - begin
            seconds = [worker.seconds(operation) for _ in range(repeats)]
            median = statistics.median(seconds)
            found.update(
                images_per_second=images / median,
                median_seconds=median,
                min_seconds=min(seconds),
                max_seconds=max(seconds),
                device=worker.about.device,
                versions=dict(worker.about.versions),
            )
            work = worker.about.operations
            if PRODUCT in work:
                taken = {name: [worker.seconds(name) for _ in range(3)] for name in (PRODUCT, COPY)}
                found["ceilings"] = ceilings(taken, work)
                found["achieved"] = achieved(work[operation], median, found["ceilings"])
                found["work"] = work[operation]._asdict()
        report.note(**{label: found})

    if not report.attempt(label, take):
        return None
    report.say(f"{label}: {_describe(found)}")
    return found


def _describe(found: Mapping[str, Any]) -> str:
    text = (
        f"{found['images_per_second']:,.0f} images/s, {found['median_seconds'] * 1e3:.2f} ms "
        f"({found['min_seconds'] * 1e3:.2f} to {found['max_seconds'] * 1e3:.2f}), "
        f"ready after {found['ready_seconds']:.0f} s"
    )
    if "achieved" in found:
        reached, most = found["achieved"], found["ceilings"]
        text += (
            f"; {reached['flops_fraction']:.0%} of {most['flops_per_second'] / 1e12:.1f} TFLOP/s, "
            f"{reached['bytes_fraction']:.0%} of {most['bytes_per_second'] / 1e9:,.0f} GB/s"
        )
    return text


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables for processes that are started within the context."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
