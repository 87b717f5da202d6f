"""Names that the hints of public functions say again and again; shapes are in the docstrings."""

import os
from typing import TYPE_CHECKING, Any

#: A tensor or an array, or a nest of such: dicts and tuples, one in another.
Nest = Any
#: A file or a folder.
Path = str | os.PathLike
if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:  # an extra
    Figure = Any
