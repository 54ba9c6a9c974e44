"""`python -m linnet`."""

import sys

from linnet.cli import main

if __name__ == "__main__":
    sys.exit(main())
