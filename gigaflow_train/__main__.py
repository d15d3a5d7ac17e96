"""The command `gigaflow-train`, also as `python -m gigaflow_train`."""

import sys


def start() -> int:
    """Run the command line; where the extra `train` is not installed, say how to install it."""
    try:
        from gigaflow_train.cli import main

        return main()
    except ModuleNotFoundError as missing:
        if missing.name is not None and missing.name.startswith("gigaflow"):
            raise
        from gigaflow_env.extras import remedy

        sys.stderr.write(f"gigaflow-train: error: it needs {missing.name}: {remedy('train')}\n")
        return 2


if __name__ == "__main__":
    sys.exit(start())
