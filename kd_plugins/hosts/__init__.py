"""What differs between the families of packages, and without compiled operators."""
