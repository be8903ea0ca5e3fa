"""Jobs of several processes of the launcher on this machine, for tests."""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tests import quick_compilation
from tests.launch.processes import ROOT

LAUNCHER = ("-m", "launch.train")


def free_port() -> int:
    """Returns a port on which process 0 can listen.

    By default, Linux takes the ports of outgoing connections from 32768 on, so that none of them
    can take this port until process 0 listens.
    """
    for _ in range(100):
        port = secrets.choice(range(20_000, 32_768))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port found in 100 tries")


def start(
    port: int,
    process: int,
    workdir: Path,
    *arguments: str,
    count: int = 2,
    program: Sequence[str] = LAUNCHER,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.Popen[str]:
    """Starts one of several processes of `launch.train`, in a process group of its own.

    Args:
      port: of process 0.
      process: number of the process.
      workdir: folder of the run.
      arguments: of the command line, after those of a linear model on the digits.
      count: number of processes.
      program: arguments of Python that name the launcher, such as those of `processes.driven`.
      environment: further environment variables.
    """
    environment = {
        **os.environ,
        **quick_compilation.environment(),
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": "1",
        "JAXML_XLA_FLAGS": "0",
        "JAX_COMPILATION_CACHE_DIR": os.environ["JAXML_TESTS_CACHE"],
        **environment,
    }
    words = [
        f"--coordinator=127.0.0.1:{port}",
        f"--num_processes={count}",
        f"--process_id={process}",
        "--config.model.name=linear",
        "--config.data.augment=",
        "--config.log.report=false",
    ]
    return subprocess.Popen(
        [sys.executable, *program, f"--workdir={workdir}", *words, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
