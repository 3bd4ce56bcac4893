"""What a recipe gains and what it costs, over seeds: tables, and a page of them."""

from ..hosts import required  # noqa: F401
