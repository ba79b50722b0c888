"""Why a request's target is refused."""

from enum import StrEnum


class PathProblem(StrEnum):
    """Problems of a target; clients read the text in ``extauthz/messages.py``."""

    TARGET_TOO_LONG = "target_too_long"
    EMPTY = "empty_path"
    NOT_ABSOLUTE = "path_not_absolute"
    TOO_LONG = "path_too_long"
    TOO_MANY_SEGMENTS = "too_many_segments"
    TOO_MANY_READINGS = "too_many_readings"
    TOO_MUCH_WORK = "too_much_work"

    DOUBLE_SLASH = "double_slash"
    DOT_SEGMENT = "dot_segment"
    ABOVE_ROOT = "above_root"
    SEMICOLON = "semicolon"
    BACKSLASH = "backslash"
    CONTROL_CHARACTER = "control_character"
    NON_ASCII = "non_ascii"
    SPACE = "space"
    HASH = "hash"
    EXCLAMATION_MARK = "exclamation_mark"
    QUERY_CHARACTER = "query_character"

    INVALID_ESCAPE = "invalid_escape"
    NOT_UTF8 = "not_utf8"
    ENCODED_CONTROL_CHARACTER = "encoded_control_character"
    ENCODED_BACKSLASH = "encoded_backslash"
    ENCODED_PERCENT = "encoded_percent"
    ENCODED_SLASH = "encoded_slash"
    ENCODED_DOT = "encoded_dot"
    ENCODED_QUESTION = "encoded_question"
    ENCODED_HASH = "encoded_hash"
    ENCODED_SEMICOLON = "encoded_semicolon"
    ENCODED_TOO_OFTEN = "encoded_too_often"


class PathError(Exception):
    """The target is not a path, or two servers could read it differently."""

    def __init__(self, problem: PathProblem) -> None:
        super().__init__(problem)
        self.problem = problem
