"""What the readers of a checkpoint raise when a pickle asks for too much."""


class RefusedGlobal(Exception):
    """A pickle names a global outside the admitted ones."""
