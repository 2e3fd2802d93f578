"""SIGINT and SIGTERM: a run that is asked to stop ends at the next boundary between two updates, with a snapshot."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from typing_extensions import Self

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SHELL_OFFSET = 128


class Stopped(KeyboardInterrupt):
    """The run was asked to stop.

    Attributes:
        exit_status: what a shell shows for a process that ended by this signal.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__()
        self.exit_status = _SHELL_OFFSET + signal_number


class StopSignals:
    """Turns the two signals into `Stopped`: at once, or, after `defer`, when `raise_if_asked` is called.

    A second signal does not wait. On leaving, the context manager puts the old handlers back. Outside of the main
    thread it does nothing, since Python allows no handlers there.
    """

    def __init__(self) -> None:
        self._asked: int | None = None
        self._deferring = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def defer(self) -> None:
        """From now on the first signal waits for `raise_if_asked`."""
        self._deferring = True

    @property
    def asked(self) -> bool:
        """Whether a signal waits."""
        return self._asked is not None

    def raise_if_asked(self) -> None:
        """Stop here if a signal waits.

        Raises:
            Stopped: one does.
        """
        if self._asked is not None:
            raise Stopped(self._asked)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if not self._deferring or self._asked is not None:
            raise Stopped(number)
        self._asked = number
        name = signal.Signals(number).name
        # Not logged: a handler may run in the middle of another write to the same stream.
        os.write(2, f"{name}: stopping after this update, with a snapshot; once more to stop at once\n".encode())
