"""From a command line to checked jobs, their processes and an exit status."""
