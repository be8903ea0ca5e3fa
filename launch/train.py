"""Trains a network: python -m launch.train --config=configs/NAME.py --workdir=DIR.

Any setting is overridden as --config.FIELD=VALUE. A run that was stopped resumes by --workdir=DIR
alone, and is extended by --workdir=DIR --config.num_epochs=MORE.
Compiled programs are kept beside DIR, for later runs, or where JAX_COMPILATION_CACHE_DIR says.
"""

import gc
import os
import shlex
import time
from pathlib import Path

from absl import flags

from jaxml import config as settings
from jaxml.config import Config, user_path
from jaxml.errors import SaveError
from jaxml.training.signals import Interrupted
from jaxml.training.workdir import CONFIG, read_config
from launch import cache, cli

WORKDIR = flags.DEFINE_string(
    "workdir", "", "folder of the run; by default a new one under runs/, named when it starts"
)


def main() -> None:
    """Trains by the flags."""
    name, config = cli.config()
    if WORKDIR.value:
        workdir = user_path(WORKDIR.value)
        config = resumed(config, workdir)
    else:
        workdir = user_path(f"runs/{name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
    resume = f"python -m launch.train --workdir={shlex.quote(str(workdir))}"
    print(f"run in {workdir}; to resume it: {resume}", flush=True)
    gc.set_threshold(50_000)  # JAX traces a network into many objects, few of which are garbage
    cache.keep_compiled(workdir.absolute().parent / ".compiled", os.environ)
    from jaxml.training.loop import train_and_evaluate  # now that all is set, for it imports JAX

    try:
        train_and_evaluate(config, workdir)
    except (Interrupted, SaveError) as error:
        error.add_note(f"to resume: {resume}")
        raise


def resumed(config: Config, workdir: Path) -> Config:
    """Returns the config of the run in a folder with the settings of the command line.

    Without such a run, or where `--config=FILE` is given, the config is that of the command line.
    """
    if cli.names_config() or not (workdir / CONFIG).exists():
        return config
    stored = read_config(workdir)
    for name in cli.overrides():
        settings.assign(stored, name, settings.value(config, name))
    return stored


if __name__ == "__main__":
    cli.run(main, config="configs/digits_resnet20v1.py")
