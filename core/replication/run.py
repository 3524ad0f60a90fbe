"""A live run beside the published numbers: everything that the report's page and its file show."""

from __future__ import annotations

from dataclasses import dataclass

from core.ablation.outcomes import Baselines, Pruning
from core.ablation.sweep import Sweep
from core.attention.head_scores import HeadScores
from core.heads import HeadSet, heads_above
from core.replication.reproduction import Reproduction
from core.replication.size import SizedModel
from core.settings.modes import Mode
from core.settings.subject import Subject
from core.verdicts.judgement import Judgement

# The report zeroed values.
REPORT_MODE: Mode = "zero"
# From here on a head is said to look for the earlier copy.
MATCHING_FLOOR = 0.1


@dataclass(frozen=True)
class TopPruning:
    """The head with the highest previous-token score, taken away alone, beside random heads of its layer."""

    score: float
    result: Pruning
    baselines: Baselines

    def downstream(self, count: int = 5) -> HeadSet:
        """The heads that looked most for the earlier copy before, of the layers that the pruned head can reach."""
        layer = self.result.head.layer
        return tuple(head for head in heads_above(self.result.before, MATCHING_FLOOR) if head.layer > layer)[:count]


@dataclass(frozen=True)
class ReportRun:
    """Everything that a live run sets beside the published numbers; `models`: those of this machine, as far as measured."""

    subject: Subject
    scores: HeadScores
    steps: tuple[Reproduction, ...]
    sweep: Sweep
    pruning: TopPruning
    judged: Judgement
    models: tuple[SizedModel, ...]
