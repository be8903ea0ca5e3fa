"""Connects the processes that train one network together, with JAX's own runtime.

On SLURM, Kubernetes, TPU pods and Open MPI, JAX finds the other processes itself. Elsewhere, the
flags `--coordinator`, `--num_processes` and `--process_id` name them.
"""

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

import jaxml
from jaxml import config as settings
from jaxml.config import Config
from jaxml.errors import InputError, JaxmlError, one_line
from jaxml.training.signals import Interrupted
from launch import cli
from launch.supervise import RESTART

COORDINATOR = flags.DEFINE_string(
    "coordinator",
    "",
    "address HOST:PORT of process 0, which waits there for the others; not needed where a "
    "scheduler starts the processes (SLURM, Kubernetes, TPU pods, Open MPI)",
)
NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", None, "number of processes; 1 ignores a scheduler", lower_bound=1
)
PROCESS_ID = flags.DEFINE_integer(
    "process_id", None, "number of this process, from 0", lower_bound=0
)
TIMEOUT = flags.DEFINE_integer(
    "coordinator_timeout", 300, "seconds to wait for the other processes", lower_bound=1
)

POLL_SECONDS = 1.0
SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
# Errors of XLA and of its collectives that say that another process is gone.
LOST = re.compile(
    "gloo|nccl|connection (closed|reset|refused)|heartbeat|coordination|^(UNAVAILABLE|ABORTED|"
    "DEADLINE_EXCEEDED|CANCELLED)",
    re.IGNORECASE,
)


class Job(NamedTuple):
    """The place of this process among several.

    Attributes:
      scheduler: name of the scheduler that JAX asks, or "".
      coordinator: address of process 0; "" leaves it to JAX.
      num_processes: number of processes, or None where only JAX knows.
      process_id: number of this process, or None where only JAX knows.
    """

    scheduler: str = ""
    coordinator: str = ""
    num_processes: int | None = None
    process_id: int | None = None

    def __str__(self) -> str:
        if self.process_id is None:
            return f"the process on {socket.gethostname()}"
        count = f" of {self.num_processes}" if self.num_processes else ""
        return f"process {self.process_id}{count} on {socket.gethostname()}"


def find(environment: Mapping[str, str]) -> Job | None:
    """Returns the place of this process, from the flags or a scheduler; None if it is alone.

    Raises:
      InputError: the flags contradict each other or are incomplete.
    """
    number, process = NUM_PROCESSES.value, PROCESS_ID.value
    if number == 1 and not COORDINATOR.value:
        return None
    given = (bool(COORDINATOR.value), number is not None, process is not None)
    if not any(given):
        return find_scheduler(environment, tpu=_is_tpu_vm())
    if not all(given):
        raise InputError("--coordinator, --num_processes and --process_id must be given together")
    assert number is not None
    assert process is not None
    if not re.fullmatch(r".+:\d{1,5}", COORDINATOR.value):
        raise InputError(f"--coordinator must be HOST:PORT, got {COORDINATOR.value!r}")
    if process >= number:
        raise InputError(f"--process_id must be less than --num_processes={number}, got {process}")
    return Job("", COORDINATOR.value, number, process)


def find_scheduler(environment: Mapping[str, str], *, tpu: bool = False) -> Job | None:
    """Returns the place of this process, if the variables of a scheduler say that it has peers.

    Args:
      environment: `os.environ`.
      tpu: whether this is a virtual machine with TPUs, whose metadata JAX reads.

    Raises:
      InputError: the scheduler is one that JAX cannot ask.

    Example:
      >>> find_scheduler({"OMPI_COMM_WORLD_SIZE": "1"}) is None
      True
    """

    def number(name: str) -> int | None:
        value = environment.get(name, "")
        return int(value) if value.isdecimal() else None

    if all(name in environment for name in SLURM) and (number("SLURM_NTASKS") or 0) > 1:
        return Job("SLURM", "", number("SLURM_NTASKS"), number("SLURM_PROCID"))
    if (size := number("OMPI_COMM_WORLD_SIZE") or 0) > 1:
        if "OMPI_MCA_orte_hnp_uri" not in environment:
            raise InputError(
                "Open MPI must be a release before 5, which tells JAX the address of its start, "
                "or give --coordinator, --num_processes and --process_id"
            )
        return Job("Open MPI", "", size, number("OMPI_COMM_WORLD_RANK"))
    hostnames = environment.get("TPU_WORKER_HOSTNAMES", "").split(",")
    if tpu or len(hostnames) > 1 or (number("MEGASCALE_NUM_SLICES") or 0) > 1:
        return Job("TPU")
    if {"KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"} <= environment.keys():
        if importlib.util.find_spec("kubernetes") is None:
            raise InputError(
                "JAX asks Kubernetes for the other processes with the package kubernetes, which "
                "is not installed: pip install 'jax[k8s]', or give --num_processes=1"
            )
        return Job("Kubernetes", "", None, number("JOB_COMPLETION_INDEX"))
    return None


def slurm_devices(environment: Mapping[str, str]) -> list[int] | None:
    """Returns the GPUs of this task of SLURM; None leaves them to JAX.

    JAX gives the task with local number i the GPU i. That is right if each task has one GPU and
    sees those of all tasks of its host. A task that is alone on its host has all GPUs, and one that
    sees a single GPU has that.

    >>> slurm_devices({"SLURM_STEP_TASKS_PER_NODE": "1(x2)", "SLURM_GPUS_ON_NODE": "4"})
    [0, 1, 2, 3]
    >>> slurm_devices({"SLURM_STEP_TASKS_PER_NODE": "4", "CUDA_VISIBLE_DEVICES": "2"})
    [0]
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES", "")
    count = len(visible.split(",")) if visible else int(environment.get("SLURM_GPUS_ON_NODE", 0))
    tasks = environment.get("SLURM_STEP_TASKS_PER_NODE", "")
    if "JAX_LOCAL_DEVICE_IDS" in environment or not count:
        return None
    alone = re.fullmatch(r"1(\(x\d+\))?", tasks)
    return list(range(count)) if alone or count == 1 else None


@contextlib.contextmanager
def connected(job: Job | None, config: Config, workdir: Path) -> Iterator[bool]:
    """Connects this process to the others of the job; an error in one ends all of them.

    An error within the context is printed and ends this process immediately, because its end in the
    usual way would wait for the others. They end with the same message.

    Args:
      job: the place of this process; None does nothing.
      config: config of the run, compared with that of process 0.
      workdir: folder of the run, compared too.

    Yields:
      Whether this is process 0, which prints.

    Raises:
      InputError: a process cannot be reached, or differs from process 0.
    """
    if job is None:
        yield True
        return
    failing = threading.Event()
    watch = threading.Thread(target=_watch, args=(failing,), name="failures", daemon=True)
    try:
        _connect(job)
        watch.start()
        from jaxml.training import hosts

        hosts.check_same(describe(config, workdir))
        yield hosts.is_first()
        hosts.barrier()  # until then, another process may fail and end this one
    except Interrupted:
        raise
    except Exception as error:  # noqa: BLE001 (whatever it is, the others must end as well)
        _end(job, error, failing)
    finally:
        # No thread is inside the store while Python ends.
        failing.set()
        if watch.ident:
            watch.join(10 * POLL_SECONDS)


def describe(config: Config, workdir: Path) -> dict[str, Any]:
    """Returns what must be the same in all processes of a run."""
    import jax

    options: Any = jax.config
    return {
        "release of Python": platform.python_version(),
        "release of jax": jax.__version__,
        "release of jaxlib": importlib.metadata.version("jaxlib"),
        "release of jaxml": jaxml.__version__,
        "JAX_PLATFORMS": str(options.jax_platforms),
        "JAX_ENABLE_X64": bool(options.jax_enable_x64),
        "JAX_DEFAULT_PRNG_IMPL": str(options.jax_default_prng_impl),
        "--workdir": str(workdir.absolute()),
        **{f"config.{name}": repr(value) for name, _, value in settings.fields(config)},
    }


def _connect(job: Job) -> None:
    import jax

    with contextlib.suppress(AttributeError):
        # Its handler of SIGTERM would take the place of that of jaxml.training.signals, on which
        # the processes agree after every call of the training function.
        jax.config.update("jax_enable_preemption_service", False)
    arguments: dict[str, Any] = {"initialization_timeout": TIMEOUT.value}
    if job.coordinator:
        _check_address(job)
        arguments["coordinator_address"] = job.coordinator
        arguments |= {"num_processes": job.num_processes, "process_id": job.process_id}
    elif job.scheduler == "SLURM":
        arguments["local_device_ids"] = slurm_devices(os.environ)
    try:
        jax.distributed.initialize(**arguments)
    except (RuntimeError, ValueError, OSError) as error:
        where = f"--coordinator={job.coordinator}" if job.coordinator else job.scheduler
        raise InputError(f"{where}: JAX cannot connect: {one_line(error, 300)}") from None


def _check_address(job: Job) -> None:
    """Checks that process 0 can listen at the address, or that it does."""
    host, _, port = job.coordinator.rpartition(":")
    host = host.strip("[]")
    if job.process_id == 0:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", int(port)))
            except (OSError, OverflowError) as error:
                raise InputError(
                    f"--coordinator={job.coordinator}: process 0 cannot listen there: "
                    f"{getattr(error, 'strerror', error)}; is another process 0 running?"
                ) from None
        return
    deadline = time.monotonic() + TIMEOUT.value
    while True:
        try:
            with socket.create_connection((host, int(port)), timeout=5):
                return
        except (OSError, OverflowError) as error:
            if time.monotonic() > deadline:
                reason = getattr(error, "strerror", None) or str(error)
                raise InputError(
                    f"--coordinator={job.coordinator}: process 0 does not answer within "
                    f"{TIMEOUT.value} s: {reason}"
                ) from None
        time.sleep(0.2)


def _watch(failing: threading.Event) -> None:
    """Ends this process when another one has published a failure."""
    from jaxml.training import hosts

    while not failing.wait(POLL_SECONDS):
        try:
            found = hosts.failures()
        except Exception:  # noqa: BLE001 (the store has ended, and JAX reports that itself)
            return
        for process, line in sorted(found.items()):
            if not failing.is_set():
                _exit(f"error: process {process}: {line}", 2)


def _end(job: Job, error: Exception, failing: threading.Event) -> None:
    """Prints an error, reports it to the other processes, and ends this one."""
    line = cli.explain(error, os.environ)
    if line is None and LOST.search(one_line(error)):
        time.sleep(3 * POLL_SECONDS)  # if the other one published its error, `_watch` ends this one
        _exit(
            f"error: {job}: another process died or cannot be reached "
            f"({one_line(error, 200)}); ended with status {RESTART}, which asks for a restart",
            RESTART,
        )
    failing.set()
    if line is None:
        line = f"{type(error).__name__}: {one_line(error, 300)}"
        traceback.print_exception(error)
    from jaxml.training import hosts

    with contextlib.suppress(Exception):  # the store may have ended
        hosts.publish_failure(line)
        if hosts.is_first():
            time.sleep(3 * POLL_SECONDS)  # it keeps the store until the others have read the line
    _exit(f"error: {line}", 2 if isinstance(error, JaxmlError) else 1)


def _exit(line: str, status: int) -> None:
    """Ends this process immediately, even if the parent that reads its output has died."""
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)
    os._exit(status)


def _is_tpu_vm() -> bool:
    """Returns whether this is a Google Cloud TPU virtual machine on which libtpu is installed."""
    vendor = Path("/sys/class/dmi/id/product_name")
    devices = Path("/dev/accel0").exists() or Path("/dev/vfio/0").exists()
    has_library = importlib.util.find_spec("libtpu") is not None
    return devices and has_library and vendor.exists() and "Google" in vendor.read_text()
