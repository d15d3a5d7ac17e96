"""Packages are found, not listed: a new folder below `gigaflow_env` is in the wheel at once. The rest: pyproject.toml.

The towns live at the top level, where people look for them; in the wheel they lie in the package as `gigaflow_env.maps`.
pyproject.toml alone can't say both.
"""

from setuptools import find_namespace_packages, setup

setup(
    packages=[
        *find_namespace_packages(include=["gigaflow_env*", "gigaflow_train*"], exclude=["*.__pycache__", "*.__pycache__.*"]),
        "gigaflow_env.maps",
    ],
    package_dir={"gigaflow_env.maps": "maps"},
)
