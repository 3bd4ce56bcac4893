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
    with open(folder.parents[depth] / 'calls.txt', 'a') as calls:
        name = f'{folder.parent.name}/{folder.name}' if kind == 'train' else 'teacher'
        name = f'{folder.parent.parent.name} fidelity' if depth == 2 else name
        calls.write(name + (' --resume' if '--resume' in rest else '') + '\n')
    mood = os.environ.get('FAKE_TOOL', '')
    if mood == f'fail {folder.parent.name}/{folder.name}':
        sys.exit('out of luck')
    strength = strength_of(Path(config))
    if '--fidelity' in rest:
        assert f'randomness.seed={Path(rest[0]).read_text()}' in rest
        if mood == 'nothing logged':
            return
        validate(Path(rest[0]), folder, strength, mood)
        return
    number = len(list(folder.glob('2*')))
    attempt = folder / f'20300101_00000{number}'
    if kind == 'test':
        attempt.mkdir()
        score = {'coco/bbox_mAP': 0.5, 'rmse': 0.05, 'IoU.sky': 0.9}
        times = {'data_time': 1.0, 'time': 1.0}
        (attempt / f'{attempt.name}.json').write_text(json.dumps({**score, **times}))
        return
    seed = int(next(item for item in rest if item.startswith('randomness.seed='))[16:])
    (attempt / 'vis_data').mkdir(parents=True)
    lines = [
        {'loss': 1.0, 'time': 0.1 * (1 + strength / 10) + (step == 50), 'step': step}
        for step in (25, 50, 75, 100)
    ]
    if 'no validation' not in mood or '--resume' not in rest:
        # Longer helps: a point for each twenty iterations more.
        length = re.search(r'train_cfg\.max_iters=(\d+)', ' '.join(rest))
        more = (int(length[1]) - 100) / 20 if length else 0
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
