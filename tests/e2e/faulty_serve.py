"""The sidecar's own command line with a fault in the decision code; a test runs it by path."""

import sys
from unittest import mock

from sidecar.cli import main
from sidecar.extauthz import service

fault = RuntimeError("a fault that a test injected")
with mock.patch.object(service, "decide", side_effect=fault):
    sys.exit(main())
