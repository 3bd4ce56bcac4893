"""All images of a split, drawn on all cores."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

Drawn = TypeVar('Drawn')


def draw_all(draw: Callable[[int], Drawn], count: int, label: str) -> list[Drawn]:
    """What a function returns for each index, in order.

    In threads: noise, resizing and writing, half of the work, run beside each other.

    Args:
        draw: a function of the index alone; it also writes what it draws.
        count: of the images.
        label: of the progress bar.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(tqdm(pool.map(draw, range(count)), total=count, desc=label))
