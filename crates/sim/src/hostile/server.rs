//! The server that engines talk to: the office's work, passed through the liar.

use super::{liar::Liar, office::Office};
use client::{HttpAnswer, HttpRequest};
use rand_chacha::ChaCha20Rng;
use types::{MailboxId, Position};
use wire::{ClientFrame, Code, Delivery, Hello, Push, Refusal, Request, Response, ServerFrame};

/// Rows in one push: few, so that there are several.
const ROWS_AT_ONCE: usize = 4;

/// One connection of a device.
pub struct Session {
    mailbox: Option<MailboxId>,
    nonce: [u8; 32],
    delivered: u64,
    drained: bool,
}

/// The server.
pub struct Server {
    /// What an honest server would know.
    pub office: Office,
    /// What makes it another one.
    pub liar: Liar,
    rng: ChaCha20Rng,
}

impl Server {
    /// A server.
    pub const fn new(office: Office, liar: Liar, rng: ChaCha20Rng) -> Self {
        Self { office, liar, rng }
    }

    /// A connection begins; the server speaks first.
    pub fn connect(&mut self) -> (Session, ServerFrame) {
        let nonce = Office::nonce(&mut self.rng);
        let hello = Hello {
            versions: wire::version::SUPPORTED,
            nonce,
            time: self.office.now,
            incarnation: self.office.incarnation,
        };
        let session = Session { mailbox: None, nonce, delivered: 0, drained: false };
        (session, ServerFrame::Push(Push::Hello(hello)))
    }

    /// One request, answered.
    pub fn ask(&mut self, session: &mut Session, frame: ClientFrame) -> ServerFrame {
        ServerFrame::Answer { id: frame.id, result: self.answer(session, frame.request) }
    }

    fn answer(&mut self, session: &mut Session, request: Request) -> Result<Response, Refusal> {
        if let Request::Authenticate(proof) = &request {
            let (mailbox, response) = self.office.authenticate(proof, session.nonce)?;
            session.mailbox = Some(mailbox);
            return Ok(response);
        }
        let caller = session.mailbox.ok_or(Code::Unauthenticated)?;
        if self.office.is_former(caller) && !self.office.serves_formers {
            return Err(Code::Revoked.into());
        }
        if let Some(refusal) = self.liar.refusal(caller, &request, &self.office) {
            return Err(refusal);
        }
        if matches!(request, Request::PutDeviceList(_)) && self.liar.serves_former() {
            self.office.serves_formers = true;
        }
        self.liar.split(caller, &request, &mut self.office);
        let served = self.office.serve(caller, request.clone())?;
        self.liar.write(served.rows, &mut self.office);
        self.liar.play_ghost(&mut self.office);
        match self.liar.forgets(&request) {
            Some(refusal) => Err(refusal),
            None => Ok(self.liar.answer(served.response, &mut self.office)),
        }
    }

    /// One request of a device that has no session yet.
    pub fn http(&mut self, request: &HttpRequest) -> HttpAnswer {
        let answer = self.office.http(request);
        match request.path.split('/').nth(3).and_then(|id| id.parse().ok()) {
            Some(id) if request.path.ends_with("/poll") => self.liar.polled(id, answer, &self.office),
            _ => answer,
        }
    }

    /// What the server has to say by itself.
    pub fn deliver(&mut self, session: &mut Session) -> Vec<ServerFrame> {
        let Some(mailbox) = session.mailbox else { return Vec::new() };
        let mut rows: Vec<Delivery> = Vec::new();
        for (position, envelope) in self.office.mailboxes.entry(mailbox).or_default().iter() {
            if *position > session.delivered {
                let position = Position::from_u128((*position).into());
                rows.push(Delivery { position, envelope: envelope.clone() });
            }
        }
        session.delivered = rows
            .last()
            .and_then(|row| u64::try_from(row.position.as_u128()).ok())
            .unwrap_or(session.delivered);
        let mut pushes = Vec::new();
        if !rows.is_empty() && self.liar.reorders() {
            rows.reverse();
        }
        for rows in rows.chunks(ROWS_AT_ONCE) {
            pushes.push(Push::Deliver(rows.to_vec()));
        }
        if !pushes.is_empty() {
            pushes.extend(self.liar.babble(&self.office));
        }
        if !session.drained {
            session.drained = true;
            pushes.push(Push::Drained);
        }
        pushes.into_iter().map(ServerFrame::Push).collect()
    }
}
