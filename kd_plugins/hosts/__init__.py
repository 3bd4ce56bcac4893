"""What differs between the two families of packages, and without compiled operators."""

from .packages import check_packages


def prepare() -> None:
    """Check the installed hosts, and supply what they lack. Idempotent.

    Raises: HostError naming the command that mends what is wrong.
    """
    family = check_packages()
    # After the check: these import torch and mmengine.
    from .config_scopes import register_scopes
    from .operators import install_operators

    register_scopes(family)
    install_operators()
