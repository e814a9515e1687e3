"""vipjax's value as a reward model of LeRobot; importing this registers its type, "vipjax"."""

from lerobot_policy_vipjax.configuration_vipjax import VipjaxConfig

__all__ = ["VipjaxConfig"]
