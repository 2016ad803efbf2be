//! Comparisons as bars, one panel each, two in a row: an SVG that reads on light and dark pages.

use std::fmt::Write as _;

use crate::comparison::{Better, Comparison};

/// Of a panel, in pixels.
const WIDTH: usize = 460;
const COLUMNS: usize = 2;
/// Of the bars within their panel.
const BAR_LEFT: usize = 112;
const BAR_WIDTH: f64 = 270.0;
const BAR_STEP: usize = 22;
/// Two lines above the bars.
const HEAD: usize = 44;
const GAP: usize = 14;

/// The first figure of each comparison; the first peer is ours and stands out.
pub(crate) fn svg(comparisons: &[Comparison]) -> String {
    let (mut panels, mut top) = (String::new(), GAP);
    for row in comparisons.chunks(COLUMNS) {
        let heights = row.iter().enumerate().map(|(column, comparison)| {
            let (text, height) = panel(comparison);
            let left = column * WIDTH;
            let _ = writeln!(
                panels,
                "<g transform=\"translate({left} {top})\">\n{text}</g>"
            );
            height
        });
        top += heights.max().unwrap_or_default();
    }
    let width = WIDTH * comparisons.len().clamp(1, COLUMNS);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {top}\" width=\"{width}\" height=\"{top}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<style>text{{fill:#24292f}}.ours{{fill:#2f6f4f}}.peer{{fill:#9aa5b1}}\
         @media(prefers-color-scheme:dark){{text{{fill:#e6edf3}}.ours{{fill:#4ea37a}}.peer{{fill:#6e7781}}}}</style>\n\
         {panels}</svg>\n"
    )
}

/// Its elements and its height.
fn panel(comparison: &Comparison) -> (String, usize) {
    let Some((figure, bars)) = comparison.bars() else {
        return (String::new(), 0);
    };
    let good = match figure.better {
        Better::Less => "less is better",
        Better::More => "more is better",
    };
    let mut svg = format!(
        "<text x=\"8\" y=\"14\" font-weight=\"bold\">{}</text>\n<text x=\"8\" y=\"31\">{}, {good}</text>\n",
        escaped(comparison.title()),
        escaped(figure.name),
    );
    let most = bars.iter().map(|(_, value)| *value);
    let most = most.fold(f64::MIN_POSITIVE, f64::max);
    for (index, (peer, value)) in bars.iter().enumerate() {
        // What was taken out of noise may lie below nothing.
        let (y, width) = (HEAD + index * BAR_STEP, (value / most * BAR_WIDTH).max(0.0));
        let class = if index == 0 { "ours" } else { "peer" };
        let _ = writeln!(
            svg,
            "<text x=\"8\" y=\"{baseline}\">{peer}</text><rect class=\"{class}\" x=\"{BAR_LEFT}\" y=\"{y}\" \
             width=\"{width:.1}\" height=\"16\"/><text x=\"{end:.1}\" y=\"{baseline}\">{value:.digits$}</text>",
            baseline = y + 13,
            peer = escaped(peer),
            end = width + 118.0,
            digits = figure.digits,
        );
    }
    (svg, HEAD + bars.len() * BAR_STEP + GAP)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::svg;
    use crate::comparison::{Comparison, Figure, Turn};

    #[test]
    fn the_longest_bar_fills_the_width_and_ours_stands_out() {
        let figure = Figure::less("CPU µs/req", 0);
        let mut comparison = Comparison::new("a <pair>", String::new(), &[figure]);
        for (peer, value) in [("usher", 50.0), ("envoy", 200.0)] {
            let turn = Turn {
                values: vec![(figure, value)],
                errors: 0,
            };
            comparison.record(peer, turn);
        }
        let svg = svg(&[comparison]);
        let ours = "class=\"ours\" x=\"112\" y=\"44\" width=\"67.5\"";
        assert!(svg.contains(ours), "{svg}");
        assert!(svg.contains("width=\"270.0\""), "{svg}");
        assert!(svg.contains("a &lt;pair>"), "{svg}");
    }
}
