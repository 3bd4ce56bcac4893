"""Linear distillation: where gradient descent ends, against what theory says.

Usage: python tools/studies/linear_distillation.py [--out docs/studies]

A linear student learns from the soft labels of a linear teacher, on n inputs of d
numbers each. Phuong and Lampert (ICML 2019, https://arxiv.org/abs/2105.13093) prove
where it ends: at the teacher itself if the inputs span the space, else at the
projection of the teacher onto their span. Read it from top to bottom, or cell by cell
(`# %%`); it takes half a minute, trains no detector, and writes one picture.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import torch
from matplotlib.figure import Figure
from torch import Tensor

from kd_plugins.losses.kd import softened_divergence

SIDE = 50  # numbers of an input, d
SIZES = (1, 2, 5, 10, 20, 30, 40, 45, 50, 60, 80, 100)  # numbers of inputs, n
STEPS = 2000
DRAWS = 5  # training sets, for each size
COLORS = ('#0072b2', '#d55e00', '#009e73')


# %% The prediction, and what it predicts.


def closed_form(inputs: Tensor, teacher: Tensor) -> Tensor:
    """Weights at which a linear student ends that starts at 0.

    Args:
        inputs: shape (n, d), of any rank.
        teacher: its weights, shape (d,).

    Returns: the projection of ``teacher`` onto the span of the inputs, shape (d,).
    Source: Phuong and Lampert 2019, theorem 1, there with inputs as columns.
    """
    projected: Tensor = torch.linalg.pinv(inputs) @ (inputs @ teacher)
    return projected


def distil(
    inputs: Tensor,
    teacher: Tensor,
    *,
    start: Tensor | None = None,
    steps: int = STEPS,
    lr: float | None = None,
) -> Tensor:
    """Weights of the student after each step of plain gradient descent.

    Args:
        inputs: shape (n, d).
        teacher: its weights, shape (d,).
        start: of the student, shape (d,); default 0.
        steps: of the whole set each; no momentum, no weight decay.
        lr: default the largest that cannot overshoot, one over the largest curvature.

    Returns: shape (steps + 1, d), the first row as it starts.
    """
    if lr is None:
        # The second derivative of the loss of one logit is at most a quarter.
        lr = 4 * len(inputs) / float(torch.linalg.matrix_norm(inputs, 2)) ** 2
    student = torch.zeros_like(teacher) if start is None else start.clone()
    route = [student]
    for _ in range(steps):
        weights = route[-1].clone().requires_grad_()
        loss = softened_divergence(
            two_classes(inputs @ weights), two_classes(inputs @ teacher)
        )
        (gradient,) = torch.autograd.grad(loss, weights)
        route.append(route[-1] - lr * gradient)
    return torch.stack(route)


def two_classes(logits: Tensor) -> Tensor:
    """A logit as two, whose softmax is its sigmoid: shape (n,) to (n, 2)."""
    return torch.stack([torch.zeros_like(logits), logits], dim=1)


def distance(student: Tensor, expected: Tensor) -> Tensor:
    """L2 norm of the difference over that of ``expected``, for each row."""
    relative: Tensor = (student - expected).norm(dim=-1) / expected.norm()
    return relative


# %% Data: inputs that lie along the teacher's direction, or across it.


def draw(
    count: int, teacher: Tensor, stretch: float, generator: torch.Generator
) -> Tensor:
    """Gaussian inputs, ``stretch`` times as long along the teacher as across it."""
    inputs = torch.randn(count, len(teacher), generator=generator, dtype=torch.float64)
    direction = teacher / teacher.norm()
    return inputs + (stretch - 1) * torch.outer(inputs @ direction, direction)


def transfer_risk(student: Tensor, teacher: Tensor, stretch: float) -> float:
    """Share of new inputs, in percent, of which the two predict another class.

    Exact: of Gaussian inputs it is the angle between the two, both stretched as the
    inputs are, over a half turn.
    """
    direction = teacher / teacher.norm()
    along = stretch * (student @ direction)
    across = (student - (student @ direction) * direction).norm()
    return 100 * float(torch.atan2(across, along)) / math.pi


# %% Three pictures of one theorem.


def routes(teacher: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Distance from the prediction, step by step, for three sizes of the data."""
    found = {}
    for count in (SIDE // 5, SIDE, 2 * SIDE):
        inputs = draw(count, teacher, 1.0, generator)
        found[f'n = {count}'] = distance(
            distil(inputs, teacher), closed_form(inputs, teacher)
        )
    return found


def starts(teacher: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """The same from three starts, where the inputs span a part of the space."""
    inputs = draw(SIDE // 5, teacher, 1.0, generator)
    random = torch.randn(SIDE, generator=generator, dtype=torch.float64)
    inside = closed_form(inputs, random)  # the part in the span of the inputs
    lengths = teacher.norm()
    places = {
        'at 0': torch.zeros_like(teacher),
        'inside the span': lengths * inside / inside.norm(),
        'anywhere': lengths * random / random.norm(),
    }
    expected = closed_form(inputs, teacher)
    return {
        name: distance(distil(inputs, teacher, start=start), expected)
        for name, start in places.items()
    }


def risks(
    teacher: Tensor, stretch: float, generator: torch.Generator
) -> tuple[list[float], list[float]]:
    """Transfer risk for each size: as predicted, and of gradient descent; means."""
    predicted, descended = [], []
    for count in SIZES:
        pairs = []
        for _ in range(DRAWS):
            inputs = draw(count, teacher, stretch, generator)
            pairs.append(
                [
                    transfer_risk(student, teacher, stretch)
                    for student in (
                        closed_form(inputs, teacher),
                        distil(inputs, teacher, steps=STEPS // 10)[-1],
                    )
                ]
            )
        mean = torch.tensor(pairs).mean(0).tolist()
        predicted.append(mean[0])
        descended.append(mean[1])
    return predicted, descended


def study() -> tuple[Figure, list[str]]:
    """All of it: the picture, and its figures as lines of text."""
    generator = torch.Generator().manual_seed(0)
    teacher = torch.randn(SIDE, generator=generator, dtype=torch.float64)
    teacher /= teacher.norm()
    figure, lines = Figure(figsize=(12, 3.8), layout='constrained'), []
    left, middle, right = figure.subplots(1, 3)

    for axis, title, curves in (
        (left, 'From 0, n inputs of d = 50', routes(teacher, generator)),
        (middle, 'n = 10, three starts', starts(teacher, generator)),
    ):
        for (name, curve), color in zip(curves.items(), COLORS, strict=True):
            axis.loglog(range(1, len(curve)), curve[1:], color=color, label=name)
            lines.append(f'{title}; {name}: {curve[-1]:.1e} after {STEPS} steps')
        axis.set(title=title, xlabel='step', ylabel='relative distance')
        axis.set(ylim=(1e-9, 3))

    for stretch, color in zip((1.0, 3.0, 10.0), COLORS, strict=True):
        predicted, descended = risks(teacher, stretch, generator)
        name = f'stretched {stretch:g} times'
        right.plot(SIZES, predicted, color=color, label=f'{name}, predicted')
        right.plot(SIZES, descended, 'o', color=color, mfc='none', label='descent')
        for count, first, second in zip(SIZES, predicted, descended, strict=True):
            lines.append(f'{name}; n = {count}: {first:.1f} %, {second:.1f} %')
    right.set(title='Another class than the teacher', xlabel='n', ylabel='%')
    for axis in (left, middle, right):
        axis.legend(fontsize=7)
        axis.grid(alpha=0.3)
    return figure, lines


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--out',
        type=Path,
        default=Path('docs/studies'),
        help='folder of linear_distillation.svg; default: docs/studies',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse, compute, print, draw."""
    args = parse(argv)
    figure, lines = study()
    print(*lines, sep='\n')
    args.out.mkdir(parents=True, exist_ok=True)
    # No date, and names by content: the same figures make the same file.
    with matplotlib.rc_context({'svg.hashsalt': 'linear', 'svg.fonttype': 'none'}):
        figure.savefig(args.out / 'linear_distillation.svg', metadata={'Date': None})


if __name__ == '__main__':
    main()
