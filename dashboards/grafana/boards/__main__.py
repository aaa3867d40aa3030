"""Write every board as JSON: ``python -m dashboards.grafana.boards`` (or ``make dashboards``)."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from dashboards.grafana.boards import domain_shift, gateway, monitor, overview, rollout
from dashboards.grafana.boards.frame import Addresses, write

FOLDER = Path(__file__).parents[1]
BOARDS = (overview.BOARD, domain_shift.BOARD, rollout.BOARD, gateway.BOARD, monitor.BOARD)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and write the files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--to", type=Path, default=FOLDER, help="folder for the JSON files")
    parser.add_argument("--console", default=Addresses().console, help="address of the monitor")
    parser.add_argument("--runbook", default=Addresses().runbook, help="address of the runbook")
    options = parser.parse_args(arguments)
    addresses = Addresses(console=options.console, runbook=options.runbook)
    options.to.mkdir(parents=True, exist_ok=True)
    for board in BOARDS:
        (options.to / f"{board.name}.json").write_text(write(board, addresses))


if __name__ == "__main__":
    main()
