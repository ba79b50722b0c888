"""``python -m sidecar`` is ``zervi-sidecar``."""

import sys

from sidecar.cli import main

sys.exit(main())
