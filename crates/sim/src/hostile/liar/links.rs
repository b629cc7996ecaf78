//! Lies about links: other keys in the offer, other invitations, answers and completions, older links once more, and
//! the code of a device of the server's own in the hands of a person.

use super::{Liar, Lie};
use crate::hostile::{
    forger::{self, GhostLink},
    links::{Link, answer},
    office::Office,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use bytes::Bytes;
use client::HttpAnswer;
use serde_json::{Value, json};
use signed::LinkOffer;
use types::LinkId;
use wire::{LinkState, Response};

/// What a server remembers of links, and those that it plays itself.
#[derive(Default)]
pub struct LinkLies {
    /// The code that somebody saw over a shoulder.
    overheard: Option<String>,
    /// Offers, invitations, answers and completions that passed.
    past: [Vec<Bytes>; 4],
    /// A link whose new device is the server.
    ghost: Option<GhostLink>,
    /// The server as the primary of an account of its own.
    primary: Option<forger::GhostPrimary>,
    /// The server stands between both sides.
    in_the_middle: bool,
    /// What a new device tells nobody before it was invited, where a mistake is planted.
    told_nonce: Option<Vec<u8>>,
}

/// Tries with a nonce that may be any other: as many are as good as one.
const BLIND_TRIES: u64 = 1_000;
/// Tries with the right nonce: fewer fail once in e^20 links.
const SEEING_TRIES: u64 = 20_000_000;

/// Places of [`LinkLies::past`].
#[derive(Clone, Copy)]
enum Part {
    Offer,
    Invitation,
    Answer,
    Completion,
}

impl Liar {
    /// Whether the server knows this code, which it should not. `told_nonce`: the device is one that keeps no secret.
    pub fn overhears(&mut self, code: &str, told_nonce: Option<Vec<u8>>) -> bool {
        let in_the_middle = self.tells(Lie::DigitsGround);
        let overhears = in_the_middle || self.tells(Lie::CodeOverheard);
        self.links.overheard = overhears.then(|| code.to_owned());
        self.links.primary = None;
        self.links.in_the_middle = in_the_middle;
        self.links.told_nonce = told_nonce;
        overhears
    }

    /// The code of a device of the server's own, which a person takes for that of their new one.
    pub fn hands_code(&mut self, office: &mut Office) -> Option<String> {
        if !self.links.in_the_middle && !self.tells(Lie::CodeSwapped) {
            return None;
        }
        let ghost = GhostLink::begin(&mut self.rng);
        let (id, link) = (ghost.id(), Link::new([9; 32], ghost.offer(), forger::key_upload()));
        office.links.insert(id, link);
        let code = ghost.code();
        self.links.ghost = Some(ghost);
        Some(code)
    }

    /// What the primary is told of a link.
    pub(super) fn link_state(&mut self, state: LinkState) -> Response {
        let offer = self.pass(Part::Offer, state.offer, Lie::OfferSwapped, |liar| {
            GhostLink::begin(&mut liar.rng).offer()
        });
        let answer = state.answer.map(|answer| {
            self.pass(Part::Answer, answer, Lie::AnswerSwapped, |liar| {
                GhostLink::begin(&mut liar.rng).offer()
            })
        });
        Response::LinkState(LinkState { offer, answer, ..state })
    }

    /// The server's own new device says what a true one would.
    pub fn play_ghost(&mut self, office: &mut Office) {
        let Some(ghost) = &mut self.links.ghost else { return };
        let Some(link) = office.links.get_mut(&ghost.id()) else { return };
        if self.links.in_the_middle && self.links.primary.is_none() {
            // The other side's digits are to stand first.
            return;
        }
        if let (Some(invitation), None) = (&link.invitation, &link.answer) {
            link.answer = ghost.accept(invitation, &mut self.rng).map(|(answer, _)| answer);
        }
    }

    /// What the new device is told of its link.
    pub fn polled(&mut self, id: LinkId, told: HttpAnswer, office: &Office) -> HttpAnswer {
        let (Ok(mut body), Some(link)) = (serde_json::from_slice::<Value>(&told.body), office.links.get(&id))
        else {
            return told;
        };
        if self.tells(Lie::LinkDenied) {
            let state = self.chance.one_of(&["waiting", "refused", "expired", "linked", "answered"]);
            return answer(200, &json!({ "state": state, "invitation": null, "completion": null }));
        }
        if self.links.in_the_middle {
            return match self.middle_invitation(link, office) {
                Some(invitation) if link.answer.is_none() => {
                    answer(200, &json!({ "state": "invited", "invitation": BASE64.encode(invitation) }))
                }
                _ => told,
            };
        }
        if let Some(completed) = self.completed_by_ghost(link) {
            return completed;
        }
        let decode = |value: &Value| value.as_str().and_then(|text| BASE64.decode(text).ok());
        let invitation = decode(&body["invitation"]);
        let invites =
            invitation.is_none() && self.links.primary.is_none() && self.tells(Lie::InvitationSwapped);
        if invites && let Some(forged) = self.forged_invitation(id, link) {
            body["state"] = "invited".into();
            body["invitation"] = BASE64.encode(forged).into();
        } else if let Some(invitation) = invitation {
            let offer = link.offer.clone();
            let given = self.pass(Part::Invitation, invitation.into(), Lie::InvitationSwapped, |liar| {
                let forged = liar.links.overheard.clone().or_else(|| forger::guessed_code(id, &offer));
                forged.and_then(|code| liar.invite(&code, &offer)).unwrap_or_default()
            });
            body["invitation"] = BASE64.encode(given).into();
        }
        if let Some(completion) = decode(&body["completion"]) {
            let given =
                self.pass(Part::Completion, completion.into(), Lie::CompletionSwapped, |_| Bytes::new());
            body["completion"] = BASE64.encode(given).into();
        }
        answer(told.status, &body)
    }

    /// The invitation for the new device, once the primary has invited the server's own: one of many, chosen for the
    /// digits that the primary will show.
    fn middle_invitation(&mut self, link: &Link, office: &Office) -> Option<Bytes> {
        if let Some(primary) = &self.links.primary {
            return Some(primary.message());
        }
        let ghost = self.links.ghost.as_ref()?;
        let invitation = office.links.get(&ghost.id())?.invitation.as_ref()?;
        let (_, digits) = ghost.accept(invitation, &mut self.rng)?;
        let code = self.links.overheard.clone()?;
        let mut primary = forger::GhostPrimary::invite(&code, &link.offer, &mut self.rng)?;
        match &self.links.told_nonce {
            Some(nonce) => primary.grind(&digits, nonce, SEEING_TRIES),
            None => {
                primary.grind(&digits, LinkOffer::decode(&link.offer).ok()?.nonce_commitment(), BLIND_TRIES)
            }
        }
        let message = primary.message();
        self.links.primary = Some(primary);
        Some(message)
    }

    /// An invitation into the server's own account, before the true one comes.
    fn forged_invitation(&mut self, id: LinkId, link: &Link) -> Option<Bytes> {
        let code = self.links.overheard.clone().or_else(|| forger::guessed_code(id, &link.offer))?;
        self.invite(&code, &link.offer)
    }

    fn invite(&mut self, code: &str, offer: &[u8]) -> Option<Bytes> {
        let primary = forger::GhostPrimary::invite(code, offer, &mut self.rng)?;
        let message = primary.message();
        self.links.primary = Some(primary);
        Some(message)
    }

    /// The end of a link into the server's own account, if the new device took that invitation.
    fn completed_by_ghost(&mut self, link: &Link) -> Option<HttpAnswer> {
        let answered = link.answer.as_ref()?;
        let completion = self.links.primary.as_ref()?.complete(answered, &mut self.rng)?;
        Some(answer(200, &json!({ "state": "linked", "completion": BASE64.encode(completion) })))
    }

    /// A message of a link, or another one in its place: a bit of it turned over, that of an older link, or one of the
    /// server's own.
    fn pass(
        &mut self,
        part: Part,
        true_one: Bytes,
        lie: Lie,
        forge: impl FnOnce(&mut Self) -> Bytes,
    ) -> Bytes {
        let past = &mut self.links.past[part as usize];
        if !past.contains(&true_one) {
            past.push(true_one.clone());
        }
        if !self.tells(lie) {
            return true_one;
        }
        match self.chance.below(3) {
            0 => {
                let mut flipped = true_one.to_vec();
                let at = self.chance.below(flipped.len() as u64) as usize;
                flipped[at] ^= 1 << self.chance.below(8);
                flipped.into()
            }
            1 => {
                let past = &self.links.past[part as usize];
                past[self.chance.below(past.len() as u64) as usize].clone()
            }
            _ => forge(self),
        }
    }
}
