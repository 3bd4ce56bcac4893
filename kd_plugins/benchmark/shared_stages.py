"""A stage that another recipe has trained already is not trained again."""

import shutil
from pathlib import Path

from mmengine.config import DictAction
from mmengine.logging import print_log

from ..config_files import read_config
from ..engine.stages import give_options, read_stages
from ..engine.stages.config import Stage
from ..engine.stages.records import finished, taken
from .plan import Run


def take_over_stages(run: Run) -> list[str]:
    """Copy the first stages of a run from others of the benchmark that have the same.

    The same are those of equal config, seed and, where they take something, of equal
    files taken: several recipes may begin with the student's float weights, or with one
    assistant. The times in their logs count for each.

    Args:
        run: that is about to start.

    Returns: names of the stages; a run that continues (``--resume``) has them done.
    """
    if len(run.stages) < 2:
        return []
    taken_over = []
    for stage in stages_to_run(run)[:-1]:  # a last one is what the recipe is about
        source = _same_stage(stage, run.folder)
        if source is None:
            break
        shutil.copytree(source, run.folder / stage.name, dirs_exist_ok=True)
        taken_over.append(stage.name)
        print_log(f"{run.title}: stage '{stage.name}' is that of {source}.", 'current')
    return taken_over


def stages_to_run(run: Run) -> list[Stage]:
    """The stages of a run, as the tool that trains them reads them."""
    cfg = read_config(run.arguments[0])
    cfg.work_dir = str(run.folder)
    options = {
        key: DictAction._parse_iterable(value) for key, value in run.options.items()
    }
    give_options(cfg, options)
    return read_stages(cfg)


def _same_stage(stage: Stage, folder: Path) -> Path | None:
    takes = taken(stage, folder)
    if takes is None:
        return None
    for other in sorted(folder.parents[1].glob('*/seed*/*/stage.json')):
        if other.parents[1] == folder:
            continue
        record = finished(other.parent)
        if record is not None and not any(record.changes(stage, takes)):
            return other.parent
    return None
