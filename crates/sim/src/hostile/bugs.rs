//! Mistakes planted on purpose: a witness that does not find them proves nothing.

use super::{
    Property::{self, *},
    has_group, has_links,
};
use client::testing::Bugs;

/// The mistakes of one schedule; none by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Planted {
    /// In the engines.
    pub client: Bugs,
    /// The server has somebody's account key, and the witness believes that it has none: as if engines took any
    /// list for a good one.
    pub theft_unnoticed: bool,
    /// People confirm whatever digits they see.
    pub any_digits: bool,
    /// New devices tell the server the nonce of their links, as if they had not to be invited first.
    pub nonce_told: bool,
    /// The server never turns honest.
    pub never_repents: bool,
}

/// A mistake with a name.
pub struct Bug {
    /// In the words of a test.
    pub name: &'static str,
    /// The property that must find it, sooner or later.
    pub found_by: Property,
    /// Whether it can be made in the schedule of this number.
    pub is_possible: fn(u64) -> bool,
    plant: fn(&mut Planted),
}

impl Bug {
    /// The mistake, planted alone.
    pub fn planted(&self) -> Planted {
        let mut planted = Planted::default();
        (self.plant)(&mut planted);
        planted
    }
}

const fn bug(name: &'static str, found_by: Property, plant: fn(&mut Planted)) -> Bug {
    Bug { name, found_by, is_possible: |_| true, plant }
}

impl Bug {
    const fn possible_in(self, is_possible: fn(u64) -> bool) -> Self {
        Self { is_possible, ..self }
    }
}

/// Every mistake that a schedule can have.
pub const ALL: &[Bug] = &[
    bug("any-list-believed", NothingForGhosts, |planted| planted.theft_unnoticed = true),
    bug("unlisted-shown", NothingForged, |planted| planted.theft_unnoticed = true),
    bug("redelivered-shown", Once, |planted| planted.client.show_redelivered = true),
    bug("order-by-arrival", InOrder, |planted| planted.client.order_by_arrival = true),
    bug("forks-overlooked", ForksFound, |planted| planted.client.overlook_forks = true),
    bug("gaps-overlooked", DropsShow, |planted| planted.client.overlook_gaps = true),
    bug("older-list-taken", NeverOlder, |planted| planted.client.take_older_lists = true),
    bug("sender-key-kept", NothingForOutsiders, |planted| planted.client.keep_sender_key = true)
        .possible_in(has_group),
    bug("any-head-trusted", ForksFound, |planted| planted.client.trust_any_head = true)
        .possible_in(has_group),
    bug("any-digits-confirmed", LinksTrue, |planted| planted.any_digits = true).possible_in(has_links),
    bug("nonce-told", DigitsTell, |planted| planted.nonce_told = true).possible_in(has_links),
    bug("removed-sealed-to", NothingForOutsiders, |planted| planted.client.seal_to_removed = true)
        .possible_in(has_links),
    bug("removed-shown", NothingFromRemoved, |planted| planted.client.show_removed = true)
        .possible_in(has_links),
    bug("former-member-heard", NothingFromRemoved, |planted| planted.client.hear_former_members = true)
        .possible_in(has_group),
    bug("any-member-obeyed", ChainTrue, |planted| planted.client.obey_any_member = true)
        .possible_in(has_group),
    bug("announcement-believed", Rests, |planted| planted.client.believe_announcements = true),
    bug("account-key-shared", KeysStay, |planted| planted.client.share_account_key = true)
        .possible_in(has_links),
    bug("never-repents", Heals, |planted| planted.never_repents = true),
];
