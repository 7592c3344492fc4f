"""From a model of a Job to a Separator."""
