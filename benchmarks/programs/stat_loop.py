"""Ask for the status of so many inputs and outputs."""

import os
import sys

for number in range(int(sys.argv[1])):
    os.stat(f"src/{number}.in")  # noqa: PTH116 - the floor has no ceremony
    os.stat(f"out/{number}.out")  # noqa: PTH116
