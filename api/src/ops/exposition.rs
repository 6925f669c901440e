//! The Prometheus text exposition format, version 0.0.4.

use std::fmt::{Display, Write as _};

/// The media type of the text.
pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A document in the making: families, each with its samples.
#[derive(Default)]
pub(crate) struct Exposition {
    text: String,
}

/// What a family measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Names and values of labels.
pub(crate) type Labels<'a> = &'a [(&'a str, &'a str)];

impl Exposition {
    /// Begins a family; its samples follow.
    pub(crate) fn family<'a>(&'a mut self, name: &'a str, kind: Kind, help: &str) -> Family<'a> {
        let _ = writeln!(
            self.text,
            "# HELP {name} {}",
            help.replace('\\', "\\\\").replace('\n', "\\n")
        );
        let _ = writeln!(self.text, "# TYPE {name} {}", kind.as_str());
        Family {
            text: &mut self.text,
            name,
        }
    }

    /// A family of one sample without labels.
    pub(crate) fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help).sample(&[], value);
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

/// A family whose samples are being written.
pub(crate) struct Family<'a> {
    text: &'a mut String,
    name: &'a str,
}

impl Family<'_> {
    pub(crate) fn sample(&mut self, labels: Labels<'_>, value: impl Display) {
        self.line("", labels, None, value);
    }

    /// One histogram: `counts` per bucket (not cumulative), one more than `bounds`.
    pub(crate) fn histogram(&mut self, labels: Labels<'_>, bounds: &[f64], counts: &[u64], sum: f64) {
        let mut total = 0;
        for (bound, count) in bounds.iter().map(Some).chain([None]).zip(counts) {
            total += count;
            let bound = bound.map_or_else(|| "+Inf".to_owned(), f64::to_string);
            self.line("_bucket", labels, Some(&bound), total);
        }
        self.line("_sum", labels, None, sum);
        self.line("_count", labels, None, total);
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>, value: impl Display) {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let all = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        let mut separator = '{';
        for (name, value) in all {
            let escaped = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(self.text, "{separator}{name}=\"{escaped}\"");
            separator = ',';
        }
        if separator == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_labels_and_escapes() {
        let mut out = Exposition::default();
        out.single("a_total", Kind::Counter, "First\nline.", 3);
        out.family("b", Kind::Gauge, "B.")
            .sample(&[("x", "a\"b\\c\n"), ("y", "z")], 1.5);
        assert_eq!(
            out.into_text(),
            "# HELP a_total First\\nline.\n# TYPE a_total counter\na_total 3\n\
             # HELP b B.\n# TYPE b gauge\nb{x=\"a\\\"b\\\\c\\n\",y=\"z\"} 1.5\n"
        );
    }

    #[test]
    fn histogram_buckets_add_up() {
        let mut out = Exposition::default();
        out.family("d_seconds", Kind::Histogram, "D.")
            .histogram(&[("r", "x")], &[0.1, 1.0], &[2, 1, 4], 9.5);
        assert_eq!(
            out.into_text(),
            "# HELP d_seconds D.\n# TYPE d_seconds histogram\n\
             d_seconds_bucket{r=\"x\",le=\"0.1\"} 2\nd_seconds_bucket{r=\"x\",le=\"1\"} 3\n\
             d_seconds_bucket{r=\"x\",le=\"+Inf\"} 7\nd_seconds_sum{r=\"x\"} 9.5\nd_seconds_count{r=\"x\"} 7\n"
        );
    }
}
