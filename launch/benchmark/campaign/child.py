"""The process of one part: python -m launch.benchmark.campaign.child FUNCTION ORDER."""

import importlib
import json
import os
import sys
from pathlib import Path

from jaxml import _cpu
from launch.benchmark.campaign.report import Report


def main() -> None:
    """Runs the function; exits with status 1 if a measurement failed."""
    function, order = sys.argv[1], json.loads(sys.argv[2])
    _cpu.tune(os.environ)
    report = Report(
        Path(order["file"]),
        seconds=order["seconds"],
        dry=order["dry"],
        data_dir=Path(order["data_dir"]),
        workdir=Path(order["workdir"]),
    )

    def run() -> None:
        module, name = function.split(":")
        getattr(importlib.import_module(module), name)(report)

    report.attempt(function, run)
    sys.exit(1 if report.measurements.get("failed") else 0)


if __name__ == "__main__":
    main()
