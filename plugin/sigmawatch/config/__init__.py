"""`sigmawatch.yml`: what differs from one site, and from one of its clusters, to the next."""

from sigmawatch.config.datasets import DatasetTuning, dataset_settings, needing_only
from sigmawatch.config.load import find_configuration, load_configuration
from sigmawatch.config.model import Configuration, Environment, Kibana, Login, Secret
from sigmawatch.config.tuning import RuleTuning, changed_under, tuned, untuned

__all__ = [
    "Configuration",
    "DatasetTuning",
    "Environment",
    "Kibana",
    "Login",
    "RuleTuning",
    "Secret",
    "changed_under",
    "dataset_settings",
    "find_configuration",
    "load_configuration",
    "needing_only",
    "tuned",
    "untuned",
]
