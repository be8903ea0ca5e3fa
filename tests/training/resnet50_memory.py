"""Memory and collectives of a training step of ResNet-50 on eight simulated devices.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m tests.training.resnet50_memory

prints a line of JSON for each variant, or those that are named: bytes on each device and numbers of
collectives in the compiled program, for 256 images of 224x224. The programs are never run.
"""

import json
import re
import sys
from collections import Counter
from typing import Any, cast

import jax
import numpy as np

from jaxml.config import Config, CpuConfig, DataConfig, MeshConfig, ModelConfig
from jaxml.data import Dataset, Split
from jaxml.data.sources import DATASETS
from jaxml.models import _stage
from jaxml.training.compilation import TrainCall, jit_steps, train_arguments
from jaxml.training.experiment import create_experiment

BATCH_SIZE = 256
VARIANTS: dict[str, tuple[dict[str, Any], int]] = {
    "plain": ({}, 1),
    "remat": ({"remat": True}, 1),
    "scan": ({"scan": True}, 1),
    "remat_scan": ({"remat": True, "scan": True}, 1),
    "fsdp": ({}, 8),
    "bfloat16": ({"dtype": "bfloat16"}, 1),
}
COLLECTIVES = r" (all-gather|all-reduce|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("


def measure(name: str) -> dict[str, Any]:
    """Compiles the step of a variant."""
    options, fsdp = VARIANTS[name]
    experiment = create_experiment(
        Config(
            batch_size=BATCH_SIZE,
            num_epochs=4,
            eval_batch_size=8,
            model=ModelConfig(name="resnet50", **options),
            data=DataConfig(name="random"),
            mesh=MeshConfig(fsdp=fsdp),
            cpu=CpuConfig(onednn=False),  # XLA knows nothing about the memory of its calls
        )
    )
    step: Any = jit_steps(experiment, [TrainCall(1)]).train[TrainCall(1)]
    lowered = step.lower(*train_arguments(experiment, 1))
    # Memory does not depend on the level, the time to compile does.
    compiled = lowered.compile(compiler_options={"xla_backend_optimization_level": 0})
    analysis = compiled.memory_analysis()
    return {
        "variant": name,
        "devices": len(jax.devices()),
        "temporary": analysis.temp_size_in_bytes,
        "state": analysis.alias_size_in_bytes,
        "collectives": Counter(re.findall(COLLECTIVES, compiled.as_text())),
    }


def main(names: list[str]) -> None:
    """Prints the measurements of variants."""
    # The loops may deadlock in a run on several CPU devices, and are not run here.
    _stage._loops_may_deadlock = lambda: False
    images, labels = np.zeros((BATCH_SIZE, 224, 224, 3), np.uint8), np.arange(BATCH_SIZE) % 1000
    split = Split(images, labels.astype(np.int32))
    dataset = Dataset(split, Split(*(array[:8] for array in split)), 1000)
    cast(dict[str, Any], DATASETS)["random"] = lambda _: dataset
    for name in names:
        sys.stdout.write(f"{json.dumps(measure(name))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:] or list(VARIANTS))
