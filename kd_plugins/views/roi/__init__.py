"""Second-stage heads: both models score the same RoIs, each on its own features."""
