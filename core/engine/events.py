"""The event file that TensorBoard reads, written by the thread that trains, so that a full disk is noticed."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import Any

from ..files import writing

VERSION = "brain.Event:2"


class EventFile:
    """One event file in a folder; every event is on its way to the disk when its call returns."""

    def __init__(self, folder: Path, purge_step: int) -> None:
        """TensorBoard forgets the points of earlier files at or after `purge_step`."""
        from tensorboard.compat.proto.event_pb2 import SessionLog  # slow to import: only training pays for it
        from tensorboard.summary.writer.record_writer import RecordWriter

        # TensorBoard reads the files of a run in the order of their names.
        seconds, rest = divmod(time.time_ns(), 10**9)
        name = f"events.out.tfevents.{seconds:010d}.{rest:09d}.{socket.gethostname()}.{os.getpid()}"
        self._path = folder / name
        with writing(self._path):
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("wb")
        self._records = RecordWriter(self._file)
        self._add(file_version=VERSION)
        self._add(step=purge_step, file_version=VERSION)
        self._add(step=purge_step, session_log=SessionLog(status=SessionLog.START))

    def scalar(self, name: str, value: float, step: int) -> None:
        """A point of a curve."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        self.summary(Summary(value=[Summary.Value(tag=name, simple_value=float(value))]), step)

    def summary(self, summary: Any, step: int | None = None) -> None:
        """Any summary."""
        self._add(summary=summary, **({} if step is None else {"step": step}))

    def _add(self, **content: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        with writing(self._path):
            self._records.write(Event(wall_time=time.time(), **content).SerializeToString())
            self._file.flush()

    def close(self) -> None:
        """No event follows."""
        with writing(self._path):
            self._file.close()
