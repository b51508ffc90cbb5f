"""Roles with the least that each part of sigmawatch needs, for the security of both products.

Who works on which indices is written once, in `reach`; how a product calls what is done there, in its own module.
"""

from sigmawatch.roles.elasticsearch import KIBANA, Role, later_names, role
from sigmawatch.roles.opensearch import opensearch_role
from sigmawatch.roles.reach import ROLES

__all__ = ["KIBANA", "ROLES", "Role", "later_names", "opensearch_role", "role"]
