"""The model wrapper of peers: two or more models that learn together."""

import copy
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import combinations
from typing import Any, cast

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from ..errors import (
    ConfigError,
    DistillationError,
    collected,
    located,
    nearest,
    raise_together,
)
from ..host_types import HostModule, Samples
from ..inner_models import image_preprocessor
from ..registry import MODELS
from ..schedules import Clock, GradientShare
from ..teachers.preprocess import InputTranslator, size_divisor_of
from .distiller import Distiller, accept_student, build_student, merge
from .peers import (
    PEERS,
    PeerStreams,
    frozen_names,
    read_pairs,
    read_peers,
    teachers_of,
)
from .step import Step
from .switching import build_switches, decide


@MODELS.register_module()
class MutualDistiller(BaseModel):
    """Models of the host's that learn together, each the teacher of others.

    In a step all peers see the same images. First each computes its own losses, then
    each is compared with the others, at its own RoIs, anchors or pixels; what the
    others give carries no gradient, and all are updated at once. A teacher that is
    frozen may stand beside them.

    Everywhere but in ``loss`` it is the peer that is deployed: prediction, and every
    attribute that is not its own. Its checkpoint holds all peers; ``student_*.pth``
    the one that is deployed.

    Args:
        peers: two or more, by name: a model dict, ``dict(model=..., seed=1)``, or
            ``dict(cfg='mmdet::...', seed=1)``, whose other keys are merged into that
            model. ``seed`` is added to that of the run (default: 0 for the first, 1
            for the second, ...): the peer begins, and draws while it trains, as in a
            run of its own with that seed. ``checkpoint``, and ``checkpoint_prefix``,
            that it begins with; ``trains``, parts such as 'roi_head': all others stay
            as the checkpoint has them, in ``eval()``; ``fresh``, whether these parts
            begin with random weights instead; ``allow_random`` for tests.
        pairs: what is compared, by name, as of
            :class:`~kd_plugins.distillers.Distiller`. ``student`` is the peer that
            learns, or a list of some (default: each, but for the pair's teacher).
            ``teacher`` is a peer, or a frozen one (default: all other peers; of
            several, ``combine`` says how they teach as one, and the mean of their
            losses is the default).
        deploy: name of the peer that predicts and is saved as the student; default:
            the first.
        teacher: frozen ones, as of :class:`~kd_plugins.distillers.Distiller`; None for
            none.
        switches: of peers that teach, and pause their own learning while they are too
            far ahead: :mod:`kd_plugins.switches` by the peer's name, each with
            ``pair``, by which the peer teaches others, and ``students``, those that
            count (default: all that it teaches so). Where all say no the peer is not
            updated, and where one of several does, it does not learn from that one.
        data_preprocessor: of the peers whose own configuration has none: the host's
            runner hands over that of the whole configuration.

    Raises: ConfigError for a configuration that cannot work; peers that would be
        identical for ever are one.
    """

    def __init__(
        self,
        peers: dict[str, Any],
        *,
        pairs: dict[str, Any],
        deploy: str | None = None,
        teacher: dict[str, Any] | None = None,
        switches: dict[str, Any] | None = None,
        data_preprocessor: dict[str, Any] | None = None,
    ) -> None:
        options = read_peers(peers)
        self.deploy = next(iter(options)) if deploy is None else str(deploy)
        if self.deploy not in options:
            raise ConfigError(
                f"there is no peer '{self.deploy}'. {nearest(self.deploy, options)}",
                'model.deploy',
            )
        by_peer = read_pairs(pairs, list(options), frozen_names(teacher))
        streams = PeerStreams(options)
        models: dict[str, HostModule] = {}
        faults: list[ConfigError] = []
        for name, each in options.items():
            with collected(faults), located(f'{PEERS}.{name}'), streams.of(name):
                models[name] = build_student(each.model, data_preprocessor)
                each.freeze(models[name])
        raise_together(faults)
        translators = _translators(models, self.deploy)
        super().__init__(models[self.deploy].data_preprocessor)
        del self.data_preprocessor  # the deployed peer's: found there
        self.random_stream = streams
        self._options = options
        self._translators = translators
        self.peers = nn.ModuleDict()
        for name, model in models.items():
            with collected(faults), located(f'(of {name})'):
                teachers = teachers_of(name, models, by_peer[name], teacher)
                peer = Distiller(model, pairs=by_peer[name], teacher=teachers)
                _check_pairs(peer)
                self.peers[name] = peer
                streams.add(name, peer.random_stream)
        raise_together(faults)
        self._switches = build_switches(switches, self.learners)
        self._paused: frozenset[str] = frozenset()
        self._steered = False
        self._first = True

    @property
    def learners(self) -> dict[str, Distiller]:
        """Each peer with its pairs and its teachers, by name."""
        return cast(dict[str, Distiller], dict(self.peers.items()))

    @property
    def student(self) -> HostModule:
        """The model that is deployed."""
        model: HostModule = self.learners[self.deploy].student
        return model

    @property
    def pauses(self) -> bool:
        """Whether a peer may not be updated in a step."""
        return bool(self._switches)

    @property
    def losses(self) -> nn.ModuleDict:
        """Losses that train something by themselves: none."""
        return nn.ModuleDict()

    # What makes it the deployed peer, everywhere but in `loss`.

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            peers = self.__dict__.get('_modules', {}).get('peers')
            if not peers or name.startswith('__'):
                raise
            return getattr(peers[self.deploy].student, name)

    def forward(
        self, inputs: Any, data_samples: Any = None, mode: str = 'tensor'
    ) -> Any:
        """The deployed peer's forward; in ``mode='loss'`` the losses of all."""
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        return self.student(inputs, data_samples, mode=mode)

    def parse_losses(self, losses: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Each peer's losses added up in its own way; minimised is their sum."""
        total: Tensor | float = 0.0
        logs: dict[str, Tensor] = {}
        for name, peer in self.learners.items():
            start = f'{name}.'
            of_peer = {
                key.removeprefix(start): value
                for key, value in losses.items()
                if key.startswith(start)
            }
            value, parsed = peer.parse_losses(of_peer)
            total = total + value
            logs |= {f'{start}{key}': item for key, item in parsed.items()}
        assert isinstance(total, Tensor)
        return total, {'loss': total, **logs}

    # Initial weights and checkpoints.

    def init_weights(self) -> None:
        """Initialise each peer as its host does, by its own seed."""
        for name, peer in self.learners.items():
            with self.random_stream.of(name):
                peer.init_weights()
            self._options[name].begin(peer.student, f'{PEERS}.{name}')
        self._is_init = True

    def train(self, mode: bool = True) -> 'MutualDistiller':
        """Set the mode; the frozen parts of a peer stay as they predict."""
        super().train(mode)
        for name, peer in self.learners.items():
            for part in self._options[name].frozen(peer.student):
                part.eval()
        return self

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any
    ) -> None:
        keys = [key for key in state_dict if key.startswith(prefix)]
        if keys and not any(key.startswith(f'{prefix}peers.') for key in keys):
            accept_student(self, state_dict, prefix, keys, self._deployed)
        super()._load_from_state_dict(state_dict, prefix, *args)

    @property
    def _deployed(self) -> str:
        return f'peers.{self.deploy}.student.'

    def student_state_dict(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The deployed peer's part of a state, under its own names."""
        return {
            key.removeprefix(self._deployed): value
            for key, value in state_dict.items()
            if key.startswith(self._deployed)
        }

    # Training.

    def set_clock(self, clock: Clock) -> None:
        """Tell each peer how far training is."""
        for peer in self.learners.values():
            peer.set_clock(clock)

    def set_class_names(self, names: Sequence[str]) -> None:
        """Tell each peer the class names of the data."""
        for peer in self.learners.values():
            peer.set_class_names(names)

    def fast_state_dict(self) -> dict[str, Any]:
        """Which frozen teachers run as a fast copy, by peer."""
        return {name: peer.fast_state_dict() for name, peer in self.learners.items()}

    def load_fast_state_dict(self, states: Mapping[str, Any]) -> None:
        """Decide as the run that is continued."""
        for name, peer in self.learners.items():
            peer.load_fast_state_dict(states.get(name, {}))

    def summary(self) -> str:
        """Of each peer: what it is, what it learns from whom."""
        lines = []
        for name, peer in self.learners.items():
            number = sum(each.numel() for each in peer.student.parameters())
            deployed = ', deployed' if name == self.deploy else ''
            lines.append(
                f"peer '{name}'{deployed}: {type(peer.student).__name__}, "
                f'{number / 1e6:.2f} M parameters, learns'
                + (f':\n{peer.summary()}' if peer.pairs else ' from its labels alone')
            )
        return '\n'.join(lines)

    def loss(self, inputs: Tensor, data_samples: Samples) -> dict[str, Any]:
        """Losses of each peer, its own and those of its pairs: '<peer>.<loss>'.

        Args:
            inputs: (N, C, H, W), preprocessed for the deployed peer.
            data_samples: of the batch.
        """
        if self._first and torch.is_grad_enabled():
            self._check_apart()
            if self.pauses and not self._steered:
                raise ConfigError(
                    'pauses a peer, which the optimiser does not know of. Set '
                    "runner_type='kd_plugins.DistillRunner', as "
                    'configs/_base_/distill.py does.',
                    'model.switches',
                )
            self._first = False
        with ExitStack() as stack:
            steps: dict[str, Step] = {}
            for name, peer in self.learners.items():
                # A model may write into what it is given; the others see it as it was.
                samples = copy.deepcopy(data_samples)
                seen = self._translators[name](inputs, samples)
                steps[name] = stack.enter_context(peer.step(seen, samples))
            own = {}
            for name, peer in self.learners.items():
                with self.random_stream.of(name):
                    own[name] = peer.task_losses(steps[name])
            matched = {}
            for name, peer in self.learners.items():
                with peer.drawing(steps[name]):
                    matched[name] = peer.match(steps[name])
            decisions = decide(self._switches, matched, inputs.device)
            self._paused = decisions.paused
            losses: dict[str, Any] = {}
            for name, peer in self.learners.items():
                with peer.drawing(steps[name]):
                    added = peer.pair_losses(steps[name], matched[name])
                for pair in peer.pairs:
                    if (name, pair.name) in decisions.gated:
                        added[pair.key] = silenced(added[pair.key])
                logs = decisions.logs.get(name, {})
                for key, value in merge(own[name], *added.values(), logs).items():
                    losses[f'{name}.{key}'] = value
            return losses

    def steer(self, optimizer: torch.optim.Optimizer) -> None:
        """Let the peers that do not learn in a step be left out of it.

        Args:
            optimizer: of all peers.
        """
        self._steered = True
        optimizer.register_step_pre_hook(lambda *_: self._pause())

    def _pause(self) -> None:
        """Before the optimiser steps: leave the peers as they are that do not learn.

        Without a gradient a parameter is not updated: neither by weight decay, nor by
        what its momentum holds.
        """
        for name in self._paused:
            for parameter in self.learners[name].parameters():
                parameter.grad = None

    def _check_apart(self) -> None:
        """Refuse peers of equal weights, wherever these come from."""
        for one, other in combinations(self.learners, 2):
            first, second = (
                dict(self.learners[name].student.named_parameters())
                for name in (one, other)
            )
            if first.keys() == second.keys() and all(
                first[key].shape == second[key].shape
                and torch.equal(first[key], second[key])
                for key in first
            ):
                raise DistillationError(
                    f"'{one}' and '{other}' begin with the same weights: they would be "
                    'identical for ever, and teach each other nothing. Give one of '
                    'them another seed, or another checkpoint to begin with.',
                    PEERS,
                )


def silenced(losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Losses of a pair as 0, with their graph: DDP waits for each parameter."""
    return {key: 0.0 * value for key, value in losses.items()}


def _translators(
    models: Mapping[str, HostModule], deployed: str
) -> dict[str, InputTranslator]:
    """From the batch, preprocessed for the deployed peer, to the inputs of each.

    Raises: ConfigError for peers whose images would be of another size.
    """
    own = image_preprocessor(models[deployed])
    translators = {}
    for name, model in models.items():
        with located(f'{PEERS}.{name}.data_preprocessor'):
            preprocessor = image_preprocessor(model)
            sides = size_divisor_of(own), size_divisor_of(preprocessor)
            if sides[0] != sides[1]:
                raise ConfigError(
                    f'pads images to multiples of {sides[1]}, and that of '
                    f"'{deployed}', which is deployed, to multiples of {sides[0]}: all "
                    'peers see the same images. Set the same pad_size_divisor.'
                )
            translators[name] = InputTranslator(own, preprocessor)
    return translators


def _check_pairs(peer: Distiller) -> None:
    """Refuse what is not known of peers.

    Raises: ConfigError naming the pair.
    """
    for pair in peer.pairs:
        with located(pair.key), located('loss'):
            if pair.loss.auxiliary_optimizers():
                raise ConfigError(
                    f'{type(pair.loss).__name__} trains something by itself, and peers '
                    'are trained by one optimiser. Choose another loss.'
                )
            if isinstance(pair.schedule, GradientShare):
                raise ConfigError(
                    'a GradientShare measures a single student, and there are several '
                    'peers. Give a number, or another schedule.',
                    'loss_weight',
                )
