"""One-stage heads: both models at the same points or anchors."""
