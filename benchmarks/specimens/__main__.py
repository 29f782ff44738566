"""`python -m benchmarks.specimens NAME FOLDER DATA`: train one specimen.

In a process of its own, because LightGBM keeps the number of threads that it was
trained with.
"""

import sys
from pathlib import Path

from benchmarks.specimens import known

name, folder, data = sys.argv[1:]
known(Path(data))[name].train(Path(folder))
