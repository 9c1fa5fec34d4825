"""A plugin of pytest that bounds memory: a mutant can grow a list without end."""

from __future__ import annotations

import sys

_MAX_MEMORY = 4 << 30

if sys.platform != "win32":
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
