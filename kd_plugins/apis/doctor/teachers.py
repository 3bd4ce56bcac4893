"""A teacher as its configuration and its checkpoint describe it; nothing is built."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from ...checkpoints import read_checkpoint
from ...config_files import config_path, read_config
from ...errors import CheckpointError
from ...teachers import model_config
from ...teachers.build import is_single
from ...teachers.checkpoints import classes_of
from ...teachers.ensemble import kind_of
from ...teachers.route import read_anchors
from ..recorded import recorded_score
from ..stored_config import stored_config
from .finding import NotCheckedError
from .score import Kind, Score


@dataclass(frozen=True)
class TeacherFacts:
    """What files say about a teacher.

    Attributes:
        name: under which pairs ask for it.
        entry: its configuration in the distillation.
        several: whether there are others.
        key: its configuration key.
    """

    name: str
    entry: Mapping[str, Any]
    several: bool = False
    key: str = 'model.teacher'

    @property
    def title(self) -> str:
        """Subject of a sentence."""
        return f"The teacher '{self.name}'" if self.several else 'The teacher'

    @cached_property
    def model(self) -> ConfigDict:
        """Configuration of its model."""
        if 'cfg' in self.entry:
            kind, entry = kind_of(dict(self.entry))
            return model_config(entry, beside=kind.keys)
        return model_config(dict(self.entry['model']))

    @cached_property
    def config(self) -> Config | None:
        """The whole config that the distillation names; None for a model dict."""
        if 'cfg' not in self.entry:
            return None
        return read_config(self.entry['cfg'], f'{self.key}.cfg')

    @cached_property
    def content(self) -> dict[str, Any]:
        """Its checkpoint, of a route the last; empty for random weights."""
        return {} if self.checkpoint is None else read_checkpoint(self.checkpoint)

    @property
    def checkpoint(self) -> str | None:
        """The file of its weights, of a route the last."""
        if 'checkpoints' in self.entry:
            route = read_anchors(self.entry['checkpoints'], self.entry.get('interval'))
            return route[-1].checkpoint
        checkpoint: str | None = self.entry.get('checkpoint')
        return checkpoint

    @cached_property
    def stored(self) -> Config | None:
        """The config that its checkpoint was trained with, if it holds one."""
        if not isinstance((self.content.get('meta') or {}).get('cfg'), str):
            return None
        try:
            return stored_config(self.content, str(self.checkpoint))
        except CheckpointError as error:
            raise NotCheckedError(str(error)) from error

    @cached_property
    def trained_model(self) -> Mapping[str, Any] | None:
        """The model in that config; of a distillation, its student."""
        if self.stored is None:
            return None
        model: Any = self.stored.get('model') or {}
        if 'student' in model and 'teacher' in model:
            model = model['student']
        return model if isinstance(model, Mapping) else None

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The class names in its checkpoint, if it tells them."""
        return classes_of(self.content)

    def claimed_score(self, kind: Kind) -> tuple[Score, str] | None:
        """The score that its files record, and which of them does; None if none does.

        Args:
            kind: of the metric.
        """
        for value, source in (
            (_score_in_meta(self.content, kind), 'its checkpoint says'),
            (_best_score(self.content, kind), 'its checkpoint says, of its best'),
            (self._score_in_header(kind), 'its config says'),
        ):
            if value is not None:
                return Score(value, kind), source
        return None

    def _score_in_header(self, kind: Kind) -> float | None:
        if 'cfg' not in self.entry:
            return None
        path = Path(config_path(self.entry['cfg']))
        score = recorded_score(path) if path.is_file() else None
        return score.value if score is not None and score.metric == kind.unit else None


def teachers_of(cfg: Config) -> tuple[TeacherFacts, ...]:
    """The teachers of a distillation.

    Args:
        cfg: of the distillation.
    """
    entries = cfg.model.get('teacher') or {}
    key = 'model.teacher'
    if entries and is_single(entries):
        found = _members('teacher', entries, key)
    else:
        found = [
            each
            for name, entry in entries.items()
            if isinstance(entry, Mapping)
            for each in _members(name, entry, f'{key}.{name}')
        ]
    several = len(found) > 1 or [name for name, _, _ in found] != ['teacher']
    return tuple(TeacherFacts(name, entry, several, key) for name, entry, key in found)


def _members(
    name: str, entry: Mapping[str, Any], key: str
) -> list[tuple[str, Mapping[str, Any], str]]:
    """Name, configuration and key of a teacher; of an ensemble those of each member."""
    if 'members' not in entry:
        return [(name, entry, key)]
    return [
        (f'{name}.{number}', member, f'{key}.members.{number}')
        for number, member in enumerate(entry['members'])
    ]


def _score_in_meta(content: Mapping[str, Any], kind: Kind) -> float | None:
    """Of a file whose header has the score under the metric's name."""
    meta = content.get('meta') or {}
    try:
        number = float(meta.get(kind.unit, meta.get(kind.key, '')))
    except (TypeError, ValueError):
        return None
    return number * kind.factor if number <= 1 else number


def _best_score(content: Mapping[str, Any], kind: Kind) -> float | None:
    """Of a checkpoint of the hosts, whose run kept its best one by this metric."""
    hub = content.get('message_hub')
    meta = content.get('meta') or {}
    for info in (
        hub.get('runtime_info') if isinstance(hub, Mapping) else None,
        meta.get('hook_msgs'),  # of mmcv 1
    ):
        if not isinstance(info, Mapping):
            continue
        name, value = str(info.get('best_ckpt')), info.get('best_score')
        metric = kind.key.replace('/', '_')
        short = kind.key.rpartition('/')[2]
        named = f'best_{metric}_' in name or f'best_{short}_' in name
        if named and isinstance(value, (int, float)):
            return kind.factor * float(value)
    return None
