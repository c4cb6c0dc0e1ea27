"""The house plan: who may import whom, and what the wheel holds."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import sr_lightning

PACKAGE = Path(sr_lightning.__file__).parent
ROOT = PACKAGE.parent
# What each part may import of ours; `errors` and `printable` are everybody's. A part that is not listed is at the rim.
MAY = {
    "errors": set(),
    "printable": set(),
    "decoding": set(),
    "image": {"decoding"},
    "resize": set(),
    "schedule": set(),
    "signatures": set(),
    "schema": {"signatures"},
    "metrics": {"image", "resize"},
    "data": {"decoding", "image", "resize"},
    "models": {"resize"},
    "losses": {"metrics"},
    "network": {"image", "resize"},
    "tiling": {"network"},
    "inference": {"image", "network", "resize", "tiling"},
    "cost": {"network"},
    "niqe": {"resize"},
    "quality": {"image", "metrics", "niqe", "schema"},
    "comparison": set(),
    "matching": set(),
    "seal": set(),
    "lock": set(),
    "failures": set(),
    "checkpoint": {"matching", "models", "seal"},  # the latter only for their names: which classes a file may ask for
    "foreign": {"checkpoint", "matching"},
    "fitting": {"checkpoint", "config", "matching", "models"},
    "results": {"metrics"},
    "scoring": {"data", "image", "inference", "metrics", "results"},
    "tables": {"results"},
    "ranks": set(),
    "self_check": {"data", "results"},
    "evaluation": {"comparison", "cost", "data", "methods", "quality", "results", "self_check", "tables"},
    "module": {"checkpoint", "data", "image", "inference", "losses", "matching", "results", "scoring"},
    "adversarial": {"data", "losses", "module"},
    "callbacks": {"data", "image", "inference", "metrics", "seal"},
    "loggers": set(),
    "archives": set(),
    "fetch": set(),
    "run_info": set(),
    "shipped": set(),
    "checks": {"config", "shipped"},
    "config": {"checks", "schema"},
    "config_evaluate": {"checks", "config", "schema", "shipped", "signatures"},
    "commands": {"config", "config_evaluate"},
}
HYDRA = {
    "config",
    "config_evaluate",
    "commands",
    "build",
    "fitting",
    "train",
    "entry",
    "compose",
    "changes",
    "resume",
    "trust",
    "folders",
    "launch",
}


def imports(path):
    """Dotted names that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield f"{node.module}.{node.names[0].name}" if node.module == "sr_lightning" else node.module


def part(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_follow_the_plan(path):
    own = part(path)
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "sr_lightning" and own in MAY:
            other = rest.split(".")[0]
            assert other in MAY[own] | {own, "errors", "printable"}, f"{path} imports {name}"
        if top in ("hydra", "omegaconf"):
            assert own in HYDRA, f"{path} imports {name}"
        if name.startswith("hydra.utils"):
            assert own == "build"


def test_third_party_backbones_are_imported_where_they_are_built():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] in ("timm", "torchvision", "spandrel") for name in names), path


def test_the_wheel_holds_the_configs_and_runs(tmp_path):
    if not (ROOT / "pyproject.toml").is_file():
        pytest.skip("needs a checkout")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    for name in ("py.typed", "data/downloads.json", "data/benchmarks.json", "data/published.tsv"):
        assert (tmp_path / "site/sr_lightning" / name).is_file()
    code = (
        "import sys; from sr_lightning.config import conf_dir; from sr_lightning.train import main; "
        "print(conf_dir()); sys.exit(main(['--cfg', 'job']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "site",
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith(str(tmp_path / "site/sr_lightning/conf"))
    assert "max_steps" in done.stdout
