//! Numbers from repeated runs: medians, ranges, ratios of pairs, and how they are written.

use std::fmt;
use std::time::Duration;

/// What came out of repeated runs, in any unit. Never empty.
#[derive(Debug, Clone)]
pub struct Samples {
    sorted: Vec<f64>,
}

impl Samples {
    /// Sorts them.
    ///
    /// # Panics
    ///
    /// When there are none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        assert!(!sorted.is_empty(), "there is no median of no samples");
        sorted.sort_by(f64::total_cmp);
        Self { sorted }
    }

    /// The ratio of each pair of runs, `above[i] / below[i]`.
    ///
    /// # Panics
    ///
    /// When there are no pairs.
    #[must_use]
    pub fn ratios(above: &[f64], below: &[f64]) -> Self {
        Self::of(above.iter().zip(below).map(|(above, below)| above / below))
    }

    /// The value that a share of the samples does not exceed; 0.5 is the median.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        let last = self.sorted.len() - 1;
        // Rounded, so it is an index.
        let index = (share.clamp(0.0, 1.0) * last as f64).round() as usize;
        self.sorted[index]
    }

    /// The middle one.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The least.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.quantile(0.0)
    }

    /// The greatest.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.quantile(1.0)
    }
}

/// `median (least..greatest)` with two decimals, as ratios are quoted.
impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.2} ({:.2}..{:.2})",
            self.median(),
            self.min(),
            self.max()
        )
    }
}

/// A rate for a table: `4.31 M/s`, `812 k/s`, `93 /s`.
#[must_use]
pub fn rate(per_second: f64) -> String {
    if per_second >= 1e6 {
        format!("{:.2} M/s", per_second / 1e6)
    } else if per_second >= 1e3 {
        format!("{:.1} k/s", per_second / 1e3)
    } else {
        format!("{per_second:.0} /s")
    }
}

/// Bytes per second for a table.
#[must_use]
pub fn byte_rate(per_second: f64) -> String {
    format!("{:.1} MB/s", per_second / 1e6)
}

/// Microseconds for a table.
#[must_use]
pub fn micros(seconds: f64) -> String {
    format!("{:.0} µs", seconds * 1e6)
}

/// Durations as samples, in seconds.
#[must_use]
pub fn seconds(durations: &[Duration]) -> Samples {
    Samples::of(durations.iter().map(Duration::as_secs_f64))
}

/// A line of a Markdown table.
#[must_use]
pub fn row<S: AsRef<str>>(cells: &[S]) -> String {
    let mut line = String::from("|");
    for cell in cells {
        line.push(' ');
        line.push_str(cell.as_ref());
        line.push_str(" |");
    }
    line
}

/// The head of a Markdown table, two lines; the first column stands left, the others right.
#[must_use]
pub fn head(cells: &[&str]) -> String {
    let rule: Vec<&str> = cells
        .iter()
        .enumerate()
        .map(|(at, _)| if at == 0 { "---" } else { "---:" })
        .collect();
    format!("{}\n{}", row(cells), row(&rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_of_the_ratios_and_not_a_ratio_of_medians() {
        // The machine was twice as slow during the second pair: the ratio does not see it.
        let ratios = Samples::ratios(&[50.0, 25.0, 60.0], &[100.0, 50.0, 100.0]);
        assert_eq!(
            (ratios.min(), ratios.median(), ratios.max()),
            (0.5, 0.5, 0.6)
        );
        assert_eq!(ratios.to_string(), "0.50 (0.50..0.60)");
    }

    #[test]
    fn a_table_stands_in_markdown() {
        assert_eq!(head(&["what", "rate"]), "| what | rate |\n| --- | ---: |");
        assert_eq!(row(&["ring", &rate(1_500_000.0)]), "| ring | 1.50 M/s |");
    }
}
