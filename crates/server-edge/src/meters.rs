//! What a shard counts. Labels are short constant names; no id, address or number is ever one.

use metrics::{Counter, Gauge, counter, gauge};
use std::collections::BTreeMap;
use wire::{Push, ServerFrame};

/// The counters of one shard, looked up once.
pub(crate) struct Meters {
    pub(crate) connections: Gauge,
    pub(crate) sessions: Gauge,
    pub(crate) upgrades: Counter,
    pub(crate) drains: Counter,
    pub(crate) windows_closed: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) half_open_dropped: Counter,
    by_name: BTreeMap<(&'static str, &'static str), Counter>,
}

impl Meters {
    pub(crate) fn new() -> Self {
        Self {
            connections: gauge!("edge_connections"),
            sessions: gauge!("edge_sessions"),
            upgrades: counter!("edge_upgrades_total"),
            drains: counter!("edge_drains_total"),
            windows_closed: counter!("edge_windows_closed_total"),
            bytes_in: counter!("edge_bytes_in_total"),
            bytes_out: counter!("edge_bytes_out_total"),
            half_open_dropped: counter!("edge_refused_total", "reason" => "half_open"),
            by_name: BTreeMap::new(),
        }
    }

    pub(crate) fn frame_in(&mut self, request: &'static str) {
        self.count(
            "edge_frames_in_total",
            request,
            |name| counter!("edge_frames_in_total", "request" => name),
        );
    }

    pub(crate) fn frame_out(&mut self, frame: &ServerFrame) {
        let kind = match frame {
            ServerFrame::Answer { result: Ok(_), .. } => "answer",
            ServerFrame::Answer { result: Err(refusal), .. } => {
                let code = refusal.code.name();
                self.count(
                    "edge_refusals_total",
                    code,
                    |name| counter!("edge_refusals_total", "code" => name),
                );
                "refusal"
            }
            ServerFrame::Push(Push::Deliver(_)) => "deliver",
            ServerFrame::Push(Push::Drained) => "drained",
            ServerFrame::Push(Push::Ephemeral(_)) => "ephemeral",
            ServerFrame::Push(_) => "push",
        };
        self.count("edge_frames_out_total", kind, |name| counter!("edge_frames_out_total", "kind" => name));
    }

    pub(crate) fn ended(&mut self, reason: &'static str) {
        self.count("edge_ended_total", reason, |name| counter!("edge_ended_total", "reason" => name));
    }

    fn count(
        &mut self,
        metric: &'static str,
        name: &'static str,
        make: impl FnOnce(&'static str) -> Counter,
    ) {
        self.by_name.entry((metric, name)).or_insert_with(|| make(name)).increment(1);
    }
}
