"""Trains a network: python -m launch.train --config=configs/NAME.py --workdir=DIR.

--config.FIELD=VALUE overrides a setting. --workdir=DIR alone resumes a run that was stopped, and
--workdir=DIR --config.num_epochs=MORE extends it. Compiled programs are cached next to DIR, or in
JAX_COMPILATION_CACHE_DIR. launch/cluster/README.md is about several hosts.
"""

import gc
import os
import shlex
import sys
import time
from pathlib import Path

from absl import flags

from jaxml import _cpu
from jaxml import config as settings
from jaxml.config import Config, user_path
from jaxml.errors import InputError, SaveError
from jaxml.training.signals import Interrupted
from jaxml.training.workdir import CONFIG, read_config
from launch import cache, cli, hosts, supervise

WORKDIR = flags.DEFINE_string(
    "workdir", "", "folder of the run; by default a new one in runs/, named after config and time"
)
STALL_SECONDS = flags.DEFINE_float(
    "stall_seconds",
    None,
    "ends a process with status 75 if none of its steps ends for that long; by default "
    f"{supervise.STALL_SECONDS:.0f} for one of several processes, and unlimited otherwise",
    lower_bound=1.0,
)


def main() -> None:
    """Trains, or resumes a run."""
    name, config = cli.config()
    job = hosts.find(os.environ)
    if job and not WORKDIR.value:
        raise InputError("--workdir must be a folder that all processes share, got none")
    if (job or STALL_SECONDS.value) and supervise.PIPE not in os.environ:
        seconds = STALL_SECONDS.value or supervise.STALL_SECONDS
        sys.exit(supervise.run(str(job or hosts.Job(process_id=0)), seconds))
    if WORKDIR.value:
        workdir = user_path(WORKDIR.value)
        config = resumed(config, workdir)
    else:
        workdir = user_path(f"runs/{name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
    resume = f"{cli.COMMAND.format('train')} --workdir={shlex.quote(str(workdir))}"
    started = f"run in {workdir}; to resume it: {resume}"
    if not job:
        print(started, flush=True)
    gc.set_threshold(50_000)  # tracing creates many objects, few of them garbage
    cache.keep_compiled(workdir.absolute().parent / ".compiled", os.environ)
    _cpu.tune(os.environ, xla_flags=config.cpu.xla_flags)
    from jaxml.training import train_and_evaluate  # imports JAX, which reads the environment

    try:
        with hosts.connected(job, config, workdir) as is_first:
            if job and is_first:
                print(started, flush=True)
            train_and_evaluate(config, workdir, progress=supervise.reporter(os.environ))
    except (Interrupted, SaveError) as error:
        error.add_note(f"to resume: {resume}")
        raise


def resumed(config: Config, workdir: Path) -> Config:
    """Returns the stored config of a run, with the settings of the command line.

    If there is no run in the folder, or `--config=FILE` is given, returns `config` instead.
    """
    if cli.names_config() or not (workdir / CONFIG).exists():
        return config
    stored = read_config(workdir)
    for name in cli.overrides():
        settings.assign(stored, name, settings.value(config, name))
    return stored


if __name__ == "__main__":
    cli.run(main, config="configs/digits_resnet20v1.py")
