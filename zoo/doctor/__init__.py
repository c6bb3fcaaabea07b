"""The doctor: looks over a data set before it costs a training, and says what to do."""

from .examination import Examination, examine
from .finding import Finding, Level

__all__ = ["Examination", "Finding", "Level", "examine"]
