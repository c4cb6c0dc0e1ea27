"""Command line, jobs, processes and exit status of the commands."""
