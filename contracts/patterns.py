r"""Regular expressions of contracts: ECMA-262 in; out comes the Rust expression that polars runs on columns and values.

It takes time in proportion to the text, whatever the expression: there is no backtracking, and so neither lookaround
nor backreferences. \d \w \s \b are ECMA-262's, and so is `.`; expressions are read as with the flag `u`.
"""

from __future__ import annotations

import re

import polars as pl

__all__ = ["EMAIL", "MAX_MATCHED_BYTES", "MAX_PATTERN", "MAX_STATES", "matches", "translated"]

MAX_PATTERN = 1_000
"""Characters of an expression."""
MAX_STATES = 2_000
"""Single characters that an expression can ask for one after the other, its counted repetitions written out."""
MAX_MATCHED_BYTES = 65_536
"""Of a value that an expression is looked for in."""
EMAIL = r"^[^@\s\x1c-\x1f]+@[^@\s\x1c-\x1f.]+(?:\.[^@\s\x1c-\x1f.]+)+$"

TOKEN = re.compile(
    r"\\u\{[0-9A-Fa-f]{1,6}\}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\c[A-Za-z]|\\.|"
    r"\(\?<?[=!]|\(\?:|\(\?<[A-Za-z_][A-Za-z0-9_]*>|\(\?|\{[0-9]+(?:,[0-9]*)?\}|.",
    re.DOTALL,
)
SPACES = r"\t-\r \x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff}"
SETS = {"d": "0-9", "w": "0-9A-Za-z_", "s": SPACES}
CONTROLS = {"t": r"\t", "n": r"\n", "v": r"\x0b", "f": r"\f", "r": r"\r", "0": r"\x00"}
ANY = r"[^\n\r\x{2028}\x{2029}]"
QUANTIFIERS = ("*", "+", "?")


def matches(pattern: str, text: str) -> bool:
    """Whether the (translated) expression is found in the text."""
    return bool(pl.Series([text], dtype=pl.String).str.contains(pattern)[0])


def translated(pattern: str) -> str:
    """The expression as polars takes it. ValueError says what is wrong with it, or is not supported."""
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"is longer than {MAX_PATTERN} characters")
    tokens = TOKEN.findall(pattern)
    parts: list[str] = []
    at = 0
    sizes, last = [0], 0
    """By open group, what stands in it so far; and the size of what a quantifier would repeat."""
    repeated = False
    while at < len(tokens):
        token = tokens[at]
        at += 1
        if token in QUANTIFIERS or (token[0] == "{" and len(token) > 1):
            if repeated and token != "?":
                raise ValueError("has a quantifier after a quantifier")
            sizes[-1] += last * (_repetitions(token) - 1)
            repeated = not repeated
            parts.append(token)
            continue
        repeated = False
        if token == "[":
            end, text = _class(tokens, at)
            at = end
            last = 1
            parts.append(text)
        elif token[0] == "(":
            parts.append(_group(token))
            sizes.append(0)
            continue
        elif token == ")":
            if len(sizes) == 1:
                raise ValueError("has a bracket that was not opened")
            last = sizes.pop()
            parts.append(token)
        else:
            if token[0] == "\\" and (following := tokens[at : at + 1]) and _pair(token, following[0]):
                token = rf"\u{{{_pair(token, following[0]):x}}}"
                at += 1
            last = 1
            parts.append({".": ANY, "{": ""}.get(token) or _single(token))
        sizes[-1] += last
    if len(sizes) > 1:
        raise ValueError("has a bracket that is not closed")
    if sizes[0] > MAX_STATES:
        raise ValueError(f"repeats more than {MAX_STATES} times in all, its repetitions written out")
    return _compiled("".join(parts))


def _repetitions(quantifier: str) -> int:
    """The largest number in {n,m}, at most one more than the limit; 1 for the other quantifiers."""
    if quantifier[0] != "{":
        return 1
    return min(max(int(number) for number in re.findall("[0-9]+", quantifier)), MAX_STATES + 1)


def _compiled(expression: str) -> str:
    """Return `expression`. Raises ValueError if polars cannot read it."""
    try:
        pl.Series([""]).str.contains(expression)
    except pl.exceptions.PolarsError as error:
        line = re.search(r"^error: (.*)", str(error), re.MULTILINE)
        raise ValueError(f"cannot be read: {line[1]}" if line else str(error).splitlines()[0]) from None
    return expression


def _group(token: str) -> str:
    if token in ("(?=", "(?!", "(?<=", "(?<!"):
        raise ValueError("looks ahead or behind (lookaround), which takes time without bound")
    if token == "(?":
        raise ValueError("has a group that ECMA-262 does not have")
    return token


def _class(tokens: list[str], at: int) -> tuple[int, str]:
    """The class that begins before `at`: where it ends, and what it is in Rust, where & ~ [ mean more."""
    parts = ["["]
    if tokens[at : at + 1] == ["^"]:
        parts.append("^")
        at += 1
    first = at
    while at < len(tokens) and tokens[at] != "]":
        token, behind = tokens[at], tokens[at + 1 : at + 2]
        at += 1
        if token == "-":
            sets = [each for each in (tokens[at - 2], *behind) if each[0] == "\\" and each[1:].lower() in SETS]
            edge = at - 1 == first or behind == ["]"] or parts[-1] == "-"  # which two would be Rust's difference
            parts.append(r"\-" if sets or edge else "-")
        elif token[0] == "\\" and behind and _pair(token, behind[0]):
            parts.append(rf"\x{{{_pair(token, behind[0]):x}}}")
            at += 1
        elif token == r"\b":
            parts.append(r"\x08")
        elif token[0] == "\\" and token[1:] in SETS:
            parts.append(SETS[token[1:]])
        elif token[0] == "\\":
            parts.append(_single(token))
        else:
            parts += [re.escape(character) for character in token]
    if at == len(tokens):
        raise ValueError("has a class that is not closed")
    if at == first:
        raise ValueError("has an empty class")
    return at + 1, "".join(parts) + "]"


def _single(token: str) -> str:
    """One character or escape, outside a class or a part of one."""
    if token[0] != "\\":
        return token if token in "^$|]}" else re.escape(token)
    name = token[1:]
    if name in CONTROLS:
        return CONTROLS[name]
    if name.lower() in SETS:
        return f"[{'^' if name.isupper() else ''}{SETS[name.lower()]}]"
    if name == "b":
        return r"(?-u:\b)"
    if len(name) > 1:
        code = ord(name[1]) % 32 if name[0] == "c" else int(name[1:].strip("{}"), 16)
        if 0xD800 <= code <= 0xDFFF:
            raise ValueError("names half a surrogate pair")
        return rf"\x{{{code:x}}}"
    if name.isdigit() or name == "k":
        raise ValueError("refers back to a group (a backreference), which takes time without bound")
    if name == "B":
        raise ValueError(r"has \B, which is not supported")
    if not name or name.isalnum():
        raise ValueError(
            f"has {token}, which means nothing in ECMA-262; use ^ and $" if name in "AZz" else f"has {token}"
        )
    return re.escape(name)


def _pair(high: str, low: str) -> int:
    r"""The character that two escapes \ud83d\ude00 are together, 0 if they are none."""
    if not (len(high) == len(low) == 6 and high[1] == low[1] == "u"):
        return 0
    first, second = int(high[2:], 16), int(low[2:], 16)
    if 0xD800 <= first < 0xDC00 <= second <= 0xDFFF:
        return 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)
    return 0
