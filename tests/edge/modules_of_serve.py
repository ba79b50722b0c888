"""The sidecar's own command line; SIGUSR1 makes it write the names of its modules."""

import os
import signal
import sys
from pathlib import Path

from sidecar.cli import main


def _write(*_: object) -> None:
    path = Path(os.environ["MODULES_FILE"])
    unfinished = path.with_suffix(".new")
    unfinished.write_text("\n".join(sys.modules))
    unfinished.rename(path)


signal.signal(signal.SIGUSR1, _write)
sys.exit(main())
