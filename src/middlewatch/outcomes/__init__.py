"""Outcomes that come later, and what they say: is it still good?

    importing   a table of outcomes into the store
    days        which days have new outcomes; each one's predictions joined with them
    updating    all of it: days measured anew, windows judged, incidents kept

Everything is stored beside the windows, so that a day whose outcomes are complete is never read again.
"""

from __future__ import annotations

from .importing import Imported, import_labels
from .updating import Updated, update

__all__ = ["Imported", "Updated", "import_labels", "update"]
