"""The workbench: test, explain, check, replay, doctor."""
