"""What is left of a URL, and that nothing makes redaction fail or leak."""

from __future__ import annotations

import random

import pytest

from monitor.redact import redact_text, redact_url

PIECES = [
    *"abzAZ09 \t\n'\"<>[]{}()@:/?#%&=+.,;-_\\|~^`!*$\x00\x7f",
    "é",
    "\u2100",
    "\u017f",
    "春",
    "://",
    "http://",
    "[::1]",
]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtmp://u:pass@live.example.org:1935/app/SECRET?t=SECRET#SECRET", "rtmp://live.example.org:1935/***"),
        ("https://h.example.org", "https://h.example.org/***"),
        ("rtmp://[2001:db8::1]:1935/SECRET", "rtmp://[2001:db8::1]:1935/***"),
        ("http://h:SECRET/x", "http://h/***"),
        ("http://h'SECRET/x", "http://h/***"),
        ("http://h,SECRET", "http://h/***"),
        ("http://[SECRET", "***"),
        ("http://h\u2100/SECRET", "***"),
        ("file:///home/SECRET.flv", "file:***"),
        ("/home/SECRET.flv", "file:***"),
        ("", "file:***"),
    ],
)
def test_of_a_url_only_scheme_host_and_port_are_shown_and_of_no_proper_one_nothing(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot open http://[x now", "cannot open *** now"),
        ("see 'http://h/a'SECRET now", "see 'http://h/*** now"),
        ('{"url":"http://h/a","key":"SECRET"} ends', '{"url":"http://h/*** ends'),
        ("<http://h/a>SECRET", "<http://h/***"),
        ("from_http://h/SECRET", "from_http://h/***"),
        ("RTMP://H/SECRET and srt://g:90/SECRET", "rtmp://h/*** and srt://g:90/***"),
        ("no URL: 12:30, a/b, c", "no URL: 12:30, a/b, c"),
    ],
)
def test_a_url_in_a_text_is_redacted_up_to_the_next_white_space(text: str, shown: str) -> None:
    assert redact_text(text) == shown


def test_no_text_makes_redaction_fail_or_shows_what_stands_behind_a_host() -> None:
    chance = random.Random(7)
    for _ in range(20_000):
        junk = ["".join(chance.choices(PIECES, k=chance.randrange(12))) for _ in range(4)]
        redact_url(junk[0])
        redact_text(junk[0])
        tail = "".join(junk[1].split())
        shown = redact_text(f"{junk[2]}rtmp://host/{tail}SECRET?{''.join(junk[3].split())}SECRET")
        assert "SECRET" not in shown
        assert redact_text(shown) == shown


def test_a_long_text_without_a_url_is_passed_through_quickly() -> None:
    text = "a.b" * 300_000
    assert redact_text(text) == text
