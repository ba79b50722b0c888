"""Findings of a review of files that a test writes."""

from pathlib import Path

from sidecar.config import ConfigError, Finding, read_files
from sidecar.review import suggestions
from tests.edge.config_files import Files


def review(directory: Path, *texts: str) -> list[Finding]:
    """Write each text as ``routes.yaml`` or ``sidecar.yaml``, and return the findings.

    The directory is removed from the output.
    """
    files = Files(directory)
    for text in texts:
        files.write(**{"routes" if text.startswith("api_gateway") else "sidecar": text})
    try:
        read = read_files(files.config, files.environ)
        found = read.config(suggestions.findings(read)).warnings
    except ConfigError as error:
        found = error.findings
    short = f"{directory}/"
    return [
        each._replace(file=each.file.replace(short, ""), help=each.help.replace(short, ""))
        for each in found
    ]
