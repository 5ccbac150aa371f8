"""The entry of the ``marigraph`` command: checks the packages it stands on, then hands over to the command line."""

import gc
import sys

from marigraph.packages import ForeignPackage, check_packages


def main() -> None:
    """Run the command line; exit code 2 with one line if the installation itself is broken."""
    try:
        check_packages()
    except ForeignPackage as error:
        sys.stderr.write(f"marigraph: {error}\n")
        raise SystemExit(2) from None
    gc.disable()  # what is imported stays: looking through it again and again takes a tenth of the start
    from marigraph.cli.main import run  # not before the check: it imports the packages that were checked

    gc.freeze()
    gc.enable()
    run()


if __name__ == "__main__":
    main()
