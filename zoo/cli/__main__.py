"""`python -m zoo.cli`: as the command `zoo`."""

import sys

from . import main

if __name__ == "__main__":
    sys.argv[0] = "zoo"
    sys.exit(main())
