//! A short good history: device 1 writes message 1 to account 2, which answers with message 2; receipts
//! go both ways. Tests spoil it.

use testkit::{
    check::{Invariant, Terms, check},
    fixture::{device, envelope_id, mailbox, message, stamp},
    history::{Deletion, Fact, History, KeyKind, Line, ReceiptKind},
};
use types::{Millis, Position};

/// Envelopes 1 and 2 carry messages; 11 and 12 the receipts for them.
pub const RECEIPT_OF: u8 = 10;
pub const MONTH_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// When rows end: a month after the last of them, at least.
const ENDS_MS: u64 = MONTH_MS + 2 * 60 * 60 * 1_000;

pub fn position(number: u8) -> Position {
    Position::from_u128(number.into())
}

pub fn body(number: u8) -> u128 {
    0xb0d7_0000 + u128::from(number)
}

pub fn ciphertext(number: u8) -> u128 {
    0xc193_0000 + u128::from(number)
}

pub fn sealed(number: u8, from: u8, to: u8) -> Fact {
    Fact::Sealed {
        envelope: envelope_id(number),
        message: None,
        sender: device(from),
        to: mailbox(to),
        step: Some(0x57e9_0000 + u128::from(number)),
        ciphertext: ciphertext(number),
    }
}

pub fn accepted(number: u8, text: Option<u8>, from: u8, to: u8) -> Fact {
    Fact::Accepted {
        envelope: Some(envelope_id(number)),
        message: text.map(message),
        resend: false,
        sender: device(from),
        to: vec![mailbox(to)],
        stamp: stamp(number.into()),
    }
}

pub fn row(number: u8, to: u8) -> Fact {
    Fact::Row {
        envelope: envelope_id(number),
        mailbox: mailbox(to),
        position: position(number),
        stamp: stamp(number.into()),
        expires_at_ms: ENDS_MS,
    }
}

pub fn stored(number: u8, at: u8) -> Fact {
    Fact::Stored { mailbox: mailbox(at), envelope: envelope_id(number) }
}

pub fn shown(text: u8, from: u8, at: u8) -> Fact {
    Fact::Shown {
        device: device(at),
        message: message(text),
        sender: device(from),
        stamp: stamp(text.into()),
        body: body(text),
    }
}

pub fn view(at: u8, with: u8, texts: &[u8]) -> Fact {
    let line = |text: &u8| Line { message: message(*text), stamp: Some(stamp((*text).into())) };
    Fact::View {
        device: device(at),
        chat: device(with).account.into(),
        lines: texts.iter().map(line).collect(),
        gaps: 0,
    }
}

pub fn served(kind: KeyKind, requester: u8) -> Fact {
    Fact::KeyServed { owner: mailbox(2), requester: mailbox(requester), kind, id: 7, key: 0x6e7 }
}

/// One envelope from its sender to its deletion.
fn travels(number: u8, text: Option<u8>, from: u8, to: u8) -> Vec<Fact> {
    let mut facts = vec![
        sealed(number, from, to),
        row(number, to),
        accepted(number, text, from, to),
        Fact::Delivered {
            mailbox: mailbox(to),
            envelope: envelope_id(number),
            position: position(number),
            ciphertext: ciphertext(number),
        },
        stored(number, to),
    ];
    facts.extend(text.map(|text| shown(text, from, to)));
    facts.push(Fact::Acked { mailbox: mailbox(to), position: position(number) });
    facts.push(Fact::Deleted { mailbox: mailbox(to), position: position(number), cause: Deletion::Acked });
    facts
}

fn message_and_receipt(text: u8, from: u8, to: u8) -> Vec<Fact> {
    let composed = Fact::Composed {
        message: message(text),
        sender: device(from),
        to: device(to).account.into(),
        body: body(text),
    };
    let receipt = Fact::Receipt {
        device: device(from),
        message: message(text),
        from: device(to).account,
        kind: ReceiptKind::Delivered,
    };
    let mut facts = vec![composed];
    facts.extend(travels(text, Some(text), from, to));
    facts.extend(travels(text + RECEIPT_OF, None, to, from));
    facts.push(receipt);
    facts
}

/// The good history, one fact a second, an hour of quiet before its end.
#[derive(Clone)]
pub struct Scene {
    pub facts: Vec<(u64, Fact)>,
    pub terms: Terms,
}

impl Scene {
    pub fn good() -> Self {
        let mut facts = Vec::new();
        for number in [1, 2] {
            facts.push(Fact::Opened { mailbox: mailbox(number) });
            facts.push(Fact::Online { device: device(number) });
        }
        for kind in [KeyKind::Signed, KeyKind::OneTime] {
            facts.push(Fact::KeyUploaded { owner: mailbox(2), kind, id: 7, key: 0x6e7 });
            facts.push(served(kind, 1));
        }
        facts.extend(message_and_receipt(1, 1, 2));
        facts.extend(message_and_receipt(2, 2, 1));
        facts.push(Fact::CanariesSought { bytes: 1_000 });
        facts.push(Fact::Resource {
            owner: "node 1".to_owned(),
            name: "sessions".to_owned(),
            value: 2,
            bound: 2,
        });
        facts.push(Fact::FaultsEnded);
        let closing = vec![
            view(1, 2, &[1, 2]),
            view(2, 1, &[1, 2]),
            Fact::Inventory { mailbox: mailbox(1), positions: Vec::new() },
            Fact::Inventory { mailbox: mailbox(2), positions: Vec::new() },
        ];
        Self::of(facts, closing)
    }

    /// A history of its own: one fact a second, an hour of quiet, then the closing facts.
    pub fn of(facts: Vec<Fact>, closing: Vec<Fact>) -> Self {
        let mut facts: Vec<(u64, Fact)> = (0..).step_by(1_000).zip(facts).collect();
        let end = facts.last().unwrap().0 + 60 * 60 * 1_000;
        facts.extend(closing.into_iter().map(|fact| (end, fact)));
        Self { facts, terms: Terms::default() }
    }

    /// Leaves out every fact that matches; there must be one.
    pub fn without(mut self, matches: impl Fn(&Fact) -> bool) -> Self {
        let before = self.facts.len();
        self.facts.retain(|(_, fact)| !matches(fact));
        assert!(self.facts.len() < before, "nothing matched");
        self
    }

    /// Puts a fact directly after the first that matches, at the same time.
    pub fn after(mut self, matches: impl Fn(&Fact) -> bool, fact: Fact) -> Self {
        let index = self.facts.iter().position(|(_, fact)| matches(fact)).expect("nothing matched");
        self.facts.insert(index + 1, (self.facts[index].0, fact));
        self
    }

    /// Changes every fact that matches; there must be one.
    pub fn with(mut self, matches: impl Fn(&Fact) -> bool, change: impl Fn(&mut Fact)) -> Self {
        let mut matched = self.facts.iter_mut().filter(|(_, fact)| matches(fact)).peekable();
        assert!(matched.peek().is_some(), "nothing matched");
        matched.for_each(|(_, fact)| change(fact));
        self
    }

    /// Puts a fact at the end.
    pub fn and(mut self, fact: Fact) -> Self {
        let end = self.facts.last().unwrap().0;
        self.facts.push((end, fact));
        self
    }

    pub fn history(&self) -> History {
        let mut history = History::default();
        for (at, fact) in &self.facts {
            history.record(Millis(*at), fact.clone());
        }
        history
    }

    /// The history violates exactly these invariants.
    #[track_caller]
    pub fn violates(self, expected: &[Invariant]) {
        let report = check(&self.history(), self.terms);
        let mut found: Vec<_> = report.violations.iter().map(|violation| violation.invariant).collect();
        found.sort();
        found.dedup();
        assert_eq!(found, expected, "{report}");
    }
}

impl Scene {
    /// Moves the closing facts to so many milliseconds later.
    pub fn later(mut self, by_ms: u64) -> Self {
        let end = self.facts.last().unwrap().0;
        self.facts.iter_mut().filter(|(at, _)| *at == end).for_each(|(at, _)| *at += by_ms);
        self
    }
}
