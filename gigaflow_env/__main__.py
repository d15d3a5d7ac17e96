"""`python -m gigaflow_env` is the command `gigaflow-env`."""

from gigaflow_env.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
