"""What runs a task: leaves and wrappers, one executor in a file."""
