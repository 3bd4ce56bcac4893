"""First-stage heads: both models at the anchors that the student's RPN sampled."""
