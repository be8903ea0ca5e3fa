"""Event files for TensorBoard, written by tensorboardX; TensorFlow is not needed."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxml.reporting.observers import Observer

BINS = 64  # of a histogram


class EventFile(Observer):
    """Writes one event file of a run into a folder, which may hold those of earlier starts.

    Every write is synchronous, so that an error is raised by the call that causes it. (The
    `SummaryWriter` of tensorboardX writes in a thread, which an error ends without notice.)
    """

    def __init__(self, folder: Path, *, first_step: int) -> None:
        """Creates the file.

        Args:
          folder: folder of the event files; it is created.
          first_step: number of steps taken so far. TensorBoard discards what earlier files hold of
            later steps, so that it shows each step once.

        Raises:
          ImportError: tensorboardX is not installed.
          OSError: the file cannot be written.
        """
        from tensorboardX import summary
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto import event_pb2

        self._summary: Any = summary
        self._event: Any = event_pb2
        folder.mkdir(parents=True, exist_ok=True)
        # The names sort by time also for two starts within a second.
        suffix = f".{time.time_ns() % 10**9:09d}"
        self._file = EventsWriter(str(folder / "events"), suffix)
        start = self._event.SessionLog(status=self._event.SessionLog.START)
        first_kept = first_step + 1 if first_step else 0  # the start of a run shows images at 0
        self._file.write_event(
            self._event.Event(step=first_kept, wall_time=time.time(), session_log=start)
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Writes numbers by name."""
        for name, value in values.items():
            self._write(step, self._summary.scalar(name, float(value)))

    def histograms(self, step: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes the distribution of the finite values of each array."""
        for name, array in arrays.items():
            values = np.asarray(array, np.float64).ravel()
            values = values[np.isfinite(values)]
            if not values.size:
                continue
            counts, edges = np.histogram(values, BINS)
            histogram = self._summary.histogram_raw(
                name,
                values.min(),
                values.max(),
                values.size,
                values.sum(),
                np.square(values).sum(),  # `dot` would wake the threads of BLAS
                edges[1:].tolist(),
                counts.tolist(),
            )
            self._write(step, histogram)

    def images(self, step: int, name: str, images: np.ndarray) -> None:
        """Writes images `[n, height, width, 1 or 3]`, uint8, as one picture."""
        self._write(step, self._summary.image(name, images, dataformats="NHWC"))

    def text(self, step: int, name: str, text: str) -> None:
        """Writes a text in Markdown."""
        self._write(step, self._summary.text(name, text))

    def flush(self) -> None:
        """Writes out what is buffered."""
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _write(self, step: int, summary: Any) -> None:
        self._file.write_event(self._event.Event(step=step, wall_time=time.time(), summary=summary))
