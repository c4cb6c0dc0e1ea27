"""The house plan: who may import whom, and what the wheel holds."""

import ast
import functools
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import sr_lightning
from sr_lightning.cli.commands import COMMANDS

PACKAGE = Path(sr_lightning.__file__).parent
ROOT = PACKAGE.parent
RUNNABLE = {"__main__", "demo", "download", *COMMANDS}
# The wings, the highest first; those of one line are on one layer. A part imports what stands below it, and nothing
# that stands above or beside it.
LAYERS = f"""
{" ".join(RUNNABLE)}
api web
cli
builders
training
callbacks
loggers
report
evaluation
tuning
upscaling exporters
runs
checkpoints
inference
data
losses
metrics
models optim
config
image
weights distributed
files
errors
text __version__
"""
LAYER = {wing: depth for depth, line in enumerate(LAYERS.split("\n")) for wing in line.split()}
# Whose modules import no torch until a function needs it.
TORCHLESS = {"config", "cli", "runs", "weights", "text", "errors", "files", "report"}
HYDRA = {"config", "builders", "runs", "cli"} | RUNNABLE - {"demo"}


def imports(path):
    """Dotted names that a file imports, inside functions too."""
    for node in ast.walk(run_time(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield f"{node.module}.{node.names[0].name}" if node.module == "sr_lightning" else node.module


def wing(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def run_time(path):
    """The syntax tree without what stands under `if TYPE_CHECKING`, which is for types only."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    return tree


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_the_layers(path):
    own = wing(path)
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "sr_lightning" and own != "__init__":
            other = rest.split(".")[0]
            assert other == own or LAYER[other] > LAYER[own], f"{path} imports {name}"
            assert (own, other) != ("losses", "models"), f"{path} imports {name}"
        if top in ("hydra", "omegaconf"):
            assert own in HYDRA, f"{path} imports {name}"
        if name.startswith("hydra.utils"):
            assert path.name == "components.py"


def test_every_wing_has_its_layer():
    found = {wing(path) for path in PACKAGE.rglob("*.py")} - {"__init__", "__main__"}
    assert found <= set(LAYER), found - set(LAYER)


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
LIGHTNINGS = ("training/", "loggers", "checkpoints/lightning_io", "callbacks", "data/datamodule")
LIGHT = ("training/__init__", "training/failures", "training/next_steps")
NEEDED = {
    "train": {"torch", "lightning"},
    "preview": {"torch"},  # and lightning, with the data module that its config names
    "evaluate": {"torch"},
    "upscale": {"torch"},
    "export": {"torch"},
    "demo": {"torch"},
    "tune": {"torch"},
    "check_data": set(),
    "compare": {"torch"},  # where images are made
    "download": set(),
    "pack": set(),
}


def test_only_what_needs_lightning_imports_it():
    """A plain part costs its user torch's three seconds, not lightning's twelve."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        name = path.relative_to(PACKAGE).with_suffix("").as_posix()
        needs = closure([module]) - {"torch"}
        assert needs == ({"lightning"} if name.startswith(LIGHTNINGS) and name not in LIGHT else set()), name


@pytest.mark.parametrize("command", NEEDED)
def test_a_command_begins_without_torch_and_then_imports_what_it_needs(command):
    assert closure([f"sr_lightning.{command}"]) == set()
    assert closure(imports(PACKAGE / f"{command}.py")) == NEEDED[command]


def test_what_answers_mistakes_imports_no_torch():
    for path in sorted(PACKAGE.rglob("*.py")):
        if wing(path) in TORCHLESS:
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            assert closure([module]) == set(), path


def test_every_path_of_the_map_is_there():
    """Of `<name>.py` its folder is."""
    text = (PACKAGE / "README.md").read_text()
    named = {quoted.split()[0] for quoted in re.findall(r"`([^`]+)`", text)}
    paths = {name for name in named if "/" in name or name.endswith(".py")}
    assert len(paths) > 60
    for name in paths:
        whole = name.partition("<")[0].rpartition("/")[0] if "<" in name else name
        assert (PACKAGE / whole).exists() or (ROOT / whole).exists(), name
    missing = {f"{path.name}/" for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()} - paths
    assert not missing


def test_no_test_file_imports_another():
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any(name.split(".")[-1].startswith(("test_", "conftest")) for name in names), path


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
    for name in (
        "py.typed",
        "data/download/downloads.json",
        "data/benchmarks/benchmarks.json",
        "data/benchmarks/published.tsv",
        "weights/edsr_tiny_y_x4.safetensors",
        "report/page.html",
        "report/page_viewer.js",
    ):
        assert (tmp_path / "site/sr_lightning" / name).is_file()
    code = (
        "import sys; from sr_lightning.config.conf_files import conf_dir; from sr_lightning.train import main; "
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
