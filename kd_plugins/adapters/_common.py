"""Shared by the adapters with parameters."""

from kd_plugins.errors import ConfigError


def check_channels(student_channels: int, teacher_channels: int) -> None:
    """Refuse channels that are not positive whole numbers.

    Raises: ConfigError that names the key.
    """
    for name, channels in (
        ('student_channels', student_channels),
        ('teacher_channels', teacher_channels),
    ):
        if not isinstance(channels, int) or isinstance(channels, bool) or channels < 1:
            raise ConfigError(f'{name} must be a whole number > 0, got {channels!r}.')
