"""Runs one benchmark, or says which there are; a benchmark is a module here with `main(arguments)`."""

import importlib
import sys
from pathlib import Path

NOT_BENCHMARKS = {"__init__", "__main__", "table"}


def names() -> list[str]:
    found = {path.stem for path in Path(__file__).parent.glob("*.py")} - NOT_BENCHMARKS
    return sorted(name for name in found if not name.startswith("_"))


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in names():
        print(f"usage: python -m benchmarks {{{'|'.join(names())}}} [options]", file=sys.stderr)
        return 2
    module = importlib.import_module(f"benchmarks.{sys.argv[1]}")
    module.main(sys.argv[2:])
    return 0


if __name__ == "__main__":
    sys.exit(main())
