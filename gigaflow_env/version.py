"""The version of both packages: written here, and nowhere else."""

__version__ = "0.1.0"
