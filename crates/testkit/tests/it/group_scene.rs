//! A short good history of a group: account 1 links a second device and founds a group with accounts 2 and 3;
//! it writes message 5; it removes account 3; account 2 writes message 6; the second device is unlinked.

use crate::scene::{Scene, body, ciphertext, position};
use testkit::{
    fixture::{account, device, envelope_id, group, mailbox, message, stamp},
    history::{Deletion, Fact, Line, ReceiptKind, SignedLog},
};
use types::{ChatId, DeviceAddress, DeviceNumber, MailboxId, RegistrationId};

/// Envelopes of the operations at epochs 0 and 1; messages have the envelope of their number.
pub const FOUNDING: u8 = 40;
pub const REMOVAL: u8 = 41;
const MONTH_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

pub fn chat() -> ChatId {
    ChatId::Group(group(1))
}

pub fn second_device() -> DeviceAddress {
    DeviceAddress::new(account(1), DeviceNumber::new(2).unwrap())
}

pub fn second_mailbox() -> MailboxId {
    second_device().mailbox(RegistrationId::new(21).unwrap())
}

pub fn list(version: u64) -> SignedFact {
    SignedFact { log: SignedLog::DeviceList(account(1)), version, digest: 0x1157_0000 + u128::from(version) }
}

pub fn chain(epoch: u64) -> SignedFact {
    SignedFact {
        log: SignedLog::GroupChain(group(1)),
        version: epoch,
        digest: 0xc4a1_0000 + u128::from(epoch),
    }
}

/// A version of a list or a chain, to be written, answered or read.
#[derive(Clone, Copy)]
pub struct SignedFact {
    pub log: SignedLog,
    pub version: u64,
    pub digest: u128,
}

impl SignedFact {
    pub fn answered(self, by: u8, asked_at_ms: u64) -> Fact {
        let Self { log, version, digest } = self;
        Fact::LogAnswered { by: device(by), log, version, digest, asked_at_ms }
    }

    pub fn read(self, by: u8, asked_at_ms: u64) -> Fact {
        let Self { log, version, digest } = self;
        Fact::LogRead { by: device(by), log, version, digest, asked_at_ms }
    }
}

pub fn list_written(version: u64, mailboxes: &[MailboxId]) -> Fact {
    let digest = list(version).digest;
    Fact::ListWritten { account: account(1), version, digest, mailboxes: mailboxes.to_vec() }
}

pub fn chain_written(epoch: u64, members: &[u8]) -> Fact {
    let members = members.iter().map(|member| account(*member)).collect();
    Fact::ChainWritten { group: group(1), epoch, digest: chain(epoch).digest, members }
}

pub fn sealed_for_group(number: u8, text: Option<u8>, from: u8, epoch: u64) -> Fact {
    Fact::SealedForGroup {
        envelope: envelope_id(number),
        message: text.map(message),
        group: group(1),
        epoch,
        sender: device(from),
        key: None,
        step: text.map(|text| 0x57e9_0000 + u128::from(text)),
        ciphertext: ciphertext(number),
    }
}

pub fn row_for(number: u8, to: MailboxId) -> Fact {
    Fact::Row {
        envelope: envelope_id(number),
        mailbox: to,
        position: position(number),
        stamp: stamp(number.into()),
        expires_at_ms: MONTH_MS + 2 * 60 * 60 * 1_000,
    }
}

pub fn accepted_by_group(number: u8, text: Option<u8>, from: u8) -> Fact {
    Fact::Accepted {
        envelope: Some(envelope_id(number)),
        message: text.map(message),
        resend: false,
        sender: device(from),
        to: Vec::new(),
        stamp: stamp(number.into()),
    }
}

pub fn shown_at(text: u8, from: u8, at: DeviceAddress) -> Fact {
    Fact::Shown {
        device: at,
        message: message(text),
        sender: device(from),
        stamp: stamp(text.into()),
        body: body(text),
    }
}

pub fn view_of_group(at: u8, texts: &[u8]) -> Fact {
    let line = |text: &u8| Line { message: message(*text), stamp: Some(stamp((*text).into())) };
    Fact::View { device: device(at), chat: chat(), lines: texts.iter().map(line).collect(), gaps: 0 }
}

/// What leaves one device and reaches these mailboxes.
fn fan_out(number: u8, text: Option<u8>, from: u8, epoch: u64, to: &[MailboxId]) -> Vec<Fact> {
    let mut facts = vec![sealed_for_group(number, text, from, epoch)];
    facts.extend(to.iter().map(|mailbox| row_for(number, *mailbox)));
    facts.push(accepted_by_group(number, text, from));
    for mailbox in to {
        let (mailbox, position) = (*mailbox, position(number));
        let (envelope, ciphertext) = (envelope_id(number), ciphertext(number));
        facts.push(Fact::Delivered { mailbox, envelope, position, ciphertext });
        facts.push(Fact::Stored { mailbox, envelope });
        facts.extend(text.map(|text| shown_at(text, from, mailbox.address())));
        facts.push(Fact::Acked { mailbox, position });
        facts.push(Fact::Deleted { mailbox, position, cause: Deletion::Acked });
    }
    facts
}

fn composed(text: u8, from: u8) -> Fact {
    Fact::Composed { message: message(text), sender: device(from), to: chat(), body: body(text) }
}

fn receipt(text: u8, at: DeviceAddress, from: u8) -> Fact {
    Fact::Receipt { device: at, message: message(text), from: account(from), kind: ReceiptKind::Delivered }
}

pub fn good() -> Scene {
    let everybody = [mailbox(1), second_mailbox(), mailbox(2), mailbox(3)];
    let mut facts = Vec::new();
    for number in [1, 2, 3] {
        facts.push(Fact::Opened { mailbox: mailbox(number) });
        facts.push(Fact::Online { device: device(number) });
    }
    facts.push(list_written(1, &[mailbox(1)]));
    facts.push(list_written(2, &[mailbox(1), second_mailbox()]));
    facts.push(Fact::Opened { mailbox: second_mailbox() });
    facts.push(list(2).answered(1, 7_000));
    facts.push(Fact::Online { device: second_device() });
    facts.push(chain_written(0, &[1, 2, 3]));
    facts.extend(fan_out(FOUNDING, None, 1, 0, &everybody));
    facts.push(chain(0).answered(1, 11_000));
    facts.push(composed(5, 1));
    facts.extend(fan_out(5, Some(5), 1, 0, &everybody[1..]));
    for (at, from) in [(device(1), 2), (second_device(), 2), (device(1), 3), (second_device(), 3)] {
        facts.push(receipt(5, at, from));
    }
    facts.push(chain_written(1, &[1, 2]));
    facts.extend(fan_out(REMOVAL, None, 1, 1, &everybody));
    facts.push(chain(1).answered(1, 60_000));
    facts.push(chain(1).read(2, (facts.len() as u64 - 1) * 1_000 + 500));
    facts.push(composed(6, 2));
    facts.extend(fan_out(6, Some(6), 2, 1, &everybody[..2]));
    facts.push(receipt(6, device(2), 1));
    facts.push(list_written(3, &[mailbox(1)]));
    facts.push(Fact::Closed { mailbox: second_mailbox() });
    facts.push(list(3).answered(1, 60_000));
    facts.push(list(3).read(2, (facts.len() as u64 - 1) * 1_000 + 500));
    facts.push(Fact::FaultsEnded);
    let closing = vec![view_of_group(1, &[5, 6]), view_of_group(2, &[5, 6]), view_of_group(3, &[5])];
    Scene::of(facts, closing)
}
