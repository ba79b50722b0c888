"""Every word of the pages, in English and Chinese."""

from typing import Final

from sidecar.console.pages.environment_words import WORDS as ENVIRONMENTS
from sidecar.console.pages.language import Language

_WORDS: Final[dict[str, tuple[str, str]]] = {
    **ENVIRONMENTS,
    # The frame of every page.
    "title": ("Zervi console", "Zervi 控制台"),
    "skip": ("Skip to the content", "跳到正文"),
    "navigation": ("Main", "主导航"),
    "overview": ("Overview", "总览"),
    "services": ("Services", "服务"),
    "nodes": ("Nodes", "节点"),
    "users": ("Users", "用户"),
    "policies": ("Policies", "策略"),
    "other_language": ("中文", "English"),
    "theme": ("Dark or light", "切换深浅色"),
    "sign_out": ("Sign out", "退出登录"),
    "sign_in": ("Sign in", "登录"),
    "sign_in_about": (
        "Sign in with your Zervi account.",
        "请使用 Zervi 账号登录。",
    ),
    "username": ("User name", "用户名"),
    "password": ("Password", "密码"),
    "loading": ("Loading …", "正在加载…"),
    "no_script": (
        "The console needs JavaScript: its pages are loaded with your session.",
        "控制台需要启用 JavaScript：页面内容会随登录会话加载。",
    ),
    "denied": ("You may not see this", "您没有查看权限"),
    "failed": ("This page could not be loaded", "页面加载失败"),
    "retry": ("Try again", "重试"),
    "reason": ("Reason", "原因"),
    "decision": ("Decision", "决策编号"),
    "live": ("Live", "实时"),
    "not_live": ("Not live: reconnecting …", "未实时更新，正在重新连接…"),
    "session_ended": ("Your session has ended. Sign in again.", "会话已结束，请重新登录。"),
    "updated": ("Updated", "已更新"),
    "done": ("Done", "已完成"),
    "cancel": ("Cancel", "取消"),
    "confirm": ("Confirm", "确认"),
    # The overview.
    "as_of": ("As of", "数据时间"),
    "registry_stale": (
        "The registry does not answer. What follows is what it said last.",
        "注册中心没有响应，以下是最后一次获取的数据。",
    ),
    "registry_down": ("The registry does not answer.", "注册中心没有响应。"),
    "alerts": ("Alerts", "告警"),
    "no_alerts": ("Nothing is wrong right now.", "当前没有告警。"),
    "ready": ("Ready", "就绪"),
    "not_ready": ("Not ready", "未就绪"),
    "silent": ("Silent", "失联"),
    "checks": ("Checks", "鉴权请求"),
    "denials": ("Denials", "拒绝"),
    "per_second": ("per second", "每秒"),
    "since_start": ("since the sidecars started", "自各 Sidecar 启动以来"),
    "of_checks": ("of all checks", "占全部请求"),
    "p99": ("p99 of a check", "鉴权 p99 延迟"),
    "slowest_node": ("Slowest node", "最慢节点"),
    "median_node": ("median of nodes", "各节点中位数"),
    "oldest_keys": ("Oldest key set", "最旧的密钥集"),
    "health": ("Health", "健康状况"),
    "healthy": ("healthy", "健康"),
    "warning": ("warning", "警告"),
    "critical": ("critical", "严重"),
    "unknown": ("unknown", "未知"),
    "who_runs_what": ("Who runs what", "版本与策略分布"),
    "policy": ("Policy", "策略"),
    "version": ("Version", "版本"),
    "sidecar_version": ("Sidecar version", "Sidecar 版本"),
    "number_of_nodes": ("Nodes", "节点数"),
    "activity": ("User activity", "用户活动"),
    "no_activity": ("Zervi reports no activity.", "Zervi 没有上报用户活动。"),
    "zervi_unknown": ("Zervi did not answer.", "Zervi 没有响应。"),
    "users_total": ("Users", "用户总数"),
    "users_active": ("active", "正常"),
    "logins_last_hour": ("Logins in the last hour", "近一小时登录"),
    "failed_logins": ("failed", "失败"),
    "charts": ("Over time", "趋势"),
    "no_prometheus": (
        "Current values only: prometheus.url is not set.",
        "仅显示当前值：未配置 prometheus.url。",
    ),
    "query": ("Query", "查询语句"),
    "range": ("Range", "时间范围"),
    "chart_checks": ("Checks per second", "每秒鉴权请求"),
    "chart_denials": ("Denials per second, by reason", "每秒拒绝数（按原因）"),
    "chart_p99": ("p99 of a check", "鉴权 p99 延迟"),
    "chart_ready": ("Ready nodes", "就绪节点"),
    "no_data": ("No data", "暂无数据"),
    "firing": ("Firing in Prometheus", "Prometheus 正在触发"),
    "event_login": ("signed in", "登录成功"),
    "event_login_failed": ("failed to sign in", "登录失败"),
    "event_logout": ("signed out", "退出登录"),
    "event_logged_out_everywhere": ("was logged out everywhere", "被强制下线"),
    # Services.
    "basic_servers": ("Basic Servers", "Basic Server 集群"),
    "zervi_services": ("Zervi's services", "Zervi 服务"),
    "service": ("Service", "服务"),
    "type": ("Type", "类型"),
    "instances": ("Instances", "实例数"),
    "status": ("Status", "状态"),
    "address": ("Address", "地址"),
    "detail": ("Detail", "详情"),
    "none_listed": ("None is listed.", "暂无数据。"),
    # Nodes.
    "search": ("Search", "搜索"),
    "search_about": (
        "Id, service, machine, address, label, policy",
        "ID、服务、机器、地址、标签、策略",
    ),
    "any": ("any", "全部"),
    "apply": ("Apply", "应用"),
    "reset": ("Reset", "重置"),
    "matched": ("{matched} of {total} nodes", "共 {total} 个节点，匹配 {matched} 个"),
    "node": ("Node", "节点"),
    "heartbeat": ("Heartbeat", "心跳"),
    "ago": ("{time} ago", "{time} 前"),
    "keys": ("Key set", "密钥集"),
    "page_of": ("Page {page} of {pages}", "第 {page} 页，共 {pages} 页"),
    "pages": ("Pages", "分页"),
    "previous": ("Previous", "上一页"),
    "next": ("Next", "下一页"),
    "yes": ("yes", "是"),
    "no": ("no", "否"),
    "machine": ("Machine", "机器"),
    "cluster": ("Cluster", "集群"),
    "environment": ("Environment", "环境"),
    "labels": ("Labels", "标签"),
    "last_reports": ("Last reports", "最近上报"),
    "time": ("Time", "时间"),
    "generation": ("Generation", "策略代次"),
    "clock_ahead": (
        "Its clock is ahead of the registry's by {time}.",
        "该节点的时钟比注册中心快 {time}。",
    ),
    # Alerts: {count} things, and up to five of their names.
    "alert_registry_down": ("The registry does not answer", "注册中心没有响应"),
    "alert_nodes_critical": (
        "Nodes whose Basic Server is critical: {count}",
        "{count} 个节点的 Basic Server 状态严重",
    ),
    "alert_nodes_not_ready": ("Nodes that are not ready: {count}", "{count} 个节点未就绪"),
    "alert_nodes_silent": (
        "Nodes without a recent heartbeat: {count}",
        "{count} 个节点已有一段时间没有心跳",
    ),
    "alert_old_key_sets": (
        "Nodes with a key set older than an hour: {count}",
        "{count} 个节点的密钥集已超过一小时未刷新",
    ),
    "alert_clocks_ahead": (
        "Nodes whose clock is ahead of the registry's: {count}",
        "{count} 个节点的时钟比注册中心快",
    ),
    "alert_several_policies": (
        "Services that run more than one policy: {count}",
        "{count} 个服务同时运行多个策略",
    ),
    "alert_unknown_policies": (
        "Policies that nodes run and the console does not have: {count}",
        "节点正在运行 {count} 个控制台未收录的策略",
    ),
    "alert_many_denials": (
        "Checks that are denied right now: {count} %",
        "当前 {count}% 的鉴权请求被拒绝",
    ),
    "alert_entries_refused": (
        "Entries of the registry that are not usable: {count}",
        "注册中心有 {count} 条记录无法使用",
    ),
    "alert_zervi_services_down": (
        "Zervi's services that do not answer: {count}",
        "{count} 个 Zervi 服务没有响应",
    ),
}


def text(language: Language, key: str, **values: object) -> str:
    """Return a text, with its placeholders filled in. Raises KeyError for an unknown key."""
    english, chinese = _WORDS[key]
    found = chinese if language == "zh" else english
    return found.format(**values) if values else found


def has(key: str) -> bool:
    """Return whether a text exists."""
    return key in _WORDS
