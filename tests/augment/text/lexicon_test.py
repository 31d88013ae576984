import pathlib

import pytest

from keras_consistency.augment import text
from keras_consistency.augment.text import lexicon as lexicons

OWN = pathlib.Path(__file__).parent / "lexicon.tsv"

# WordNet's format with its traps: a licence, hexadecimal counts, several words in one, marks of adjectives, capitals,
# numbers behind the words that look like words, and a vertical bar with text.
NOUN = (
    "  1 This is a licence: two spaces come before its lines.  \n"
    "  2 05 n 03 not 0 a 0 word 0 000 | of it  \n"
    "00001740 03 n 01 entity 0 001 ~ 00001930 n 0000 | that which is  \n"
    "00001930 06 n 04 film 0 movie 0 moving_picture 0 Flick 1 002 @ 00001740 n 0000 ~ 00001740 n 0000 | a show  \n"
    "00002137 06 n 02 film 2 cinema 0 001 @ 00001740 n 0000 | an art; 'film is more than movie 0'  \n"
    "00002500 23 n 0b one 0 i 0 ace 0 single 0 unity 0 a 0 b 0 c 0 d 0 e 0 f 0 000 | eleven words  \n"
)
VERB = '00003000 29 v 02 film 0 shoot 0 001 @ 00003001 v 0000 02 + 02 00 + 21 00 | record; "film a scene"  \n'
ADJ = (
    "00014358 00 s 02 abounding 0 galore(ip) 0 001 & 00013887 a 0000 | in abundance  \n"
    "00020103 00 s 03 outback(a) 0 remote(p) 0 far_off 0 000 | thinly settled  \n"
    "00020104 00 a 02 Polish 0 polish 1 000 | itself alone  \n"
)


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def wordnet(folder, **files):
    for name, content in files.items():
        write(folder / f"data.{name}", content)
    return folder


class TestFile:
    def test_lexicon_of_the_tests(self):
        found = text.read_lexicon(OWN)
        assert found == text.read_lexicon(str(OWN)) and len(found) == 496
        assert found["good"] == ["fine", "great", "nice", "kind", "decent"]
        assert found["좋은"] == ["훌륭한", "멋진"]
        assert sum(not word.isascii() for word in found) == 131

    def test_lines_are_read_as_written(self, tmp_path):
        content = "\ufeffGood\tfine, very  good ,Fine\r\n\n \t \nend\tclose\n저는\t나는,내가\ngood\tgreat,fine"
        assert text.read_lexicon(write(tmp_path / "a.tsv", content)) == {
            "good": ["fine", "very  good", "Fine", "great"],
            "end": ["close"],
            "저는": ["나는", "내가"],
        }

    def test_word_is_no_synonym_of_itself(self, tmp_path):
        assert text.read_lexicon(write(tmp_path / "a.tsv", "good\tGood,fine\nend\tend")) == {"good": ["fine"]}

    @pytest.mark.parametrize(
        ("content", "line", "what"),
        [
            ("good\tfine\nbad poor\n", 2, "it has no tab. .*good<TAB>fine,great. Received: 'bad poor'"),
            ("good\tfine\n\n\tpoor\n", 3, "what stands before the tab is not one word.*Received"),
            ("ice cream\tgelato", 1, "what stands before the tab is not one word.*Received: 'ice cream"),
            ("good\tfine,,great", 1, "a synonym is empty"),
            ("good\t\n", 1, "a synonym is empty"),
            ("good\tfine\tgreat\n", 1, "a synonym is empty or has a tab"),
            (b"good\tfine\nb\xe4d\tpoor\n", 2, "it is not UTF-8. Save the file in UTF-8. Received: b'b.xe4d"),
            ("good\tfine\n" * 7 + "x" * 500, 8, "it has no tab.*Received: 'x{80}'$"),
        ],
    )
    def test_malformed_line_is_named(self, tmp_path, content, line, what):
        path = write(tmp_path / "mine.tsv", content)
        with pytest.raises(ValueError, match=f"The lexicon .*mine.tsv, line {line}: {what}"):
            text.read_lexicon(path)

    @pytest.mark.parametrize("content", ["", "\n \n\t\n"])
    def test_empty(self, tmp_path, content):
        with pytest.raises(ValueError, match="The lexicon .*none.tsv is empty. A line must be a word, a tab"):
            text.read_lexicon(write(tmp_path / "none.tsv", content))

    def test_without_synonyms(self, tmp_path):
        with pytest.raises(ValueError, match="The lexicon .*same.tsv has no word with a synonym other than itself"):
            text.read_lexicon(write(tmp_path / "same.tsv", "good\tGood"))

    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="a folder with WordNet's. There is none at .*nil"):
            text.read_lexicon(tmp_path / "nil")


class TestWordNet:
    def test_words_of_a_synset_are_synonyms(self, tmp_path):
        found = text.read_lexicon(wordnet(tmp_path, noun=NOUN, verb=VERB, adj=ADJ))
        assert found.pop("one") == ["i", "ace", "single", "unity", *"abcdef"]
        assert found.pop("f") == ["one", "i", "ace", "single", "unity", *"abcde"]
        assert {len(found.pop(word)) for word in ("i", "ace", "single", "unity", *"abcde")} == {10}
        assert found == {
            "film": ["movie", "Flick", "cinema", "shoot"],
            "movie": ["film", "Flick"],
            "flick": ["film", "movie"],
            "cinema": ["film"],
            "shoot": ["film"],
            "abounding": ["galore"],
            "galore": ["abounding"],
            "outback": ["remote"],
            "remote": ["outback"],
        }

    def test_one_file_is_enough(self, tmp_path):
        assert text.read_lexicon(wordnet(tmp_path, verb=VERB)) == {"film": ["shoot"], "shoot": ["film"]}

    @pytest.mark.parametrize(
        "line",
        [
            "good\tfine",
            "00001740 03 n zz entity 0 000 | no number",
            "00001740 03 n 00 000 | no word",
            "00001740 03 n 03 entity 0 thing 0 000 | fewer words than it says",
            "00001740 03 n 01 entity 0 thing 0 000 | more words than it says",
            "00001740 03 n 02 entity 0 thing",
            "\t",
        ],
    )
    def test_malformed_line_is_named(self, tmp_path, line):
        wordnet(tmp_path, noun=NOUN, adj=ADJ + line + "\n")
        with pytest.raises(ValueError, match=r"data\.adj, line 4: it is no synset.*WordNet, unchanged. Received: '"):
            text.read_lexicon(tmp_path)

    def test_licence_alone(self, tmp_path):
        with pytest.raises(ValueError, match=r"data\.adv has no synset"):
            text.read_lexicon(wordnet(tmp_path, adv="  1 a licence  \n"))

    def test_folder_without_it(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"WordNet's data\.noun, .*apt-get install wordnet-base"):
            text.read_lexicon(tmp_path)


class TestArgument:
    def test_mapping_is_brought_into_the_form_of_a_file(self):
        found = lexicons.as_lexicon({"Good": ("fine", "GOOD", "fine"), "good": ["great"], "end": ["end"]})
        assert found == {"good": ["fine", "great"]}

    def test_stop_words_are_left_out(self):
        found = lexicons.as_lexicon(OWN, stop_words=["Good", "nowhere"])
        assert "good" not in found and len(found) == 495 and "good" in found["fine"]

    def test_english_stop_words(self):
        words = text.ENGLISH_STOP_WORDS
        assert len(set(words)) == len(words) > 100 and all(word == word.lower() for word in words)
        assert {"i", "in", "at", "a", "be", "it"} < set(words)

    @pytest.mark.parametrize(
        "lexicon",
        [
            {"good": []},
            {"good": "fine"},
            {"good": None},
            {"good": ["fine", ""]},
            {"good": ["fine", 3]},
            {"": ["fine"]},
            {"ice cream": ["gelato"]},
            {3: ["three"]},
        ],
    )
    def test_malformed_mapping(self, lexicon):
        with pytest.raises(ValueError, match=r"`lexicon` must have words .* Received: lexicon\["):
            lexicons.as_lexicon(lexicon)

    @pytest.mark.parametrize(("lexicon", "stop_words"), [({}, ()), ({"a": ["A"]}, ()), ({"a": ["b"]}, ["a"])])
    def test_nothing_left(self, lexicon, stop_words):
        with pytest.raises(ValueError, match="`lexicon` must have a word with a synonym.*Received: lexicon={"):
            lexicons.as_lexicon(lexicon, stop_words=stop_words)

    @pytest.mark.parametrize("lexicon", [None, 3, [("good", ["fine"])], {"good"}])
    def test_type(self, lexicon):
        with pytest.raises(TypeError, match="`lexicon` must be a path, or a dictionary.*Received: lexicon="):
            lexicons.as_lexicon(lexicon)

    @pytest.mark.parametrize("stop_words", ["the", [1], None, {"the"}])
    def test_stop_words_of_another_type(self, stop_words):
        with pytest.raises(TypeError, match="`stop_words` must be a list of words. Received: stop_words="):
            lexicons.as_lexicon({"good": ["fine"]}, stop_words=stop_words)
