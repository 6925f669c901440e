//! The words of the language. All are read without regard to case.

use std::fmt;

/// Declares an enum of words with the spelling that is shown, and other spellings that are read.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal $(| $alias:literal)*),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the names are the documentation; see Skydive's manual")]
        pub enum $name { $($variant),+ }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The spelling that is shown.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Every spelling that is read; the first is the one shown.
            #[must_use]
            pub fn spellings(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &[$text $(, $alias)*]),+ }
            }

            /// Reads any spelling in any case.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|word| word.spellings().iter().any(|known| known.eq_ignore_ascii_case(text)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

words! {
    /// A step of a query.
    StepName {
        G = "G",
        V = "V",
        E = "E",
        At = "At" | "Context",
        Flows = "Flows",
        Workflow = "Workflow",
        Has = "Has",
        HasEither = "HasEither",
        HasKey = "HasKey",
        HasNot = "HasNot",
        Out = "Out",
        In = "In",
        Both = "Both",
        OutE = "OutE",
        InE = "InE",
        BothE = "BothE",
        OutV = "OutV",
        InV = "InV",
        BothV = "BothV",
        Dedup = "Dedup",
        Sort = "Sort",
        Limit = "Limit",
        Range = "Range",
        Count = "Count",
        Sum = "Sum",
        Values = "Values",
        ValueMap = "ValueMap",
        Keys = "Keys",
        ShortestPathTo = "ShortestPathTo",
        SubGraph = "SubGraph",
        As = "As",
        Select = "Select",
        Nodes = "Nodes",
        Hops = "Hops",
        CaptureNode = "CaptureNode" | "Node",
        Metrics = "Metrics",
        Aggregates = "Aggregates",
        RawPackets = "RawPackets",
        Bpf = "BPF",
        Sockets = "Sockets",
        Group = "Group",
        MoreThan = "MoreThan",
        Ascendants = "Ascendants",
        Descendants = "Descendants",
        Neighbors = "Neighbors",
        NextHop = "NextHop",
    }
}

words! {
    /// A predicate, or `Metadata`, which is written like one.
    PredicateName {
        Ne = "NE",
        Nee = "NEE",
        Lt = "LT",
        Gt = "GT",
        Lte = "LTE",
        Gte = "GTE",
        Inside = "Inside",
        Outside = "Outside",
        Between = "Between",
        Within = "Within",
        Without = "Without",
        Regex = "Regex",
        Ipv4Range = "IPV4Range",
        Metadata = "Metadata",
    }
}

words! {
    /// A word that stands for itself.
    Word {
        Asc = "ASC",
        Desc = "DESC",
        Forever = "FOREVER",
        Now = "NOW",
    }
}

/// The step whose spelling is nearest to `text`, if one is near enough to be meant.
pub(crate) fn nearest_step(text: &str) -> Option<&'static str> {
    let length = text.chars().count();
    if length > 32 {
        return None;
    }
    let wanted = text.to_ascii_lowercase();
    // A third of the letters wrong is a slip; more is another word.
    let slips = (length / 3).max(1);
    StepName::ALL
        .iter()
        .flat_map(|step| step.spellings())
        .filter(|known| known.len() > 1)
        .map(|known| (edit_distance(&wanted, &known.to_ascii_lowercase()), *known))
        .filter(|(distance, _)| *distance <= slips)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Levenshtein's distance, a transposition of neighbours counting as one (optimal string alignment).
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let changed = usize::from(a[i - 1] != b[j - 1]);
                let mut best = (rows[i - 1][j] + 1)
                    .min(rows[i][j - 1] + 1)
                    .min(rows[i - 1][j - 1] + changed);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_their_step() {
        for (slip, step) in [
            ("Flow", "Flows"),
            ("flwos", "Flows"),
            ("RawPacket", "RawPackets"),
            ("HasEihter", "HasEither"),
        ] {
            assert_eq!(nearest_step(slip), Some(step), "{slip}");
        }
        assert_eq!(nearest_step("Foo"), None);
        assert_eq!(nearest_step(&"x".repeat(60_000)), None);
    }

    #[test]
    fn spellings_are_read_in_any_case_and_belong_to_one_step() {
        for step in StepName::ALL {
            for spelling in step.spellings() {
                assert_eq!(StepName::parse(&spelling.to_ascii_lowercase()), Some(*step));
            }
        }
    }
}
