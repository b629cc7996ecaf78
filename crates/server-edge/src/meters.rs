//! What a shard counts. Labels are short constant names; no id, address or number is ever one.

use metrics::{Counter, Gauge, counter, gauge};
use std::collections::BTreeMap;
use wire::{Push, ServerFrame};

/// The counters of one shard, looked up once.
pub(crate) struct Meters {
    pub(crate) connections: Gauge,
    pub(crate) sessions: Gauge,
    pub(crate) upgrades: Counter,
    pub(crate) handoffs: Counter,
    pub(crate) drains: Counter,
    pub(crate) windows_closed: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) half_open_dropped: Counter,
    pub(crate) without_room: Counter,
    by_name: BTreeMap<(&'static str, &'static str), Counter>,
}

impl Meters {
    pub(crate) fn new() -> Self {
        Self {
            connections: gauge!("waxwing_edge_connections"),
            sessions: gauge!("waxwing_edge_sessions"),
            upgrades: counter!("waxwing_edge_upgrades_total"),
            handoffs: counter!("waxwing_edge_handoffs_total"),
            drains: counter!("waxwing_edge_drains_total"),
            windows_closed: counter!("waxwing_edge_windows_closed_total"),
            bytes_in: counter!("waxwing_edge_bytes_in_total"),
            bytes_out: counter!("waxwing_edge_bytes_out_total"),
            half_open_dropped: counter!("waxwing_edge_refused_total", "reason" => "half_open"),
            without_room: counter!("waxwing_edge_refused_total", "reason" => "answering_bytes"),
            by_name: BTreeMap::new(),
        }
    }

    pub(crate) fn frame_in(&mut self, request: &'static str) {
        self.count("waxwing_edge_frames_in_total", "request", request);
    }

    pub(crate) fn frame_out(&mut self, frame: &ServerFrame) {
        let kind = match frame {
            ServerFrame::Answer { result: Ok(_), .. } => "answer",
            ServerFrame::Answer { result: Err(_), .. } => "refusal",
            ServerFrame::Push(Push::Deliver(_)) => "deliver",
            ServerFrame::Push(Push::Drained) => "drained",
            ServerFrame::Push(Push::Ephemeral(_)) => "ephemeral",
            ServerFrame::Push(_) => "push",
        };
        self.count("waxwing_edge_frames_out_total", "kind", kind);
    }

    pub(crate) fn ended(&mut self, reason: &'static str) {
        self.count("waxwing_edge_ended_total", "reason", reason);
    }

    /// Counts one in a family of counters, which are told apart by one label.
    fn count(&mut self, metric: &'static str, label: &'static str, value: &'static str) {
        let make = || counter!(metric, label => value);
        self.by_name.entry((metric, value)).or_insert_with(make).increment(1);
    }
}
