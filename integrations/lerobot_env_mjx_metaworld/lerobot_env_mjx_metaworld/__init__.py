"""Imported by LeRobot, which looks for installed packages of this kind of name; registers `mjx_meta_world`."""

from mjx_metaworld.adapters.lerobot.config import MjxMetaWorldEnv

__all__ = ["MjxMetaWorldEnv"]
