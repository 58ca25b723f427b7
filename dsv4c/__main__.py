"""``python -m dsv4c``: the command line without an installed script."""

import sys

from dsv4c.cli import main

sys.exit(main())
