"""What a denied client reads: HTTP status, code and a sentence, in English or Chinese."""

from collections.abc import Mapping
from typing import NamedTuple

from sidecar.core.decision import Deny
from sidecar.core.methods import MAX_NAMED
from sidecar.core.paths.canonical import MAX_PATH, MAX_READINGS, MAX_SEGMENTS, MAX_TARGET
from sidecar.core.paths.problems import PathProblem
from sidecar.core.query import MAX_PARAMETERS
from sidecar.core.reasons import Reason
from sidecar.core.request import RequestProblem
from sidecar.core.tokens.principal import Kind
from sidecar.extauthz.bounds import CheckProblem


class ReasonText(NamedTuple):
    """A reason's HTTP status, code and sentences; ``{needs}`` is replaced by ``Deny.needs``."""

    status: int
    code: str
    english: str
    chinese: str


# Per code, the body's `error` in English and Chinese: JobFirst's clients show it.
TITLES = {
    "BAD_REQUEST": ("bad request", "请求无效"),
    "NO_ROUTE": ("no route", "没有匹配的路由"),
    "METHOD_NOT_ALLOWED": ("method not allowed", "不允许使用该请求方法"),
    "AUTH_REQUIRED": ("authentication required", "需要身份认证"),
    "INVALID_AUTH_FORMAT": ("invalid authorization format", "认证信息格式无效"),
    "INVALID_TOKEN": ("invalid token", "令牌无效"),
    "INSUFFICIENT_PERMISSIONS": ("insufficient permissions", "权限不足"),
    "AUTH_UNAVAILABLE": ("authorization unavailable", "授权服务暂不可用"),
}

ANSWERS = {
    Reason.PREFLIGHT_ANSWERED: ReasonText(204, "", "", ""),  # it has no body
    Reason.MALFORMED_REQUEST: ReasonText(
        400, "BAD_REQUEST", "the request is malformed: {needs}", "请求格式有误：{needs}"
    ),
    Reason.NO_ROUTE: ReasonText(
        403, "NO_ROUTE", "no route matches this path", "没有与该路径匹配的路由"
    ),
    Reason.METHOD_NOT_ALLOWED: ReasonText(
        405, "METHOD_NOT_ALLOWED", "this path allows only {needs}", "该路径只允许 {needs} 方法"
    ),
    Reason.TOKEN_MISSING: ReasonText(401, "AUTH_REQUIRED", "a token is required", "需要提供令牌"),
    Reason.TOKEN_MALFORMED: ReasonText(
        401, "INVALID_AUTH_FORMAT", "the token is malformed", "令牌格式有误"
    ),
    Reason.MULTIPLE_CREDENTIALS: ReasonText(
        401,
        "INVALID_AUTH_FORMAT",
        "the request carries more than one credential",
        "请求携带了多个凭证",
    ),
    Reason.TOKEN_EXPIRED: ReasonText(401, "INVALID_TOKEN", "the token has expired", "令牌已过期"),
    Reason.TOKEN_NOT_YET_VALID: ReasonText(
        401, "INVALID_TOKEN", "the token is not valid yet", "令牌尚未生效"
    ),
    Reason.TOKEN_SIGNATURE: ReasonText(
        401, "INVALID_TOKEN", "the token's signature is not valid", "令牌签名无效"
    ),
    Reason.TOKEN_KEY_UNKNOWN: ReasonText(
        401, "INVALID_TOKEN", "the token is signed with an unknown key", "令牌的签名密钥未知"
    ),
    Reason.TOKEN_ALGORITHM: ReasonText(
        401, "INVALID_TOKEN", "the token's algorithm is not accepted", "不支持该令牌的签名算法"
    ),
    Reason.TOKEN_ISSUER: ReasonText(
        401, "INVALID_TOKEN", "the token's issuer is not accepted", "不接受该签发者的令牌"
    ),
    Reason.TOKEN_AUDIENCE: ReasonText(
        401,
        "INVALID_TOKEN",
        "the token is meant for another audience",
        "令牌不是签发给本服务的（aud 不匹配）",
    ),
    Reason.TOKEN_CLAIMS: ReasonText(
        401,
        "INVALID_TOKEN",
        "the token's claims are not acceptable",
        "令牌中的声明（claims）不符合要求",
    ),
    Reason.TOKEN_KIND: ReasonText(
        401,
        "INVALID_TOKEN",
        "this kind of token (such as a refresh token) is not accepted",
        "此类令牌（如刷新令牌）不能用于访问接口",
    ),
    Reason.PERMISSION_DENIED: ReasonText(
        403, "INSUFFICIENT_PERMISSIONS", "needs permission {needs}", "需要权限 {needs}"
    ),
    Reason.ROLE_DENIED: ReasonText(
        403, "INSUFFICIENT_PERMISSIONS", "needs role {needs}", "需要角色 {needs}"
    ),
    Reason.NOT_OWNER: ReasonText(
        403,
        "INSUFFICIENT_PERMISSIONS",
        "only the owner may do this",
        "只有资源所有者可以执行此操作",
    ),
    Reason.WRONG_PRINCIPAL_KIND: ReasonText(
        403, "INSUFFICIENT_PERMISSIONS", "only for a {needs} token", "仅接受{needs}令牌"
    ),
    Reason.WRONG_ISSUER: ReasonText(
        403,
        "INSUFFICIENT_PERMISSIONS",
        "only for tokens issued by {needs}",
        "仅限由 {needs} 签发的令牌",
    ),
    Reason.NOT_READY: ReasonText(
        503,
        "AUTH_UNAVAILABLE",
        "the token cannot be verified at the moment; try again",
        "暂时无法验证令牌，请稍后重试",
    ),
    Reason.OVERLOADED: ReasonText(
        503,
        "AUTH_UNAVAILABLE",
        "too many requests at the moment; try again",
        "请求过多，请稍后重试",
    ),
    Reason.INTERNAL: ReasonText(
        503, "AUTH_UNAVAILABLE", "authorization failed; try again", "授权服务出错，请稍后重试"
    ),
}

# Per problem of a request, the sentence in English and Chinese. A CheckRequest that cannot be read
# has no Accept-Language, so clients read the sentences of `CheckProblem` only in English.
MALFORMED: Mapping[str, tuple[str, str]] = {
    RequestProblem.INVALID_METHOD: ("invalid HTTP method", "请求方法无效"),
    RequestProblem.TOO_MANY_PARAMETERS: (
        f"the query has more than {MAX_PARAMETERS} parameters",
        f"查询参数超过 {MAX_PARAMETERS} 个",
    ),
    RequestProblem.TOO_MANY_METHODS: (
        f"the query names more than {MAX_NAMED} methods",
        f"查询字符串指定的请求方法超过 {MAX_NAMED} 种",
    ),
    PathProblem.TARGET_TOO_LONG: (
        f"path and query together are longer than {MAX_TARGET} bytes",
        f"请求目标长度超过 {MAX_TARGET} 字节",
    ),
    PathProblem.EMPTY: ("the path is empty", "路径为空"),
    PathProblem.NOT_ABSOLUTE: ("the path does not begin with /", "路径不以 / 开头"),
    PathProblem.TOO_LONG: (
        f"the path is longer than {MAX_PATH} bytes",
        f"路径长度超过 {MAX_PATH} 字节",
    ),
    PathProblem.TOO_MANY_SEGMENTS: (
        f"the path has more than {MAX_SEGMENTS} segments",
        f"路径超过 {MAX_SEGMENTS} 段",
    ),
    PathProblem.TOO_MANY_READINGS: (
        f"the path can be read in more than {MAX_READINGS} ways",
        f"路径的解读方式超过 {MAX_READINGS} 种",
    ),
    PathProblem.TOO_MUCH_WORK: (
        "the path is too complex: checking every way to read it takes too much work",
        "路径过于复杂：检查其所有解读方式所需的处理量过大",
    ),
    PathProblem.DOUBLE_SLASH: ("the path contains a double slash", "路径含有连续斜杠"),
    PathProblem.DOT_SEGMENT: ("the path contains a dot segment", "路径含有 . 或 .. 段"),
    PathProblem.ABOVE_ROOT: (
        "the path's dot segments lead above the root",
        "路径中的 .. 超出了根路径",
    ),
    PathProblem.SEMICOLON: ("the path contains a ;", "路径含有 ;"),
    PathProblem.BACKSLASH: ("the path contains a backslash", "路径含有反斜杠"),
    PathProblem.CONTROL_CHARACTER: ("the path contains a control character", "路径含有控制字符"),
    PathProblem.NON_ASCII: (
        "the path contains bytes beyond ASCII that are not percent-encoded",
        "路径含有未编码的非 ASCII 字节",
    ),
    PathProblem.SPACE: ("the path contains an unencoded space", "路径含有未编码的空格"),
    PathProblem.HASH: ("the path contains an unencoded #", "路径含有未编码的 #"),
    PathProblem.EXCLAMATION_MARK: (
        "the path contains a !, which may replace bytes that are not UTF-8",
        "路径含有 !，它可能代表非 UTF-8 字节",
    ),
    PathProblem.QUERY_CHARACTER: (
        "the query contains a control character, or an unencoded space or #",
        "查询字符串含有控制字符、未编码的空格或 #",
    ),
    PathProblem.INVALID_ESCAPE: (
        "the path contains an invalid percent-encoding",
        "路径含有无效的百分号编码",
    ),
    PathProblem.NOT_UTF8: ("the decoded path is not UTF-8", "路径解码后不是 UTF-8"),
    PathProblem.ENCODED_CONTROL_CHARACTER: (
        "the path contains an encoded control character",
        "路径含有编码后的控制字符",
    ),
    PathProblem.ENCODED_BACKSLASH: (
        "the path contains an encoded backslash",
        "路径含有编码后的反斜杠",
    ),
    PathProblem.ENCODED_PERCENT: ("the path contains an encoded %", "路径含有编码后的 %"),
    PathProblem.ENCODED_SLASH: ("the path contains an encoded /", "路径含有编码后的 /"),
    PathProblem.ENCODED_DOT: ("the path contains an encoded .", "路径含有编码后的 ."),
    PathProblem.ENCODED_QUESTION: ("the path contains an encoded ?", "路径含有编码后的 ?"),
    PathProblem.ENCODED_HASH: ("the path contains an encoded #", "路径含有编码后的 #"),
    PathProblem.ENCODED_SEMICOLON: ("the path contains an encoded ;", "路径含有编码后的 ;"),
    PathProblem.ENCODED_TOO_OFTEN: (
        "the path is percent-encoded more than twice",
        "路径的百分号编码超过两层",
    ),
    CheckProblem.NOT_A_CHECK_REQUEST: (
        "the message is not a CheckRequest",
        "消息不是 CheckRequest",
    ),
    CheckProblem.UNEXPECTED_FIELD: (
        "the message has a field of an unexpected type",
        "消息含有类型异常的字段",
    ),
    CheckProblem.NO_HTTP_ATTRIBUTES: ("the message has no HTTP attributes", "消息没有 HTTP 属性"),
    CheckProblem.NO_SINGLE_PATH: (
        "the request must have exactly one :path",
        "请求必须恰好有一个 :path",
    ),
    CheckProblem.TOO_LARGE: ("the request is too large", "请求过大"),
    CheckProblem.TOO_MANY_FIELDS: ("the message has too many fields", "消息的字段过多"),
    CheckProblem.TOO_MANY_HEADERS: ("the request has too many headers", "请求头过多"),
    CheckProblem.HEADER_NAME_TOO_LONG: ("a header name is too long", "请求头的名称过长"),
    CheckProblem.PEER_TOO_LARGE: (
        "the source or the destination is too large",
        "来源或目标的信息过大",
    ),
    CheckProblem.CONTEXT_TOO_LARGE: (
        "the context_extensions are too large",
        "context_extensions 过大",
    ),
}

# For `token_malformed` if the header has another scheme than the configured one.
_OTHER_SCHEME = ("the authorization scheme must be {needs}", "认证方案必须是 {needs}")

# Chinese for several permissions or roles: all of them, any one of them.
_SEVERAL = {
    Reason.PERMISSION_DENIED: ("需要同时具备权限 {needs}", "需要以下权限之一：{needs}"),
    Reason.ROLE_DENIED: ("需要同时具备角色 {needs}", "需要以下角色之一：{needs}"),
}
_KINDS: Mapping[str, str] = {Kind.USER: "用户", Kind.SERVICE: "服务"}

_MAX_LANGUAGES = 256  # characters of Accept-Language that are read: a person's list is shorter


def sentence(decision: Deny, *, chinese: bool) -> str:
    """Return the sentence for the client, with what is missing or the request's problem."""
    reason, needs = decision.reason, decision.needs
    text = ANSWERS[reason]
    sentences = (text.english, text.chinese)
    if reason is Reason.TOKEN_MALFORMED and needs:
        sentences = _OTHER_SCHEME
    elif reason is Reason.MALFORMED_REQUEST:
        needs = tuple([MALFORMED.get(each, (each, each))[chinese] for each in needs])
    if chinese:
        return _chinese(decision, sentences[True], needs)
    joined = (" or " if decision.any_of else ", ").join(needs)
    return sentences[False].replace("{needs}", joined)


def _chinese(decision: Deny, template: str, needs: tuple[str, ...]) -> str:
    reason, separator = decision.reason, "、"
    if reason in _SEVERAL:
        if len(needs) > 1:
            template = _SEVERAL[reason][decision.any_of]
    elif reason is Reason.WRONG_PRINCIPAL_KIND:
        needs, separator = tuple([_KINDS.get(each, each) for each in needs]), "/"
    elif decision.any_of:
        separator = " 或 "
    return template.replace("{needs}", separator.join(needs))


def prefers_chinese(accept_language: str) -> bool:
    """Say whether Accept-Language prefers Chinese to English (RFC 9110 section 12.5.4)."""
    best, chinese = 0.0, False
    for item in accept_language[:_MAX_LANGUAGES].split(","):
        tag, _, parameter = item.partition(";")
        language = tag.strip().lower().split("-")[0]
        weight = _weight(parameter)
        if language in {"zh", "en", "*"} and weight > best:
            best, chinese = weight, language == "zh"
    return chinese


def _weight(parameter: str) -> float:
    name, equals, value = parameter.replace(" ", "").partition("=")
    if not name:
        return 1.0
    try:
        return float(value) if name.lower() == "q" and equals else 0.0
    except ValueError:
        return 0.0
