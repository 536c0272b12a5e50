"""Small settings for the notebooks when pytest executes them; the outputs in the files come from full ones."""

import os
import tempfile

_runs = tempfile.TemporaryDirectory(prefix="notebooks-", ignore_cleanup_errors=True)

# The kernels inherit them.
os.environ["TFNORM_SMALL"] = "1"
os.environ["TFNORM_RUNS"] = _runs.name
