"""What ``deploy/`` has: each file is validated, and run where a real program can be had."""
