"""What a run cost and delivered, and how runs compare."""

from twin.score.history import History
from twin.score.summary import Comparison, Score, compare, score

__all__ = ["Comparison", "History", "Score", "compare", "score"]
