"""Each block of commands in README and docs does what the page shows, or is listed with a reason.

A page is followed from its top, in a directory of its own and in one shell. A comment above a block
says what is needed: ``<!-- file: NAME -->`` makes the block a file in that directory, ``<!-- copy:
PATH -->`` puts a file of the repository there, ``<!-- exits N -->`` is the exit code of the block's
last command. A command must print what the page shows below it (see ``fits``).
"""

import re
import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, Block, blocks, commands, read
from tests.docs.shell import Shell, fits
from tests.support.ports import free_port

# The blocks that are not run: the page and how the block begins, and why.
NOT_RUN = {
    ("CONTRIBUTING.md", "make demo"): "this test is one of the targets",
    ("README.md", "make demo"): "tests/e2e/test_demo.py runs the demo",
    ("README.md", "python3 -m venv /opt"): "downloads; tests/edge/test_deploy_image.py does it",
    ("README.md", "python3 -m venv build"): "as above; a release's workflow builds the wheel",
    ("README.md", "docker build"): "needs Docker; tests/edge/test_deploy_image.py runs its steps",
    ("README.md", "kubectl create"): "needs a cluster; tests/edge/test_deploy_kubernetes.py",
    ("docs/console.md", "pip install"): "tests/console/test_run.py runs the command",
    ("docs/doctor.md", "zervi-sidecar doctor"): "docs/policy-guide.md runs the same command",
    ("docs/gateway.md", "zervi-sidecar generate"): "tests/generated_envoy.py runs the command",
    ("docs/gateway.md", "zervi-sidecar explain"): "tests/workbench/test_explain_placement.py",
    ("docs/install.md", "kubectl create"): "needs a cluster; tests/deploy/test_chart.py renders it",
    ("docs/install.md", "helm upgrade"): "likewise",
    ("docs/install.md", "cosign verify"): "needs a release; tests/deploy/test_workflows.py",
    ("docs/install.md", "kubectl kustomize"): "needs a cluster; tests/deploy/test_kustomize.py",
    ("docs/lint.md", "zervi-sidecar check"): "tests/workbench/test_lint_page.py has its examples",
    ("docs/looma.md", "curl -s looma"): "needs 10,000 nodes; tests/edge/test_looma_stand_in.py",
    ("docs/looma.md", "etcdctl get"): "reads a cluster's nodes; tests/edge/test_looma_etcd.py",
    ("docs/looma.md", "curl -s localhost:8500"): "needs Consul; tests/edge/test_looma_consul.py",
    ("docs/meshes.md", "istioctl proxy-config"): "needs a mesh; tests/workbench has dumps of both",
    ("docs/operations.md", "curl --unix"): "needs Envoy; tests/e2e/test_around_the_sidecar.py",
    ("docs/page.md", "kubectl port-forward"): "needs a cluster; tests/edge/test_page.py",
    ("docs/performance.md", "make bench"): "takes minutes; tests/edge/test_bench_figures.py",
    ("docs/policy-guide.md", "kubectl exec"): "needs a pod; tests/edge/test_cli_admin.py promotes",
    ("docs/remember.md", "zervi-sidecar generate"): "tests/generated_envoy.py runs the command",
    (
        "docs/upstreams.md",
        ".venv/bin/python -m",
    ): "downloads servers; tests/upstreams has its tests",
}

# What a test replaces on a page and in the files that it copies. `@name` is a free port.
LISTENS = "until (: </dev/tcp/127.0.0.1/@{}) 2>/dev/null; do sleep 0.02; done"
GENERATE = (
    "--config sidecar.yaml --listen 127.0.0.1:@clients --upstream 127.0.0.1:@upstream"
    " --upstream-grpc 127.0.0.1:@grpc --stats 127.0.0.1:@stats --admin $PWD/admin.sock"
)
INSTEAD = {
    "README.md": (
        ('PATH="$PWD/.venv/bin:$PATH" ', ""),  # the environment of this test is there already
        (
            "  file: routes.yaml\n",
            "  file: routes.yaml\nlisten: {authz: '127.0.0.1:@authz', ops: '127.0.0.1:@ops'}\n",
        ),
        ("http.server 8601", "http.server @upstream"),
        ("--directory www &", f"--directory www >www.log 2>&1 & {LISTENS.format('upstream')}"),
        ("sidecar.yaml & ", f"sidecar.yaml >serve.log 2>&1 & {LISTENS.format('authz')}"),
        ("--config sidecar.yaml --listen 127.0.0.1:10000", GENERATE),
        ("warning & ", f"warning >envoy.log 2>&1 & {LISTENS.format('clients')}"),
        ("http://127.0.0.1:10000", "http://127.0.0.1:@clients"),
    ),
}

PROGRAMS = {"README.md": ("curl", "openssl"), "docs/tokens.md": ("openssl",)}


def excused(block: Block) -> bool:
    """Say whether NOT_RUN lists a block."""
    return any(
        block.page == page and block.first().startswith(beginning) for page, beginning in NOT_RUN
    )


def is_run(page: str) -> bool:
    """Say whether a page has a block to be run."""
    return any(each.is_commands() and not excused(each) for each in blocks(page, read(page)))


def replaced(page: str, text: str, ports: Mapping[str, int]) -> str:
    """Return the text of a page, or of a file that it copies, as the test follows it."""
    for old, new in INSTEAD.get(page, ()):
        text = text.replace(old, re.sub(r"@(\w+)", lambda name: str(ports[name[1]]), new))
    return text


@pytest.mark.parametrize("page", [page for page in PAGES if is_run(page)])
def test_every_command_of_a_page_does_what_the_page_shows(page: str, tmp_path: Path) -> None:
    for program in PROGRAMS.get(page, ()):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    ports: dict[str, int] = defaultdict(free_port)
    with Shell(tmp_path) as shell:
        for block in blocks(page, replaced(page, read(page), ports)):
            if block.directive == "file":
                path = tmp_path / block.argument
                path.parent.mkdir(exist_ok=True)
                path.write_text(block.text, encoding="utf-8")
            elif block.directive == "copy":
                path = tmp_path / Path(block.argument).name
                path.write_text(replaced(page, read(block.argument), ports), encoding="utf-8")
            if block.is_commands() and not excused(block):
                _follow(shell, block)


def _follow(shell: Shell, block: Block) -> None:
    """Run the commands of a block; all but the last must succeed."""
    typed = list(commands(block))
    exits = [0] * len(typed)
    if block.directive == "exits":
        exits[-1] = int(block.argument)
    for command, wanted in zip(typed, exits, strict=True):
        code, printed = shell.run(command.text)
        as_shown = command.shown is None or fits(command.shown, printed)
        where = f"{block.page}:{block.line}: exit code {code} of {command.text}{printed}"
        assert (code, as_shown) == (wanted, True), where


def test_every_block_that_is_not_run_is_on_its_page_once() -> None:
    found = [each for page in PAGES for each in blocks(page, read(page)) if each.is_commands()]
    for (page, beginning), reason in NOT_RUN.items():
        of_it = [each for each in found if each.page == page and each.first().startswith(beginning)]
        assert len(of_it) == 1, (page, beginning)
        for test in re.findall(r"tests/\S+\.py", reason):
            assert (ROOT / test).is_file(), test


@pytest.mark.parametrize("page", INSTEAD)
def test_every_replacement_is_of_something(page: str) -> None:
    copied = [each.argument for each in blocks(page, read(page)) if each.directive == "copy"]
    texts = "".join(map(read, (page, *copied)))
    assert [old for old, _ in INSTEAD[page] if old not in texts] == []


def test_every_make_target_on_a_page_exists() -> None:
    makefile = read("Makefile")
    for page in PAGES:
        for target in re.findall(r"(?:^\$ |`)make ([a-z]+)", read(page), re.MULTILINE):
            assert f"\n{target}: " in makefile, f"{page}: make {target}"
