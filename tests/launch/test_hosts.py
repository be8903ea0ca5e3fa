"""Several processes of the launcher: their places, their ends and their messages."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from absl import flags

from jaxml.config import Config
from jaxml.errors import InputError
from jaxml.training.signals import Interrupted
from launch import hosts, supervise
from tests.launch.jobs import free_port, start
from tests.launch.processes import ROOT

SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[1-2]",
    "SLURM_NTASKS": "8",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "3",
}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8"}, None),  # a shell of salloc
        ({**SLURM, "SLURM_NTASKS": "1"}, None),
        (SLURM, hosts.Job("SLURM", "", 8, 3)),
        (
            {
                "OMPI_MCA_orte_hnp_uri": "4096.0;tcp://10.0.0.1:1",
                "OMPI_COMM_WORLD_SIZE": "2",
                "OMPI_COMM_WORLD_RANK": "1",
            },
            hosts.Job("Open MPI", "", 2, 1),
        ),
        ({"TPU_WORKER_HOSTNAMES": "a,b"}, hosts.Job("TPU")),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, None),
        ({"MEGASCALE_NUM_SLICES": "2"}, hosts.Job("TPU")),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),  # a notebook, for example
    ],
)
def test_the_variables_of_a_scheduler_give_the_place(environment, expected):
    assert hosts.find_scheduler(environment) == expected


def test_a_virtual_machine_with_tpus_asks_its_metadata():
    assert hosts.find_scheduler({}, tpu=True) == hosts.Job("TPU")


def test_kubernetes_needs_its_package(monkeypatch):
    environment = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "1"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'jax\[k8s\]', or give --num_processes=1"):
        hosts.find_scheduler(environment)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    assert hosts.find_scheduler(environment) == hosts.Job("Kubernetes", "", None, 1)


def test_a_release_of_open_mpi_that_jax_does_not_know_is_an_error():
    with pytest.raises(InputError, match="Open MPI must be a release before 5"):
        hosts.find_scheduler({"OMPI_COMM_WORLD_SIZE": "2"})


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"SLURM_STEP_TASKS_PER_NODE": "4(x2)", "SLURM_GPUS_ON_NODE": "4"}, None),
        ({"SLURM_STEP_TASKS_PER_NODE": "1(x2)", "SLURM_GPUS_ON_NODE": "4"}, [0, 1, 2, 3]),
        ({"SLURM_STEP_TASKS_PER_NODE": "1", "CUDA_VISIBLE_DEVICES": "0,1"}, [0, 1]),
        ({"SLURM_STEP_TASKS_PER_NODE": "4", "CUDA_VISIBLE_DEVICES": "3"}, [0]),
        (
            {
                "SLURM_STEP_TASKS_PER_NODE": "1",
                "SLURM_GPUS_ON_NODE": "4",
                "JAX_LOCAL_DEVICE_IDS": "1",
            },
            None,
        ),
    ],
)
def test_a_task_of_slurm_takes_its_gpus(variables, expected):
    assert hosts.slurm_devices(variables) == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"coordinator": "a:1"}, "must be given together"),
        ({"num_processes": 2, "process_id": 0}, "must be given together"),
        ({"coordinator": "a", "num_processes": 2, "process_id": 0}, "must be HOST:PORT, got 'a'"),
        (
            {"coordinator": "a:1", "num_processes": 2, "process_id": 2},
            "--process_id must be less than --num_processes=2, got 2",
        ),
    ],
)
def test_flags_that_do_not_fit_together_are_an_error(monkeypatch, given, message):
    _give(monkeypatch, given)
    with pytest.raises(InputError, match=message):
        hosts.find(SLURM)


def test_flags_come_before_a_scheduler(monkeypatch):
    _give(monkeypatch, {"coordinator": "a:1", "num_processes": 2, "process_id": 1})
    job = hosts.find(SLURM)
    assert job == hosts.Job("", "a:1", 2, 1)
    assert str(job) == f"process 1 of 2 on {socket.gethostname()}"
    _give(monkeypatch, {"coordinator": "", "num_processes": 1, "process_id": None})
    assert hosts.find(SLURM) is None
    _give(monkeypatch, {"num_processes": None})
    assert hosts.find(SLURM) == hosts.Job("SLURM", "", 8, 3)


def _give(monkeypatch, values):
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    for name, value in values.items():
        monkeypatch.setattr(flags.FLAGS[name], "value", value)


# A child that takes steps and then does something; the parent runs the same command.
_CHILD = """
import os, signal, sys, time
from launch import supervise
if supervise.PIPE not in os.environ:
    sys.exit(supervise.run("process 1 of 2", 1.5))
report = supervise.reporter(os.environ)
report(120)
"""
_LOG = """
print('F1128 05:23:12.171200   17178 client.h:80] Terminating process. absl::Status: {status}',
      file=sys.stderr)
print('*** Check failure stack trace: ***', file=sys.stderr, flush=True)
os.abort()
"""


@pytest.mark.parametrize(
    ("action", "status", "message"),
    [
        ("sys.exit('mine')", 1, r"^mine\n$"),
        (
            "time.sleep(60)",
            75,
            r"^error: process 1 of 2: no step ended for 1.5 s \(last step 120 at [\d:]+\); ended "
            r"with status 75, which asks for a restart\n$",
        ),
        (
            _LOG.format(status="UNAVAILABLE: gone"),
            75,
            r"^error: process 1 of 2: another process died or cannot be reached: UNAVAILABLE: gone "
            r"\(last step 120 at [\d:]+\); ended with status 75, which asks for a restart\n$",
        ),
        (
            _LOG.format(status="ABORTED: 1 has a different incarnation"),
            2,
            r"^error: process 1 of 2: two processes have the same number: ABORTED: .*\n$",
        ),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            137,
            r"^error: process 1 of 2: ended by SIGKILL \(last step 120 at [\d:]+\)\n$",
        ),
        (
            "os.kill(os.getppid(), signal.SIGTERM); time.sleep(1); report(121); time.sleep(1)",
            143,
            "^$",
        ),
    ],
    ids=["status", "stall", "abort", "twice", "kill", "signal"],
)
def test_the_parent_explains_the_end_of_its_child(action, status, message):
    done = _run_child(action)
    assert done.returncode == status
    assert re.search(message, done.stderr), done.stderr


def test_a_crash_keeps_its_stack_trace():
    done = _run_child("import faulthandler; faulthandler.enable(); os.abort()")
    assert "Fatal Python error: Aborted" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: process 1 of 2: ")


def test_a_child_without_a_parent_gets_one_signal():
    read, write = os.pipe()
    os.close(read)
    code = (
        "import os, signal; from launch import supervise; received = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: received.append(1))\n"
        "report = supervise.reporter(os.environ)\n"
        "for step in range(3): report(step)\n"
        "print(len(received))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), supervise.PIPE: str(write)},
        pass_fds=[write],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert supervise.reporter({})(1) is None


def test_an_error_ends_a_process_whose_output_nobody_reads():
    read, write = os.pipe()
    os.close(read)
    code = (
        "import sys; from launch import hosts\n"
        "sys.stdout = open(1, 'w'); print('in the buffer')\n"
        "hosts._exit('error: x', 75)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=write,
        stderr=write,
        check=False,
    )
    os.close(write)
    assert done.returncode == 75


@pytest.mark.parametrize("error", [None, Interrupted(signal.SIGTERM, 3)])
def test_no_thread_watches_the_others_after_the_run(monkeypatch, tmp_path, error):
    def names():
        return [thread.name for thread in threading.enumerate()]

    monkeypatch.setattr(hosts, "_connect", lambda job: None)
    with contextlib.suppress(Interrupted), hosts.connected(hosts.Job(), Config(), tmp_path):
        assert "failures" in names()
        if error:
            raise error
    assert "failures" not in names()


def _run_child(action):
    return subprocess.run(
        [sys.executable, "-c", _CHILD + action],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def finish(process):
    """Returns the status of a process and the lines that it wrote to standard error."""
    _, errors = process.communicate(timeout=120)
    assert "Traceback" not in errors
    return process.returncode, errors.splitlines()


@pytest.mark.slow
def test_a_coordinator_that_does_not_answer_is_one_line(tmp_path):
    port = free_port()
    (status, lines) = finish(start(port, 1, tmp_path, "--coordinator_timeout=1"))
    assert status == 2
    assert lines == [
        f"error: --coordinator=127.0.0.1:{port}: process 0 does not answer within 1 s: "
        "Connection refused"
    ]
    with socket.socket() as other:
        other.bind(("", port))
        other.listen()
        (status, lines) = finish(start(port, 0, tmp_path))
    assert status == 2
    assert lines == [
        f"error: --coordinator=127.0.0.1:{port}: process 0 cannot listen there: Address already in "
        "use; is another process 0 running?"
    ]


@pytest.mark.slow
def test_a_number_that_two_processes_have_is_one_line_each(tmp_path):
    port = free_port()
    limit = "--coordinator_timeout=8"
    processes = [start(port, process, tmp_path, limit, count=3) for process in (0, 1, 1)]
    (status, lines), *twins = map(finish, processes)
    assert status == 75
    assert len(lines) == 1
    assert "not all processes connected in time, or two have the same number" in lines[0]
    assert sorted(status for status, _ in twins) == [2, 75]
    assert [len(lines) for _, lines in twins] == [1, 1]
    assert any("two processes have the same number" in lines[0] for _, lines in twins)


@pytest.mark.slow
def test_a_process_with_another_config_is_one_line_each(tmp_path):
    port, host = free_port(), socket.gethostname()
    processes = [start(port, k, tmp_path / "run", f"--config.seed={k}") for k in (0, 1)]
    line = (
        f"error: every process must have the same config.seed, got 0 in process 0 ({host}) and 1 "
        f"in process 1 ({host})"
    )
    assert [finish(process) for process in processes] == [(2, [line]), (2, [line])]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_an_error_of_one_process_ends_the_others(tmp_path):
    port = free_port()
    processes = [start(port, k, tmp_path, environment={"JAX_DISABLE_JIT": str(k)}) for k in (0, 1)]
    line = "JAX_DISABLE_JIT must be 0, got 1: the steps are compiled"
    expected = [(2, [f"error: process 1: {line}"]), (2, [f"error: {line}"])]
    assert [finish(process) for process in processes] == expected


@pytest.mark.slow
def test_a_batch_with_fewer_examples_than_processes_is_one_line_each(tmp_path):
    port = free_port()
    processes = [start(port, k, tmp_path, "--config.batch_size=1") for k in (0, 1)]
    line = "error: config.batch_size must be a multiple of 2, the number of devices, got 1"
    assert [finish(process) for process in processes] == [(2, [line]), (2, [line])]


@pytest.mark.slow
def test_a_signal_to_one_process_stops_all_at_the_same_step(tmp_path):
    port = free_port()
    settings = ["--config.num_epochs=20000", "--config.eval_every_epochs=20000"]
    settings.append("--config.checkpoint.every_steps=5")
    processes = [start(port, process, tmp_path, *settings) for process in (0, 1)]
    deadline = time.monotonic() + 100
    while not list(tmp_path.glob("checkpoints/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    processes[1].send_signal(signal.SIGTERM)
    (first, first_lines), (second, lines) = map(finish, processes)
    assert (first, second) == (128 + signal.SIGTERM, 128 + signal.SIGTERM)
    assert lines[0] == "SIGTERM: stopping after this step; a second signal ends it immediately"
    assert lines[1:] == first_lines
    step = first_lines[0].split(" at step ")[1].split(",")[0]
    assert (tmp_path / f"checkpoints/{step}.safetensors").exists()
