"""Faults of a study's configuration that its types cannot see, and what in it is hardly meant.

Everything is looked at in one go and nothing is started; networks are built on the meta device. A finding is one line:
its path in the file, the law, the value, the remedy.
"""

from study.configuration.checks.examination import examine as examine
from study.configuration.checks.findings import Findings as Findings
