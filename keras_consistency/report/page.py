"""The HTML of a report, and how it is written."""

import contextlib
import html
import os
import pathlib
import tempfile

_CSS = """
:root { color-scheme: light; --line: #e5e7eb; --dim: #6b7280; --warm: #b91c1c; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 1180px; padding: 1.5rem; color: #111827;
  background: #fff; overflow-wrap: anywhere; }
@media (max-width: 600px) { body { padding: .75rem; } }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
.dim { color: var(--dim); }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(480px, 100%), 1fr)); gap: 1rem; }
figure { margin: 0; border: 1px solid var(--line); border-radius: 6px; padding: .5rem; min-width: 0; }
figcaption { font-weight: 600; font-size: .9rem; } figure svg { width: 100%; height: auto; }
figure.small svg { max-width: 460px; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: .8rem; padding: 0 .5rem; }
.legend i { display: inline-block; width: 1.1em; height: .25em; margin-right: .4em; vertical-align: middle; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; overflow-wrap: break-word; }
th, td { text-align: left; padding: .3rem .6rem;
  border-bottom: 1px solid var(--line); vertical-align: top; } td.number, th.number { text-align: right;
  font-variant-numeric: tabular-nums; }
.cards { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; } .card { border: 1px solid var(--line);
  border-radius: 6px; padding: .5rem .9rem; } .card b { display: block; font-size: 1.2rem; }
pre { overflow: auto; background: #f9fafb; padding: .75rem;
  border-radius: 6px; font-size: .8rem; max-height: 30rem; } .note { background: #fffbeb; padding: .5rem .9rem;
  border-radius: 6px; }
"""


def escaped(value):
    """Any value as text that HTML shows as it is."""
    return html.escape(str(value), quote=True)


def cards(values):
    """A row of figures by name."""
    return (
        '<div class="cards">'
        + "".join(
            f'<div class="card"><span class="dim">{escaped(name)}</span><b>{escaped(value)}</b></div>'
            for name, value in values.items()
        )
        + "</div>"
    )


def figure(title, svg, *, small=False, legend=None):
    """A chart under its title, above a legend: colours by name."""
    svg = svg.replace("<svg", f'<svg role="img" aria-label="{escaped(title)}"', 1)
    names = "".join(
        f'<span><i style="background: {colour}"></i>{escaped(name)}</span>' for name, colour in (legend or {}).items()
    )
    names = f'<div class="legend">{names}</div>' if names else ""
    return f'<figure class="{"small" if small else ""}"><figcaption>{escaped(title)}</figcaption>{svg}{names}</figure>'


def grid(figures):
    """Figures side by side, where there is room."""
    return f'<div class="grid">{"".join(figures)}</div>'


def table(header, rows, *, numbers=()):
    """A table; the columns whose positions are in `numbers` are aligned to the right."""

    def cells(tag, row):
        kinds = [' class="number"' if place in numbers else "" for place in range(len(row))]
        return "".join(f"<{tag}{kind}>{escaped(value)}</{tag}>" for kind, value in zip(kinds, row, strict=True))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    head = f"<thead><tr>{cells('th', header)}</tr></thead>"
    return f'<div class="wide"><table>{head}<tbody>{body}</tbody></table></div>'


def note(text):
    """A sentence in place of what cannot be shown."""
    return f'<p class="note">{escaped(text)}</p>'


def dim(text):
    """A sentence that explains."""
    return f'<p class="dim">{escaped(text)}</p>'


def code(text):
    """Preformatted text."""
    return f"<pre>{escaped(text)}</pre>"


def document(title, subtitle, sections):
    """A page that needs nothing from elsewhere.

    Args:
        title, subtitle: text.
        sections: list of `(heading, html)`.
    """
    body = "".join(f"<section><h2>{escaped(heading)}</h2>{content}</section>\n" for heading, content in sections)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'\">"
        f"<title>{escaped(title)}</title><style>{_CSS}</style></head>\n<body><h1>{escaped(title)}</h1>"
        f'<div class="dim">{escaped(subtitle)}</div>\n{body}</body></html>\n'
    )


def check_writable(path):
    """Raises an `OSError` where `write` could not replace a file; leaves what is there as it is."""
    with contextlib.suppress(FileNotFoundError):
        path.stat()  # A name that is too long has no file either, and says so.
    handle, temporary = tempfile.mkstemp(prefix=".report", suffix=".tmp", dir=path.parent)
    os.close(handle)
    pathlib.Path(temporary).unlink()


def write(path, text):
    """Replaces a file as a whole: a reader, and whoever is left after a crash, finds the old text or the new one."""
    path = pathlib.Path(path)
    handle, temporary = tempfile.mkstemp(prefix=".report", suffix=".tmp", dir=path.parent)
    try:
        # Half a surrogate pair, which a file name may hold, has no UTF-8.
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
        pathlib.Path(temporary).chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.replace(temporary, path)
    except BaseException:
        pathlib.Path(temporary).unlink(missing_ok=True)
        raise
