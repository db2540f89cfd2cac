"""Links: an address sets what is asked and how; one that cannot be followed says why."""

from typing import Any

import pytest

from app.asking import CHOICE, MATCH, OPEN, Question
from app.links import Link, read_link
from clipbert.config import SamplingConfig

EXAMPLES = ("street", "reel")
SETTINGS = {"num_clips": 3, "num_frames": 1, "fps": 0.5, "policy": "random", "aggregation": "max", "seed": 7}
LINKS = [
    Link(),
    Link("reel", Question(OPEN, "what & why? ü"), SETTINGS, "real"),
    Link("", Question(CHOICE, "which?", ("a=b", "c d")), {"num_clips": 3}),
    Link("street", Question(MATCH, "", ("a dog", "a cat"))),
]


@pytest.mark.parametrize("link", LINKS, ids=str)
def test_a_link_reads_as_it_was_written(link: Link) -> None:
    assert read_link(f"?{link.query()}&__theme=dark", EXAMPLES) == link


def test_what_a_link_does_not_name_stays() -> None:
    own = SamplingConfig(num_clips=9, seed=3)
    assert read_link("n=3&policy=dense", EXAMPLES).sampling(own) == SamplingConfig(num_clips=3, policy="dense", seed=3)
    assert not read_link("", EXAMPLES) and read_link("", EXAMPLES).sampling(own) == own


def test_a_visitor_is_told_what_a_link_lacks() -> None:
    assert Link("reel", model="real").advice("/home/me/real") == ""
    assert "made with model real, and this page runs tiny" in Link("reel", model="real").advice("/home/me/tiny")
    assert "carries no video" in Link(settings={"seed": 1}).advice("real")


@pytest.mark.parametrize(
    "query, message",
    [
        ("video=reels", "must be one of street, reel, got 'reels'; did you mean 'reel'"),
        ("polcy=paper", "did you mean 'policy'"),
        ("policy=papr", "did you mean 'paper'"),
        ("aggregation=sum", "aggregation of a link must be one of"),
        ("n=many", "n in a link must be a number, got 'many'"),
        ("n=0", "num_clips must be a whole number between 1 and 256, got 0"),
        ("fps=nan", "fps must be above 0"),
        ("seed=-1", "seed must be between 0"),
        ("n=3&n=4", "n stands 2 times in the link"),
        ("task=guess", "task of a link must be one of open, choices, match"),
        ("text=a", "needs task=choices or task=match"),
        ("task=match&question=why&text=a", "leave question=... out"),
        ("question=" + "x" * 9000, "a link has at most 8000"),
    ],
)  # fmt: skip
def test_a_link_that_cannot_be_followed_is_named(query: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_link(query, EXAMPLES)


def opened(browser: Any, address: str) -> Any:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.set_default_timeout(90_000)
    page.goto(address)
    return page


def test_an_address_sets_the_video_the_question_and_the_settings(browser: Any, app_url: str) -> None:
    page = opened(browser, f"{app_url}?video=car&task=choices&question=which%20one%3F&text=red&text=blue&n=3&aggregation=max")
    page.wait_for_function("document.querySelector('#ask-notice')?.innerText?.includes('press Ask for the answer')")
    page.wait_for_function("document.querySelector('#question textarea')?.value == 'which one?'")
    page.click("#settings button")
    page.wait_for_function("document.querySelector('#num-clips input[type=number]')?.value == '3'")
    assert page.input_value("#texts textarea") == "red\nblue" and page.is_checked("#mode input[value='Multiple choice']")
    assert page.is_checked("#aggregation input[value=max]") and not page.locator("#answer .big").count()
    page.click("#ask")
    page.wait_for_function("document.querySelector('#answer .state')?.innerText == 'after all 3 clips'")
    assert "pooled by max" in page.inner_text("#answer") and page.locator("#answer .bar").count() == 2

    page.click("#saving > button")
    page.click("#copy-link")
    page.wait_for_function("document.querySelector('#link textarea, #link input')?.value.includes('video=car')")
    copied = page.input_value("#link textarea, #link input")
    assert read_link(copied.partition("?")[2], ("car",)).question == Question(CHOICE, "which one?", ("red", "blue"))
    assert page.evaluate("navigator.clipboard.readText()") == copied and copied.startswith(app_url)
    page.context.close()


def test_a_wrong_address_says_so_and_the_page_starts_as_usual(browser: Any, app_url: str) -> None:
    page = opened(browser, f"{app_url}?video=nobody&n=3")
    page.wait_for_selector("#answer .big", timeout=300_000)
    assert "this link cannot be followed, the page starts as usual: video of a link must be one of" in page.inner_text("#video-notice .bad")
    page.click("#settings button")
    assert page.input_value("#question textarea") == "what is the man riding?" and page.input_value("#num-clips input[type=number]") == "4"
    page.context.close()
