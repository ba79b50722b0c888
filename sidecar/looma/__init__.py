"""The registry (register, report, deregister) and the probes of the upstream."""
