//! Whose answer a line is: what is asked of one child, by the ids on the lines. Pure but for the seats.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use foldhash::fast::RandomState;

use super::seat::Ticket;
use crate::{
    error::{Code, Error, Kind},
    plugin::{
        MULTIPLEX, PluginInfo,
        wire::{
            process::{Addressee, LineTold, addressee, id_at_start, with_id},
            text,
        },
    },
    wire,
};

/// Questions of callers that have gone, and old ids, of which so many are kept.
const MAX_OLD: usize = 1_024;

/// What is asked of one child.
#[derive(Debug, Default)]
pub(super) struct Talk {
    is_multiplexed: bool,
    asked: HashMap<String, Asked, RandomState>,
    next: u64,
    /// Whether a call was answered. A question for the description that was not, by then, is not answered
    /// at all by a plugin that takes one after another.
    has_answered: bool,
    is_silence_told: bool,
    /// Whose answers may yet come, although another line was taken for them.
    old: VecDeque<String>,
}

/// A question on its way, or whose answer is awaited.
#[derive(Debug)]
struct Asked {
    number: u64,
    /// `None` for the question for the description, for which no call waits.
    ticket: Option<Ticket>,
    line: Bytes,
    /// How many bytes the child has read when it can know the question.
    end: u64,
}

/// What a line was.
#[derive(Debug)]
pub(super) enum Heard {
    /// An answer that a caller waited for.
    Answer,
    /// The description of the plugin, or `None` if it does not tell any.
    Info(Option<PluginInfo>),
    /// An answer that is of no use, with the reason.
    Dropped(&'static str),
    /// Text for the log.
    Stray,
}

impl Talk {
    pub(super) fn new(is_multiplexed: bool) -> Self {
        Self { is_multiplexed, ..Self::default() }
    }

    /// Whether another call may be sent.
    pub(super) fn is_free(&self) -> bool {
        self.is_multiplexed || self.current().is_none()
    }

    /// Whether the plugin, which takes one call at a time, works on one that was given up.
    pub(super) fn is_held_up(&self) -> bool {
        !self.is_multiplexed && self.current().is_some_and(Ticket::is_gone)
    }

    /// The call that a plugin works on which takes one at a time.
    fn current(&self) -> Option<&Ticket> {
        self.asked.values().find_map(|asked| asked.ticket.as_ref())
    }

    /// Notes a question, and returns its line, which is written after `before` other bytes. `None` is the
    /// question for the description.
    pub(super) fn ask(
        &mut self,
        ticket: Option<Ticket>,
        id: String,
        mut line: Vec<u8>,
        before: u64,
    ) -> Bytes {
        if self.asked.len() % MAX_OLD == MAX_OLD - 1 {
            self.asked.retain(|_, asked| !asked.ticket.as_ref().is_some_and(Ticket::is_gone));
        }
        // A call that is sent again has the id of before, to which an answer may yet come.
        let is_used = |key: &String| self.asked.contains_key(key) || self.old.contains(key);
        let key = if is_used(&id) {
            let mut copies = (2_u64..).map(|copy| format!("{id}~{copy}"));
            let key = copies.find(|key| !is_used(key)).unwrap_or_default();
            line = with_id(&line, &id, &key);
            key
        } else {
            id
        };
        let end = before + line.trim_ascii_end().len() as u64;
        let line = Bytes::from(line);
        self.next += 1;
        let asked = Asked { number: self.next, ticket, line: line.clone(), end };
        self.asked.insert(key, asked);
        line
    }

    /// Hears a line of the child.
    pub(super) fn hear(&mut self, line: Bytes) -> Heard {
        let text = text(&line);
        let (key, is_error) = match addressee(&text) {
            Addressee::Nobody => return Heard::Stray,
            Addressee::Id(id) => (Some(id), false),
            Addressee::Unknown => (self.oldest(), true),
        };
        let Some(key) = key else { return Heard::Dropped("an error without an id") };
        let Some(asked) = self.asked.remove(&key) else { return self.hear_other(&key, &text) };
        if is_error {
            self.expect_no_more(key);
        }
        match asked.ticket {
            Some(ticket) => {
                self.has_answered = true;
                let is_late = ticket.is_gone();
                // Bytes that are no UTF-8 were replaced, as in Go.
                let text = match text {
                    std::borrow::Cow::Borrowed(_) => None,
                    std::borrow::Cow::Owned(text) => Some(Bytes::from(text)),
                };
                ticket.answer(Ok(text.unwrap_or(line)));
                if is_late { Heard::Dropped("it came too late") } else { Heard::Answer }
            }
            None => {
                let told = LineTold::read(&text).ok().filter(|told| told.error.is_none());
                let info = told.and_then(|told| PluginInfo::read(told.result?.get()).ok());
                let knows = |info: &PluginInfo| info.capabilities.iter().any(|of| of == MULTIPLEX);
                self.is_multiplexed |= info.as_ref().is_some_and(knows);
                Heard::Info(info)
            }
        }
    }

    /// An answer with an id that is not awaited. Of a plugin that takes one call at a time it is the answer
    /// to that call.
    fn hear_other(&mut self, id: &str, text: &str) -> Heard {
        if let Some(at) = self.old.iter().position(|old| old == id) {
            self.old.remove(at);
            return Heard::Dropped("it came too late");
        }
        if self.is_multiplexed {
            return Heard::Dropped("nobody waits for its id");
        }
        let of_call = |(_, asked): &(&String, &Asked)| asked.ticket.is_some();
        let Some(key) = self.asked.iter().find(of_call).map(|(key, _)| key.clone()) else {
            return Heard::Dropped("nothing is asked");
        };
        // As in Go, an error is looked for before the id.
        if LineTold::read(text).is_ok_and(|told| told.error.is_some()) {
            if let Some(ticket) = self.asked.remove(&key).and_then(|asked| asked.ticket) {
                ticket.answer(Ok(Bytes::from(text.to_owned())));
            }
            self.expect_no_more(key);
            return Heard::Answer;
        }
        let shown = wire::start(id, 64).escape_debug().to_string();
        let error = Error::failed(Kind::Transport).coded(Some(Code::RPC_2003)).message(format!(
            "response request ID mismatch: `{shown}` instead of `{}`",
            wire::start(&key, 64).escape_debug()
        ));
        self.fail(key, error);
        Heard::Answer
    }

    /// A line began with `start`, and is longer than `limit` bytes.
    pub(super) fn hear_too_long(&mut self, start: &[u8], limit: usize) -> Heard {
        let id = id_at_start(&String::from_utf8_lossy(start));
        let Some(key) = id.filter(|id| self.asked.contains_key(id)).or_else(|| self.oldest())
        else {
            return Heard::Stray;
        };
        let error = Error::failed(Kind::Transport).coded(Some(Code::TRANSPORT_1304));
        self.fail(
            key,
            error.message(format!(
                "failed to decode response: it has more than {limit} bytes (`max_line_bytes`)"
            )),
        );
        Heard::Answer
    }

    /// Tells once that the plugin does not describe itself, as far as is known.
    pub(super) fn is_silent_of_itself(&mut self) -> bool {
        if self.is_silence_told || !self.has_answered {
            return false;
        }
        self.is_silence_told = true;
        self.asked.values().any(|asked| asked.ticket.is_none())
    }

    /// The question to which an answer without an id belongs, if that can be told.
    fn oldest(&self) -> Option<String> {
        if self.is_multiplexed && self.asked.len() > 1 {
            return None;
        }
        let may_be = |(_, asked): &(&String, &Asked)| asked.ticket.is_some() || !self.has_answered;
        self.asked
            .iter()
            .filter(may_be)
            .min_by_key(|(_, asked)| asked.number)
            .map(|(key, _)| key.clone())
    }

    fn fail(&mut self, key: String, error: Error) {
        if let Some(asked) = self.asked.remove(&key) {
            if let Some(ticket) = asked.ticket {
                ticket.answer(Err(error));
            }
            self.expect_no_more(key);
        }
    }

    fn expect_no_more(&mut self, key: String) {
        self.old.push_back(key);
        if self.old.len() > MAX_OLD {
            self.old.pop_front();
        }
    }

    /// There will be no more answers. Those of whose questions the child has read all, of `read` bytes,
    /// fail with `error`; the others are returned in order, to be sent again. And whether the child has
    /// done what it was there for: it has answered calls, and left none unanswered that it had read.
    pub(super) fn end(&mut self, read: u64, error: &Error) -> (Vec<Ticket>, bool) {
        let mut asked: Vec<_> = self.asked.drain().map(|(_, asked)| asked).collect();
        asked.sort_unstable_by_key(|asked| asked.number);
        let (mut unsent, mut is_done) = (Vec::new(), self.has_answered);
        for Asked { ticket, line, end, .. } in asked {
            let Some(ticket) = ticket else { continue };
            if end <= read {
                ticket.answer(Err(error.clone()));
                is_done = false;
            } else if !ticket.is_gone() {
                ticket.put_back(line.into());
                unsent.push(ticket);
            }
        }
        (unsent, is_done)
    }
}
