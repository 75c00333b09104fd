"""Files that name classes."""

import json
from pathlib import Path

import pytest

from trainers.data.folders.sources import Source, read_sources

ROAD, SKY = Source("road", 0, (128, 64, 128)), Source("sky", 1, (70, 130, 180))

COLOURED = {
    "class_dict.csv": "name,r,g,b\nroad,128,64,128\nsky,70,130,180\n",
    "spaces.csv": "Class, Red, Green, Blue\r\nroad, 128, 64, 128\r\n\r\nsky, 70, 130, 180\r\n",
    "semicolons.csv": "id;name;r;g;b\n0;road;128;64;128\n1;sky;70;130;180\n",
    "bom.csv": "\ufeffname,r,g,b\nroad,128,64,128\nsky,70,130,180",
    "by-name.json": json.dumps({"road": [128, 64, 128], "sky": [70, 130, 180]}),
    "entries.json": json.dumps([{"name": "road", "color": [128, 64, 128]}, {"name": "sky", "rgb": [70, 130, 180]}]),
    "categories.json": json.dumps({"categories": [{"name": "road", "id": 0, "color": [128, 64, 128]},
                                                  {"name": "sky", "id": 1, "color": [70, 130, 180]}]}),
    "label_colors.txt": "128 64 128\troad\r\n70 130 180\tsky\r\n",
}  # fmt: skip
VALUED = {
    "ids.csv": "Idx,Ratio,Name\n7,0.5,road\n9,0.1,sky\n",
    "id2label.json": json.dumps({"7": "road", "9": "sky"}),
    "label2id.json": json.dumps({"road": 7, "sky": 9}),
    "labels.txt": "7: road\n\n9: sky\n",
}
PLAIN = {"list.json": json.dumps(["road", "sky"]), "names.txt": "road\nsky\n", "names.csv": "name\nroad\nsky\n"}


def read(folder: Path, name: str, text: str) -> tuple[Source, ...]:
    path = folder / name
    path.write_bytes(text.encode())
    return read_sources(path)


@pytest.mark.parametrize("name", COLOURED)
def test_names_and_colours(name: str, tmp_path: Path) -> None:
    assert read(tmp_path, name, COLOURED[name]) == (ROAD, SKY)


@pytest.mark.parametrize("name", VALUED)
def test_names_and_values(name: str, tmp_path: Path) -> None:
    assert read(tmp_path, name, VALUED[name]) == (Source("road", 7), Source("sky", 9))


@pytest.mark.parametrize("name", PLAIN)
def test_names_alone_count_from_0(name: str, tmp_path: Path) -> None:
    assert read(tmp_path, name, PLAIN[name]) == (Source("road", 0), Source("sky", 1))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("classes.xml", "<a/>", r"must end in \.csv, \.json, \.txt"),
        ("empty.csv", "", "first line must be name,r,g,b"),
        ("no-title.csv", "road,128,64,128\n", "first line must be name,r,g,b or the like, but is 'road,128,64,128'"),
        ("half.csv", "name,r,g,b\nroad,128,64\n", "class 1 must have a name, and all of r, g and b or none"),
        ("large.csv", "name,r,g,b\nroad,128,64,256\n", r"three numbers in 0\.\.255, but got \['128', '64', '256'\]"),
        ("words.csv", "name,r,g,b\nroad,a,b,c\n", "must name the classes, but: invalid literal"),
        ("broken.json", "{", "must name the classes, but: "),
        ("number.json", "5", "must hold a list or a mapping, but holds int"),
        ("nameless.json", '[{"id": 4}]', "class 1 must have a name, but is"),
        ("none.json", "[]", "must name at least one class"),
        ("colour.json", '{"road": [1, 2]}', "must name the classes, but: "),
        ("null.json", '{"road": null}', "must name the classes, but: "),
    ],
)
def test_what_names_no_classes_is_refused_with_its_file(name: str, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path, name, text)
    assert name in str(caught.value) and "docs/own-data.md" in str(caught.value)


def test_what_is_no_text_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ValueError, match=r"a\.csv must be text in UTF-8, but is not; save it"):
        read_sources(tmp_path / "a.csv")
    with pytest.raises(ValueError, match=r"b\.csv must be a readable file, but is not: No such file"):
        read_sources(tmp_path / "b.csv")
