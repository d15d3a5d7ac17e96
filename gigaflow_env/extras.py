"""How to install what only some need."""


def remedy(extra: str) -> str:
    """What to type for a missing extra of the package, after an installation and in a checkout."""
    return f'pip install "gigaflow-env[{extra}]" (in a checkout: pip install -e ".[{extra}]")'
