"""Renders tfmeta/datasets/glyphs.npz from the fonts inside matplotlib.

    python tools/render_glyphs.py [--out FILE]

The result depends on nothing but the fonts and FreeType: running it again gives the same
arrays. Needs matplotlib (the fonts, and which characters each has) and pillow (drawing).
"""

import argparse
import pathlib
import unicodedata

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

# A character that looks like one of an earlier script is the one left out, so that the
# common letters stay.
SCRIPTS = ("DIGIT", "LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "GEORGIAN")
FONT_FAMILIES = ("DejaVu", "STIX")
MIN_PICTURES = 10
MAX_SIMILARITY = 0.91  # at 0.92 final sigma and stigma are both kept
# This font has the pictures of these two letters in each other's place.
SWAPPED = ("DejaVuSansMono-Oblique.ttf", "\u04cb\u04f6")
SIDE = 28
LONGEST_SIDE = 20  # of the character: leaves room for a warp, as in MNIST
POINTS = 128
OUT = pathlib.Path(__file__).resolve().parents[1] / "tfmeta" / "datasets" / "glyphs.npz"


def script_of(character):
    """First word of the Unicode name, such as "GREEK"; "" when it has no name."""
    return unicodedata.name(character, "").split(" ")[0]


def candidates():
    """Letters and digits of the scripts, script by script; letters with a separable accent are
    left out, because a warped 28x28 picture does not tell one accent from another."""
    found = [
        character
        for character in map(chr, range(0x3000))
        if unicodedata.category(character) in ("Lu", "Ll", "Lo", "Nd")
        and script_of(character) in SCRIPTS
        and not unicodedata.decomposition(character)
    ]
    return sorted(found, key=lambda character: (SCRIPTS.index(script_of(character)), character))


def draw(character, font):
    """One character, its longer side LONGEST_SIDE pixels, in the middle of uint8 [28, 28]."""
    left, top, right, bottom = font.getbbox(character, anchor="ls")
    sheet = Image.new("L", (right - left + 8, bottom - top + 8))
    ImageDraw.Draw(sheet).text((4 - left, 4 - top), character, fill=255, font=font, anchor="ls")
    ink = sheet.getbbox()
    if ink is None:
        return None
    sheet = sheet.crop(ink)
    side = -(-max(sheet.size) * SIDE // LONGEST_SIDE)
    square = Image.new("L", (side, side))
    square.paste(sheet, ((side - sheet.width) // 2, (side - sheet.height) // 2))
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BOX))


def draw_all(characters):
    """Dict of character -> dict of font file name -> uint8 [28, 28]."""
    folder = pathlib.Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    pictures = {character: {} for character in characters}
    for path in sorted(folder.glob("*.ttf")):
        if not path.name.startswith(FONT_FAMILIES):
            continue
        has = FT2Font(str(path)).get_charmap()
        # Basic layout: the other engine is an optional library with kerning of its own.
        font = ImageFont.truetype(str(path), POINTS, layout_engine=ImageFont.Layout.BASIC)
        for character in characters:
            swapped = path.name == SWAPPED[0] and character in SWAPPED[1]
            known = ord(character) in has and not swapped
            picture = draw(character, font) if known else None
            if picture is not None:
                pictures[character][path.name] = picture
    return pictures


def similarity(pictures):
    """Highest correlation that two characters reach in any one font, [characters, characters]."""
    result = np.full((len(pictures), len(pictures)), -1.0)
    for font in sorted({font for by_font in pictures for font in by_font}):
        rows = [i for i, by_font in enumerate(pictures) if font in by_font]
        x = np.stack([pictures[i][font].ravel() for i in rows]).astype(np.float64)
        x -= x.mean(axis=1, keepdims=True)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        block = np.ix_(rows, rows)
        result[block] = np.maximum(result[block], x @ x.T)
    return result


def render():
    """The arrays of glyphs.npz: images [rows, 28, 28], class_ids [rows], class_names [classes]."""
    drawn = {}
    for character, by_font in draw_all(candidates()).items():
        distinct = list({picture.tobytes(): picture for picture in by_font.values()}.values())
        if len(distinct) >= MIN_PICTURES:
            drawn[character] = (by_font, distinct)
    close = similarity([by_font for by_font, _ in drawn.values()])
    kept = []
    for i in range(len(drawn)):
        if not kept or close[i, kept].max() < MAX_SIMILARITY:
            kept.append(i)
    characters = [list(drawn)[i] for i in kept]
    pictures = [drawn[character][1] for character in characters]
    return {
        "images": np.concatenate([np.stack(one) for one in pictures]),
        "class_ids": np.repeat(np.arange(len(kept), dtype=np.int16), [len(p) for p in pictures]),
        "class_names": np.array([unicodedata.name(character) for character in characters]),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=OUT)
    out = parser.parse_args().out
    arrays = render()
    np.savez_compressed(out, **arrays)
    classes, rows = len(arrays["class_names"]), len(arrays["images"])
    print(f"{out}: {classes} classes, {rows} pictures, {out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
