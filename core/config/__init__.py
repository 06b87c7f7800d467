"""Configuration: defaults, loading, cross-field rules."""

from yacs.config import CfgNode as Config

from core.config.check import check, check_files
from core.config.load import Loaded, load
from core.config.read import plugins
from core.config.schema import Schemas

__all__ = ["Config", "Loaded", "Schemas", "check", "check_files", "load", "plugins"]
