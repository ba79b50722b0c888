"""What a route requires, and what differs between two policies, in English and Chinese."""

from typing import Final

POLICY_WORDS: Final[dict[str, tuple[str, str]]] = {
    "req_public": ("nothing: it is public", "无：公开"),
    "req_optional": ("a valid token, or no token", "令牌可选；如携带则必须有效"),
    "req_token": ("a valid token", "有效令牌"),
    "req_callers": ("one of the mesh identities {values}", "网格身份为 {values} 之一"),
    "req_principals": ("a caller of the kind {values}", "调用方类型为 {values}"),
    "req_issuers": ("a token issued by {values}", "令牌由 {values} 签发"),
    "req_permissions": ("all of the permissions {values}", "同时具备权限 {values}"),
    "req_any_permissions": ("one of the permissions {values}", "具备以下权限之一：{values}"),
    "req_roles": ("one of the roles {values}", "具备以下角色之一：{values}"),
    "req_claims": ("the claims {values}", "声明（claims）满足 {values}"),
    "req_owner": ("the owner, named by {values}", "必须是资源所有者（由 {values} 指定）"),
    "req_owner_unless": (
        "or one of the permissions {values} in place of the owner",
        "或具备以下权限之一以代替所有者身份：{values}",
    ),
    "diff_removed": (
        "its requests are denied now, or match a wider route",
        "其请求现在会被拒绝，或匹配范围更大的路由",
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
        "现在具备权限 {values} 也可访问",
    ),
    "diff_any_permissions_removed": (
        "the permissions {values} are no longer enough",
        "仅具备权限 {values} 不能再访问",
    ),
    "diff_any_permissions_any": (
        "no longer requires one of the permissions {values}",
        "不再要求 {values} 中的任一权限",
    ),
    "diff_any_permissions_only": (
        "requires one of the permissions {values} now",
        "现在要求 {values} 中的任一权限",
    ),
    "diff_roles_added": ("the roles {values} are enough too", "现在具备角色 {values} 也可访问"),
    "diff_roles_removed": (
        "the roles {values} are no longer enough",
        "仅具备角色 {values} 不能再访问",
    ),
    "diff_roles_any": (
        "no longer requires one of the roles {values}",
        "不再要求 {values} 中的任一角色",
    ),
    "diff_roles_only": (
        "requires one of the roles {values} now",
        "现在要求 {values} 中的任一角色",
    ),
    "diff_issuers_added": ("accepts tokens of {values} too", "现在也接受 {values} 签发的令牌"),
    "diff_issuers_removed": (
        "no longer accepts tokens of {values}",
        "不再接受 {values} 签发的令牌",
    ),
    "diff_issuers_any": ("accepts tokens of every issuer now", "现在接受所有签发者的令牌"),
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
    "diff_owner_added": (
        "requires the owner now, named by {values}",
        "现在要求是资源所有者（由 {values} 指定）",
    ),
    "diff_owner_removed": (
        "no longer requires the owner, named by {values}",
        "不再要求是资源所有者（由 {values} 指定）",
    ),
    "diff_owner": (
        "the owner was named by {old}, is named by {new}",
        "所有者原由 {old} 指定，现由 {new} 指定",
    ),
    "diff_owner_unless_added": (
        "the permissions {values} replace the owner too",
        "权限 {values} 现在也可代替所有者身份",
    ),
    "diff_owner_unless_removed": (
        "the permissions {values} no longer replace the owner",
        "权限 {values} 不能再代替所有者身份",
    ),
}
