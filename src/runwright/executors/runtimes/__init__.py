"""Ways to isolate the steps of jobs."""
