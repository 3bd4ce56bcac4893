"""What the header of a config records: the score that it gave, and the student alone.

Of the header's comments two lines are read::

    # Cost and result: 7 minutes on one core; 53.9 ± 1.4 mAP, ...
    # Alone:  python tools/train.py configs/digits/...
"""

import re
from collections.abc import Mapping
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
_DECIMALS = {'RMSE': 3}  # of the others one
_SUBJECTS = {'alone': 'the same student without a teacher', 'teacher': 'its teacher'}
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
        metric: 'mAP', 'mIoU' or 'RMSE' (in metres; lower is better).
        spread: the deviation over seeds, ' ± 1.4', or ''.
    """

    value: float
    metric: str
    spread: str = ''

    def __str__(self) -> str:
        decimals = _DECIMALS.get(self.metric, 1)
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


def result_sentence(cfg: Config, validated: Mapping[str, float]) -> str | None:
    """What a distillation came to, in a sentence, as far as it is known.

    Args:
        cfg: of the distillation.
        validated: the last validation's metrics, as the host names them.

    Returns: None where nothing is known.
    """
    others = compared_scores(cfg)
    metrics = [score.metric for score in others.values()] or METRICS
    name = next((each for each in metrics if METRICS[each][0] in validated), None)
    scores: dict[str, Score] = {}
    if name is not None:
        metric, factor = METRICS[name]
        scores['The student'] = Score(factor * validated[metric], name)
    for key, subject in _SUBJECTS.items():
        if key in others:
            scores[subject if scores else subject.capitalize()] = others[key]
    if not scores:
        return None
    subject, *_ = scores
    first = scores.pop(subject)
    rest = ''.join(f'; {each} {score}' for each, score in scores.items())
    source = ' (as recorded in the headers of their configs)' if others else ''
    return f'{subject} scores {first}{rest}{source}.'


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
