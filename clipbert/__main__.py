"""`python -m clipbert` is `clipbert`."""

import sys

from clipbert.cli import main

sys.exit(main())
