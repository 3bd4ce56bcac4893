"""The fast copy of one teacher: what it must hold, and whether it is used."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch

from ..host_types import HostModule
from ..recorders import LayerRecorder
from .fast import PLAIN, FastOptions, Switches
from .fast_copy import FastModel, make_fast


class FastTeacher:
    """Makes the fast copy when it is first needed, and remembers the decision.

    Whether it is used is decided once, at the first batch, by whoever compares it with
    the plain teacher; a resumed run is told what was decided.

    Args:
        options: of the configuration; None: the plain teacher is always used.
    """

    def __init__(self, options: FastOptions | None) -> None:
        self.options = options
        self._parts: tuple[str, ...] = ()
        self._recorders: frozenset[LayerRecorder] = frozenset()
        self._switches: dict[torch.device, Switches] = {}
        self._used: bool | None = None
        self._stored: dict[str, Any] | None = None
        self._copy: FastModel | None = None
        self._failure: Exception | None = None

    def require(self, parts: Sequence[str], recorders: Sequence[LayerRecorder]) -> None:
        """Tell what any pair may ask of the teacher.

        Args:
            parts: children of the model that run.
            recorders: what is recorded of it.
        """
        self._parts, self._recorders = tuple(parts), frozenset(recorders)

    def switches(self, device: torch.device) -> Switches:
        """How the copy differs from the plain model, on this device."""
        if self.options is None:
            return PLAIN
        if device not in self._switches:
            self._switches[device] = self.options.on(device)
        return self._switches[device]

    def describe(self, device: torch.device) -> str:
        """Whether a copy runs on this device, for the summary; empty if not."""
        used = self.is_used(device)
        if used is False:
            return ''
        copied = f', as a fast copy ({self.switches(device).describe()})'
        if used:
            return copied
        return f'{copied}, if that is near enough at the first batch'

    def is_used(self, device: torch.device) -> bool | None:
        """Whether the copy takes the place of the plain model; None: to be decided."""
        switches = self.switches(device)
        if switches == PLAIN or not self._parts:
            return False
        if self._stored is not None and self._stored['switches'] == asdict(switches):
            self._used = bool(self._stored['used'])
        self._stored = None  # of other hardware it says nothing
        return self._used

    def copy_of(self, model: HostModule, device: torch.device) -> FastModel:
        """The fast copy, made at the first call.

        Args:
            model: the plain model, its weights loaded, nothing attached to it.
            device: where it lies.
        """
        if self._failure is not None:
            raise self._failure
        if self._copy is None:
            self._copy = make_fast(
                model, self._parts, self._recorders, self.switches(device)
            )
        return self._copy

    def prepare(self, model: HostModule, device: torch.device) -> None:
        """Make the copy; whoever asks for it next is told why it cannot be made."""
        if self._failure is None:
            try:
                self.copy_of(model, device)
            except Exception as error:  # of a model that cannot be copied, or compiled
                self._failure = error

    @property
    def prepared(self) -> bool:
        """Whether a copy was made, or tried."""
        return self._copy is not None or self._failure is not None

    def decide(self, used: bool) -> None:
        """Use the copy from now on, or never."""
        self._used = used
        if not used:
            self._copy = None

    def forget(self) -> None:
        """Make copy and decision anew: the model has moved to another device."""
        self._copy, self._failure, self._used = None, None, None

    def renew(self) -> None:
        """Make the copy anew, as was decided: the model has other weights."""
        self._copy, self._failure = None, None

    def state_dict(self, device: torch.device) -> dict[str, Any] | None:
        """What was decided; None: nothing yet."""
        self.is_used(device)
        if self._used is None:
            return None
        return {'switches': asdict(self.switches(device)), 'used': self._used}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Decide as another run did, unless this hardware has other switches."""
        self._used, self._stored = None, state
