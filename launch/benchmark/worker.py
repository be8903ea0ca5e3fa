"""A separate process for each competitor."""

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Self

from jaxml.errors import JaxmlError
from launch.benchmark.task import Prepared

STOP = ""


class WorkerError(JaxmlError):
    """A competitor failed; the message is one line."""


class Work(NamedTuple):
    """Floating-point operations and bytes moved by one call; 0 if unknown."""

    flops: float
    bytes_moved: float


class About(NamedTuple):
    """Description of a competitor: `Prepared` without its functions, so that it can be sent."""

    operations: Mapping[str, Work]
    device: str
    versions: Mapping[str, str]
    parameters: int

    @classmethod
    def from_prepared(cls, prepared: Prepared) -> Self:
        """Describes a competitor that is ready."""
        work = {
            name: Work(operation.flops, operation.bytes_moved)
            for name, operation in prepared.operations.items()
        }
        return cls(work, prepared.device, prepared.versions, prepared.parameters)


class _Failure(NamedTuple):
    reason: str


class Worker:
    """A process that prepares one competitor and times its operations on request.

    Attributes:
      about: description of the competitor.
    """

    def __init__(self, prepare: Callable[[], Prepared], *, daemon: bool = True) -> None:
        """Starts the process and waits until the competitor is ready.

        Args:
          prepare: prepares the competitor; called in the process.
          daemon: whether the process ends with this one at the latest; it cannot start processes.

        Raises:
          WorkerError: the preparation failed.
        """
        context = multiprocessing.get_context("spawn")
        self._connection, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, prepare), daemon=daemon)
        self._process.start()
        there.close()  # only the process holds it, so the connection ends with the process
        try:
            self.about: About = self._receive()
        except WorkerError:
            self.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def seconds(self, operation: str) -> float:
        """Times one call of an operation.

        Raises:
          WorkerError: the call failed, or the process died.
        """
        try:
            self._connection.send(operation)
        except OSError:
            raise self._ended() from None
        return self._receive()

    def stop(self) -> None:
        """Ends the process."""
        with contextlib.suppress(OSError):  # the process may have ended
            self._connection.send(STOP)
        self._process.join(timeout=5)
        self._process.kill()
        self._process.join()

    def _receive(self) -> Any:
        try:
            answer = self._connection.recv()
        except (EOFError, OSError):
            raise self._ended() from None
        if isinstance(answer, _Failure):
            raise WorkerError(answer.reason)
        return answer

    def _ended(self) -> WorkerError:
        self._process.join(timeout=5)
        return WorkerError(f"its process ended with status {self._process.exitcode}")


def _serve(connection: Connection, prepare: Callable[[], Prepared]) -> None:
    # Competitors share one accelerator, and JAX would preallocate most of its memory.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    try:
        prepared = prepare()
        connection.send(About.from_prepared(prepared))
        while (name := connection.recv()) != STOP:
            call = prepared.operations[name].call
            start = time.perf_counter()
            call()
            connection.send(time.perf_counter() - start)
    except (EOFError, KeyboardInterrupt):
        pass  # nobody waits for an answer any more
    except Exception as error:  # noqa: BLE001 (of any library; reported by the other process)
        connection.send(_Failure(_in_one_line(error)))


def _in_one_line(error: Exception) -> str:
    r"""Returns the first line of a message, without the source that some libraries append.

    >>> _in_one_line(ValueError("\nno compiler\n\nSet VERBOSE=1"))
    'ValueError: no compiler'
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    message = lines[0][:200] if lines else ""
    if isinstance(error, JaxmlError):
        return message
    return f"{type(error).__name__}: {message}".removesuffix(": ")
