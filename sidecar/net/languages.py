"""The language that a client prefers, English or Chinese."""

_MAX_LANGUAGES = 256  # characters of Accept-Language that are read: a person's list is shorter


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
