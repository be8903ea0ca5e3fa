"""Reports on a run: progress on the terminal, metrics and time, profiles of the steps."""

from jaxml.reporting.meter import Clock, Meter
from jaxml.reporting.profile import Profile
from jaxml.reporting.progress import Display

__all__ = ["Clock", "Display", "Meter", "Profile"]
