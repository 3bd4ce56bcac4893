"""What a recipe gains, what it costs, and what it looks like."""
