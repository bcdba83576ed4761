"""Writes the two example documents that no editor of text can: `python examples/make_docs.py`.

The PDF is put together by hand, so that the page shows what a PDF needs at least: pages, a font, an outline.
"""

import io
import zipfile
from datetime import datetime
from pathlib import Path

import docx

DOCS = Path(__file__).parent / "docs"
WRITTEN = datetime(2026, 2, 14, 9, 0)  # noqa: DTZ001 (the format keeps local time)

KILN_MANUAL = [
    (
        "1 The kiln and its place",
        """The kiln is a top-loading electric kiln of 120 litres, fed by a 32 ampere socket of its own. It may be
        switched on by members with a kiln induction only. Its highest temperature is 1280 degrees Celsius; we
        never go above 1250, because the elements age four times as fast beyond that.

        Nothing that burns stands within one metre of it. The lid stays shut while the display shows more than
        100 degrees. The ventilation runs from the start of a firing until the display shows less than 300.

        The key hangs in the kitchen beside the calendar. Whoever takes it writes name, programme and meter
        reading on the kiln sheet. The firing is paid by the meter, at 0.38 euros for each kilowatt hour.""",
    ),
    (
        "2 Programmes",
        """Programme 1, bisque: 100 degrees an hour up to 600, then full speed to 1000 degrees, no hold. It takes
        9 hours, and 20 more to cool down.

        Programme 2, stoneware glaze: 150 degrees an hour up to 1240 degrees, then a hold of 15 minutes. It takes
        10 and a half hours, and 24 to cool down.

        Programme 3, raku preheating: up to 400 degrees and hold until switched off. A host must be in the house.

        Programme 4 is for drying: 80 degrees for 6 hours with the upper plug open. Pieces thicker than 2
        centimetres are dried a whole night before their bisque firing, or they burst.

        Cones tell the truth, the thermocouple guesses. Put a cone 6 on the middle shelf of each glaze firing and
        note on the sheet how far it bent. If it is flat three times in a row, tell the ceramics keeper: the
        thermocouple reads about 12 degrees low when it is worn.""",
    ),
    (
        "3 Errors and care",
        """Error E1 means that the temperature rises more slowly than the programme asks. Usually one of the six
        elements is broken. Let it cool, do not try again, tell the keeper.

        Error E3 means that the thermocouple is not connected. The plug behind the control box works itself loose;
        push it in and start anew.

        Error E7 means that the lid was opened during a firing. The programme goes on by itself once the lid has
        been shut for 60 seconds.

        Shelves get two coats of kiln wash before they are used and one more after every tenth firing. A drop of
        glaze on a shelf is ground off outdoors, with a mask and goggles. The elements were all replaced in
        September 2024 after 412 firings. A set costs 520 euros and is kept in the grey cabinet.

        After a power cut the kiln stays off. If it was above 900 degrees, the load is usually saved by starting
        programme 2 again; below that, start from the beginning.""",
    ),
]

# (style, text), or a table's rows.
REPORT: list[tuple[str | None, str | list[tuple[str, ...]]]] = [
    ("Heading 1", "What happened in 2025"),
    (
        None,
        "The year began with 54 members and ended with 61. Nine people left, most of them because they moved away, "
        "and sixteen joined. The waiting list for full membership has seven names.",
    ),
    (
        None,
        "The open day in May brought 340 visitors. The repair evenings put 214 bicycles back on the road, and the "
        "new Tuesday group for teenagers built eleven skateboards.",
    ),
    ("Heading 1", "Money"),
    (None, "The accounts were checked by two members on 7 February 2026 and found in order."),
    (
        None,
        [
            ("Item", "2024", "2025"),
            ("Membership fees", "24,310 €", "27,960 €"),
            ("Machine bookings", "3,120 €", "4,480 €"),
            ("Donations", "1,900 €", "2,750 €"),
            ("Rent and heating", "-18,400 €", "-19,650 €"),
            ("Machines and repairs", "-6,240 €", "-8,890 €"),
            ("Insurance", "-1,310 €", "-1,385 €"),
            ("Balance of the year", "3,380 €", "5,265 €"),
        ],
    ),
    (None, "The reserve stands at 21,700 euros on 31 December 2025. The meeting wants it never below 8,000."),
    ("Heading 2", "Largest purchases"),
    ("List Bullet", "A new tube for the laser cutter in June: 640 euros."),
    ("List Bullet", "Sprung floor mats for the wood room: 480 euros."),
    ("List Bullet", "A defibrillator beside the front door, paid by a donation from the sports club: 1,590 euros."),
    ("Heading 1", "Accidents"),
    (
        None,
        "Three accidents were reported, two cuts and one burn. None needed a stay in hospital. After the burn at the "
        "kiln in October a pair of longer gloves was bought, and the kiln induction now shows how to open the lid.",
    ),
    ("Heading 1", "Plans for 2026"),
    ("List Number", "Replace the gas boiler before its inspection in November."),
    ("List Number", "Open on Wednesday mornings for retired members, on trial from April to June."),
    ("List Number", "Write the emergency cards in German, Turkish and Japanese."),
]


def pdf(title: str, sections: list[tuple[str, str]]) -> bytes:
    """One page for each section, its heading an entry of the outline. Latin letters only."""
    count = len(sections)
    pages, outlines = [5 + 3 * n for n in range(count)], [7 + 3 * n for n in range(count)]
    objects: dict[int, bytes] = {
        1: b"<< /Type /Catalog /Pages 2 0 R /Outlines 4 0 R >>",
        2: f"<< /Type /Pages /Kids [{' '.join(f'{n} 0 R' for n in pages)}] /Count {count} >>".encode(),
        3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        4: f"<< /Type /Outlines /First {outlines[0]} 0 R /Last {outlines[-1]} 0 R /Count {count} >>".encode(),
    }
    for n, (heading, body) in enumerate(sections):
        content = _page(heading, body, f"{title}, page {n + 1} of {count}")
        beside = f"/Prev {outlines[n - 1]} 0 R " if n else ""
        beside += f"/Next {outlines[n + 1]} 0 R " if n + 1 < count else ""
        objects[pages[n]] = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {pages[n] + 1} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        ).encode()
        objects[pages[n] + 1] = b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content)
        objects[outlines[n]] = (
            f"<< /Title ({_escaped(heading)}) /Parent 4 0 R {beside}/Dest [{pages[n]} 0 R /XYZ 0 842 0] >>"
        ).encode("cp1252")
    info = 5 + 3 * count
    objects[info] = f"<< /Title ({_escaped(title)}) >>".encode("cp1252")
    return _file(objects, info)


def _page(heading: str, body: str, footer: str) -> bytes:
    lines = [f"BT /F1 16 Tf 60 780 Td ({_escaped(heading)}) Tj /F1 11 Tf 0 -30 Td 15 TL"]
    for paragraph in body.split("\n\n"):
        lines += [f"({_escaped(line.strip())}) Tj T*" for line in paragraph.split("\n")]
        lines.append("T*")
    lines.append(f"ET BT /F1 9 Tf 60 40 Td ({_escaped(footer)}) Tj ET")
    return "\n".join(lines).encode("cp1252")


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")


def _file(objects: dict[int, bytes], info: int) -> bytes:
    out, places = b"%PDF-1.4\n", dict[int, int]()
    for number in sorted(objects):
        places[number] = len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, objects[number])
    table = b"".join(b"%010d 00000 n \n" % places[number] for number in sorted(places))
    end = b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(places) + 1, table)
    end += b"trailer\n<< /Size %d /Root 1 0 R /Info %d 0 R >>\n" % (len(places) + 1, info)
    return out + end + b"startxref\n%d\n%%%%EOF\n" % len(out)


def word(title: str, blocks: list[tuple[str | None, str | list[tuple[str, ...]]]]) -> bytes:
    document = docx.Document()
    document.core_properties.title = title
    document.core_properties.author = "Fern Street Workshop"
    document.core_properties.created = document.core_properties.modified = WRITTEN
    document.add_heading(title, 0)
    for style, content in blocks:
        if isinstance(content, list):
            table = document.add_table(0, len(content[0]), style="Light Grid Accent 1")
            for row in content:
                for cell, words in zip(table.add_row().cells, row, strict=True):
                    cell.text = words
        else:
            document.add_paragraph(content, style)
    made = io.BytesIO()
    document.save(made)
    return _dated(made)


def _dated(made: io.BytesIO) -> bytes:
    """The same archive with one date for all, so that writing it again changes nothing."""
    out = io.BytesIO()
    with zipfile.ZipFile(made) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            entry = zipfile.ZipInfo(name, WRITTEN.timetuple()[:6])
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, source.read(name))
    return out.getvalue()


def made_docs() -> dict[str, bytes]:
    return {
        "kiln-manual.pdf": pdf("Kiln manual", KILN_MANUAL),
        "annual-report-2025.docx": word("Annual report 2025", REPORT),
    }


if __name__ == "__main__":
    for name, data in made_docs().items():
        (DOCS / name).write_bytes(data)
