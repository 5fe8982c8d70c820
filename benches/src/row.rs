//! One line of the scoreboard, the bars that some lines are held to, and the table that people read.

use std::fmt::Write as _;

use serde::Serialize;

/// One result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Fixed: what is measured, in parts from the general to the special.
    pub name: &'static str,
    /// Of `ours` and `theirs`.
    pub unit: &'static str,
    /// The median of the runs.
    pub ours: f64,
    /// The median of what stands beside it; `null` if nothing does.
    pub theirs: Option<f64>,
    /// `ours / theirs`: the median over pairs that were run one after the other, so that it keeps its
    /// worth on a busy machine. `null` if there is no `theirs`.
    pub ratio: Option<f64>,
    /// Runs, or pairs of runs.
    pub runs: usize,
}

impl Row {
    /// A result by itself.
    pub fn alone(name: &'static str, unit: &'static str, ours: &[f64]) -> Self {
        Self {
            name,
            unit,
            ours: median(ours),
            theirs: None,
            ratio: None,
            runs: ours.len(),
        }
    }

    /// A result beside another one; run `n` of one was run next to run `n` of the other.
    pub fn beside(name: &'static str, unit: &'static str, ours: &[f64], theirs: &[f64]) -> Self {
        let pairs = ours.iter().zip(theirs);
        let ratios: Vec<f64> = pairs.map(|(ours, theirs)| ours / theirs).collect();
        Self {
            theirs: Some(median(theirs)),
            ratio: Some(median(&ratios)),
            runs: ratios.len(),
            ..Self::alone(name, unit, ours)
        }
    }

    /// What this row is held to.
    fn bar(&self) -> Option<&'static Bar> {
        BARS.iter().find(|bar| bar.name == self.name)
    }

    /// Whether it keeps to its bar; `None` if it has none.
    pub fn keeps(&self) -> Option<bool> {
        let bar = self.bar()?;
        Some(match bar.most {
            Limit::Ratio(most) => self.ratio? <= most,
            Limit::RatioLeast(least) => self.ratio? >= least,
            Limit::Ours(most) => self.ours <= most,
        })
    }
}

/// The middle of `values`; of an even number the higher of the two middle ones; 0 of none.
pub fn median(values: &[f64]) -> f64 {
    at_share(values, 0.5)
}

/// The value that this share of `values` (0 to 1) lies below; 0 of none.
pub fn at_share(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    // In range: a share of a length.
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(last)).copied().unwrap_or_default()
}

/// The rows as a table with the bars.
pub fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<44} {:<14} {:>11} {:>11} {:>7} {:>5}  {:<16}\n",
        "name", "unit", "ours", "theirs", "ratio", "runs", "bar"
    );
    for row in rows {
        let theirs = row.theirs.map_or_else(|| "-".to_owned(), figure);
        let ratio = row.ratio.map_or_else(|| "-".to_owned(), figure);
        let bar = match (row.bar(), row.keeps()) {
            (Some(bar), Some(kept)) => {
                format!("{} {}", bar.most, if kept { "met" } else { "MISSED" })
            }
            _ => String::new(),
        };
        // Writing into a string does not fail.
        let _ = writeln!(
            text,
            "{:<44} {:<14} {:>11} {theirs:>11} {ratio:>7} {:>5}  {bar}",
            row.name,
            row.unit,
            figure(row.ours),
            row.runs
        );
    }
    text
}

/// About three figures that count.
fn figure(value: f64) -> String {
    match value {
        value if value < 0.1 => format!("{value:.4}"),
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

/// What a row is held to.
struct Bar {
    name: &'static str,
    most: Limit,
}

enum Limit {
    /// At most so many times the other.
    Ratio(f64),
    /// At least so many times the other.
    RatioLeast(f64),
    /// At most so much.
    Ours(f64),
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ratio(most) => write!(f, "<= {most} x"),
            Self::RatioLeast(least) => write!(f, ">= {least} x"),
            Self::Ours(most) => write!(f, "<= {most}"),
        }
    }
}

/// A peel may cost half of the other format's, though it is safe against more, and a third more than
/// the key exchange it cannot do without; a pledge may cost a third more than its parameters were chosen by; deposits must gain from sharing flushes; a relay must fit the
/// smallest board that people leave running.
const BARS: &[Bar] = &[
    Bar {
        name: "onion/peel/1k/sphinx-packet",
        most: Limit::Ratio(0.5),
    },
    Bar {
        name: "onion/peel/1k/floor",
        most: Limit::Ratio(1.35),
    },
    Bar {
        name: "pledge/plot",
        most: Limit::Ratio(1.3),
    },
    Bar {
        name: "pledge/verify",
        most: Limit::Ratio(1.3),
    },
    Bar {
        name: "store/deposits/1024/sqlite-one-row",
        most: Limit::RatioLeast(3.0),
    },
    Bar {
        name: "relay/idle/memory",
        most: Limit::Ours(30.0),
    },
    Bar {
        name: "relay/idle/cpu",
        most: Limit::Ours(1.0),
    },
    Bar {
        name: "relay/full/memory",
        most: Limit::Ours(50.0),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_the_middle_of_the_pairs_and_not_of_the_columns() {
        // The machine was ten times slower in the second pair; the ratio of each pair stays.
        let row = Row::beside("x", "us", &[1.0, 10.0, 1.0], &[2.0, 20.0, 4.0]);
        assert_eq!(row.ratio, Some(0.5));
        assert_eq!((row.ours, row.theirs, row.runs), (1.0, Some(4.0), 3));
    }

    #[test]
    fn a_bar_is_kept_up_to_its_limit_and_not_beyond() {
        let idle = |memory| Row::alone("relay/idle/memory", "MB", &[memory]).keeps();
        assert_eq!([idle(30.0), idle(30.1)], [Some(true), Some(false)]);
        let deposits = "store/deposits/1024/sqlite-one-row";
        let deposits = |ours| Row::beside(deposits, "1/s", &[ours], &[100.0]).keeps();
        assert_eq!(
            [deposits(300.0), deposits(299.0)],
            [Some(true), Some(false)]
        );
        assert_eq!(Row::alone("no bar", "MB", &[1.0]).keeps(), None);
    }

    #[test]
    fn the_highest_of_a_hundred_is_its_99th_share() {
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        assert_eq!(at_share(&values, 0.99), 99.0);
        assert_eq!(at_share(&values, 0.5), 50.0);
        assert_eq!(at_share(&[], 0.5), 0.0);
    }

    #[test]
    fn a_table_says_which_bar_is_missed() {
        let rows = [
            Row::alone("relay/idle/memory", "MB", &[31.0]),
            Row::alone("relay/idle/cpu", "% of a core", &[0.1]),
        ];
        let table = table(&rows);
        assert!(
            table.contains("<= 30 MISSED") && table.contains("<= 1 met"),
            "{table}"
        );
    }
}
