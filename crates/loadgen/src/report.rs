//! One run's figures, as one JSON object.

use crate::cost::Used;
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

/// Figures by name.
pub(crate) struct Report(Map<String, Value>);

impl Report {
    pub(crate) fn new(scenario: &str) -> Self {
        Self(Map::from_iter([("scenario".to_owned(), json!(scenario))]))
    }

    #[must_use]
    pub(crate) fn figure(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Wall time, the server's CPU for each of `count` messages, and how busy the generator was.
    #[must_use]
    pub(crate) fn cost(self, used: &Used, count: u64) -> Self {
        let per_message = used.cpu.as_secs_f64() * 1e6 / count.max(1) as f64;
        self.figure("seconds", round(used.wall.as_secs_f64()))
            .figure("server_cpu_us_per_message", round(per_message))
            .figure("server_cores", round(used.cpu.as_secs_f64() / used.wall.as_secs_f64()))
            .figure("generator_cores", round(used.generator))
            .figure("valid", used.generator <= 0.8)
    }

    /// Percentiles of a histogram of microseconds, in milliseconds.
    #[must_use]
    pub(crate) fn latencies(self, name: &str, histogram: &Histogram<u64>) -> Self {
        let at = |quantile| round(histogram.value_at_quantile(quantile) as f64 / 1_000.0);
        self.figure(&format!("{name}_p50_ms"), at(0.5))
            .figure(&format!("{name}_p99_ms"), at(0.99))
            .figure(&format!("{name}_max_ms"), round(histogram.max() as f64 / 1_000.0))
    }

    pub(crate) fn scenario(&self) -> &str {
        self.0.get("scenario").and_then(Value::as_str).unwrap_or_default()
    }

    /// A figure by name.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.0.get(name)?.as_f64()
    }

    /// Whether the generator kept out of the way.
    pub(crate) fn is_valid(&self) -> bool {
        self.0.get("valid").and_then(Value::as_bool).unwrap_or(true)
    }

    pub(crate) fn to_json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }
}

pub(crate) fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}
