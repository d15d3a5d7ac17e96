"""The drawing libraries, which only the extra `render` installs."""

import importlib
from typing import Any

from gigaflow_env.extras import remedy


class MissingExtra(ImportError):
    """A library of the extra `render` is not installed; the message says how to install it."""


def library(name: str) -> Any:
    """The module `name`, for example `matplotlib.figure`. Raises MissingExtra where its package is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0]
        if error.name != package:
            raise  # the library is there, but broken: that is another story
        raise MissingExtra(f"drawing needs {package}: {remedy('render')}") from None
