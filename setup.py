"""What pyproject.toml cannot say: `core` and the folders below it are installed under the name `fiveway`."""

from setuptools import find_packages, setup

TEMPLATES = {"fiveway.report.page": ["templates/*"]}  # of the pages; they lie beside the code that fills them
# Folders of files that `core/paths.py` finds beside `core` in a checkout, and below fiveway/share in an installation.
SHARED = {"configs": ["**/*.yaml"], "data": ["class_vectors*", "splits/*.json", "references/*.json"]}

setup(
    packages=["fiveway", *(f"fiveway.{name}" for name in find_packages("core"))]
    + [f"fiveway.share.{folder}" for folder in SHARED],
    package_dir={"fiveway": "core"} | {f"fiveway.share.{folder}": folder for folder in SHARED},
    package_data=TEMPLATES | {f"fiveway.share.{folder}": files for folder, files in SHARED.items()},
)
