"""What differs between the two families of packages, and without compiled operators."""

from .packages import check_packages, check_torch, installed_packages


def prepare() -> None:
    """Check the installed hosts, and supply what they lack. Idempotent.

    Where there is none it does nothing: losses, adapters, schedules and recorders need
    torch alone.

    Raises: HostError naming the command that mends what is wrong.
    """
    check_torch()
    if not installed_packages():
        return
    family = check_packages()
    # After the check: these import mmengine.
    from . import registries  # noqa: F401  (known to mmengine by being made)
    from .config_scopes import register_scopes
    from .extension import install_operators

    register_scopes(family)
    install_operators()
