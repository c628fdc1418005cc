//! The result of one benchmark, for people and for programs.

use super::sample::Sample;
use crate::steps::Steps;

/// What the ratio must be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

impl Bar {
    fn holds(self, ratio: f64) -> bool {
        match self {
            Self::AtLeast(bar) => ratio >= bar,
            Self::AtMost(bar) => ratio > 0.0 && ratio <= bar,
        }
    }

    fn words(self) -> String {
        match self {
            Self::AtLeast(bar) => format!("at least {bar}"),
            Self::AtMost(bar) => format!("at most {bar}"),
        }
    }
}

/// A series of measurements and what was measured.
#[derive(Debug, Clone)]
pub(super) struct Series {
    pub(super) what: &'static str,
    pub(super) sample: Sample,
}

#[derive(Debug)]
pub(super) struct Row {
    pub(super) unit: &'static str,
    pub(super) bar: Bar,
    pub(super) ours: Series,
    pub(super) peer: Series,
    /// What else was measured in the same turns.
    pub(super) beside: Vec<Series>,
    /// What it cost, in units that the names tell.
    pub(super) costs: Vec<Series>,
}

impl Row {
    /// Ours over the peer's.
    fn ratio(&self) -> f64 {
        self.ours.sample.ratio(&self.peer.sample)
    }

    pub(super) fn show(&self, name: &str, steps: &Steps) {
        steps.line(format!("{:<44}{:>12}{:>12}{:>12}", format!("{name}, in {}", self.unit), "median", "low", "high"));
        let all = [&self.ours, &self.peer].into_iter().chain(&self.beside).chain(&self.costs);
        for Series { what, sample } in all {
            let [median, low, high] = [sample.median(), sample.low(), sample.high()].map(readable);
            steps.line(format!("  {what:<42}{median:>12}{low:>12}{high:>12}"));
        }
        for series in &self.beside {
            let ratio = self.ours.sample.ratio(&series.sample);
            steps.line(format!("  ratio to {}: {ratio:.3}", series.what));
        }
        let verdict = format!("ratio {:.3}, {}", self.ratio(), self.bar.words());
        if self.bar.holds(self.ratio()) { steps.check(verdict) } else { steps.fault(verdict) }
    }

    pub(super) fn json(&self, name: &str) -> String {
        let number = |value: f64| serde_json::Value::from(value).to_string();
        let text = |value: &str| serde_json::Value::from(value).to_string();
        format!(
            "{{\"name\":{},\"value\":{},\"unit\":{},\"peer\":{},\"peer_value\":{},\"ratio\":{}}}",
            text(name),
            number(self.ours.sample.median()),
            text(self.unit),
            text(self.peer.what),
            number(self.peer.sample.median()),
            number(self.ratio()),
        )
    }
}

fn readable(value: f64) -> String {
    if value.abs() < 10.0 { format!("{value:.3}") } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_has_the_agreed_fields() {
        let series = |what, value| Series { what, sample: Sample::new(vec![value]).unwrap() };
        let row = Row {
            unit: "MB/s",
            bar: Bar::AtLeast(1.2),
            ours: series("rsnap", 3.0),
            peer: series("nginx", 2.0),
            beside: Vec::new(),
            costs: Vec::new(),
        };
        let value: serde_json::Value = serde_json::from_str(&row.json("put")).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"name": "put", "value": 3.0, "unit": "MB/s", "peer": "nginx", "peer_value": 2.0, "ratio": 1.5})
        );
    }

    #[test]
    fn bars_hold_in_their_direction() {
        assert!(Bar::AtLeast(1.2).holds(1.3) && !Bar::AtLeast(1.2).holds(1.1));
        assert!(Bar::AtMost(1.1).holds(1.0) && !Bar::AtMost(1.1).holds(1.2));
    }
}
