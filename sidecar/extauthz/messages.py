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
from sidecar.core.tokens.errors import TokenProblem
from sidecar.core.tokens.principal import Kind
from sidecar.extauthz.bounds import CheckProblem


class ReasonText(NamedTuple):
    """A reason's HTTP status, code and sentences; ``{needs}`` is replaced by ``Deny.needs``."""

    status: int
    code: str
    english: str
    chinese: str


# Per code, the HTTP status and the texts of its reasons in English and Chinese.
_TEXTS: Mapping[tuple[int, str], Mapping[Reason, tuple[str, str]]] = {
    (204, ""): {Reason.PREFLIGHT_ANSWERED: ("", "")},  # it has no body
    (400, "BAD_REQUEST"): {
        Reason.MALFORMED_REQUEST: ("the request is malformed: {needs}", "请求格式有误：{needs}")
    },
    (403, "NO_ROUTE"): {Reason.NO_ROUTE: ("no route matches this path", "没有与该路径匹配的路由")},
    (405, "METHOD_NOT_ALLOWED"): {
        Reason.METHOD_NOT_ALLOWED: ("this path allows only {needs}", "该路径只允许 {needs} 方法")
    },
    (401, "AUTH_REQUIRED"): {Reason.TOKEN_MISSING: ("a token is required", "需要提供令牌")},
    (401, "INVALID_AUTH_FORMAT"): {
        Reason.TOKEN_MALFORMED: ("the token is malformed", "令牌格式有误"),
        Reason.MULTIPLE_CREDENTIALS: (
            "the request carries more than one credential",
            "请求携带了多个凭证",
        ),
    },
    (401, "INVALID_TOKEN"): {
        Reason.TOKEN_EXPIRED: ("the token has expired", "令牌已过期"),
        Reason.TOKEN_NOT_YET_VALID: ("the token is not valid yet", "令牌尚未生效"),
        Reason.TOKEN_SIGNATURE: ("the token's signature is not valid", "令牌签名无效"),
        Reason.TOKEN_KEY_UNKNOWN: ("the token is signed with an unknown key", "令牌的签名密钥未知"),
        Reason.TOKEN_ALGORITHM: ("the token's algorithm is not accepted", "不支持该令牌的签名算法"),
        Reason.TOKEN_ISSUER: ("the token's issuer is not accepted", "不接受该签发者的令牌"),
        Reason.TOKEN_AUDIENCE: (
            "the token is meant for another audience",
            "令牌不是签发给本服务的（aud 不匹配）",
        ),
        Reason.TOKEN_CLAIMS: (
            "the token's claims are not acceptable",
            "令牌中的声明（claims）不符合要求",
        ),
        Reason.TOKEN_KIND: (
            "this kind of token (such as a refresh token) is not accepted",
            "此类令牌（如刷新令牌）不能用于访问接口",
        ),
        Reason.TOKEN_REVOKED: (
            "the token has been revoked; log in again",
            "令牌已被吊销，请重新登录",
        ),
    },
    (403, "INSUFFICIENT_PERMISSIONS"): {
        Reason.PERMISSION_DENIED: ("needs permission {needs}", "需要权限 {needs}"),
        Reason.ROLE_DENIED: ("needs role {needs}", "需要角色 {needs}"),
        Reason.NOT_OWNER: ("only the owner may do this", "只有资源所有者可以执行此操作"),
        Reason.WRONG_PRINCIPAL_KIND: ("only for a {needs} token", "仅接受{needs}令牌"),
        Reason.WRONG_ISSUER: ("only for tokens issued by {needs}", "仅限由 {needs} 签发的令牌"),
        Reason.CLAIM_DENIED: (
            "the token's claim {needs} does not allow this",
            "令牌中的声明 {needs} 不满足访问要求",
        ),
        Reason.WRONG_CALLER: (
            "this service is not allowed to call this path",
            "调用方服务无权访问该路径",
        ),
    },
    (503, "SERVICE_UNAVAILABLE"): {
        Reason.NO_UPSTREAM: (
            "no server is available for this request at the moment; try again",
            "暂无可用的服务实例处理该请求，请稍后重试",
        ),
    },
    (503, "AUTH_UNAVAILABLE"): {
        Reason.NOT_READY: (
            "the token cannot be verified at the moment; try again",
            "暂时无法验证令牌，请稍后重试",
        ),
        Reason.OVERLOADED: (
            "too many requests at the moment; try again",
            "请求过多，请稍后重试",
        ),
        Reason.INTERNAL: ("authorization failed; try again", "授权服务出错，请稍后重试"),
    },
}
ANSWERS = {
    reason: ReasonText(status, code, *texts)
    for (status, code), reasons in _TEXTS.items()
    for reason, texts in reasons.items()
}

# Per code, the body's `error` in English and Chinese: JobFirst's clients show it.
TITLES = {
    "BAD_REQUEST": ("bad request", "请求无效"),
    "NO_ROUTE": ("no route", "没有匹配的路由"),
    "METHOD_NOT_ALLOWED": ("method not allowed", "不允许使用该请求方法"),
    "AUTH_REQUIRED": ("authentication required", "需要身份认证"),
    "INVALID_AUTH_FORMAT": ("invalid authorization format", "认证信息格式无效"),
    "INVALID_TOKEN": ("invalid token", "令牌无效"),
    "INSUFFICIENT_PERMISSIONS": ("insufficient permissions", "权限不足"),
    "SERVICE_UNAVAILABLE": ("service unavailable", "服务暂不可用"),
    "AUTH_UNAVAILABLE": ("authorization unavailable", "授权服务暂不可用"),
}

# What a path contains that it must not contain.
_CONTAINED: Mapping[PathProblem, tuple[str, str]] = {
    PathProblem.DOUBLE_SLASH: ("a double slash", "连续斜杠"),
    PathProblem.DOT_SEGMENT: ("a dot segment", " . 或 .. 段"),
    PathProblem.SEMICOLON: ("a ;", " ;"),
    PathProblem.BACKSLASH: ("a backslash", "反斜杠"),
    PathProblem.CONTROL_CHARACTER: ("a control character", "控制字符"),
    PathProblem.NON_ASCII: (
        "bytes beyond ASCII that are not percent-encoded",
        "未编码的非 ASCII 字节",
    ),
    PathProblem.SPACE: ("an unencoded space", "未编码的空格"),
    PathProblem.HASH: ("an unencoded #", "未编码的 #"),
    PathProblem.EXCLAMATION_MARK: (
        "a !, which may replace bytes that are not UTF-8",
        " !，它可能代表非 UTF-8 字节",
    ),
    PathProblem.INVALID_ESCAPE: ("an invalid percent-encoding", "无效的百分号编码"),
    PathProblem.ENCODED_CONTROL_CHARACTER: ("an encoded control character", "编码后的控制字符"),
    PathProblem.ENCODED_BACKSLASH: ("an encoded backslash", "编码后的反斜杠"),
    PathProblem.ENCODED_PERCENT: ("an encoded %", "编码后的 %"),
    PathProblem.ENCODED_SLASH: ("an encoded /", "编码后的 /"),
    PathProblem.ENCODED_DOT: ("an encoded .", "编码后的 ."),
    PathProblem.ENCODED_QUESTION: ("an encoded ?", "编码后的 ?"),
    PathProblem.ENCODED_HASH: ("an encoded #", "编码后的 #"),
    PathProblem.ENCODED_SEMICOLON: ("an encoded ;", "编码后的 ;"),
}

# A CheckRequest that cannot be read has no Accept-Language: clients read these only in English.
_ENGLISH: Mapping[CheckProblem, str] = {
    CheckProblem.NOT_A_CHECK_REQUEST: "the message is not a CheckRequest",
    CheckProblem.UNEXPECTED_FIELD: "the message has a field of an unexpected type",
    CheckProblem.NO_HTTP_ATTRIBUTES: "the message has no HTTP attributes",
    CheckProblem.NO_SINGLE_PATH: "the request must have exactly one :path",
    CheckProblem.TOO_LARGE: "the request is too large",
    CheckProblem.TOO_MANY_FIELDS: "the message has too many fields",
    CheckProblem.TOO_MANY_HEADERS: "the request has too many headers",
    CheckProblem.HEADER_NAME_TOO_LONG: "a header name is too long",
    CheckProblem.PEER_TOO_LARGE: "the source or the destination is too large",
    CheckProblem.CONTEXT_TOO_LARGE: "the context_extensions are too large",
}

# Per problem of a request, the sentence in English and Chinese.
MALFORMED: Mapping[str, tuple[str, str]] = {
    **{
        problem: (f"the path contains {english}", f"路径含有{chinese}")
        for problem, (english, chinese) in _CONTAINED.items()
    },
    **{problem: (english, english) for problem, english in _ENGLISH.items()},
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
        f"路径和查询字符串的总长度超过 {MAX_TARGET} 字节",
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
    PathProblem.ABOVE_ROOT: (
        "the path's dot segments lead above the root",
        "路径中的 .. 超出了根路径",
    ),
    PathProblem.QUERY_CHARACTER: (
        "the query contains a control character, or an unencoded space or #",
        "查询字符串含有控制字符、未编码的空格或 #",
    ),
    PathProblem.NOT_UTF8: ("the decoded path is not UTF-8", "路径解码后不是 UTF-8"),
    PathProblem.ENCODED_TOO_OFTEN: (
        "the path is percent-encoded more than twice",
        "路径的百分号编码超过两层",
    ),
}

# For `token_malformed` if the token is not a JWT that can be read; `{needs}` is a bound.
_TOKEN_PROBLEMS: Mapping[str, tuple[str, str]] = {
    TokenProblem.TOO_LONG: (
        "the token is too long; the maximum is {needs} bytes",
        "令牌过长，最多 {needs} 字节",
    ),
    TokenProblem.ENCRYPTED: (
        "the token is encrypted (JWE); a signed token (JWT) is required",
        "令牌已加密（JWE），需要已签名的令牌（JWT）",
    ),
    TokenProblem.OPAQUE: ("the token is not a JWT", "令牌不是 JWT"),
}

# For `token_missing` if the header has another scheme than the configured one.
_OTHER_SCHEME = ("the authorization scheme must be {needs}", "认证方案必须是 {needs}")

# For `token_missing` if a user's token came without a service's.
_SERVICE_TOKEN = ("a service token is required too", "还需要提供服务令牌")

# For `permission_denied` where a service's token does not allow the path.
_ALLOWED_APIS = ("the service token does not allow this path", "该服务令牌不允许访问此路径")

# Chinese for several permissions or roles: all of them, any one of them.
_SEVERAL = {
    Reason.PERMISSION_DENIED: ("需要同时具备权限 {needs}", "需要以下权限之一：{needs}"),
    Reason.ROLE_DENIED: ("需要同时具备角色 {needs}", "需要以下角色之一：{needs}"),
}
_KINDS: Mapping[str, str] = {Kind.USER: "用户", Kind.SERVICE: "服务"}


def sentence(decision: Deny, *, chinese: bool) -> str:
    """Return the sentence for the client, with what is missing or the request's problem."""
    reason, needs = decision.reason, decision.needs
    text = ANSWERS[reason]
    sentences = (text.english, text.chinese)
    if reason is Reason.TOKEN_MISSING and needs:
        sentences = _SERVICE_TOKEN if needs == (Kind.SERVICE,) else _OTHER_SCHEME
    elif reason is Reason.TOKEN_MALFORMED and needs:
        sentences = _TOKEN_PROBLEMS.get(needs[0], sentences)
        needs = needs[-1:]
    elif reason is Reason.PERMISSION_DENIED and not needs:
        sentences = _ALLOWED_APIS
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
