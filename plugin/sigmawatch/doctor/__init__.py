"""Whether a cluster is fit for a pack: asked before the first write, and whenever something seems wrong.

findings      what a check says
surroundings  the cluster itself: version, licence, health, clocks, disks
privileges    what the one who asks may do
coverage      whether the rules have indices and fields to look at
"""

from sigmawatch.doctor.coverage import check_rules
from sigmawatch.doctor.findings import Finding, Verdict
from sigmawatch.doctor.privileges import check_privileges
from sigmawatch.doctor.surroundings import check_surroundings

__all__ = ["Finding", "Verdict", "check_privileges", "check_rules", "check_surroundings"]
