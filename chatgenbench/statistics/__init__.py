"""Statistics in one place: every interval and every p-value of a table comes from here.

intervals    bootstrap intervals of means and of set values, whole demonstrations resampled
paired       two systems on the same rows: permutation tests, Holm's adjustment, tie groups
variance     how much of a metric's spread comes from items and how much from seeds
power        the smallest difference that so many demonstrations can show
"""

from chatgenbench.statistics.intervals import (
    LEVEL,
    RESAMPLES,
    SET_RESAMPLES,
    Array,
    Clusters,
    Interval,
    centred,
    mean_interval,
    mean_intervals,
    set_interval,
    weighted_means,
)
from chatgenbench.statistics.paired import (
    PERMUTATIONS,
    Paired,
    holm,
    p_values,
    paired_test,
    paired_tests,
    tie_groups,
)
from chatgenbench.statistics.power import detectable, needed, spread_of
from chatgenbench.statistics.variance import Components, components, standard_error, what_to_add

__all__ = [
    "LEVEL", "PERMUTATIONS", "RESAMPLES", "SET_RESAMPLES", "Array", "Clusters", "Components", "Interval", "Paired",
    "centred", "components", "detectable", "holm", "mean_interval", "mean_intervals", "needed", "p_values",
    "paired_test", "paired_tests", "set_interval", "spread_of", "standard_error", "tie_groups", "weighted_means",
    "what_to_add",
]  # fmt: skip
