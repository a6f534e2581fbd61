"""The command line, as ``python -m runwright``."""

import sys

from runwright.cli.main import main

sys.exit(main())
