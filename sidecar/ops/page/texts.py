"""The page's own words, in English and in Chinese."""

from collections.abc import Callable, Mapping
from typing import Final, Literal

Language = Literal["en", "zh"]

Words = Callable[[str], str]
"""Returns the text of a key in the page's language."""

NAMES: Final[Mapping[Language, str]] = {"en": "English", "zh": "中文"}

_TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    "skip": ("Skip to the content", "跳到正文"),
    "version": ("version", "版本"),
    "mode": ("mode", "模式"),
    "sidecar": ("sidecar", "Sidecar"),
    "gateway": ("gateway", "网关"),
    "node": ("node", "节点"),
    "uptime": ("Uptime", "运行时间"),
    "upstream": ("upstream", "上游"),
    "language": ("Language", "语言"),
    "sections": ("Sections", "页内导航"),
    "live": ("live", "实时"),
    "lost": ("no connection", "连接中断"),
    "no_script": (
        "Without JavaScript this page does not update: reload it for the present state.",
        "未启用 JavaScript，本页不会自动更新；请刷新页面查看最新状态。",
    ),
    # States of a component.
    "waiting": ("waiting", "等待中"),
    "ready": ("ready", "就绪"),
    "degraded": ("degraded", "降级"),
    "failed": ("failed", "失败"),
    "draining": ("draining", "正在退出"),
    # Figures and charts.
    "checks": ("Checks", "鉴权请求"),
    "checks_rate": ("Checks per second", "每秒鉴权请求"),
    "allowed": ("allowed", "放行"),
    "denials": ("Denied", "拒绝"),
    "denied": ("denied", "拒绝"),
    "per_second": ("/s", "/秒"),
    "since_start": ("since the start", "启动以来"),
    "latency": ("Duration of a Check", "鉴权耗时"),
    "median": ("median", "中位数"),
    "p99": ("99th percentile", "99 分位"),
    "tokens": ("Tokens in the cache", "缓存的令牌"),
    "hits": ("hits", "命中率"),
    "charts": ("The last ten minutes", "最近十分钟"),
    "no_data": ("Not enough data yet.", "数据不足。"),
    # Health.
    "health": ("Health", "健康状态"),
    "component": ("Component", "组件"),
    "state": ("State", "状态"),
    "since": ("Since", "起始时间"),
    "detail": ("Detail", "详情"),
    # Decisions.
    "decisions": ("Recent decisions", "最近的决策"),
    "decision": ("Decision", "决策"),
    "reason": ("Reason", "原因"),
    "route": ("Route", "路由"),
    "request": ("Request", "请求"),
    "caller": ("Caller", "调用方"),
    "time": ("Time (UTC)", "时间（UTC）"),
    "all": ("all", "全部"),
    "allow": ("allow", "放行"),
    "deny": ("deny", "拒绝"),
    "answer": ("answer", "应答"),
    "apply": ("Apply", "应用"),
    "pause": ("Pause", "暂停"),
    "resume": ("Resume", "继续"),
    "explain": ("Explain", "解释"),
    "no_decisions": ("No decision to show.", "没有可显示的决策。"),
    "skipped": (
        "{} more decisions were not kept: there were too many in their second.",
        "另有 {} 个决策因同一秒内数量过多而未保留。",
    ),
    "nobody": ("not authenticated", "未认证"),
    "needs": ("needs", "需要"),
    # The explanation of a decision.
    "explanation": ("Why this decision", "决策说明"),
    "recomputed": (
        "Recomputed from the log record with the policy that the files have now.",
        "根据日志记录和文件中的当前策略重新计算。",
    ),
    "verdict": ("Today", "当前结论"),
    "no_verdict": ("no verdict", "无法得出结论"),
    "steps": ("Steps", "步骤"),
    "step_true": ("holds", "通过"),
    "step_false": ("fails", "未通过"),
    "step_none": ("remark", "备注"),
    "notes": ("Notes", "说明"),
    "client_reads": ("The client reads", "客户端收到"),
    "record": ("Log record", "日志记录"),
    "back": ("Back to the page", "返回"),
    "close": ("Close", "关闭"),
    "explaining": ("Explaining …", "正在生成说明…"),
    "explain_busy": (
        "Too many explanations are being computed. Try again in a moment.",
        "正在生成的说明过多，请稍后再试。",
    ),
    "explain_slow": (
        "The explanation took too long and was stopped.",
        "生成说明耗时过长，已停止。",
    ),
    "explain_failed": (
        "This decision cannot be explained from its log record.",
        "无法根据日志记录解释该决策。",
    ),
    "explain_gone": (
        "This decision is not kept any more; the decision log may have it.",
        "该决策已不再保留，可在决策日志中查找。",
    ),
    # The policy.
    "policy": ("Policy", "策略"),
    "digest": ("digest", "摘要"),
    "routes": ("routes", "条路由"),
    "promoted": ("the promoted candidate decides", "当前由候选策略决策（已启用）"),
    "find_route": ("Find a route", "查找路由"),
    "path": ("Path", "路径"),
    "methods": ("Methods", "方法"),
    "hosts": ("Hosts", "主机"),
    "any": ("any", "任意"),
    "requires": ("Requires", "要求"),
    "target": ("Target", "目标"),
    "public": ("public: no token", "公开：无需令牌"),
    "optional": ("a token is optional", "令牌可选"),
    "token_only": ("a valid token", "有效令牌"),
    "all_of": ("all of", "全部具备"),
    "any_of": ("one of", "具备其一"),
    "unless": ("unless", "除非具备"),
    "shown_routes": ("{} to {} of {} routes", "第 {} 至 {} 条，共 {} 条路由"),
    "no_routes": ("No route contains this text.", "没有包含该文本的路由。"),
    "previous": ("Previous", "上一页"),
    "next": ("Next", "下一页"),
    # Key sets.
    "keys": ("Key sets", "密钥集"),
    "issuer": ("Issuer", "签发者"),
    "source": ("Verified with", "验证依据"),
    "key_count": ("{} keys", "{} 个密钥"),
    "secret": ("a shared secret", "共享密钥"),
    "no_keys": ("no keys yet", "尚无密钥"),
    "age": ("Age", "距上次获取"),
    "algorithms": ("Algorithms", "算法"),
    "kids": ("Key ids", "密钥标识"),
    "without_kid": ("(without kid)", "（无 kid）"),
    # What Zervi is asked.
    "zervi": ("Asked of Zervi", "向 Zervi 查询"),
    "look_ups": ("Look-ups", "查询"),
    "look_up": ("Look-up", "查询"),
    "answers": ("Answers kept", "已缓存的应答"),
    "stale": ("of them stale", "其中已过时"),
    "memory": ("Memory", "内存"),
    "result_answered": ("Answered", "已应答"),
    "result_none": ("None or not active", "无结果或已失效"),
    "result_failed": ("Failed", "失败"),
    "result_overloaded": ("Not sent: too many", "因过多未发送"),
    "feed": ("Revocation feed", "吊销列表"),
    "revocation": ("Revocation", "吊销"),
    "entries": ("Entries", "条目"),
    "last_read": ("Last read", "上次读取"),
    "readings": ("Read", "读取成功"),
    "never": ("not yet", "尚未读取"),
    # The shadow.
    "shadow_short": ("Shadow", "影子策略"),
    "shadow": ("Shadow: the candidate policy", "影子：候选策略"),
    "candidate": ("candidate", "候选策略"),
    "compared": ("{} decisions compared, {} of them differ", "已比较 {} 个决策，其中 {} 个不同"),
    "active": ("Decided", "实际决策"),
    "would": ("The candidate decides", "候选策略决策"),
    "count": ("Count", "次数"),
    "no_differences": ("No difference so far.", "目前没有差异。"),
    "more": ("and {} more", "另有 {} 项"),
}


def words_of(language: Language) -> Words:
    """Return the words in a language."""
    index = 1 if language == "zh" else 0
    return lambda key: _TEXTS[key][index]


def duration(seconds: float, language: Language) -> str:
    """Return a duration in its two largest units."""
    units = ("天", "小时", "分", "秒") if language == "zh" else ("d", "h", "min", "s")
    rest = max(round(seconds), 0)
    parts: list[str] = []
    for unit, size in zip(units, (86400, 3600, 60, 1), strict=True):
        number, rest = divmod(rest, size)
        if number or (size == 1 and not parts):
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2])


def small(seconds: float | None) -> str:
    """Return the duration of a Check."""
    if seconds is None:
        return "–"
    return f"{seconds * 1e6:.0f} µs" if seconds < 0.001 else f"{seconds * 1e3:.3g} ms"
