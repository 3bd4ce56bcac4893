"""What a recorder is, and several of them attached to one model."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Generic, TypeVar

from torch import nn

Record = TypeVar('Record')


class Recorder(ABC, Generic[Record]):
    """Attaches to a model while it runs. Equal recorders are attached once.

    It attaches on entry and detaches on exit: hooks that stay would be lost by
    ``revert_sync_batchnorm`` and doubled by the deep copy of an EMA model.
    """

    @abstractmethod
    def attach(self, model: nn.Module) -> AbstractContextManager[Record]:
        """Record within the block; yields what will hold the recorded tensors."""


class Records:
    """What was recorded of one model, by recorder."""

    def __init__(self) -> None:
        self._records: dict[Recorder[Any], Any] = {}

    def __getitem__(self, recorder: Recorder[Record]) -> Record:
        record: Record = self._records[recorder]
        return record

    def add(self, recorder: Recorder[Record], record: Record) -> None:
        """Keep the record of a recorder."""
        self._records[recorder] = record

    def items(self) -> Iterable[tuple[Recorder[Any], object]]:
        """Recorders and their records, in the order in which they were attached."""
        return self._records.items()


@contextmanager
def recording(
    model: nn.Module, recorders: Iterable[Recorder[Any]]
) -> Iterator[Records]:
    """Attach each of these recorders once within the block; yields their records."""
    records = Records()
    with ExitStack() as stack:
        for recorder in dict.fromkeys(recorders):
            records.add(recorder, stack.enter_context(recorder.attach(model)))
        yield records
