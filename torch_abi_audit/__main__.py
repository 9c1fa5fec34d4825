"""Run the command line with ``python -m torch_abi_audit``."""

import sys

from torch_abi_audit.cli import main

if __name__ == "__main__":
    sys.exit(main())
