"""Stands in for tools/train.py and tools/test.py: same arguments, same log files."""

import hashlib
import json
import math
import os
import re
import sys
from pathlib import Path


def strength_of(config: Path) -> int:
    """The recipe's ``strength``; the benchmark's own config inherits the recipe's."""
    text = config.read_text()
    if base := re.search(r"_base_ = \['(.+)'\]", text):
        return strength_of(config.parent / base[1])
    return int(re.search(r'strength = (\d+)', text)[1])


def validate(checkpoint: Path, folder: Path, strength: int, mood: str) -> None:
    """As tools/test.py --fidelity."""
    score = (20 + strength + int(checkpoint.read_text())) / 100
    metrics = {'coco/bbox_mAP': score + 0.1 * (mood == 'other data')}
    metrics |= {'fidelity/agreement': 0.5 + score, 'fidelity/kl': score / 2}
    (folder / '20300101_000000' / 'vis_data').mkdir(parents=True)
    scalars = json.dumps({**metrics, 'teacher/coco/bbox_mAP': 0.5, 'step': 0})
    (folder / '20300101_000000' / 'vis_data' / 'scalars.json').write_text(scalars)


def main(kind: str, config: str, *rest: str) -> None:
    folder = Path(rest[rest.index('--work-dir') + 1])
    depth = 1 if kind == 'train' else 2 if '--fidelity' in rest else 0
    depth += (folder.parent / 'stage.py').exists()  # a folder of a stage lies deeper
    with open(folder.parents[depth] / 'calls.txt', 'a') as calls:
        name = f'{folder.parent.name}/{folder.name}' if kind == 'train' else 'teacher'
        name = f'{folder.parents[depth - 1].name} fidelity' if depth > 1 else name
        calls.write(name + (' --resume' if '--resume' in rest else '') + '\n')
    mood = os.environ.get('FAKE_TOOL', '')
    if mood == f'fail {folder.parent.name}/{folder.name}':
        sys.exit('out of luck')
    strength = strength_of(Path(config))
    if '--fidelity' in rest:
        seed = f'randomness.seed={Path(rest[0]).read_text()}'
        stage = Path(rest[0]).parent / 'stage.py'
        assert (seed in rest) != stage.exists()  # what a stage left holds its options
        if mood == 'nothing logged':
            return
        validate(Path(rest[0]), folder, strength, mood)
        return
    if kind == 'test':
        number = len(list(folder.glob('2*')))
        attempt = folder / f'20300101_00000{number}'
        attempt.mkdir()
        score = {'coco/bbox_mAP': 0.5, 'rmse': 0.05, 'IoU.sky': 0.9}
        times = {'data_time': 1.0, 'time': 1.0}
        (attempt / f'{attempt.name}.json').write_text(json.dumps({**score, **times}))
        return
    seeds = dict(item.split('.seed=') for item in rest if '.seed=' in item)
    length = re.search(r'train_cfg\.max_iters=(\d+)', ' '.join(rest))
    more = (int(length[1]) - 100) / 20 if length else 0
    for key, seed in seeds.items():
        # 'stages.<name>.options.randomness', of one training 'randomness'.
        below = folder / key.split('.')[1] if '.options.' in key else folder
        if below != folder:
            below.mkdir(exist_ok=True)
            (below / 'stage.py').write_text(f'strength = {strength}')
        train(below, strength, int(seed), more, mood, '--resume' in rest)


def train(
    folder: Path, strength: int, seed: int, more: float, mood: str, resumes: bool
) -> None:
    """As tools/train.py: logs, checkpoint, record of the start."""
    number = len(list(folder.glob('2*')))
    attempt = folder / f'20300101_00000{number}'
    (attempt / 'vis_data').mkdir(parents=True)
    lines = [
        {'loss': 1.0, 'time': 0.1 * (1 + strength / 10) + (step == 50), 'step': step}
        for step in (25, 50, 75, 100)
    ]
    if 'no validation' not in mood or not resumes:
        # Longer helps: a point for each twenty iterations more.
        score = (20 + strength + seed + more) / 100
        metrics = {'coco/bbox_mAP': score, 'rmse': 0.5 - score, 'IoU.brick': 2 * score}
        if strength:  # a class that the baseline never meets
            metrics['IoU.sky'] = score
        if mood == 'diverge':
            metrics = dict.fromkeys(metrics, math.nan)
        lines.append({**metrics, 'step': 100})
    if mood == 'die':
        lines = lines[:2]
    scalars = '\n'.join(json.dumps(line) for line in lines)
    (attempt / 'vis_data' / 'scalars.json').write_text(scalars + '\n{"cut o')
    start = hashlib.sha256(str(seed).encode()).hexdigest()
    other = strength == 4 and mood == 'other start'
    start = {'student': 'other' if other else start, 'batches': start}
    (folder / 'fingerprint.json').write_text(json.dumps(start))
    (folder / 'iter_100.pth').write_text(str(seed))
    (folder / 'last_checkpoint').write_text(f'/elsewhere/{folder.name}/iter_100.pth')
    if mood == 'die':
        os.kill(os.getpid(), 9)


if __name__ == '__main__':
    main(*sys.argv[1:])
