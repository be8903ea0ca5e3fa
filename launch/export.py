"""Exports the network of a run: python -m launch.export --workdir=DIR --out=FILE.safetensors.

A model card with the config and the metrics of the run is written next to it. With
--format=stablehlo, --out is a folder with a program that runs without jaxml.
"""

import os
from pathlib import Path

from absl import flags

from jaxml import _cpu
from jaxml.config import user_path
from jaxml.errors import InputError
from launch import cache, cli
from launch.outputs import check_new

WORKDIR = flags.DEFINE_string("workdir", "", "folder of the run")
OUT = flags.DEFINE_string("out", "", "safetensors file to write, or folder of the program")
flags.DEFINE_alias("output", "out")
FORMAT = flags.DEFINE_enum(
    "format",
    "safetensors",
    ["safetensors", "stablehlo"],
    "safetensors has the weights; stablehlo is a program from images to probabilities, with a "
    "loader that needs jax and flatbuffers alone",
)
CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    "newest",
    cli.CHECKPOINT_HELP,
)
NAMES = flags.DEFINE_enum(
    "names",
    "native",
    ["native", "library"],
    "names of the tensors: native to jaxml, or those of the library that published the network",
)
OVERWRITE = flags.DEFINE_boolean("overwrite", False, "replace files that exist")


def main() -> None:
    """Exports the network and prints the model card."""
    cache.keep_compiled(None, os.environ)  # heeds the folder that a variable names
    _cpu.tune(os.environ)
    for flag in (WORKDIR, OUT):
        if not flag.value:
            raise InputError(f"--{flag.name} must be given")
    workdir, out = user_path(WORKDIR.value), user_path(OUT.value)
    if FORMAT.value == "stablehlo":
        _check_folder(out)
        from jaxml.training import export_stablehlo  # imports JAX, so after the flags

        print(export_stablehlo(workdir, out, checkpoint=CHECKPOINT.value))
        return
    if out.suffix != ".safetensors":
        raise InputError(f"--out must end in .safetensors, got {OUT.value!r}")
    for path in (out, out.with_name(f"{out.name}.md")):
        check_new("--out", path, overwrite=OVERWRITE.value)
    from jaxml.training import export_weights

    print(export_weights(workdir, out, checkpoint=CHECKPOINT.value, names=NAMES.value))


def _check_folder(out: Path) -> None:
    """Checks that a folder may be written."""
    if NAMES.value != "native":
        raise InputError("--names must be native with --format=stablehlo, which has no tensors")
    if out.exists() and not out.is_dir():
        raise InputError(f"--out: {out}: is not a folder")
    if out.exists() and any(out.iterdir()) and not OVERWRITE.value:
        raise InputError(f"--out: {out}: is not empty; --overwrite replaces its files")


if __name__ == "__main__":
    cli.run(main)
