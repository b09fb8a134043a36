"""The form of plain values out of a file, before anybody walks through them.

In: a value as JSON or TOML give it, a form. Out: whether it fits.
"""

from __future__ import annotations

from typing import Any

ANY = "*"  # as the only name of a form: any names, whose values have that form
NUMBER = (int, float)


def fits(value: Any, form: Any) -> bool:
    """Has the value this form?

    form: a type; a tuple of forms, one of which must fit; a list [form] of any length; a dict of names, those ending
    with "?" optional, other names being free, or {ANY: form}. A truth value is no number.

    >>> fits({"size": 3, "more": None}, {"size": int, "name?": str}), fits([1, True], [int])
    (True, False)
    """
    if isinstance(form, tuple):
        return any(fits(value, one) for one in form)
    if isinstance(form, list):
        return isinstance(value, list) and all(fits(one, form[0]) for one in value)
    if not isinstance(form, dict):
        if isinstance(value, bool):
            return form is bool
        return value is None if form is None else isinstance(value, form)
    if not isinstance(value, dict):
        return False
    if ANY in form:
        return all(isinstance(name, str) and fits(one, form[ANY]) for name, one in value.items())
    for name, one in form.items():
        plain = name.removesuffix("?")
        if plain in value and not fits(value[plain], one):
            return False
        if plain == name and name not in value:
            return False
    return True
