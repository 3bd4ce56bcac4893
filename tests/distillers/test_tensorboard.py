"""What a pair adds to the loss is a curve of its own."""

from pathlib import Path

import pytest

from .runs import train
from .tiny import all_pairs, config

pytestmark = pytest.mark.host
accumulator = pytest.importorskip(
    'tensorboard.backend.event_processing.event_accumulator'
)


def test_tensorboard_shows_every_pair(tmp_path: Path) -> None:
    runner = train(
        config(all_pairs()),
        tmp_path,
        runner_type='kd_plugins.DistillRunner',
        visualizer=dict(
            type='Visualizer',
            name='tensorboard',
            vis_backends=[dict(type='TensorboardVisBackend')],
        ),
    )
    runner.visualizer.close()
    (written,) = tmp_path.rglob('events.out.tfevents.*')
    events = accumulator.EventAccumulator(str(written.parent)).Reload()
    for pair in all_pairs():
        curve = events.Scalars(f'loss_kd_{pair}')
        assert [event.step for event in curve] == [1, 2, 3, 4]
        assert all(event.value >= 0 for event in curve)
