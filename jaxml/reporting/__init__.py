"""Reports on a run: progress, metrics and time, profiles, event files, and pages in HTML.

`report` writes the page of a run and `comparison` that of several, from the files of their folders
and the arrays in `findings`; both consist of what `page` and `charts` return.
"""

from jaxml.reporting.meter import Clock, Meter
from jaxml.reporting.profile import Profile
from jaxml.reporting.progress import Display

__all__ = ["Clock", "Display", "Meter", "Profile"]
