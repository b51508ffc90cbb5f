"""Regular expressions on real engines against Python's, which searches as PCRE does in what both can say."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

import orjson
import pytest

from queries.indexed import indexed
from sigmawatch.cluster import Cluster
from sigmawatch.compile.leaves import Refused
from sigmawatch.compile.regex import Followed, lucene_expressions
from sigmawatch.compile.scripted import expressions
from sigmawatch.engine import Node

INDEX = "test-regex"

PATTERNS = [
    "foo", "^foo", "foo$", "^foo$", "^$", "^", "$", "f.o", "f..", "(?s)f.o", "(?i)FOO", "(?i)é", "(?i:f)oo", "(?m)^b",
    "(?m)a$", "(?m)^b$", "a|b", "^a|b$", "(^a|b)c", "a(b|c$)", "(?:^|/)foo", "foo(?:/|$)", "a?b", "^a?b$", "a*", "^a*$",
    "a+b", "^(ab)+$", "^a{2}$", "^a{2,}$", "^a{1,2}b", "a{0}b", "^.{3}$", "a.*b", "a.*?b", "a.+?b", r"\d", r"^\d+$", r"\D",
    r"^\w+$", r"\W", r"\s", r"^\S+$", r"\bfoo\b", r"\bfoo", r"foo\b", r"\Bfoo", r"^\bfoo", r"^\b-", r"foo\b-", r"o\bf",
    r"\b\d+\b", r"-\bf", "[abc]", "[^abc]", "^[^abc]+$", "[a-c]o", r"[\d_]", r"[^\d]", r"[\W_]", r"[\w.-]+@[\w.-]+", "[]a]",
    r"[\]a]", "[a-]", "[*]", r"\.", r"\\", r"\*", r"a\+b", r'"', "#", "@", "<1-9>", "~a", "&", "a&b", r"\$\{", r"\x41",
    r"\t", r"\n", "é", "[à-ÿ]", "😀", "(?<name>f)oo", "(?P<name>f)oo", "((a)(b))", "()", "a()b", "(|a)b", "(a|)b", "(?:)",
    r"\Afoo", r"foo\Z", "(?i)[a-c]x", "(?i)straße", r"^(?:GET|POST) /\S*\.php\?", "^a(b(c|d)e)?f$", "(a|b|c){2,3}",
    r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}", r"\bAAA\b|^foo", "(?m)^a|b$",
]  # fmt: skip

VALUES = [
    "", "foo", "foo\n", "\nfoo", "FOO", "Foo bar", "xfoox", "f\no", "fxo", "a", "b", "ab", "aab", "aaab", "abab", "ac", "bc",
    "abc", "a b", "a\nb", "b\na", "a\n", "\na", "1", "123", "a1", "_", "x_y", "-", "-foo-", "foo-bar", "of", "o f", ".", "..",
    "a.b", "*", "a+b", "a++b", "\\", '"', "#", "@", "<5>", "5", "~a", "&", "a&b", "${", "$", "A", "AAA", "xAAA", "AAA x",
    "\t", "é", "É", "à", "ÿ", "😀", "ü😀", "STRASSE", "Straße", "STRAßE", "GET /a/b.php?x=1", "POST /.php?", "PUT /x.php?",
    "af", "abcef", "abdef", "abef", "aax", "Bx", "cX", "10.0.0.1", "x 192.168.1.254 y", "user@example.org", "]", "[", "^",
    "a]b", "a-b", "x/foo", "/foo/", "foo/bar", "afoo/", "bb", "cab", "line1\nb\nline3", "aa bb", " ", "\r\n",
]  # fmt: skip


@pytest.fixture(scope="module")
def cluster(each_version: Node) -> Iterator[Cluster]:
    body = {"mappings": {"properties": {"value": {"type": "keyword"}}}}
    documents = {str(number): {"value": value} for number, value in enumerate(values())}
    with indexed(each_version.url, INDEX, body, documents) as found:
        yield found


def values() -> list[str]:
    dice = random.Random(99)
    made = ["".join(dice.choice("ab_-. \n1Aé") for _ in range(dice.randint(1, 6))) for _ in range(300)]
    return list(dict.fromkeys([*VALUES, *made]))


def made_patterns() -> list[str]:
    """Return random expressions over few characters, so that they often match and often do not."""
    dice = random.Random(7)

    def piece(depth: int) -> str:
        kinds = ["char", "char", "char", "set", "class", "group", "choice", "repeat"]
        kind = dice.choice(kinds if depth else kinds[:5])
        if kind == "set":
            return dice.choice(["[ab]", "[^a]", "[a-b1]", r"[\w-]", "[^\\s]"])
        if kind == "class":
            return dice.choice([r"\w", r"\W", r"\s", r"\d", ".", r"\."])
        if kind == "group":
            return f"({sequence(depth - 1)})"
        if kind == "choice":
            return f"(?:{sequence(depth - 1)}|{sequence(depth - 1)})"
        if kind == "repeat":
            # One character only: Python takes for ever over what repeats a repetition.
            return f"(?:{piece(0)}){dice.choice(['*', '+', '?', '{2}', '{1,2}', '*?'])}"
        return dice.choice("ab_-1A")

    def sequence(depth: int) -> str:
        return "".join(piece(depth) for _ in range(dice.randint(1, 3)))

    found = []
    for _ in range(250):
        begin = dice.choice(["", "", "^", r"\b", "(?i)", "(?i)^", "(?m)^", "(?s)"])
        found.append(begin + sequence(2) + dice.choice(["", "", "$", r"\b"]))
    return found


def hits(cluster: Cluster, found_by: list[list[str | Followed]]) -> list[set[str]]:
    lines = []
    for each in found_by:
        body = {"size": 1000, "query": expressions("value", each), "_source": False}
        lines += [orjson.dumps({"index": INDEX}), orjson.dumps(body)]
    answer = cluster.request("POST", "/_msearch", b"\n".join(lines) + b"\n")
    found = []
    for response in answer["responses"]:
        assert "error" not in response, response
        found.append({hit["_id"] for hit in response["hits"]["hits"]})
    return found


def meant(pattern: str) -> set[str]:
    # In PCRE, \Z also stands before a newline at the end.
    compiled = re.compile(
        re.sub(r"\(\?<(?=[a-z])", "(?P<", pattern).replace(r"\Z", "(?-m:$)"),
        re.ASCII if not re.search("[^\x00-\x7f]", pattern) else 0,
    )
    return {str(number) for number, value in enumerate(values()) if compiled.search(value)}


def test_listed_expressions_find_what_they_mean(cluster: Cluster) -> None:
    found = hits(cluster, [lucene_expressions(pattern) for pattern in PATTERNS])
    wrong = {
        pattern: sorted(values()[int(number)] for number in have ^ meant(pattern))
        for pattern, have in zip(PATTERNS, found, strict=True)
        if have != meant(pattern)
    }
    assert wrong == {}


def test_made_expressions_find_what_they_mean_or_are_refused(cluster: Cluster) -> None:
    taken: list[tuple[str, list[str | Followed]]] = []
    refused = 0
    for pattern in made_patterns():
        try:
            taken.append((pattern, lucene_expressions(pattern)))
        except Refused:
            refused += 1
    assert len(taken) > 200, f"{refused} refused"
    found = hits(cluster, [each for _, each in taken])
    wrong = {
        pattern: (each, sorted(values()[int(number)] for number in have ^ meant(pattern))[:5])
        for (pattern, each), have in zip(taken, found, strict=True)
        if have != meant(pattern)
    }
    assert wrong == {}


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("a(?=b)", "lookaround"),
        ("(?<!a)b", "lookaround"),
        (r"(a)\1", "back-reference"),
        ("a++b", "possessive"),
        ("(?>a+)b", "atomic"),
        (r"a\b[b-]?", "word boundary"),
        (r".\b.", "word boundary"),
        ("(^a)+", "repeated anchor"),
        ("a^b", "middle"),
        ("(", "cannot be read"),
        ("a" * 1001, "characters long"),
        ("x(.{9,60}ab){9,60}.{9,60}c", "too many states"),
    ],
)
def test_what_lucene_cannot_say_is_refused(pattern: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        lucene_expressions(pattern)


def test_many_alternatives_are_split_at_the_limit_of_the_engine() -> None:
    parts = lucene_expressions("|".join(f"word{number:04}" for number in range(500)))
    assert len(parts) > 3
    assert all(isinstance(part, str) and len(part) <= 1000 for part in parts)
