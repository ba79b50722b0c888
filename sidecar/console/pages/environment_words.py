"""The words of the page of environments, in English and Chinese."""

from collections.abc import Mapping
from typing import Final

WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "environments": ("Environments", "用户环境"),
    "environments_about": (
        "An environment is a user in Zervi, a Basic Server at Looma, and permissions.",
        "一个环境包括 Zervi 用户、Looma 分配的 Basic Server 以及权限。",
    ),
    "create": ("Create", "创建"),
    "create_environment": ("Create an environment", "创建环境"),
    "create_confirm": ("Create an environment for this user?", "确定为该用户创建环境？"),
    "email": ("E-mail", "邮箱"),
    "requirements": ("Required labels", "所需标签"),
    "requirements_about": ("zone=a, gpu=1", "zone=a, gpu=1"),
    "delete": ("Delete", "删除"),
    "delete_confirm": (
        "Delete the environment of {username}? The user's tokens are revoked first.",
        "确定删除 {username} 的环境？该用户的令牌会先被吊销。",
    ),
    "user": ("User", "用户"),
    "basic_server": ("Basic Server", "Basic Server"),
    "state": ("State", "状态"),
    "progress": ("Progress", "进度"),
    "changed": ("Changed", "更新时间"),
    "tries": ("try {count}", "第 {count} 次尝试"),
    "created_by": ("Created by", "创建者"),
    "state_creating": ("creating", "创建中"),
    "state_ready": ("ready", "就绪"),
    "state_undoing": ("being undone", "回滚中"),
    "state_failed": ("failed", "失败"),
    "state_deleting": ("being deleted", "删除中"),
    "state_deleted": ("deleted", "已删除"),
    "step_user": ("user in Zervi", "Zervi 用户"),
    "step_server": ("Basic Server", "Basic Server"),
    "step_permissions": ("permissions", "权限"),
    "step_revocation": ("revocation of tokens", "吊销令牌"),
    "at_pending": ("not begun", "未开始"),
    "at_doing": ("in progress", "进行中"),
    "at_done": ("done", "完成"),
    "at_undoing": ("being undone", "撤销中"),
    "at_undone": ("undone", "已撤销"),
    "older": ("Older", "更早"),
}
