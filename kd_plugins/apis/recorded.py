"""What the header of a config records: the score that it gave, and the student alone.

Of the header's comments two lines are read::

    # Cost and result: 7 minutes on one core; 53.9 ± 1.4 mAP, ...
    # Alone:  python tools/train.py configs/digits/...
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from ..config_files import config_path
from ..errors import ConfigError, HostError

# Names in headers: the host's metric, and its factor to what headers say.
METRICS = {
    'mAP': ('coco/bbox_mAP', 100.0),
    'mIoU': ('mIoU', 1.0),
    'RMSE': ('rmse', 1.0),
}
_TENTHS = ('mAP', 'mIoU')  # of others three decimals
_RATHER = ('mean', 'mAP', 'mIoU', 'rmse', 'acc')  # where no header's metric is there
_TEACHER = 'teacher/'
_SCORE = re.compile(
    r'^# Cost and result:.*?(?P<value>\d+\.\d+)(?P<spread> ± \d+\.\d+)? '
    rf'(?P<metric>{"|".join(METRICS)})\b',
    re.MULTILINE,
)
_ALONE = re.compile(r'^# Alone: +python tools/train\.py +(\S+)', re.MULTILINE)


@dataclass(frozen=True)
class Score:
    """A score as headers write it.

    Args:
        value: mean, where it is of several seeds.
        metric: 'mAP', 'mIoU' or 'RMSE' (in metres; lower is better); of others, which
            no header has, the host's name.
        spread: the deviation over seeds, ' ± 1.4', or ''.
    """

    value: float
    metric: str
    spread: str = ''

    def __str__(self) -> str:
        decimals = 1 if self.metric in _TENTHS else 3
        return f'{self.value:.{decimals}f}{self.spread} {self.metric}'


def recorded_score(path: Path) -> Score | None:
    """The score in a config's header, if it records one."""
    match = _SCORE.search(_header(path))
    if match is None:
        return None
    return Score(float(match['value']), match['metric'], match['spread'] or '')


def config_of_student_alone(path: Path) -> Path | None:
    """The config of the same student without a teacher, which the header names."""
    match = _ALONE.search(_header(path))
    files = [folder / match[1] for folder in path.resolve().parents] if match else []
    return next((file for file in files if file.is_file()), None)


def compared_scores(cfg: Config) -> dict[str, Score]:
    """What is recorded of a distillation's student 'alone', and of its 'teacher'.

    Args:
        cfg: of a distillation, as it was read from a file.

    Returns: what is known, of one metric.
    """
    files: dict[str, Path | None] = {'alone': None}
    files['teacher'] = _teacher_file(cfg.model.get('teacher'))
    if cfg.filename and Path(cfg.filename).is_file():
        files['alone'] = config_of_student_alone(Path(cfg.filename))
    scores = {name: recorded_score(path) for name, path in files.items() if path}
    return {name: score for name, score in scores.items() if score is not None}


def score_rows(cfg: Config, validated: Mapping[str, float]) -> dict[str, str]:
    """The scores of a distillation: each once, as far as it is known.

    Args:
        cfg: of the distillation.
        validated: the last validation's metrics, as the host and
            :class:`~kd_plugins.engine.hooks.FidelityHook` name them.

    Returns: of 'student', 'teacher' and 'student alone'; what was not validated is that
        which the header of its config records.
    """
    recorded = compared_scores(cfg)
    rows = {}
    metric = _metric(validated, [score.metric for score in recorded.values()])
    if metric is not None:
        for key, prefix in (('student', ''), ('teacher', _TEACHER)):
            if prefix + metric in validated:
                rows[key] = str(_score(metric, validated[prefix + metric]))
    for key, name in (('teacher', 'teacher'), ('alone', 'student alone')):
        if key in recorded:
            rows.setdefault(name, f'{recorded[key]}, as recorded in its config')
    return rows


def _metric(metrics: Mapping[str, float], names: Sequence[str]) -> str | None:
    """The metric that headers and papers give, or the nearest to it.

    Args:
        metrics: of a validation.
        names: in headers, of those to prefer.
    """
    own = [name for name in metrics if not name.startswith((_TEACHER, 'fidelity/'))]
    known = [METRICS[name][0] for name in (*names, *METRICS)]
    rather = [name for end in _RATHER for name in own if name.endswith(end)]
    return next((name for name in (*known, *rather) if name in own), None)


def _score(metric: str, value: float) -> Score:
    """A host's metric as headers write it."""
    for name, (known, factor) in METRICS.items():
        if known == metric:
            return Score(factor * value, name)
    return Score(value, metric)


def _teacher_file(teacher: object) -> Path | None:
    if not isinstance(teacher, Mapping) or not isinstance(teacher.get('cfg'), str):
        return None  # a model dict, or several by name
    try:
        path = config_path(teacher['cfg'])
    except (ConfigError, HostError):
        return None
    return path if path.is_file() else None


def _header(path: Path) -> str:
    lines = []
    for line in path.read_text(encoding='utf-8').splitlines():
        if not line.startswith('#'):
            break
        lines.append(line)
    # A backslash continues a line, and so does one that begins with no 'Word:'.
    text = re.sub(r'\\\n#\s*', '', '\n'.join(lines))
    return re.sub(r'\n# (?!\w[\w ]*:)', ' ', text)
