"""`python -m slimcap`: the command line."""

import sys

from slimcap.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
