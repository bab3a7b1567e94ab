"""Small real files of every kind, made here."""

from __future__ import annotations

from pathlib import Path

PAGE = """<html><head><title>Refunds | Shop</title></head><body><nav><a href="/">Home</a> <a href="/about">About</a></nav>
<main><h1>Refund policy</h1><p>Refunds are paid within five days of the request, to the same card that was used for the
order, whatever the reason is.</p><h2>Exceptions</h2><p>Gift cards are not refunded unless the law of your country
requires it, and then as another gift card of the same value.</p></main><footer>© 2026 Shop</footer></body></html>"""


def write_pdf(path: Path, pages: list[str]) -> None:
    """A PDF of one line a page, by hand: ISO 32000, 7.5."""
    kids = " ".join(f"{4 + 2 * i} 0 R" for i in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for i, page in enumerate(pages):
        resources = "<< /Font << /F1 3 0 R >> >>"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * i} 0 R /Resources {resources} >>"
        )
        drawn = f"BT /F1 12 Tf 72 720 Td ({page}) Tj ET"
        objects.append(f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream")
    text, offsets = "%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(text))
        text += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    text += f"xref\n0 {size}\n0000000000 65535 f \n{table}"
    text += f"trailer << /Size {size} /Root 1 0 R >>\nstartxref\n{text.index('xref')}\n%%EOF\n"
    path.write_text(text, "latin-1")


def write_docx(path: Path) -> None:
    import docx

    document = docx.Document()
    document.add_heading("Handbook", 0)
    document.add_heading("Leave", 1)
    document.add_paragraph("Everyone has thirty days.")
    table = document.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "Sick days", "unlimited"
    document.save(str(path))
