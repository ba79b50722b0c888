"""What a route requires, and what differs between two policies, in English and Chinese."""

from typing import Final

POLICY_WORDS: Final[dict[str, tuple[str, str]]] = {
    "req_public": ("nothing: it is public", "无：公开"),
    "req_optional": ("a valid token, or none", "有效令牌或无令牌"),
    "req_token": ("a valid token", "有效令牌"),
    "req_callers": ("a mesh identity of {values}", "网格身份为 {values}"),
    "req_principals": ("a caller of kind {values}", "调用方类型为 {values}"),
    "req_issuers": ("a token of {values}", "令牌由 {values} 签发"),
    "req_permissions": ("all permissions of {values}", "拥有全部权限 {values}"),
    "req_any_permissions": ("one permission of {values}", "拥有任一权限 {values}"),
    "req_roles": ("one role of {values}", "拥有任一角色 {values}"),
    "req_claims": ("claims {values}", "声明 {values}"),
    "req_owner": ("the owner by {values}", "必须是 {values} 的所有者"),
    "req_owner_unless": (
        "or, instead of the owner, a permission of {values}",
        "或以权限 {values} 代替所有者身份",
    ),
    "diff_removed": (
        "its requests are denied now, or a wider route takes them",
        "其请求现在会被拒绝，或由范围更大的路由处理",
    ),
    "diff_path": ("the path was {old}, is {new}", "路径由 {old} 改为 {new}"),
    "diff_name": ("the name was {old}, is {new}", "名称由 {old} 改为 {new}"),
    "diff_target": ("the target was {old}, is {new}", "目标由 {old} 改为 {new}"),
    "diff_token": ("requires a token now", "现在要求令牌"),
    "diff_optional": ("admits requests with and without a token now", "现在有无令牌均可访问"),
    "diff_public": ("is public now", "现在是公开的"),
    "diff_methods_added": ("answers {values} too", "新增方法 {values}"),
    "diff_methods_removed": ("no longer answers {values}", "不再接受方法 {values}"),
    "diff_methods_any": ("answers every method now", "现在接受所有方法"),
    "diff_methods_only": ("answers only {values} now", "现在只接受方法 {values}"),
    "diff_hosts_added": ("is for the hosts {values} too", "新增主机 {values}"),
    "diff_hosts_removed": ("is no longer for the hosts {values}", "不再适用于主机 {values}"),
    "diff_hosts_any": ("is for every host now", "现在适用于所有主机"),
    "diff_hosts_only": ("is only for the hosts {values} now", "现在只适用于主机 {values}"),
    "diff_permissions_added": ("requires the permissions {values} too", "新增必需权限 {values}"),
    "diff_permissions_removed": (
        "no longer requires the permissions {values}",
        "不再要求权限 {values}",
    ),
    "diff_claims_added": ("requires the claims {values} too", "新增声明要求 {values}"),
    "diff_claims_removed": ("no longer requires the claims {values}", "不再要求声明 {values}"),
    "diff_any_permissions_added": (
        "the permissions {values} are enough too",
        "权限 {values} 现在也足够",
    ),
    "diff_any_permissions_removed": (
        "the permissions {values} are no longer enough",
        "仅有权限 {values} 不再足够",
    ),
    "diff_any_permissions_any": (
        "no longer requires one permission of {values}",
        "不再要求 {values} 中的任一权限",
    ),
    "diff_any_permissions_only": (
        "requires one permission of {values} now",
        "现在要求 {values} 中的任一权限",
    ),
    "diff_roles_added": ("the roles {values} are enough too", "角色 {values} 现在也足够"),
    "diff_roles_removed": ("the roles {values} are no longer enough", "仅有角色 {values} 不再足够"),
    "diff_roles_any": ("no longer requires one role of {values}", "不再要求 {values} 中的任一角色"),
    "diff_roles_only": ("requires one role of {values} now", "现在要求 {values} 中的任一角色"),
    "diff_issuers_added": ("accepts tokens of {values} too", "现在也接受 {values} 签发的令牌"),
    "diff_issuers_removed": (
        "no longer accepts tokens of {values}",
        "不再接受 {values} 签发的令牌",
    ),
    "diff_issuers_any": ("accepts tokens of every issuer now", "现在接受所有签发方的令牌"),
    "diff_issuers_only": ("accepts only tokens of {values} now", "现在只接受 {values} 签发的令牌"),
    "diff_callers_added": ("admits the mesh identities {values} too", "新增网格身份 {values}"),
    "diff_callers_removed": (
        "no longer admits the mesh identities {values}",
        "移除网格身份 {values}",
    ),
    "diff_callers_any": ("admits every mesh identity now", "现在接受所有网格身份"),
    "diff_callers_only": (
        "admits only the mesh identities {values} now",
        "现在只接受网格身份 {values}",
    ),
    "diff_principals": ("the kind of caller was {old}, is {new}", "调用方类型由 {old} 改为 {new}"),
    "diff_owner_added": ("requires the owner by {values} now", "现在要求是 {values} 的所有者"),
    "diff_owner_removed": (
        "no longer requires the owner by {values}",
        "不再要求是 {values} 的所有者",
    ),
    "diff_owner": ("the owner was by {old}, is by {new}", "所有者由 {old} 改为 {new}"),
    "diff_owner_unless_added": (
        "the permissions {values} replace the owner too",
        "权限 {values} 现在也可代替所有者身份",
    ),
    "diff_owner_unless_removed": (
        "the permissions {values} no longer replace the owner",
        "权限 {values} 不再可代替所有者身份",
    ),
}
