"""The registry: register, report, deregister."""
