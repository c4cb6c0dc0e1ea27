"""The house plan: who may import whom, and what the wheel holds."""

import ast
import functools
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
    "optimizers": set(),
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
    "checkpoint": {"matching", "models", "seal"},  # models only for their names: which classes a file may ask for
    "checkpoint_io": {"checkpoint", "seal"},
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
    "loggers": {"results"},
    "importing": set(),
    "profiler": set(),
    "archives": set(),
    "fetch": set(),
    "run_info": set(),
    "shipped": set(),
    "checks": {"config", "shipped", "signatures"},
    "config": {"checks", "schema"},
    "config_evaluate": {"checks", "config", "schema", "shipped", "signatures"},
    "config_pack": {"checks", "config", "schema"},
    "commands": {"config", "config_evaluate"},
}
HYDRA = {
    "config",
    "config_evaluate",
    "config_pack",
    "commands",
    "build",
    "fitting",
    "train",
    "entry",
    "session",
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


@functools.cache
def imported_at_once(path):
    """Modules that importing a file imports: what stands outside of functions and of `if TYPE_CHECKING`."""
    own = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    found = set() if path.name == "__init__.py" else {own.rpartition(".")[0]}
    for node in ast.parse(path.read_text()).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            found.update(name.rsplit(".", i)[0] for i in range(name.count(".") + 1))  # its packages too
    return found


def file_of(module):
    path = ROOT.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def closure(modules):
    """The frameworks that are imported with these modules."""
    seen, todo = set(), list(modules)
    while todo:
        if (module := todo.pop()) not in seen:
            seen.add(module)
            if module.startswith("sr_lightning") and (path := file_of(module)):
                todo += imported_at_once(path)
    return {name.partition(".")[0] for name in seen} & HEAVY


HEAVY = {"torch", "lightning", "torchvision", "torchmetrics", "timm", "scipy", "skimage", "wandb", "spandrel"}
LIGHTNINGS = ("module", "adversarial", "loggers", "checkpoint_io", "callbacks", "profiler", "data/datamodule")
COMMANDS = {
    "train": {"torch", "lightning"},
    "preview": {"torch"},  # and lightning, with the data module that its config names
    "evaluate": {"torch"},
    "check_data": set(),
    "download": set(),
    "pack": {"torch"},
}


def test_only_what_needs_lightning_imports_it():
    """A plain part costs its user torch's three seconds, not lightning's twelve."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        name = path.relative_to(PACKAGE).with_suffix("").as_posix()
        needs = closure([module]) - {"torch"}
        assert needs == ({"lightning"} if name.startswith(LIGHTNINGS) else set()), name


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_begins_without_torch_and_then_imports_what_it_needs(command):
    assert closure([f"sr_lightning.{command}"]) == set()
    assert closure(imports(PACKAGE / f"{command}.py")) == COMMANDS[command]


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
