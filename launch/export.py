"""Exports the weights of a run: python -m launch.export --workdir=DIR --out=FILE.safetensors.

A model card with the config and the metrics of the run is written next to it.
"""

import os

from absl import flags

from jaxml import _cpu
from jaxml.config import user_path
from jaxml.errors import InputError
from launch import cli

WORKDIR = flags.DEFINE_string("workdir", "", "folder of the run")
OUT = flags.DEFINE_string("out", "", "safetensors file to write")
CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    "best",
    "newest, best, or the number of a step; the parameters of several checkpoints, separated by "
    "commas, are averaged",
)
NAMES = flags.DEFINE_enum(
    "names",
    "native",
    ["native", "library"],
    "names of the tensors: native to jaxml, or those of the library that published the network",
)


def main() -> None:
    """Exports the weights and prints the model card."""
    _cpu.tune(os.environ)
    for flag in (WORKDIR, OUT):
        if not flag.value:
            raise InputError(f"--{flag.name} must be given")
    if user_path(OUT.value).suffix != ".safetensors":
        raise InputError(f"--out must end in .safetensors, got {OUT.value!r}")
    from jaxml.training import export_weights  # imports JAX, so after the flags

    print(
        export_weights(
            user_path(WORKDIR.value),
            user_path(OUT.value),
            checkpoint=CHECKPOINT.value,
            names=NAMES.value,
        )
    )


if __name__ == "__main__":
    cli.run(main)
