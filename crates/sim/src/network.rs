//! The network between devices and nodes: connections with delay, cuts and silence.
//!
//! Owns: what is under way on every connection.
//! Invariants: within one connection and direction order is kept; a cut loses a suffix of what is
//! under way and nothing before it, as TCP does; what a silent connection swallowed comes out in order
//! when it speaks again. Connections are independent: one may overtake another.
//! Must not know: what the frames mean.

use crate::{chance::Chance, device::Seat};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};
use testkit::event::Node;
use types::{Millis, Timestamp};

/// One connection, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// What travels on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parcel {
    /// To the node: a device wants a connection. To the device: it has one.
    Open,
    /// One socket message.
    Frame(Bytes),
    /// A keep-alive, and its answer.
    Ping,
    /// The connection is over.
    Close,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// From the device to the node.
    Up,
    /// From the node to the device.
    Down,
}

/// Something arrives.
#[derive(Debug)]
pub struct Arrival {
    /// On which connection.
    pub link: LinkId,
    /// At which end.
    pub way: Way,
    /// What.
    pub parcel: Parcel,
}

/// The two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Which device.
    pub seat: Seat,
    /// Which node.
    pub node: Node,
}

/// How slow the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// The longest way of most parcels.
    pub usual_max: Millis,
    /// The longest way of a slow one.
    pub slow_max: Millis,
    /// How many in a thousand are slow.
    pub slow: u32,
    /// How many questions without a connection, and as many of their answers, are lost in a thousand.
    pub lost: u32,
}

/// All connections.
pub struct Network {
    links: BTreeMap<LinkId, Link>,
    opened: u64,
    delays: Delays,
    chance: Chance,
}

struct Link {
    ends: Ends,
    up: VecDeque<(Timestamp, Parcel)>,
    down: VecDeque<(Timestamp, Parcel)>,
    silent: bool,
}

impl Link {
    fn queue(&mut self, way: Way) -> &mut VecDeque<(Timestamp, Parcel)> {
        match way {
            Way::Up => &mut self.up,
            Way::Down => &mut self.down,
        }
    }

    fn next(&self) -> Option<(Timestamp, Way)> {
        if self.silent {
            return None;
        }
        let up = self.up.front().map(|(at, _)| (*at, Way::Up));
        let down = self.down.front().map(|(at, _)| (*at, Way::Down));
        up.into_iter().chain(down).min()
    }
}

impl Network {
    /// A network without connections.
    pub fn new(delays: Delays, chance: Chance) -> Self {
        Self { links: BTreeMap::new(), opened: 0, delays, chance }
    }

    /// Changes how slow the network is, for what is sent from now on.
    pub fn set_delays(&mut self, delays: Delays) {
        self.delays = delays;
    }

    /// A device asks a node for a connection.
    pub fn open(&mut self, ends: Ends, now: Timestamp) -> LinkId {
        self.opened += 1;
        let id = LinkId(self.opened);
        let link = Link { ends, up: VecDeque::new(), down: VecDeque::new(), silent: false };
        self.links.insert(id, link);
        self.send(id, Way::Up, Parcel::Open, now);
        id
    }

    /// Sends a parcel; on a connection that is over it is lost.
    pub fn send(&mut self, id: LinkId, way: Way, parcel: Parcel, now: Timestamp) {
        let delay = self.delay();
        let Some(link) = self.links.get_mut(&id) else { return };
        let queue = link.queue(way);
        let arrives = queue.back().map_or(now + delay, |(last, _)| (*last).max(now + delay));
        queue.push_back((arrives, parcel));
    }

    /// Cuts a connection: of what is under way a prefix still arrives, then both ends hear of the end.
    pub fn cut(&mut self, id: LinkId, now: Timestamp) {
        for way in [Way::Up, Way::Down] {
            let Some(link) = self.links.get_mut(&id) else { return };
            link.silent = false;
            let under_way = link.queue(way).len();
            let survive = self.chance.below(under_way as u64 + 1) as usize;
            link.queue(way).truncate(survive);
            self.send(id, way, Parcel::Close, now);
        }
    }

    /// From now on the connection carries nothing, and neither end is told.
    pub fn silence(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.silent = true;
        }
    }

    /// The connection carries everything again; what it swallowed arrives soon.
    pub fn unsilence(&mut self, id: LinkId, now: Timestamp) {
        let delay = self.delay();
        let Some(link) = self.links.get_mut(&id) else { return };
        link.silent = false;
        for (at, _) in link.up.iter_mut().chain(&mut link.down) {
            *at = (*at).max(now + delay);
        }
    }

    /// Forgets a connection at whose ends nobody listens any more.
    pub fn forget(&mut self, id: LinkId) {
        self.links.remove(&id);
    }

    /// Whose connection it is.
    pub fn ends(&self, id: LinkId) -> Option<Ends> {
        self.links.get(&id).map(|link| link.ends)
    }

    /// The connections of a node, or of a device, that are not over.
    pub fn links_where(&self, of: impl Fn(&Ends) -> bool) -> Vec<LinkId> {
        self.links.iter().filter(|(_, link)| of(&link.ends)).map(|(id, _)| *id).collect()
    }

    /// Parcels under way in one direction.
    pub fn under_way(&self, id: LinkId, way: Way) -> usize {
        self.links.get(&id).map_or(0, |link| match way {
            Way::Up => link.up.len(),
            Way::Down => link.down.len(),
        })
    }

    /// How long a question without a connection is under way, or its answer; none if it is lost.
    pub fn way_of_call(&mut self) -> Option<Millis> {
        let delay = self.delay();
        (!self.chance.per_mille(self.delays.lost)).then_some(delay)
    }

    /// When the next parcel arrives.
    pub fn next_arrival(&self) -> Option<Timestamp> {
        self.links.values().filter_map(Link::next).map(|(at, _)| at).min()
    }

    /// The next parcel that has arrived by now.
    pub fn arrived(&mut self, now: Timestamp) -> Option<Arrival> {
        let next = self.links.iter().filter_map(|(id, link)| link.next().map(|(at, way)| (at, *id, way)));
        let (_, id, way) = next.min().filter(|(at, _, _)| *at <= now)?;
        let (_, parcel) = self.links.get_mut(&id)?.queue(way).pop_front()?;
        Some(Arrival { link: id, way, parcel })
    }

    fn delay(&mut self) -> Millis {
        let slow = self.chance.per_mille(self.delays.slow);
        let most = if slow { self.delays.slow_max } else { self.delays.usual_max };
        Millis(1 + self.chance.below(most.0.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDS: Ends = Ends { seat: Seat(0), node: Node(0) };
    const START: Timestamp = Timestamp::from_millis(1_000);
    const END: Timestamp = Timestamp::from_millis(1_000_000);

    fn network(seed: u64) -> Network {
        let delays = Delays { usual_max: Millis(50), slow_max: Millis(5_000), slow: 200, lost: 0 };
        Network::new(delays, Chance::new(seed, 0))
    }

    fn frame(number: u8) -> Parcel {
        Parcel::Frame(Bytes::from(vec![number]))
    }

    fn arrive(network: &mut Network) -> Vec<(LinkId, Way, Parcel)> {
        std::iter::from_fn(|| network.arrived(END)).map(|one| (one.link, one.way, one.parcel)).collect()
    }

    #[test]
    fn a_connection_keeps_its_order_and_connections_overtake_each_other() {
        let mut overtaken = false;
        for seed in 0..20 {
            let mut network = network(seed);
            let (one, two) = (network.open(ENDS, START), network.open(ENDS, START));
            for number in 0..10 {
                network.send(one, Way::Up, frame(number), START);
                network.send(two, Way::Up, frame(number), START);
            }
            let arrived = arrive(&mut network);
            for id in [one, two] {
                let own: Vec<_> = arrived
                    .iter()
                    .filter(|(link, ..)| *link == id)
                    .map(|(.., parcel)| parcel.clone())
                    .collect();
                let sent: Vec<_> = std::iter::once(Parcel::Open).chain((0..10).map(frame)).collect();
                assert_eq!(own, sent);
            }
            overtaken |= arrived
                .iter()
                .position(|(.., parcel)| *parcel == frame(9))
                .is_some_and(|at| arrived[at..].iter().any(|(.., parcel)| *parcel == frame(3)));
        }
        assert!(overtaken);
    }

    #[test]
    fn a_cut_loses_a_suffix() {
        let mut lengths = std::collections::BTreeSet::new();
        for seed in 0..60 {
            let mut network = network(seed);
            let id = network.open(ENDS, START);
            for number in 0..4 {
                network.send(id, Way::Down, frame(number), START);
            }
            network.cut(id, START);
            let arrived = arrive(&mut network);
            let down: Vec<_> = arrived
                .into_iter()
                .filter(|(_, way, _)| *way == Way::Down)
                .map(|(.., parcel)| parcel)
                .collect();
            let (last, frames) = down.split_last().expect("the end is heard");
            assert_eq!(*last, Parcel::Close);
            assert_eq!(frames, (0..frames.len() as u8).map(frame).collect::<Vec<_>>());
            lengths.insert(frames.len());
        }
        assert_eq!(lengths.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn silence_swallows_and_speaks_again_in_order() {
        let mut network = network(1);
        let id = network.open(ENDS, START);
        network.silence(id);
        network.send(id, Way::Up, frame(1), START);
        assert_eq!(arrive(&mut network), []);
        network.unsilence(id, START);
        assert_eq!(arrive(&mut network), [(id, Way::Up, Parcel::Open), (id, Way::Up, frame(1))]);
    }
}
