"""The console's answers in JSON; docs/console.openapi.yaml is the contract."""
