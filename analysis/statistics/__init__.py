"""What counts of pixels and scores of seeds can tell: intervals, differences, and how optimistic a choice is.

Pure functions of arrays. Scores are dataset-wide mIoU in percent, from counts summed over images and divided once;
differences are in percentage points. Randomness is counted: the same arguments and `seed` give the same answer. The
simulations that these rules rest on are `python -m tests.benchmarks.verdicts`; docs/statistics.md has their results.
"""

from analysis.statistics.choice import selection_optimism as selection_optimism
from analysis.statistics.difference import Difference as Difference
from analysis.statistics.difference import difference_over_images as difference_over_images
from analysis.statistics.families import Family as Family
from analysis.statistics.families import MethodDifference as MethodDifference
from analysis.statistics.families import judge as judge
from analysis.statistics.images import FEWEST_GROUPS as FEWEST_GROUPS
from analysis.statistics.images import effective_groups as effective_groups
from analysis.statistics.scores import Counts as Counts
from analysis.statistics.scores import Reals as Reals
from analysis.statistics.scores import iou_percent as iou_percent
from analysis.statistics.scores import labelled_classes as labelled_classes
from analysis.statistics.scores import miou_percent as miou_percent
from analysis.statistics.seeds import LEVEL as LEVEL
from analysis.statistics.seeds import Interval as Interval
from analysis.statistics.seeds import PairedInterval as PairedInterval
from analysis.statistics.seeds import mean_over_seeds as mean_over_seeds
from analysis.statistics.seeds import paired_over_seeds as paired_over_seeds
