"""Says whether ``sidecar/pb`` is what ``make proto`` generates (part of ``make check``)."""

import filecmp
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GENERATED = ("ext_authz_pb2.py", "ext_authz_pb2.pyi")


def main() -> int:
    """Generate afresh beside the checked-in files and compare; 1 where they differ."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}"),
            *(f"--python_out={folder}", f"--pyi_out={folder}", "ext_authz.proto"),
        ]
        subprocess.run(command, check=True)
        _, differing, missing = filecmp.cmpfiles(
            folder, ROOT / "sidecar/pb", GENERATED, shallow=False
        )
    for name in (*differing, *missing):
        print(f"sidecar/pb/{name} is not what proto/ says: run `make proto`", file=sys.stderr)
    return 1 if differing or missing else 0


if __name__ == "__main__":
    sys.exit(main())
