"""Imported first by each package that needs the hosts.

Where they are missing, that raises HostError naming the command that installs them.
"""

from .packages import check_packages

check_packages()
