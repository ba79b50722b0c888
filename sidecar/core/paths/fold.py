"""Case folding that is as wide as that of any upstream."""


def fold(text: str) -> str:
    """Return the text as it is compared without regard to case.

    Texts that differ only in case to some server have the same fold: by upper-casing or
    lower-casing, in full or by single characters (Java's ``equalsIgnoreCase``, .NET's
    ``OrdinalIgnoreCase``, Go's ``EqualFold``, JavaScript's ``/i`` and ``/iu``, Python's
    ``re.IGNORECASE``), or by Unicode's case folding. So the Kelvin sign is ``k``, ``ſ`` is ``s``,
    and ``İ`` and ``ı`` are both ``i``.
    """
    if text.isascii():
        return text.lower()
    while True:
        # To upper case and back: `ı` has an upper case only. The dot above is what `İ` leaves.
        folded = text.upper().casefold().replace("i\u0307", "i")
        if folded == text:
            return folded
        text = folded
