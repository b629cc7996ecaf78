//! What the shells of both sides do: the new device over HTTP, the primary's person with commands.

use super::{Fault, Machine, World};
use crate::answers::ORIGIN;
use client::{AddingDevice, HttpAnswer, HttpRequest, LinkError, LinkStep, NewDevice};
use types::{DeviceNumber, Millis};

impl World {
    /// A request of the new device's shell; none if it or its answer was lost, or the device died.
    fn http(&mut self, who: usize, request: &HttpRequest) -> Option<HttpAnswer> {
        let fault = self.strikes(who);
        match fault {
            None => Some(self.server.http(request)),
            Some(Fault::CutAnswer(_)) => {
                self.server.http(request);
                None
            }
            Some(fault) => {
                self.strike(who, fault);
                None
            }
        }
    }

    /// One look of the new device's shell: it begins, polls, answers; after a loss it does so again.
    pub fn try_link(&mut self, who: usize) -> Result<(), LinkError> {
        let now = self.now;
        if self.machines[who].code.is_none() {
            let new = NewDevice {
                server: ORIGIN.to_owned(),
                server_pin: None,
                name: Some(format!("device {who}")),
            };
            let Machine { engine, rng, .. } = &mut self.machines[who];
            let begun = engine.as_mut().unwrap().begin_link(&new, now, rng)?;
            let Some(answer) = self.http(who, &begun.request) else { return Ok(()) };
            self.machines[who].engine().link_begun(&answer)?;
            self.machines[who].code = Some(begun.code);
            return Ok(());
        }
        let poll = self.machines[who].engine().poll_link()?;
        let Some(answer) = self.http(who, &poll) else { return Ok(()) };
        let Machine { engine, rng, .. } = &mut self.machines[who];
        match engine.as_mut().unwrap().link_polled(&answer, now, rng)? {
            LinkStep::Waiting => {}
            LinkStep::Answer { digits, request } => {
                self.machines[who].digits = Some(digits);
                let Some(answer) = self.http(who, &request) else { return Ok(()) };
                self.machines[who].engine().link_answered(&answer)?;
            }
            LinkStep::Linked(linked) => {
                self.machines[who].account = Some(linked.account);
                self.machines[who].device = Some(linked.device);
                self.machines[who].linked = Some(linked);
            }
        }
        Ok(())
    }

    pub fn add_device(
        &mut self,
        who: usize,
        code: &str,
        history: bool,
    ) -> Result<(), client::AddDeviceError> {
        let now = self.now;
        let Machine { engine, rng, .. } = &mut self.machines[who];
        let result = engine.as_mut().unwrap().add_device(code, history, now, rng).unwrap();
        self.poll(who);
        result
    }

    pub fn confirm(&mut self, who: usize) {
        let now = self.now;
        let Machine { engine, rng, .. } = &mut self.machines[who];
        engine.as_mut().unwrap().confirm_device(now, rng).unwrap();
        self.poll(who);
    }

    pub fn refuse(&mut self, who: usize) {
        let now = self.now;
        let Machine { engine, rng, .. } = &mut self.machines[who];
        engine.as_mut().unwrap().refuse_device(now, rng).unwrap();
        self.poll(who);
    }

    pub fn remove(&mut self, who: usize, device: u32) -> Result<(), client::RemoveDeviceError> {
        let (now, device) = (self.now, DeviceNumber::new(device).unwrap());
        let Machine { engine, rng, .. } = &mut self.machines[who];
        let result = engine.as_mut().unwrap().remove_device(device, now, rng).unwrap();
        self.poll(who);
        result
    }

    /// Both shells act until the new device is in and, on both sides, everything is settled. Commands are given again
    /// after a loss, as people do.
    pub fn link(&mut self, primary: usize, new: usize, history: bool) {
        let mut commanded = false;
        for _ in 0..400 {
            if self.machines[new].linked.is_none() {
                self.try_link(new).unwrap();
            }
            for who in [primary, new] {
                if self.machines[who].account.is_some() && !self.is_connected(who) {
                    self.connect(who);
                    // The primary's shell is a new process: it gives its command again.
                    commanded &= who != primary;
                }
            }
            let code = self.machines[new].code.clone();
            if let (Some(code), false, None) = (code, commanded, &self.machines[new].linked) {
                commanded = true;
                // While the list is on its way the command is refused; it is the one that goes on.
                let _ = self.add_device(primary, &code, history);
            }
            self.pass(Millis(300));
            let shown = self.machines[primary].adding().into_iter().rev().find_map(|adding| match adding {
                AddingDevice::Digits { digits, .. } => Some(digits),
                _ => None,
            });
            if let (Some(digits), true) = (shown, self.machines[new].digits.is_some()) {
                assert_eq!(Some(&digits), self.machines[new].digits.as_ref(), "both sides show the same");
                self.confirm(primary);
            }
            let done = self.machines[new].linked.is_some()
                && self.machines[primary].engine().is_settled()
                && self.machines[new].engine().is_settled();
            if done {
                return;
            }
        }
        panic!("the device was not linked: {:?}", self.machines[primary].adding());
    }
}
