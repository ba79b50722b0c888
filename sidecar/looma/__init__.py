"""The registry: register, report, leave; and the probing of the upstream."""
