"""Configuration: defaults, loading, cross-field rules."""

from yacs.config import CfgNode as Config

from .check import check, check_files
from .load import Loaded, load
from .schema import Schemas

__all__ = ["Config", "Loaded", "Schemas", "check", "check_files", "load"]
