"""`python -m gigaflow_train` is the command `gigaflow-train`."""

import sys

from gigaflow_train.cli import main

if __name__ == "__main__":
    sys.exit(main())
