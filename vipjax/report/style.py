"""The look of the page: light and dark, wide and narrow, screen and paper; no script."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f7f8; --card: #ffffff; --text: #1f2328; --faint: #5c646d; --line: #dfe2e6;
  --accent: #0072b2; --wash: #eef5fa; --warn: #b35900; --warn-wash: #fff4e5;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #111417; --card: #1b1f24; --text: #e6e8eb; --faint: #a0a8b0; --line: #32383f;
    --accent: #56b4e9; --wash: #18252e; --warn: #e69f00; --warn-wash: #2b2313;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
}
main { max-width: 1060px; margin: 0 auto; padding: 40px 20px 80px; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 8px; letter-spacing: -0.01em; }
h2 { font-size: 1.2rem; margin: 0 0 12px; }
h3 { font-size: 0.95rem; margin: 24px 0 8px; }
p { margin: 0 0 12px; max-width: 75ch; }
a { color: var(--accent); }
header p, figcaption, .sub { color: var(--faint); }
header .sub { font-size: 0.9rem; }
section {
  background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  padding: 24px; margin-top: 20px;
}
.tiles {
  display: grid; gap: 12px; margin-top: 24px;
  grid-template-columns: repeat(auto-fit, minmax(200px, 1fr));
}
.tile {
  background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 16px;
}
.tile .name { font-size: 0.85rem; color: var(--faint); }
.tile .number { font-size: 1.9rem; font-weight: 650; line-height: 1.25; text-align: left; }
.tile .sub { font-size: 0.85rem; }
.note {
  background: var(--warn-wash); border-left: 4px solid var(--warn); border-radius: 6px;
  padding: 12px 16px; margin-top: 16px;
}
.note p { margin: 0; max-width: none; }
.missing { color: var(--faint); border: 1px dashed var(--line); border-radius: 8px; padding: 12px; }
.missing strong { color: var(--warn); }
figure { margin: 0 0 16px; }
figure:last-child { margin-bottom: 0; }
img, video { display: block; width: 100%; height: auto; border-radius: 6px; }
figcaption { font-size: 0.85rem; margin-top: 6px; max-width: 90ch; }
.films { display: grid; gap: 16px; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); }
.films.wide { grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); }
.goals { display: flex; flex-wrap: wrap; gap: 16px; }
.goals figure { flex: 0 1 auto; max-width: 240px; margin: 0; }
.goals img { width: auto; max-width: 100%; height: 120px; object-fit: contain; }
.goals figcaption { overflow-wrap: anywhere; }
.final { max-width: 480px; }
.scroll { overflow-x: auto; margin-bottom: 12px; }
table { border-collapse: collapse; width: 100%; font-size: 0.92rem; }
th, td { text-align: left; vertical-align: top; padding: 6px 12px 6px 0; }
td { overflow-wrap: break-word; }
.pair { display: inline-block; margin-right: 1.2em; }
tbody tr { border-top: 1px solid var(--line); }
thead th { color: var(--faint); font-weight: 500; font-size: 0.85rem; }
tbody th { font-weight: 500; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.share { width: 40vw; max-width: 480px; padding: 8px 0 0 8px; }
.bar { height: 8px; min-width: 2px; border-radius: 4px; background: var(--accent); }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { font-size: 0.88em; }
pre {
  background: var(--wash); border-radius: 8px; padding: 14px 16px; margin: 0 0 12px;
  overflow-x: auto; font-size: 0.88rem;
}
.narrow { max-width: 640px; }
td > code:only-child { white-space: nowrap; }
details { margin-top: 12px; }
summary { cursor: pointer; color: var(--accent); padding: 4px 0; }
@media print { section, .tile { break-inside: avoid; } body { background: none; } }
"""
