"""The program that is released."""

import sys

if __name__ == "__main__":
    print(f"Hello, {sys.argv[1] if len(sys.argv) > 1 else 'world'}")
