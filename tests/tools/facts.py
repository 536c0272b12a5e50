"""What a message must say, in whichever words."""

import html
import re


def says(said, *facts):
    """Check that an error that was caught, or a text, has each of ``facts``: values, names, remedies.

    What stands between them may be reworded. A fact is whole words: '1' is not found in '10', nor 'bn' in 'bn2'.
    """
    text = str(getattr(said, "value", said))
    assert not (lacking := _lacking(text, facts)), f"{lacking} not in {text!r}"


def one_says(texts, *facts):
    """Check that one of ``texts``, or one text between the tags of a page, has all of ``facts``."""
    texts = html.unescape(re.sub("<[^>]*>", "\0", texts)).split("\0") if isinstance(texts, str) else list(texts)
    assert any(not _lacking(text, facts) for text in texts), f"no text has all of {facts}"


def _lacking(text, facts):
    """Return the facts that are not in a text."""
    found = []
    for fact in map(str, facts):
        before, after = (r"\b" if re.match(r"\w", end) else "" for end in (fact[:1], fact[-1:]))
        if not re.search(before + re.escape(fact) + after, text):
            found.append(fact)
    return found
