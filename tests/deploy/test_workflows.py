"""The workflows, which only GitHub runs: actionlint takes them, and each action is pinned."""

import re
import subprocess

from sidecar.documents import own_yaml
from tests.deploy.programs import ROOT, need

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def test_actionlint_has_no_remark() -> None:
    done = subprocess.run(
        [need("actionlint"), *WORKFLOWS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_each_action_is_pinned_to_a_commit_and_has_no_right_that_it_does_not_name() -> None:
    assert WORKFLOWS
    for path in WORKFLOWS:
        uses = re.findall(r"uses: (\S+)", path.read_text())
        assert uses
        assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", each) for each in uses)
        assert "permissions" in own_yaml.read(path)


def test_a_release_is_for_both_machines_signed_and_with_provenance_and_materials() -> None:
    jobs = own_yaml.read(ROOT / ".github/workflows/release.yml")["jobs"]
    steps = jobs["image"]["steps"]
    (build,) = [each["with"] for each in steps if "build-push" in each.get("uses", "")]
    assert build["platforms"] == "linux/amd64,linux/arm64"
    assert build["provenance"] == "mode=max"
    for job in ("image", "packages"):
        used = " ".join(each.get("uses", "") for each in jobs[job]["steps"])
        assert "attest-build-provenance@" in used
        assert "attest-sbom@" in used
    (sign,) = [each["run"] for each in steps if "cosign sign" in each.get("run", "")]
    assert '"$IMAGE@$DIGEST"' in sign  # never a tag, which can move
