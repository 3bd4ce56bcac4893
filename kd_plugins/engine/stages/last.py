"""The last stage of a config, for what looks at the result: tests, pictures."""

import copy
from pathlib import Path

from mmengine.config import Config

from ...errors import ConfigError
from .config import has_stages, read_stages
from .outputs import paths_of
from .records import finished
from .references import put_in


def last_stage(cfg: Config) -> Config:
    """The config of the last stage; any other config as it is.

    Its ``work_dir`` is the stage's. What it takes from earlier stages is their files
    where these are finished in ``work_dir``; otherwise it stays as it is written, which
    matters to those only who load the teacher.

    Args:
        cfg: of a training, with or without stages.

    Raises: ConfigError as :func:`read_stages`.
    """
    if not has_stages(cfg):
        return cfg
    stage = read_stages(cfg)[-1]
    values = {}
    for reference in stage.takes:
        folder = Path(stage.cfg.work_dir).with_name(reference.stage)
        record = finished(folder)
        if record is None or record.gives is None:
            continue
        try:
            values[reference.text] = paths_of(reference, folder, record.gives)
        except ConfigError:  # not left: the training will tell
            continue
    last = copy.deepcopy(stage.cfg)
    put_in(last, values)
    return last
