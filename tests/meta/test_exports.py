"""What `import runwright` offers: every name resolves, is documented, and is seen by type checkers."""

import ast
from pathlib import Path

import pytest

import runwright

PUBLIC = sorted(set(runwright.__all__) - {"__version__"})


def names_for_type_checkers() -> dict[str, str]:
    tree = ast.parse(Path(runwright.__file__).read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name: node.module or "" for node in imports for alias in node.names}


def test_type_checkers_see_the_same_names() -> None:
    assert names_for_type_checkers() == runwright._HOMES


@pytest.mark.parametrize("name", PUBLIC)
def test_name_resolves_and_is_documented(name: str) -> None:
    value = getattr(runwright, name)
    assert (value.__doc__ or "").strip()
    assert not value.__doc__.startswith(f"{name}("), "a generated docstring says nothing"


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        runwright.nonsense  # noqa: B018


def test_all_and_dir_agree() -> None:
    assert set(runwright.__all__) <= set(dir(runwright))
    assert runwright.__all__ == ["__version__", *PUBLIC]
