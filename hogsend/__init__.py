"""What journey authors import: `from hogsend import journey, on, prop, days`. It needs no server and no settings.

The names are those of `journeys/authoring.py`, imported when one is first asked for: whoever imports a module below
this package, the command line for one, does not pay for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hogsend.journeys.authoring import *  # noqa: F403
    from hogsend.journeys.authoring import __all__ as __all__
else:

    def __getattr__(name: str) -> object:
        from hogsend.journeys import authoring

        if name != "__all__" and name not in authoring.__all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(authoring, name)
