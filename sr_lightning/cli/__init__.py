"""Command-line handling, jobs, processes and exit status of the commands."""
