from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from monitor.errors import GalleryError
from monitor.gallery.identity_file import MAX_IDENTITY_BYTES, parse_identity
from monitor.streams.stream import BroadcastKind

PATH = Path("gallery/ann/identity.yaml")
HEAD = "name: {en: Ann}\nconsent: {basis: contract, date: 2026-01-01, reference: CREDITS.md}\n"


def parse(text: str):
    return parse_identity(text.encode(), identity_id="ann", path=PATH)


def refusal(text: str) -> str:
    with pytest.raises(GalleryError) as refused:
        parse(text)
    message = str(refused.value)
    assert message.startswith(f"{PATH}: ")
    return message


def permission(entry: str) -> str:
    return f"{HEAD}permissions:\n  - {{platform: demo, account: ann, kinds: [live]{entry}}}\n"


def test_the_documented_file_is_read_whole() -> None:
    identity = parse_identity(
        """
        name: {en: Barack Obama, zh: 贝拉克·奥巴马}
        consent: {basis: public domain sample, date: 2026-01-01, reference: CREDITS.md}
        permissions:
          - {platform: demo, account: obama-official, kinds: [live, digital_human, rebroadcast],
             valid_from: 2026-01-01, valid_until: 2027-01-01, max_concurrent_rooms: 1}
        """.encode(),
        identity_id="barack_obama",
        path=PATH,
    )
    assert identity.id == "barack_obama"
    assert identity.name == "Barack Obama"
    assert identity.names["zh"] == "贝拉克·奥巴马"
    assert identity.consent.date == date(2026, 1, 1)
    (allowed,) = identity.permissions
    assert allowed.kinds == frozenset(BroadcastKind)
    assert (allowed.valid_from, allowed.valid_until) == (date(2026, 1, 1), date(2027, 1, 1))
    assert allowed.max_concurrent_rooms == 1
    assert not allowed.suspended


@pytest.mark.parametrize("permissions", ["", "permissions: []", "permissions: "])
def test_permissions_may_be_absent_or_empty(permissions: str) -> None:
    if permissions == "permissions: ":
        assert "allowed: a list of mappings" in refusal(HEAD + permissions)
    else:
        assert parse(HEAD + permissions).permissions == ()


def test_an_account_of_digits_keeps_its_zeros_and_a_country_code_stays_text() -> None:
    identity = parse(
        "name: {no: Ann}\nconsent: {basis: b, date: 2026-01-01, reference: yes}\n"
        "permissions: [{platform: 1, account: 007, kinds: [live], suspended: true, valid_until: null}]"
    )
    assert identity.names == {"no": "Ann"}
    assert identity.permissions[0].account == "007"
    assert identity.permissions[0].suspended
    assert identity.permissions[0].valid_until is None
    assert identity.consent.reference == "yes"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", ["name and consent"]),
        ("- a\n- b", ["name and consent"]),
        ("name: {en: Ann}", ["consent is missing", "basis, date and reference"]),
        (HEAD + "colour: red", ["unknown key colour", "allowed: name, consent, permissions"]),
        (HEAD.replace("{en: Ann}", "Ann"), ["name is 'Ann'", "{en: Barack Obama}"]),
        (HEAD.replace("{en: Ann}", "{}"), ["name is {}", "language tags"]),
        (HEAD.replace("{en: Ann}", "{'e n': Ann}"), ["name.e n is not a language tag"]),
        (HEAD.replace("{en: Ann}", "{en: ''}"), ["name.en is ''", "1 to 500 characters"]),
        (HEAD.replace("2026-01-01", "2026-02-30"), ["consent.date is '2026-02-30'", "YYYY-MM-DD"]),
        (HEAD.replace("2026-01-01", "1767225600"), ["consent.date is '1767225600'", "YYYY-MM-DD"]),
        (HEAD.replace("basis: contract, ", ""), ["consent.basis is missing"]),
        (HEAD.replace("basis:", "basics:"), ["unknown key consent.basics", "allowed: basis, date, reference"]),
        (permission(", kind: live"), ["unknown key permissions[0].kind", "kinds"]),
        (HEAD + "permissions: [{platform: p, kinds: [live]}]", ["permissions[0].account is missing"]),
        (
            HEAD + "permissions: [{platform: p, account: a, kinds: [livee]}]",
            ["permissions[0].kinds[0] is 'livee'", "live, digital_human, rebroadcast"],
        ),
        (HEAD + "permissions: [{platform: p, account: a, kinds: []}]", ["permissions[0].kinds is []"]),
        (HEAD + "permissions: [{platform: p, account: a, kinds: live}]", ["permissions[0].kinds is 'live'", "a list"]),
        (permission(", max_concurrent_rooms: 0"), ["max_concurrent_rooms is '0'", "from 1 to 10000"]),
        (permission(", valid_from: soon"), ["valid_from is 'soon'", "YYYY-MM-DD"]),
        (permission(", valid_from: 2026-02-01, valid_until: 2026-01-31"), ["2026-01-31 is before", "2026-02-01"]),
        (permission(", suspended: perhaps"), ["suspended is 'perhaps'", "true or false"]),
        (HEAD + "name: {en: Other}", ["line 3", "'name' stands twice"]),
        ("name: {en: [", ["line 1"]),
        ("name: !!python/object/apply:os.system [id]", ["could not determine a constructor"]),
        ("[" * 4000, ["nested too deeply"]),
        ("#" * (MAX_IDENTITY_BYTES + 1), [f"at most {MAX_IDENTITY_BYTES}"]),
    ],
)
def test_a_mistake_is_named_with_file_key_value_and_what_is_allowed(text: str, named: list[str]) -> None:
    message = refusal(text)
    for part in named:
        assert part in message
    assert len(message) < 2000


def test_bytes_that_are_not_text_are_refused() -> None:
    with pytest.raises(GalleryError, match="not UTF-8"):
        parse_identity(b"name: \xff\xfe", identity_id="ann", path=PATH)


def test_a_file_that_multiplies_itself_is_refused_in_a_short_message() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)
    )
    assert len(refusal(bomb + "name: *h")) < 2000
