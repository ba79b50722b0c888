"""The structure that CONTRIBUTING.md describes; import-linter checks which room imports which."""

from graphlib import TopologicalSorter

import grimp


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports for types count too: a reader follows them in the same way."""
    graph = grimp.build_graph("sidecar", cache_dir=None)
    imports = {each: graph.find_modules_directly_imported_by(each) for each in graph.modules}
    assert len(imports) > 200
    TopologicalSorter(imports).prepare()
