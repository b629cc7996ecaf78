//! How many connections one address may have.
//!
//! Owns: the count per address, in memory, for as long as the connections live.
//! Invariant: a [`Permit`] is one counted connection; dropping it uncounts.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

/// Counts connections by address.
#[derive(Clone)]
pub struct Admission(Arc<Shared>);

struct Shared {
    per_address_max: Option<u32>,
    counts: Mutex<HashMap<IpAddr, u32>>,
}

/// One admitted connection.
pub struct Permit {
    admission: Option<Admission>,
    peer: SocketAddr,
}

impl Permit {
    /// Whose connection it is.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }
}

impl Admission {
    /// With at most this many connections from one address; `None` admits everybody.
    pub fn new(per_address_max: Option<u32>) -> Self {
        Self(Arc::new(Shared { per_address_max, counts: Mutex::default() }))
    }

    /// Admits one more connection of `peer`, unless its address has its share.
    pub fn admit(&self, peer: SocketAddr) -> Option<Permit> {
        let Some(max) = self.0.per_address_max else { return Some(Permit { admission: None, peer }) };
        let network = network(peer.ip());
        let mut counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(network).or_insert(0);
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Permit { admission: Some(self.clone()), peer })
    }

    #[cfg(test)]
    fn addresses(&self) -> usize {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn release(&self, network: IpAddr) {
        let mut counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&network);
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(admission) = self.admission.take() {
            admission.release(network(self.peer.ip()));
        }
    }
}

/// What counts as one address: a host of IPv4, or the /64 that a customer of IPv6 is given.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(peer: &str) -> SocketAddr {
        peer.parse().unwrap()
    }

    #[test]
    fn an_address_gets_its_share_and_gets_it_back() {
        let admission = Admission::new(Some(2));
        let first = admission.admit(at("192.0.2.1:1")).unwrap();
        let _second = admission.admit(at("[::ffff:192.0.2.1]:2")).unwrap();
        assert!(admission.admit(at("192.0.2.1:3")).is_none());
        assert!(admission.admit(at("192.0.2.2:4")).is_some());
        drop(first);
        assert!(admission.admit(at("192.0.2.1:5")).is_some());
    }

    #[test]
    fn one_customer_of_ipv6_is_one_address() {
        let admission = Admission::new(Some(1));
        let permit = admission.admit(at("[2001:db8:1:2::1]:1"));
        assert!(permit.is_some());
        assert!(admission.admit(at("[2001:db8:1:2:ffff::9]:1")).is_none());
        assert!(admission.admit(at("[2001:db8:1:3::1]:1")).is_some());
        drop(permit);
        assert_eq!(admission.addresses(), 0, "no entry outlives its connections");
    }
}
